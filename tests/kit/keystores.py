"""Real parties that hold keys: an ssh-agent, a SoftHSM with its tokens, and programs for `exec:`."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def as_openssh(private: Ed25519PrivateKey, passphrase: str | None = None) -> bytes:
    """The key as `ssh-keygen` writes it."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, encryption
    )


def owned(path: Path, content: bytes, mode: int = 0o600) -> Path:
    """Write a file of that mode."""
    path.write_bytes(content)
    path.chmod(mode)
    return path


class RealAgent:
    """A running ssh-agent, and what `ssh-add` does with it.

    Args:
        folder: For its socket; short, for a socket's path has 108 bytes.
    """

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "agent"
        self.folder = folder
        self._process = subprocess.Popen(
            ["ssh-agent", "-D", "-a", self.socket],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"]},  # without a display nobody can confirm
        )

    @property
    def environ(self) -> dict[str, str]:
        return {"SSH_AUTH_SOCK": str(self.socket)}

    def is_up(self) -> bool:
        return self.socket.exists() and self.run("ssh-add", "-l").returncode in {0, 1}

    def run(self, *argv: str, said: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            env={"PATH": os.environ["PATH"], **self.environ},
            input=said,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def add(self, name: str, private: Ed25519PrivateKey, *options: str) -> None:
        """Give it a key, with `name` as its comment."""
        path = owned(self.folder / name, as_openssh(private))
        comment = self.run("ssh-keygen", "-q", "-c", "-C", name, "-P", "", "-f", str(path))
        assert comment.returncode == 0, comment.stderr
        done = self.run("ssh-add", *options, str(path))
        assert done.returncode == 0, done.stderr

    def lock(self) -> None:
        """Lock it, as `ssh-add -x` does, which asks on a terminal."""
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(self.socket))
            body = bytes([22]) + (4).to_bytes(4, "big") + b"lock"  # RFC 9987 section 3.8
            link.sendall(len(body).to_bytes(4, "big") + body)
            assert link.recv(5)[4] == 6

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=30)


@contextmanager
def running_agent(wait_for: Callable[..., None]) -> Iterator[RealAgent]:
    """An agent without keys, up, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="a") as folder:
        agent = RealAgent(Path(folder))
        try:
            wait_for(agent.is_up, what="ssh-agent")
            yield agent
        finally:
            agent.stop()


@contextmanager
def answering(path: Path, answer: Callable[[socket.socket], object]) -> Iterator[None]:
    """A socket at `path` where each connection gets whatever `answer` does with it."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(8)
    held: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                link, _ = server.accept()
                held.append(link)
                answer(link)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        for link in held:
            link.close()
        thread.join(30)


def script(path: Path, body: str) -> Path:
    """A program in Python; `message` is what it reads from its input."""
    text = f"#!{sys.executable}\nimport base64, os, sys, time\n"
    text += f"message = sys.stdin.buffer.read()\n{body}\n"
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def signing_with(private: Ed25519PrivateKey) -> str:
    """The body of a program that signs as it should."""
    return (
        "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey\n"
        f"raw = bytes.fromhex('{private.private_bytes_raw().hex()}')\n"
        "private = Ed25519PrivateKey.from_private_bytes(raw)\n"
        "print(base64.b64encode(private.sign(message)).decode())"
    )


MODULES = ("usr/lib/softhsm/libsofthsm2.so", "usr/lib/*/softhsm/libsofthsm2.so")
PIN, OFFICER = "4711-0815", "so-pin-12345"


class SoftHsm:
    """A SoftHSM in a folder: tokens made by its own tool, keys by its driver.

    Args:
        folder: Of its files; a process sees it by the variable SOFTHSM2_CONF.
        tool: `softhsm2-util`.
    """

    def __init__(self, folder: Path, tool: str) -> None:
        tokens = folder / "tokens"
        tokens.mkdir()
        self.conf = folder / "softhsm2.conf"
        self.conf.write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\n")
        self._tool = tool
        found = [path for pattern in MODULES for path in Path("/").glob(pattern)]
        assert found, "the driver of SoftHSM is not on this machine"
        self.module = str(found[0])

    @property
    def environ(self) -> Mapping[str, str]:
        return {"SOFTHSM2_CONF": str(self.conf)}

    def new_token(self, label: str) -> None:
        subprocess.run(
            [
                self._tool,
                "--init-token",
                "--free",
                "--label",
                label,
                "--pin",
                PIN,
                "--so-pin",
                OFFICER,
            ],
            env={**os.environ, **self.environ},
            capture_output=True,
            timeout=60,
            check=True,
        )

    def new_key(self, token: str, label: str, key_id: bytes, *, public: bool = True) -> bytes:
        """Make an Ed25519 key on a token and return its 32 public bytes."""
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                _NEW_KEY,
                self.module,
                token,
                PIN,
                label,
                key_id.hex(),
                str(public),
            ],
            env={**os.environ, **self.environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return bytes.fromhex(done.stdout.strip())


# In a process of its own: a driver reads its tokens once in a process. The curve is an OID, for
# SoftHSM takes no name (SoftHSMv2 #559).
_NEW_KEY = """
import sys, pkcs11
from pkcs11 import Attribute, KeyType, Mechanism
module, token, pin, label, key_id, public = sys.argv[1:]
with pkcs11.lib(module).get_token(token_label=token).open(rw=True, user_pin=pin) as session:
    parameters = session.create_domain_parameters(
        KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: bytes.fromhex("06032b6570")}, local=True
    )
    half, private = parameters.generate_keypair(
        mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN, label=label, id=bytes.fromhex(key_id), store=True
    )
    print(bytes(half[Attribute.EC_POINT])[2:].hex())
    if public == "False":
        half.destroy()
"""
