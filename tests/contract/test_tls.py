"""TLS: only the server that the configured authority vouches for is spoken to (row 47).

On the machine's redis-server only: the Valkey in the wheel is built without TLS.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from golive_redis.errors import StoreUnavailableError
from golive_redis.store.connect import Address
from golive_redis.store.link import RedisLink
from golive_redis.testing.server import EmbeddedServer, free_port
from kit.servers import redis_binary, server_kinds

from .certificates import DAY, Pair, issue


@pytest.fixture(scope="session")
def authority() -> Pair:
    return issue("the fleet's authority", None)


@pytest.fixture
def ca_file(authority: Pair, tmp_path: Path) -> str:
    return authority.write(tmp_path, "ca")[0]


# Only where there is a redis-server; in CI there is one, or the run fails.
@pytest.fixture(params=[kind for kind in server_kinds() if kind == "redis"])
def tls_binary() -> str:
    binary, about = redis_binary()
    if binary is None:
        pytest.fail(f"GOLIVE_REQUIRE_REDIS=1, but {about}")
    return binary


@pytest.fixture
def serve(tls_binary: str, ca_file: str, tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Starts a server with that certificate; returns its TLS port."""
    with ExitStack() as stack:

        def start(pair: Pair, *, clients: str = "no") -> int:
            cert, key = pair.write(tmp_path, "server")
            port = free_port()
            options = {
                "tls-port": str(port),
                "tls-cert-file": cert,
                "tls-key-file": key,
                "tls-ca-cert-file": ca_file,
                "tls-auth-clients": clients,
            }
            server = EmbeddedServer(tls_binary, unixsocket=True, options=options)
            stack.enter_context(server)
            return port

        yield start


def _link(port: int, host: str = "127.0.0.1", timeout_ms: float = 2_000, **files: str) -> RedisLink:
    return Address(f"rediss://{host}:{port}", **files).link(timeout_ms=timeout_ms)


def _serves(link: RedisLink) -> bool:
    try:
        return bool(link.call("PING") == b"PONG")
    finally:
        link.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_that_the_authority_vouches_for_serves(
    serve: Callable[..., int], authority: Pair, ca_file: str, host: str
) -> None:
    """Row 47."""
    port = serve(issue("redis", authority, hosts=("127.0.0.1", "localhost")))
    assert _serves(_link(port, host, ca=ca_file))


def test_a_server_of_another_authority_is_refused(
    serve: Callable[..., int], authority: Pair, tmp_path: Path
) -> None:
    """Row 47: also without a file, when only the system's authorities are trusted."""
    other, _ = issue("somebody else", None).write(tmp_path, "other")
    port = serve(issue("redis", authority, hosts=("127.0.0.1",)))
    for files in ({"ca": other}, {}):
        with pytest.raises(StoreUnavailableError, match="certificate"):
            _serves(_link(port, **files))


def test_a_certificate_for_another_host_is_refused(
    serve: Callable[..., int], authority: Pair, ca_file: str
) -> None:
    """Row 47."""
    port = serve(issue("127.0.0.1", authority, hosts=("redis.example", "127.0.0.2")))
    with pytest.raises(StoreUnavailableError, match=r"not valid for '127\.0\.0\.1'"):
        _serves(_link(port, ca=ca_file))


def test_a_certificate_that_has_run_out_is_refused(
    serve: Callable[..., int], authority: Pair, ca_file: str
) -> None:
    """Row 47."""
    yesterday = dt.datetime.now(dt.UTC) - DAY
    port = serve(issue("redis", authority, hosts=("127.0.0.1",), valid_until=yesterday))
    with pytest.raises(StoreUnavailableError, match="expired"):
        _serves(_link(port, ca=ca_file))


def test_a_server_without_tls_is_not_spoken_to_in_the_clear(
    serve: Callable[..., int], authority: Pair, ca_file: str, tls_binary: str
) -> None:
    """Row 47: a downgrade is a refusal."""
    with EmbeddedServer(tls_binary) as plain:
        assert plain.url.startswith("redis://")
        port = int(plain.url.rpartition(":")[2])
        with pytest.raises(StoreUnavailableError):
            _serves(_link(port, ca=ca_file, timeout_ms=250))


def test_a_server_that_asks_for_a_certificate_is_shown_ours(
    serve: Callable[..., int], authority: Pair, ca_file: str, tmp_path: Path
) -> None:
    """Row 47."""
    port = serve(issue("redis", authority, hosts=("127.0.0.1",)), clients="yes")
    cert, key = issue("pod-7", authority).write(tmp_path, "pod-7")
    assert _serves(_link(port, ca=ca_file, cert=cert, key=key))
    with pytest.raises(StoreUnavailableError):
        _serves(_link(port, ca=ca_file))


def test_a_file_that_is_not_there_is_said(
    serve: Callable[..., int], authority: Pair, tmp_path: Path
) -> None:
    """Row 47."""
    port = serve(issue("redis", authority, hosts=("127.0.0.1",)))
    with pytest.raises(StoreUnavailableError):
        _serves(_link(port, ca=str(tmp_path / "none.pem")))


@pytest.mark.parametrize("trusted", [True, False])
def test_sentinel_leads_to_a_primary_over_tls(
    serve: Callable[..., int],
    authority: Pair,
    tls_binary: str,
    tmp_path: Path,
    trusted: bool,
) -> None:
    """Row 47, by `?ssl=true`: the Sentinels themselves are asked in the clear."""
    pair = issue("redis", authority, hosts=("127.0.0.1",))
    port = serve(pair)
    ca, (cert, key) = authority.write(tmp_path, "ca")[0], pair.write(tmp_path, "sentinel")
    other, _ = issue("somebody else", None).write(tmp_path, "other")
    options = {
        "sentinel monitor": f"fleet 127.0.0.1 {port} 1",
        "tls-replication": "yes",
        "tls-ca-cert-file": ca,
        "tls-cert-file": cert,
        "tls-key-file": key,
    }
    with EmbeddedServer(tls_binary, options=options, extra=("--sentinel",)) as sentinel:
        where = f"redis+sentinel://127.0.0.1:{sentinel.port}/fleet?ssl=true"
        link = Address(where, ca=ca if trusted else other).link(timeout_ms=2_000)
        if trusted:
            assert _serves(link)
        else:
            with pytest.raises(StoreUnavailableError, match="certificate"):
                _serves(link)


@pytest.mark.parametrize("trusted", [True, False])
def test_sentinels_are_asked_over_tls_where_the_configuration_says_so(
    authority: Pair, ca_file: str, tls_binary: str, tmp_path: Path, trusted: bool
) -> None:
    """Row 47: `store.sentinel.tls`; the primary may still be one without."""
    cert, key = issue("sentinel", authority, hosts=("127.0.0.1",)).write(tmp_path, "sentinel")
    other, _ = issue("somebody else", None).write(tmp_path, "other")
    with ExitStack() as stack:
        primary = stack.enter_context(EmbeddedServer(tls_binary))
        port = free_port()
        options = {
            "sentinel monitor": f"fleet 127.0.0.1 {primary.port} 1",
            "tls-port": str(port),
            "tls-ca-cert-file": ca_file,
            "tls-cert-file": cert,
            "tls-key-file": key,
            "tls-auth-clients": "no",
        }
        stack.enter_context(EmbeddedServer(tls_binary, options=options, extra=("--sentinel",)))
        where = f"redis+sentinel://127.0.0.1:{port}/fleet"
        address = Address(where, ca=ca_file if trusted else other, sentinel_tls=True)
        if trusted:
            assert _serves(address.link(timeout_ms=2_000))
        else:
            with pytest.raises(StoreUnavailableError, match="certificate verify failed"):
                address.link(timeout_ms=2_000).open()
