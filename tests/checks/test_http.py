"""The `http` source against a real web server, and what servers do wrong."""

from __future__ import annotations

import gzip
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from golive_redis.checks.source import UnansweredError
from golive_redis.records.report import Outcome

PATIENCE_S = 60  # what would hang does so for minutes

Asking = Any  # conftest's: test modules cannot import it
Site = Any
DEADLINE = "400ms"


def test_the_value_is_the_status_whatever_it_is(asking: Asking, site: Site) -> None:
    for status in (200, 204, 404, 500, 503):
        url = site.page("/health", "", status)
        assert asking.value(http={"url": url}, equals=200) == status


def test_a_value_of_a_json_answer(asking: Asking, site: Site) -> None:
    document = {"risk": {"state": "OK"}, "list": [1, 2.5, None], "a/b": {"~": True}, "": 7}
    url = site.page("/risk", json.dumps(document))
    for pointer, value in {
        "/risk/state": "OK",
        "/list/1": 2.5,
        "/list/2": None,
        "/a~1b/~0": True,
        "/": 7,
        "": document,
    }.items():
        assert asking.value(http={"url": url, "json": pointer}, equals=1) == value


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "not complete JSON"),
        ('{"state": "O', "not complete JSON"),
        ("<html>OK</html>", "not complete JSON"),
        ('{"state": "OK", "state": "HALTED"}', "names one key twice"),
        (b'{"state": "\xff"}', "not UTF-8"),
        ("[" * 100_000, "not complete JSON"),
        ('{"state": ' + "9" * 100_000 + "}", "not complete JSON"),
        ('{"other": 1}', "nothing at /state"),
        ('"state"', "nothing at /state"),
        (b" " * 1_048_577, "over 1048576 bytes"),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_a_body_that_is_not_what_was_asked_for_is_unknown(
    asking: Asking, site: Site, body: str | bytes, says: str
) -> None:
    found = asking.finding(
        {"http": {"url": site.page("/", body), "json": "/state"}, "equals": "OK"}
    )
    assert found.outcome is Outcome.UNKNOWN
    assert says in found.explain


@pytest.mark.parametrize("status", [301, 404, 500, 503])
def test_the_body_of_an_answer_that_is_no_success_is_not_looked_at(
    asking: Asking, site: Site, status: int
) -> None:
    url = site.page("/risk", '{"state": "OK"}', status, Date_Of="x")
    for what in ({"json": "/state"}, {"header": "Date-Of"}, {"latency": True}, {"clock": ""}):
        found = asking.finding({"http": {"url": url, **what}, "equals": "OK"})
        assert found.outcome is Outcome.UNKNOWN
        assert f"answered {status}" in found.explain


def test_a_header_and_a_latency(asking: Asking, site: Site) -> None:
    url = site.page("/", "x", Build="7f3")
    assert asking.value(http={"url": url, "header": "build"}, equals=1) == "7f3"
    assert asking.value(http={"url": url, "header": "None"}, equals=1) is None
    assert asking.value(http={"url": url, "method": "HEAD", "header": "build"}, equals=1) == "7f3"
    slow = site.raw("/slow", b"HTTP/1.0 200 OK\r\n\r\n", b"x", pause_s=0.15)
    began = time.monotonic()
    took_ms = asking.value(http={"url": slow, "latency": True}, at_most=1)
    assert isinstance(took_ms, int)
    assert 300 <= took_ms <= (time.monotonic() - began) * 1000 + 1
    assert site.seen[2][0] == "HEAD"


def test_the_time_of_a_venue_is_compared_with_ours(asking: Asking, site: Site) -> None:
    def clock(off_ms: float, scale: float) -> Callable[..., None]:
        return lambda to: to.wfile.write(
            b"HTTP/1.0 200 OK\r\n\r\n"
            + json.dumps({"t": int((time.time() * 1000 + off_ms) / scale)}).encode()
        )

    for off_ms, scale in ((0, 1), (-60_000, 1), (60_000, 1000)):
        url = site.serve("/time", clock(off_ms, scale))
        found = asking.finding({"http": {"url": url, "clock": "/t"}, "at_most": 10_000})
        assert found.outcome is (Outcome.FAIL if off_ms else Outcome.PASS), found
        assert abs(int(found.value) - abs(off_ms)) < 5000
        assert found.facts["clock"].startswith("-" if off_ms < 0 else ("+", "-"))


def test_a_redirect_is_not_followed_and_says_where_it_leads(asking: Asking, site: Site) -> None:
    """An answer from another host would be somebody else's word; a token would go there, too."""
    site.page("/there", '{"state": "OK"}')
    url = site.page("/here", "", 302, Location=site.url + "/there?key=s3cret")
    found = asking.finding({"http": {"url": url}, "equals": 200})
    assert (found.outcome, found.value) == (Outcome.FAIL, "302")
    assert found.facts["redirect"] == f"to {site.url}/there?..., not followed"
    found = asking.finding({"http": {"url": url, "json": "/state"}, "equals": "OK"})
    assert found.outcome is Outcome.UNKNOWN
    assert [path for _, path, _ in site.seen] == ["/here", "/here"]


def test_a_token_is_sent_and_never_shown(asking: Asking, site: Site) -> None:
    def echo(to: Any) -> None:
        to.wfile.write(
            b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(to.headers["Authorization"]).encode()
        )

    url = site.serve("/echo", echo)
    asking.environ["RISK_API"] = "t0ken-value"
    source = {"url": url, "json": "", "bearer_env": "RISK_API"}
    assert asking.value(http=source, equals=1) == "Bearer t0ken-value"
    for wanted in ({"equals": "other"}, {"at_least": 1}, {"matches": "Bearer .*"}):
        found = asking.finding({"http": source, **wanted})
        assert "t0ken" not in repr(found)
        assert found.value == "Bearer ***"
    asking.environ["RISK_API"] = "".join(f"t0ken-{n} " for n in range(40)).strip()
    found = asking.finding({"http": source, "equals": "other"})
    assert "t0ken" not in repr(found), "a long one, cut short, can still be read in part"
    del asking.environ["RISK_API"]
    found = asking.finding({"http": source, "equals": 1})
    assert found.outcome is Outcome.UNKNOWN
    assert found.explain == "RISK_API is not set (export RISK_API=...)"


@pytest.mark.parametrize("path", ["/gone", "/hang"])
def test_a_login_in_a_url_is_sent_and_never_shown(asking: Asking, site: Site, path: str) -> None:
    site.page("/gone", "", 404)
    site.serve("/hang", lambda _: site.over.wait())
    url = site.url.replace("//", "//alice:p%40ssw0rd@") + path + "?api_key=k3y-value"
    found = asking.finding({"http": {"url": url, "json": ""}, "equals": 1, "deadline": DEADLINE})
    assert found.outcome is Outcome.UNKNOWN
    for secret in ("p%40ssw0rd", "p@ssw0rd", "k3y-value"):
        assert secret not in repr(found)
    assert site.seen[0][1] == f"{path}?api_key=k3y-value"
    assert site.seen[0][2]["Authorization"].startswith("Basic ")


def test_neither_proxies_nor_netrc_of_the_environment_are_used(
    asking: Asking, site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login alice password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert asking.value(http={"url": site.page("/", "x")}, equals=200) == 200
    assert "Authorization" not in site.seen[0][2]


def test_an_answer_that_comes_compressed_unasked_is_not_unfolded(
    asking: Asking, site: Site
) -> None:
    """A few kilobytes can be a bomb of gigabytes."""
    url = site.page("/", gzip.compress(b'"OK"'), Content_Encoding="gzip")
    with pytest.raises(UnansweredError, match="compressed"):
        asking.value(http={"url": url, "json": ""}, equals="OK")
    assert site.seen[0][2]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    "pieces",
    [
        (b"",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", b'{"state": "OK"}'),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n", b'"O'),
        (b"HTTP/1.1 200 O",),
        (b"SSH-2.0-OpenSSH_9.2\r\n",),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000,),
        (b"HTTP/1.1 99999 \xff\r\n\r\n",),
        (b"\x00" * 100,),
    ],
    ids=["nothing", "short", "half a chunk", "half a line", "ssh", "headers", "no status", "zeros"],
)
def test_half_an_answer_and_garbage_are_unknown(
    asking: Asking, site: Site, pieces: tuple[bytes, ...]
) -> None:
    found = asking.finding({"http": {"url": site.raw("/", *pieces)}, "equals": 200})
    assert found.outcome is Outcome.UNKNOWN
    assert found.explain


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", *[b"x"] * 4000],
        [b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 4000],
        [b"H", *[b""] * 4000],
    ],
    ids=["body", "headers", "silence"],
)
def test_an_answer_that_drips_is_cut_at_the_deadline(
    asking: Asking, site: Site, pieces: list[bytes]
) -> None:
    """The client is told to give up, too: no thread stays behind for as long as a server likes."""
    url = site.raw("/drip", *pieces, pause_s=0.05)
    began = time.monotonic()
    found = asking.finding({"http": {"url": url}, "equals": 200, "deadline": DEADLINE}, name="drip")
    assert found.outcome is Outcome.UNKNOWN
    assert "in time" in found.explain or "no answer within" in found.explain
    assert time.monotonic() - began < PATIENCE_S
    until = time.monotonic() + PATIENCE_S
    while any("drip" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_server_that_takes_no_connection_is_unknown(asking: Asking) -> None:
    with socket.socket() as taken:  # bound, never listening
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        found = asking.finding({"http": {"url": url}, "equals": 200})
    assert found.outcome is Outcome.UNKNOWN
    assert "refused" in found.explain


def test_a_name_that_nobody_resolves_in_time_is_unknown(
    asking: Asking, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 49: the resolver of the system cannot be interrupted; its thread is left to itself."""

    def hang(*_: Any) -> Any:
        site.over.wait()
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    url = site.url.replace("127.0.0.1", "risk.internal")
    began = time.monotonic()
    found = asking.finding({"http": {"url": url}, "equals": 200, "deadline": DEADLINE})
    assert (found.outcome, found.explain) == (Outcome.UNKNOWN, "no answer within 0.4 s")
    assert time.monotonic() - began < PATIENCE_S
    site.over.set()


@pytest.mark.parametrize(
    "url", ["http://", "http://[::1", "http://a b/", "http://exa mple", "http://127.0.0.1:99999/"]
)
def test_a_url_that_is_none_is_unknown(asking: Asking, url: str) -> None:
    found = asking.finding({"http": {"url": url}, "equals": 200})
    assert found.outcome is Outcome.UNKNOWN


# -- TLS -------------------------------------------------------------------------------------------


def test_a_server_that_the_named_authority_vouches_for_is_asked(
    asking: Asking, secure_site: Callable[..., tuple[Site, str]]
) -> None:
    site, ca = secure_site()
    url = site.page("/", '"OK"')
    assert asking.value(http={"url": url, "ca": ca, "json": ""}, equals="OK") == "OK"
    (asking.folder / "own.pem").write_bytes(Path(ca).read_bytes())
    assert asking.value(http={"url": url, "ca": "own.pem"}, equals=200) == 200


def test_an_answer_that_drips_through_tls_is_cut_at_the_deadline(
    asking: Asking, secure_site: Callable[..., tuple[Site, str]]
) -> None:
    site, ca = secure_site()
    url = site.raw("/drip", b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 4000, pause_s=0.05)
    source = {"url": url, "ca": ca}
    found = asking.finding({"http": source, "equals": 200, "deadline": DEADLINE}, name="drip-tls")
    assert found.outcome is Outcome.UNKNOWN
    until = time.monotonic() + PATIENCE_S
    while any("drip-tls" in thread.name for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_an_authority_that_is_replaced_on_disk_counts_from_then_on(
    asking: Asking, secure_site: Callable[..., tuple[Site, str]]
) -> None:
    """A heartbeat runs for months, and certificates do not."""
    old, new = secure_site()[1], secure_site(days=31)
    url = new[0].page("/", "")
    question = {"http": {"url": url, "ca": "ca.pem"}, "equals": 200}
    file = asking.folder / "ca.pem"
    file.write_bytes(Path(old).read_bytes())
    assert asking.finding(question).outcome is Outcome.UNKNOWN
    file.write_bytes(Path(new[1]).read_bytes())
    os.utime(file, (1, 1))  # as of another moment, however quick this was
    assert asking.finding(question).outcome is Outcome.PASS


@pytest.mark.parametrize("wrong", ["unknown authority", "another host", "expired", "no file"])
def test_wrong_tls_is_refused_with_an_explanation(
    asking: Asking, secure_site: Callable[..., tuple[Site, str]], wrong: str
) -> None:
    site, ca = secure_site(
        host="localhost" if wrong == "another host" else "127.0.0.1",
        days=-1 if wrong == "expired" else 30,
    )
    source = {"url": site.page("/", '"OK"')}
    if wrong != "unknown authority":
        source["ca"] = "none.pem" if wrong == "no file" else ca
    found = asking.finding({"http": source, "equals": 200})
    assert found.outcome is Outcome.UNKNOWN
    says = {
        "unknown authority": "self-signed certificate",
        "another host": "IP address mismatch",
        "expired": "certificate has expired",
        "no file": "none.pem cannot be used",
    }
    assert says[wrong] in found.explain.replace("self signed", "self-signed")
    if wrong != "no file":
        assert "`ca` names the PEM file" in found.explain
    assert site.seen == []


def test_a_server_without_tls_behind_https_is_unknown(asking: Asking, site: Site) -> None:
    found = asking.finding({"http": {"url": site.url.replace("http:", "https:")}, "equals": 200})
    assert found.outcome is Outcome.UNKNOWN
