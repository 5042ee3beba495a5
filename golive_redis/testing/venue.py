"""The paper venue: the demo's independent witness, a process of its own.

It accepts every well-formed order, stamps the instant and remembers it. It knows nothing of the
switch and imports nothing of it, on purpose: what it says about orders after a stop cannot be
coloured by the code whose work it judges.

    POST /orders    {worker, symbol, side, qty, price, fence, until_ms}
                    -> 201 {order, at_ns, at_ms}, or 400 {error}
    GET /accepted   [?worker=W&since_ns=N] -> {"total": n, "workers": {W: n}}
    GET /journal    [?worker=W&since_ns=N] -> {"accepts": [{order, at_ns, at_ms, worker, ...}]}
    GET /health     -> {"ok": true, "accepted": n}

`at_ns` is CLOCK_MONOTONIC, which all processes of one Linux machine share; `at_ms` is Unix time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Mapping

LOOPBACK: Final = "127.0.0.1"
MAX_HEAD_BYTES: Final = 4_096
MAX_BODY_BYTES: Final = 4_096
MAX_ACCEPTS: Final = 1_000_000

_DECIMAL = re.compile(r"(?=.*[1-9])[0-9]{1,12}(\.[0-9]{1,12})?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9._:/-]{1,64}", re.ASCII)
_PATTERNS = {"worker": _NAME, "symbol": _NAME, "qty": _DECIMAL, "price": _DECIMAL}
_FIELDS = ("worker", "symbol", "side", "qty", "price", "fence", "until_ms")
_LENGTH = re.compile(r"[0-9]{1,9}", re.ASCII)
_INSTANT = re.compile(r"[0-9]{1,20}", re.ASCII)


class OrderError(ValueError):
    """The order is malformed; nothing was accepted."""


class Journal:
    """Every accept in order, in memory and as one JSON line each in a file."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._accepts: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self._accepts)

    def accept(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Stamp and keep one order.

        The stamp is taken when the venue has read the whole order, never earlier, so an order
        that waited in a buffer counts as late: the witness errs against the switch.
        """
        stamp = {"order": len(self._accepts) + 1, "at_ns": time.monotonic_ns()}
        stamp["at_ms"] = time.time_ns() // 1_000_000
        accept = {**stamp, **order}
        self._accepts.append(accept)
        self._file.write(json.dumps(accept) + "\n")
        return stamp

    def since(self, since_ns: int) -> list[dict[str, Any]]:
        """Return the accepts stamped at `since_ns` (CLOCK_MONOTONIC) or later."""
        return [accept for accept in self._accepts if accept["at_ns"] >= since_ns]


def parse_order(body: bytes) -> dict[str, Any]:
    """Return the order in `body`, checked.

    Quantity and price are positive decimals in strings: a JSON number has already been through
    a float on its way. `fence` and `until_ms` are whole numbers, or null from a worker
    that has no permit; the venue records them and draws no conclusion.

    Raises:
        OrderError: Anything missing, unknown, of another type or out of range.
    """
    try:
        order = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise OrderError("not JSON") from error
    if not isinstance(order, dict) or order.keys() != set(_FIELDS):
        raise OrderError(f"not an object of exactly {', '.join(_FIELDS)}")
    for field, pattern in _PATTERNS.items():
        if not isinstance(order[field], str) or not pattern.fullmatch(order[field]):
            raise OrderError(f"{field} is malformed")
    if order["side"] not in ("BUY", "SELL"):
        raise OrderError("side is neither BUY nor SELL")
    for field in ("fence", "until_ms"):
        value = order[field]
        if value is not None and (type(value) is not int or value < 0):
            raise OrderError(f"{field} is malformed")
    return order


class BadRequestError(ValueError):
    """Not HTTP as `http.client` and curl speak it; the connection ends after the answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the venue needs to know of a request's first lines."""

    method: str
    target: str
    body_bytes: int
    last: bool


def parse_head(head: bytes) -> Head:
    """Return the request line and the two headers that matter.

    Raises:
        BadRequestError: Another HTTP version, a chunked body, a length that is none or too large.
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, version = [*first.split(" "), "", "", ""][:3]
    if version != "HTTP/1.1" or not target.startswith("/"):
        raise BadRequestError("malformed request line")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not _LENGTH.fullmatch(length):
        raise BadRequestError("no usable content-length")
    if int(length) > MAX_BODY_BYTES:
        raise BadRequestError("body too large")
    last = headers.get("connection", "").lower() == "close"
    return Head(method, target, int(length), last)


async def converse(
    journal: Journal, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Serve one keep-alive HTTP/1.1 connection until either side ends it.

    Hand-written because `http.server` takes several times the processor time per order, and the
    demo's seven workers share a small machine with it.
    """
    try:
        last = False
        while not last:
            try:
                head = parse_head(await reader.readuntil(b"\r\n\r\n"))
            except (BadRequestError, asyncio.LimitOverrunError) as error:
                writer.write(_answer(HTTPStatus.BAD_REQUEST, {"error": str(error)}, last=True))
                break
            body = await reader.readexactly(head.body_bytes)
            last = head.last
            writer.write(_answer(*respond(journal, head.method, head.target, body), last=last))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client is gone, at a boundary or within a request: nothing was accepted
    finally:
        writer.close()


def _answer(status: HTTPStatus, answer: Mapping[str, Any], *, last: bool) -> bytes:
    body = json.dumps(answer).encode()
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: {'close' if last else 'keep-alive'}\r\n\r\n"
    )
    return head.encode() + body


def respond(
    journal: Journal, method: str, target: str, body: bytes
) -> tuple[HTTPStatus, dict[str, Any]]:
    """Return status and answer for one request; only a good POST to /orders changes anything."""
    path, _, text = target.partition("?")
    if path == "/orders":
        if method != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED, {"error": "POST only"}
        return _take(journal, body)
    if path not in ("/accepted", "/journal", "/health"):
        return HTTPStatus.NOT_FOUND, {"error": "no such path"}
    if method != "GET":
        return HTTPStatus.METHOD_NOT_ALLOWED, {"error": "GET only"}
    query = dict(parse_qsl(text, keep_blank_values=True))
    since, worker = query.pop("since_ns", "0"), query.pop("worker", None)
    if query or not _INSTANT.fullmatch(since):
        return HTTPStatus.BAD_REQUEST, {"error": "malformed query"}
    if path == "/health":
        return HTTPStatus.OK, {"ok": True, "accepted": len(journal)}
    accepts = [a for a in journal.since(int(since)) if worker in (None, a["worker"])]
    if path == "/journal":
        return HTTPStatus.OK, {"accepts": accepts}
    counts = Counter(a["worker"] for a in accepts)
    return HTTPStatus.OK, {"total": len(accepts), "workers": counts}


def _take(journal: Journal, body: bytes) -> tuple[HTTPStatus, dict[str, Any]]:
    if len(journal) >= MAX_ACCEPTS:
        return HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the journal is full"}
    try:
        return HTTPStatus.CREATED, journal.accept(parse_order(body))
    except OrderError as error:
        return HTTPStatus.BAD_REQUEST, {"error": str(error)}


async def serve(port_file: Path, journal_file: Path) -> None:
    """Serve on a free loopback port until SIGTERM or SIGINT; the port file appears when ready."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    # Line-buffered: an accept is in the file before its answer leaves, even if we are killed.
    with journal_file.open("a", buffering=1) as file:
        journal = Journal(file)
        server = await asyncio.start_server(
            partial(converse, journal), LOOPBACK, 0, limit=MAX_HEAD_BYTES
        )
        # Renamed into place, so that a reader never sees half a number.
        draft = port_file.with_name(port_file.name + ".new")
        draft.write_text(f"{server.sockets[0].getsockname()[1]}\n")
        draft.replace(port_file)
        await stopped.wait()
        server.close()


def main() -> None:
    """Run `python -m golive_redis.testing.venue --port-file F --journal F`."""
    parser = argparse.ArgumentParser(description="The paper venue of the golive demo.")
    parser.add_argument("--port-file", type=Path, required=True, help="gets the port, when ready")
    parser.add_argument("--journal", type=Path, required=True, help="gets one line per accept")
    args = parser.parse_args()
    asyncio.run(serve(args.port_file, args.journal))


if __name__ == "__main__":
    main()
