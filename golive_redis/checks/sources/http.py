"""The `http` source: one request, without redirects, proxies or retries; TLS is always verified."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx

from golive_redis import clock
from golive_redis.checks.parse import look, parse, time_ms
from golive_redis.checks.question import HttpSource
from golive_redis.checks.source import (
    MAX_BYTES,
    Fetched,
    Surroundings,
    UnansweredError,
)
from golive_redis.masking import Masked, is_unclear, without_login
from golive_redis.version import VERSION


class Reply(Masked, frozen=True):
    """A whole answer.

    Attributes:
        body: At most 1 MiB; None when there was more.
        middle_ms: Unix ms at the middle of the request, by this host's clock.
    """

    MASKED: ClassVar[frozenset[str]] = frozenset({"headers", "body"})

    status: int
    headers: httpx.Headers
    body: bytes | None
    took_ms: float
    middle_ms: float

    @property
    def is_good(self) -> bool:
        """Whether the status is a 2xx."""
        return 200 <= self.status < 300  # noqa: PLR2004  (RFC 9110 section 15.3)

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            UnansweredError: It is too long, encoded, or no JSON.
        """
        if self.body is None:
            raise UnansweredError(f"the answer is over {MAX_BYTES} bytes")
        if self.headers.get("content-encoding", "identity") != "identity":
            raise UnansweredError("the answer is compressed although the request refused that")
        try:
            return parse(self.body.decode())
        except UnicodeDecodeError as error:
            raise UnansweredError("the answer is not JSON: not UTF-8") from error


def fetch(source: HttpSource, where: Surroundings, deadline_ms: float) -> Fetched:
    """Ask the URL for its value."""
    reply = exchange(source, where, deadline_ms, method=source.method)
    facts = {"url": without_login(source.url), "status": str(reply.status)}
    if "location" in reply.headers:
        facts["redirect"] = f"to {without_login(reply.headers['location'])}, not followed"
    chosen = (source.json, source.header, source.clock, source.latency or None)
    if chosen == (None, None, None, None):
        return Fetched(reply.status, facts)
    if not reply.is_good:
        raise UnansweredError(f"{facts['url']} answered {reply.status}{_elsewhere(facts)}")
    if source.header is not None:
        return Fetched(reply.headers.get(source.header), facts)
    if source.latency and reply.body is not None:
        return Fetched(round(reply.took_ms), facts)
    document = reply.json()
    if source.json is not None:
        return Fetched(look(document, source.json), facts)
    theirs = time_ms(look(document, source.clock or ""))
    off_ms = round(theirs - reply.middle_ms)
    facts["clock"] = f"{off_ms:+d} ms against ours, +-{reply.took_ms / 2:.0f}"
    return Fetched(abs(off_ms), facts)


def _elsewhere(facts: Mapping[str, str]) -> str:
    return f", a redirect {facts['redirect']}" if "redirect" in facts else ""


def exchange(
    source: Any,
    where: Surroundings,
    deadline_ms: float,
    *,
    method: str = "GET",
    path: str = "",
    params: Mapping[str, str] | None = None,
) -> Reply:
    """Send one request and read the whole answer.

    Args:
        source: Has `url`, `bearer_env` and `ca`.
        where: Has the token.
        deadline_ms: Bound on the whole exchange, once the host's name is resolved.
        method: GET or HEAD.
        path: Added to the URL.
        params: Query parameters; None leaves those of the URL.

    Raises:
        UnansweredError: No answer, half an answer, or a certificate that is refused.
    """
    if is_unclear(source.url):  # what httpx takes for its port may be a piece of the password
        place = without_login(source.url)
        raise UnansweredError(f"{place} cannot be read; in a password / is %2F and @ is %40")
    headers = {"User-Agent": f"golive-redis/{VERSION}", "Accept-Encoding": "identity"}
    if source.bearer_env is not None:
        headers["Authorization"] = f"Bearer {where.variable(source.bearer_env)}"
    url = source.url.rstrip("/") + path if path else source.url
    cut = _Cut(deadline_ms)
    try:
        # Not `trust_env`: a proxy would answer for the host that was asked, and .netrc log us in.
        with httpx.Client(
            verify=_trusted(source, where), trust_env=False, timeout=deadline_ms / 1000
        ) as client:
            request = client.build_request(method, url, params=params, headers=headers)
            return _exchange(client, request, cut)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise _explained(error, source, is_late=cut.is_done) from error


def _exchange(client: httpx.Client, request: httpx.Request, cut: _Cut) -> Reply:
    began_ms, began_wall_ms = clock.now_ms(), clock.wall_ms()
    request.extensions["trace"] = cut.see
    body = bytearray()
    with cut:
        response = client.send(request, stream=True)
        try:
            for piece in response.iter_raw():
                body += piece
                if len(body) > MAX_BYTES:
                    break
        finally:
            response.close()
    took_ms = clock.now_ms() - began_ms
    whole = bytes(body) if len(body) <= MAX_BYTES else None
    middle_ms = began_wall_ms + took_ms / 2
    return Reply(response.status_code, response.headers, whole, took_ms, middle_ms)


class _Cut:
    """Cuts a connection at the deadline: the client bounds each read, and not their sum."""

    def __init__(self, after_ms: float) -> None:
        self.is_done = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(after_ms / 1000, self._cut)
        self._timer.daemon = True

    def see(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of the socket; httpcore tells it what happens."""
        if event == "connection.connect_tcp.complete":
            # A double: TLS takes the socket itself over, and that one can be cut no more.
            self._sockets.append(info["return_value"].get_extra_info("socket").dup())

    def _cut(self) -> None:
        self.is_done = True
        for item in self._sockets:
            with suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        for item in self._sockets:
            item.close()


def _trusted(source: Any, where: Surroundings) -> ssl.SSLContext:
    if urlsplit(source.url).scheme != "https":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody
    ca = where.folder / source.ca if source.ca else None
    try:
        file = ca or ssl.get_default_verify_paths().cafile
        return _context(ca, Path(file).stat().st_mtime_ns if file else 0)
    except (OSError, ssl.SSLError) as error:
        raise UnansweredError(f"ca {source.ca} cannot be used: {error}") from error


@lru_cache(maxsize=16)
def _context(ca: Path | None, _changed_ns: int) -> ssl.SSLContext:
    """Load an authority once for each change of its file: the system's take 30 ms."""
    return ssl.create_default_context(cafile=ca)


def _explained(error: Exception, source: Any, *, is_late: bool) -> UnansweredError:
    place = without_login(source.url)
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        why = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or text
        hint = "`ca` names the PEM file of your own authority; verifying cannot be switched off"
        return UnansweredError(f"the certificate of {place} is refused: {why}", hint=hint)
    if is_late or isinstance(error, httpx.TimeoutException):
        return UnansweredError(f"{place} did not answer in time")
    return UnansweredError(f"{place}: {text}")
