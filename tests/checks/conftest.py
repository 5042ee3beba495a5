"""Real counterparts of the sources: a web server, PostgreSQL, Prometheus; and who asks them."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import pwd
import secrets
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from golive_redis.checks.ask import ask, finding
from golive_redis.checks.question import Question
from golive_redis.checks.source import Surroundings
from golive_redis.records.report import Finding
from golive_redis.store.connect import Address
from golive_redis.testing.server import free_port

Page = Callable[[BaseHTTPRequestHandler], None]


class Asking:
    """Asks questions as a configuration in `folder` has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ: dict[str, str] = dict(os.environ)
        self.address = Address("redis://127.0.0.1:1/0")

    @property
    def where(self) -> Surroundings:
        return Surroundings(self.folder, self.environ, self.address)

    def question(self, **parts: Any) -> Question:
        return msgspec.convert(parts, Question)

    def value(self, **parts: Any) -> object:
        """The value of a question; what goes wrong is raised."""
        return ask(self.question(**parts), self.where).value

    def finding(self, *questions: dict[str, Any], name: str = "check_it") -> Finding:
        return finding(name, [self.question(**parts) for parts in questions], self.where)


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    return Asking(tmp_path)


# -- a web server ----------------------------------------------------------------------------------


class Site:
    """A web server whose pages are functions. `over` is set when the test ends: hangs wait for it."""

    def __init__(self, cert: Path | None = None) -> None:
        self.pages: dict[str, Page] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if cert is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert)
            # Not at accept: a client that hangs up in the handshake would stop the whole server.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        scheme = "https" if cert else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def _handler(site) -> type[BaseHTTPRequestHandler]:  # noqa: N805  (`self` is the handler's)
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.seen.append((self.command, self.path, dict(self.headers)))
                with suppress(OSError):  # the client has gone
                    site.pages[self.path.partition("?")[0]](self)

            do_HEAD = do_GET  # noqa: N815  (the name is the protocol)

            def handle(self) -> None:
                with suppress(OSError):
                    super().handle()

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

    def page(self, path: str, body: bytes | str = b"", status: int = 200, **headers: str) -> str:
        """Serve a fixed answer; return its URL."""
        raw = body.encode() if isinstance(body, str) else body

        def answer(to: BaseHTTPRequestHandler) -> None:
            to.send_response(status)
            for name, value in {"Content-Length": str(len(raw)), **headers}.items():
                to.send_header(name.replace("_", "-"), value)
            to.end_headers()
            if to.command != "HEAD":
                to.wfile.write(raw)

        return self.serve(path, answer)

    def serve(self, path: str, page: Page) -> str:
        self.pages[path] = page
        return self.url + path

    def raw(self, path: str, *pieces: bytes, pause_s: float = 0.0) -> str:
        """Serve these bytes as they are, with a pause after each; then hang up."""

        def answer(to: BaseHTTPRequestHandler) -> None:
            to.close_connection = True
            for piece in pieces:
                to.wfile.write(piece)
                if pause_s and self.over.wait(pause_s):
                    return

        return self.serve(path, answer)

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()
    yield found
    found.close()


class Certificate:
    """A certificate that vouches for itself, with its key, in one file."""

    def __init__(self, folder: Path, host: str, days: int) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"for {host}")])
        now = dt.datetime.now(dt.UTC)
        try:
            subject: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            subject = x509.DNSName(host)
        key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=30))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([subject]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(key_id, critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        self.ca = folder / f"{host}-{days}-ca.pem"
        self.ca.write_bytes(pem)
        self.both = folder / f"{host}-{days}.pem"
        self.both.write_bytes(
            pem
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


@pytest.fixture
def secure_site(tmp_path: Path) -> Iterator[Callable[..., tuple[Site, str]]]:
    """Starts web servers with TLS; returns each with the file that vouches for it."""
    with ExitStack() as stack:

        def start(host: str = "127.0.0.1", days: int = 30) -> tuple[Site, str]:
            certificate = Certificate(tmp_path, host, days)
            found = Site(certificate.both)
            stack.callback(found.close)
            return found, str(certificate.ca)

        yield start


# -- PostgreSQL ------------------------------------------------------------------------------------


class Postgres(msgspec.Struct):
    """A PostgreSQL of our own; `url` logs in with a password."""

    url: str
    password: str
    process: Any = None

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.url, autocommit=True)


@pytest.fixture(scope="session")
def postgres(need_program: Callable[..., str]) -> Iterator[Postgres]:
    """PostgreSQL refuses to run as root; then it runs as its own user, or as nobody."""
    places = ("usr/lib/postgresql/*/bin",)
    initdb, server = need_program("initdb", *places), need_program("postgres", *places)
    # Not under pytest's folder, which another user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="golive-pg-"))
    other = {} if os.geteuid() else _as_another(folder)
    password, port = secrets.token_hex(12), free_port()
    try:
        (folder / "password").write_text(password)
        data = str(folder / "data")
        login = ["--username=golive", "--auth=scram-sha-256", f"--pwfile={folder / 'password'}"]
        subprocess.run(
            [initdb, "-D", data, "--no-sync", "--no-locale", "-E", "UTF8", *login],
            check=True,
            capture_output=True,
            timeout=120,
            cwd=folder,
            **other,
        )
        options = [f"-cport={port}", "-clisten_addresses=127.0.0.1", "-cfsync=off"]
        options += ["-cunix_socket_directories=", "-cshared_buffers=16MB"]
        process = subprocess.Popen(
            [server, "-D", data, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            **other,
        )
        try:
            url = f"postgresql://golive:{password}@127.0.0.1:{port}/postgres"
            _wait_for_postgres(url, process)
            yield Postgres(url, password, process)
        finally:
            process.terminate()  # SIGTERM: sessions may end; SIGINT would end them
            process.send_signal(2)
            process.wait(20)
    finally:
        shutil.rmtree(folder)


def _as_another(folder: Path) -> dict[str, int]:
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            folder.chmod(0o755)
            os.chown(folder, user.pw_uid, user.pw_gid)
            return {"user": user.pw_uid, "group": user.pw_gid}
    pytest.fail("no user to run PostgreSQL as")


def _wait_for_postgres(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > until or process.poll() is not None:
                pytest.fail(f"PostgreSQL did not start: {error}")
            time.sleep(0.05)


# -- Prometheus ------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def prometheus(
    need_program: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A Prometheus that scrapes two small targets every 200 ms; its URL."""
    program = need_program("prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    metrics = Site()
    metrics.page("/metrics", "drawdown_percent 1.5\nlatency_ms NaN\n")
    metrics.page("/other", "drawdown_percent 7\n")
    target = metrics.url.removeprefix("http://")
    jobs = "".join(
        f"  - {{job_name: {name}, metrics_path: {path}, static_configs: [{{targets: ['{target}']}}]}}\n"
        for name, path in {"one": "/metrics", "two": "/other"}.items()
    )
    (folder / "prometheus.yml").write_text(
        f"global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\nscrape_configs:\n{jobs}"
    )
    port = free_port()
    process = subprocess.Popen(
        [
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for_samples(url, folder, process)
        yield url
    finally:
        process.kill()
        process.wait()
        metrics.close()


def _wait_for_samples(url: str, folder: Path, process: subprocess.Popen[bytes]) -> None:
    asking = Asking(folder)
    until = time.monotonic() + 120
    while True:
        found = asking.finding(
            {"prometheus": {"url": url, "query": "count(drawdown_percent)"}, "equals": 2}
        )
        if found.outcome == "pass":
            return
        if time.monotonic() > until or process.poll() is not None:
            pytest.fail(f"Prometheus did not start: {found.explain}")
        time.sleep(0.05)
