"""Private servers of the other systems, on loopback, each in a folder of its own."""

from __future__ import annotations

import contextlib
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

READY_S = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def folder() -> Iterator[Path]:
    with TemporaryDirectory(prefix="golive-rivals-") as name:
        yield Path(name)


@contextmanager
def running(words: list[str], port: int, user: str | None = None) -> Iterator[None]:
    """Run a server until the block ends; wait until it answers at the port."""
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user, cwd="/"
    ) as process:
        try:
            until = time.monotonic() + READY_S
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"{words[0]} did not start")
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(READY_S)


@contextmanager
def etcd() -> Iterator[str]:
    client, peer = free_port(), free_port()
    url, peers = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    with folder() as data:
        words = ["etcd", "--data-dir", str(data), "--listen-client-urls", url]
        words += ["--advertise-client-urls", url, "--listen-peer-urls", peers]
        words += ["--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}"]
        with running(words, client):
            time.sleep(1.0)  # it elects itself
            yield url


@contextmanager
def nats() -> Iterator[str]:
    port = free_port()
    with folder() as data:
        words = ["nats-server", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(data)]
        with running(words, port):
            yield f"nats://127.0.0.1:{port}"


@contextmanager
def postgres() -> Iterator[str]:
    """PostgreSQL refuses to run as root, so it runs as the user that its package made."""
    newest = max(Path("/usr/lib/postgresql").iterdir(), key=lambda path: int(path.name)) / "bin"
    user = pwd.getpwnam("postgres")
    port = free_port()
    with folder() as base:
        base.chmod(0o755)
        data = base / "data"
        data.mkdir()
        shutil.chown(data, user.pw_uid, user.pw_gid)
        init = [str(newest / "initdb"), "-D", str(data), "-A", "trust", "--no-sync"]
        subprocess.run(init, user="postgres", cwd="/", check=True, stdout=subprocess.DEVNULL)
        words = [str(newest / "postgres"), "-D", str(data), "-p", str(port)]
        words += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        words += ["-c", "max_connections=300"]
        with running(words, port, "postgres"):
            time.sleep(1.0)  # it accepts connections before it serves them
            yield f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
