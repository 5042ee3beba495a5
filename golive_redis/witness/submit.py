"""The client of a witness: submits a checkpoint, and returns the cosignature once it is verified.

A witness answers 409 with the size that it knows, and the client goes on from there: up, where another
of our hosts has submitted meanwhile, or down, where this host was ahead of the witness. A witness that
knows less than it has signed before has lost its memory and could be led into signing a fork: that is
told, and judging it is left to people.

Source: C2SP tlog-witness v1.0.0, add-checkpoint.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec

from golive_redis.errors import ConfigError, GoliveError, RecordError
from golive_redis.masking import without_login
from golive_redis.records.checkpoint import parse_text
from golive_redis.records.signednote import (
    KeyType,
    SignatureLine,
    SignedNote,
    VerifierKey,
    parse,
    parse_lines,
    verified,
)
from golive_redis.version import VERSION
from golive_redis.witness.deadline import Deadline, TimedSocket
from golive_redis.witness.protocol import (
    ADD_PATH,
    MAX_ANSWER_BYTES,
    SIZE_TYPE,
    TEXT_TYPE,
    decode_size,
    encode_submission,
)

TIMEOUT_S = 2.0
"""For one submission in all, whatever the witness answers."""
MAX_CONFLICTS = 3
_SHOWN = 200
_AGENT = f"golive-redis/{VERSION}"

Prove = Callable[[int, int], Sequence[bytes]]
"""Returns the consistency proof between two sizes of our log, 0 < old < new."""


class WitnessUnavailableError(GoliveError):
    """The witness gave no usable answer in time. It may have cosigned; asking again is safe."""

    reason = "witness-unavailable"


class WitnessRefusedError(GoliveError):
    """The witness does not cosign this checkpoint, and asking again changes nothing.

    Attributes:
        status: What it answered.
        known: The size that it knows, where it said so.
    """

    reason = "witness-refused"

    def __init__(
        self, status: int, message: str, *, hint: str = "", known: int | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.known = known


class Cosigned(msgspec.Struct, frozen=True):
    """What a witness answered; verified with its key.

    Attributes:
        size: Of the checkpoint.
        lines: The cosignature, as it is added to the checkpoint.
        time_s: When the witness says it signed, Unix time in seconds; whether that is near our own
            clock is not judged here.
        fell_back: The witness knew less than this client has seen it sign: the smaller size. None for
            a witness that remembers.
    """

    size: int
    lines: tuple[SignatureLine, ...]
    time_s: int
    fell_back: int | None = None


class Submitter:
    """Submits the checkpoints of one log to one witness; a connection for each submission.

    Args:
        url: The witness's submission prefix, `http://` or `https://`.
        key: The witness's own, of type 0x04.
        known: The size that it cosigned last, as far as is known; 0 for never.
        timeout_s: For a submission; connecting may take as long for each address of the host.
        context: For TLS; the system's authorities by default.

    Attributes:
        known: The size that it is thought to know now.
        cosigned: The largest size that this client has seen it sign.

    Raises:
        ConfigError: The URL or the key cannot be a witness's.
    """

    def __init__(
        self,
        url: str,
        key: VerifierKey,
        *,
        known: int = 0,
        timeout_s: float = TIMEOUT_S,
        context: ssl.SSLContext | None = None,
    ) -> None:
        shown = without_login(url)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ConfigError(f"witness {shown}: not a URL") from error
        plain = not (parts.username or parts.password or parts.query or parts.fragment)
        if parts.scheme not in {"http", "https"} or not host or not plain:
            raise ConfigError(
                f"witness {shown}: not an http or https URL without login and query",
                hint="write it as https://witness.example.org/prefix",
            )
        if key.kind is not KeyType.COSIGNATURE:
            raise ConfigError(f"the key of {key.name} is none of a witness: its type is not 0x04")
        self.url = shown
        self.key = key
        self.known = self.cosigned = known
        self._host, self._port, self._tls = host, port, parts.scheme == "https"
        self._path = parts.path.rstrip("/") + ADD_PATH
        self._timeout_s = timeout_s
        self._context = context

    def submit(self, checkpoint: bytes, prove: Prove) -> Cosigned:
        """Have a checkpoint cosigned. Blocks for `timeout_s` at most, and for what a name look-up takes.

        Args:
            checkpoint: A note that the log has signed; other cosignatures in it do no harm.
            prove: Asked for the proof from the size that the witness knows.

        Raises:
            WitnessUnavailableError: No usable answer in time.
            WitnessRefusedError: It does not sign this.
            RecordError: `checkpoint` is none.
        """
        note = parse(checkpoint)
        size = parse_text(note.text).size
        deadline = Deadline(self._timeout_s)
        old = self.known if self.known <= size else 0
        fell_back: int | None = None
        for _ in range(MAX_CONFLICTS + 1):
            proof = prove(old, size) if 0 < old < size else ()
            body = encode_submission(old, proof, checkpoint)
            status, kind, answer = self._post(body, deadline)
            if status == HTTPStatus.OK:
                lines, time_s = self._verified(note, answer)
                self.known, self.cosigned = size, max(self.cosigned, size)
                return Cosigned(size, lines, time_s, fell_back)
            if status != HTTPStatus.CONFLICT:
                raise self._refused(status, answer)
            known = self._conflicting(kind, answer)
            if known == old:
                raise WitnessRefusedError(
                    status,
                    f"witness {self.url} knows {old} entries, and refuses a proof from there",
                )
            if known < self.cosigned:
                fell_back = known
            self.known = known  # up, or down: a client that is ahead would be refused for ever
            if known > size:
                raise WitnessRefusedError(
                    status,
                    f"witness {self.url} has cosigned {known} entries, and this checkpoint has {size}",
                    hint="another host has newer entries, or the ledger has lost some: golive status",
                    known=known,
                )
            old = known
        raise WitnessUnavailableError(
            f"witness {self.url} named {MAX_CONFLICTS + 1} other sizes in a row",
            hint="several hosts submit at once: it is tried again with the next checkpoint",
        )

    def _conflicting(self, kind: str, answer: bytes) -> int:
        if kind.partition(";")[0].strip().lower() != SIZE_TYPE:
            raise WitnessUnavailableError(f"witness {self.url} answered 409 without a size")
        try:
            return decode_size(answer)
        except RecordError as error:
            raise WitnessUnavailableError(f"witness {self.url}: {error.message}") from error

    def _refused(self, status: int, answer: bytes) -> GoliveError:
        said = " ".join(answer[:_SHOWN].decode(errors="replace").split())
        text = f"witness {self.url} answered {status}: {said}"
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            return WitnessUnavailableError(text)
        return WitnessRefusedError(status, text)

    def _verified(self, note: SignedNote, answer: bytes) -> tuple[tuple[SignatureLine, ...], int]:
        """Return the cosignature of this witness; lines of keys that it has besides are left out."""
        try:
            lines = parse_lines(answer.decode())
            found = verified(SignedNote(note.text, lines), [self.key])
        except (RecordError, UnicodeDecodeError) as error:
            raise WitnessUnavailableError(
                f"witness {self.url} answered with what is no cosignature of it: {error}"
            ) from error
        if not found:
            raise WitnessUnavailableError(
                f"witness {self.url} answered without a signature by {self.key.name}",
                hint="is it the verifier key that this witness prints? golive audit witness status",
            )
        time_s = found[0].time_s
        if not time_s:
            raise WitnessUnavailableError(f"witness {self.url} has signed without a time")
        return tuple(signed.line for signed in found), time_s

    def _post(self, body: bytes, deadline: Deadline) -> tuple[int, str, bytes]:
        try:
            connection = self._connection(deadline)
        except (OSError, http.client.HTTPException) as error:
            raise WitnessUnavailableError(f"witness {self.url}: {_why(error)}") from error
        try:
            headers = {"Content-Type": TEXT_TYPE, "User-Agent": _AGENT, "Connection": "close"}
            connection.request("POST", self._path, body=body, headers=headers)
            response = connection.getresponse()
            answer = response.read(MAX_ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            raise WitnessUnavailableError(f"witness {self.url}: {_why(error)}") from error
        finally:
            connection.close()
        if len(answer) > MAX_ANSWER_BYTES:
            raise WitnessUnavailableError(f"witness {self.url} answered with too much")
        return response.status, response.getheader("Content-Type", "") or "", answer

    def _connection(self, deadline: Deadline) -> http.client.HTTPConnection:
        left_s = deadline.left_s()
        connection = (
            http.client.HTTPSConnection(
                self._host,
                self._port,
                timeout=left_s,
                context=self._context or ssl.create_default_context(),
            )
            if self._tls
            else http.client.HTTPConnection(self._host, self._port, timeout=left_s)
        )
        connection.connect()
        # From here on all waits count down to one moment: http.client's own count from each packet.
        connection.sock = TimedSocket(connection.sock, deadline)
        return connection


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"not HTTP ({type(error).__name__})"
