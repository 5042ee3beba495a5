"""`agent:`, keys that an ssh-agent holds: the two messages of its protocol that signing needs.

Own code, for a library would double the time that `golive revoke` takes to start (paramiko 207 ms,
asyncssh 326 ms); this is imported in one. An agent signs the bytes as they are: what we sign begins
with `DSSEv1 `, which read as the length in a login request would be 1.1 GB, so that neither can be
taken for the other.

Source: RFC 9987, SSH Agent Protocol, sections 3.2 (framing), 3.5 (identities) and 3.6 (signing).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from golive_redis import clock
from golive_redis.errors import ConfigError, SignerError
from golive_redis.records.keyset import (
    RAW_KEY_BYTES,
    SSH_ALGORITHM,
    Keyset,
    TrustedKey,
    key_id,
    ssh_blob,
)
from golive_redis.signers.foreign import ForeignSigner, named, the_one

SOCKET_VARIABLE = "SSH_AUTH_SOCK"
LIST_TIMEOUT_S = 5.0
MAX_MESSAGE_BYTES = 256 * 1024  # what OpenSSH's agent takes and gives
MAX_KEYS = 2048

_REQUEST_IDENTITIES, _IDENTITIES = 11, 12
_SIGN_REQUEST, _SIGNATURE, _FAILURE = 13, 14, 5
_ADD = "`ssh-add FILE` gives it a key, `ssh-add -l` shows what it holds"


class Agent:
    """An ssh-agent behind a socket; each question has a connection of its own.

    Args:
        path: Of the socket.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def identities(self, timeout_s: float) -> list[tuple[bytes, str]]:
        """Return the raw Ed25519 public keys that it holds, each with its comment.

        Raises:
            SignerError: It does not answer, or not in its protocol.
        """
        kind, body = self._call(bytes([_REQUEST_IDENTITIES]), timeout_s)
        if kind != _IDENTITIES or len(body) < 4:  # noqa: PLR2004  (the count)
            raise SignerError(f"ssh-agent at {self._path} does not list its keys", hint=_ADD)
        count, rest = int.from_bytes(body[:4], "big"), body[4:]
        found = []
        head = ssh_blob(b"")[:-4]
        for _ in range(min(count, MAX_KEYS)):
            blob, rest = self._string(rest)
            comment, rest = self._string(rest)
            raw = blob[len(head) + 4 :]
            if len(raw) == RAW_KEY_BYTES and blob == ssh_blob(raw):  # RSA, certificates: not ours
                found.append((raw, comment.decode(errors="replace")))
        return found

    def sign(self, raw: bytes, message: bytes, timeout_s: float) -> bytes:
        """Return its signature of `message` with the key of that public key.

        Raises:
            SignerError: It does not answer in time, or refuses.
        """
        request = bytes([_SIGN_REQUEST]) + _packed(ssh_blob(raw)) + _packed(message) + bytes(4)
        kind, body = self._call(request, timeout_s)
        if kind == _FAILURE:
            raise SignerError(
                "ssh-agent refused to sign",
                hint="a key added with `ssh-add -c` needs somebody who confirms on a display; a "
                "locked agent is unlocked by `ssh-add -X`; `ssh-add -l` shows what it holds",
            )
        signature = self._string(body)[0] if kind == _SIGNATURE else b""
        algorithm, rest = self._string(signature)
        if algorithm.decode(errors="replace") != SSH_ALGORITHM:
            raise self._garbled()
        return self._string(rest)[0]

    def _call(self, request: bytes, timeout_s: float) -> tuple[int, bytes]:
        """Send one message and return the type and the body of the answer."""
        until = clock.now_ms() + timeout_s * 1000
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
                link.settimeout(max(0.001, timeout_s))
                link.connect(self._path)
                link.sendall(_packed(request))
                size = int.from_bytes(self._exactly(link, 4, until), "big")
                if not 0 < size <= MAX_MESSAGE_BYTES:
                    raise self._garbled()
                answer = self._exactly(link, size, until)
        except TimeoutError as error:
            raise SignerError(
                f"ssh-agent at {self._path} has not answered within {timeout_s:.1f} s",
                hint="does it ask for a confirmation or a touch? `ssh-add -l` shows whether it answers",
            ) from error
        except OSError as error:
            raise SignerError(
                f"ssh-agent at {self._path} cannot be asked: {error.strerror or error}",
                hint=f"is it running? `ssh-add -l` shows that; ${SOCKET_VARIABLE} names its socket",
            ) from error
        return answer[0], answer[1:]

    def _exactly(self, link: socket.socket, size: int, until: float) -> bytes:
        got = b""
        while len(got) < size:
            left_ms = until - clock.now_ms()
            if left_ms <= 0:
                raise TimeoutError
            link.settimeout(left_ms / 1000)
            piece = link.recv(size - len(got))
            if not piece:
                raise SignerError(
                    f"ssh-agent at {self._path} closed the connection without an answer", hint=_ADD
                )
            got += piece
        return got

    def _string(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the first string of a body and what follows it."""
        size = int.from_bytes(data[:4], "big")
        if len(data) < 4 + size:
            raise self._garbled()
        return data[4 : 4 + size], data[4 + size :]

    def _garbled(self) -> SignerError:
        return SignerError(
            f"what answers at {self._path} is no ssh-agent",
            hint=f"${SOCKET_VARIABLE} names the agent's socket",
        )


def _packed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def connect(environ: Mapping[str, str]) -> Agent:
    """Return the agent of the environment.

    Raises:
        ConfigError: There is none.
    """
    path = environ.get(SOCKET_VARIABLE)
    if not path:
        raise ConfigError(
            f"agent: {SOCKET_VARIABLE} is not set, so there is no ssh-agent",
            hint="eval $(ssh-agent); ssh-add FILE",
        )
    return Agent(path)


def shown(text: str, environ: Mapping[str, str]) -> list[tuple[bytes, str]]:
    """Return the Ed25519 keys that the agent holds, each with its comment; those that a text means.

    Args:
        text: What stands behind `agent:`; "" for all.
        environ: Names the socket.

    Raises:
        ConfigError: There is no agent, or no such key in it.
    """
    listed = _listed(connect(environ))
    keys = [_as_trusted(raw, comment) for raw, comment in listed]
    chosen = {key.keyid for key in (named(keys, text) if text else keys)}
    if not chosen:
        raise ConfigError(f"ssh-agent holds no key {text[:64]!r}", hint=_ADD)
    return [item for item in listed if key_id(item[0]) in chosen]


def open_agent(
    text: str, keyset: Keyset, environ: Mapping[str, str], *, patience_s: float
) -> ForeignSigner:
    """Return the signer for the one key that the agent holds and the keyset lists.

    Args:
        text: What stands behind `agent:`: "", a principal, the beginning of a key id, or a fingerprint.
        keyset: Whose key it is.
        environ: Names the socket.
        patience_s: The longest that a signature is waited for.

    Raises:
        ConfigError: There is no agent, none of its keys is meant, or several are.
    """
    agent = connect(environ)
    held = {key_id(raw): raw for raw, _ in _listed(agent)}
    known = [keyset.keys[keyid] for keyid in held if keyid in keyset.keys]
    keys = named(known, text) if text else known
    if not keys:
        raise ConfigError(_lacking(text, held, known), hint="`golive keys show agent:` lists them")
    key = the_one(keys, where="ssh-agent")
    return ForeignSigner(
        key,
        lambda message, timeout_s: agent.sign(held[key.keyid], message, timeout_s),
        where="ssh-agent",
        patience_s=patience_s,
    )


def _listed(agent: Agent) -> list[tuple[bytes, str]]:
    listed = agent.identities(LIST_TIMEOUT_S)
    if not listed:
        raise SignerError(
            "ssh-agent holds no Ed25519 key, or is locked",
            hint="`ssh-add FILE` gives it a key; `ssh-add -X` unlocks it",
        )
    return listed


def _lacking(text: str, held: Mapping[str, bytes], known: Sequence[TrustedKey]) -> str:
    if not known:
        return f"the keyset lists none of the {len(held)} Ed25519 key(s) that ssh-agent holds"
    names = ", ".join(sorted({key.principal for key in known}))
    return f"ssh-agent holds no key of {text[:64]!r}; of the keyset it holds {names}"


def _as_trusted(raw: bytes, comment: str) -> TrustedKey:
    return TrustedKey(key_id(raw), comment, frozenset(), Ed25519PublicKey.from_public_bytes(raw))
