"""The memory of a witness: the newest checkpoint of each log, whole, in one SQLite file.

Check and record are one transaction, on disk before a signature leaves the process (C2SP tlog-witness
v1.0.0). So two submitters at once cannot roll a log back, and a witness that was killed in between has
either signed nothing or remembers what it signed.

The file belongs to one key. A witness that lost it must not go on under that key: it would sign a second
story about a log. So nothing here makes a database but `create`, which `init` calls with a new key.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from golive_redis.errors import ConfigError, GoliveError, RefusedError
from golive_redis.records.checkpoint import Checkpoint, parse_text
from golive_redis.records.signednote import Sign, VerifierKey, parse, parse_vkey, sign
from golive_redis.statefile import StateFileError
from golive_redis.witness.judgement import (
    NOTHING,
    Accepted,
    Evidence,
    RefusalError,
    require_continued,
    time_to_sign,
)
from golive_redis.witness.protocol import Submission, origin_hash

MAX_LOGS = 1_000
MAX_KEYS = 64
"""Of one log."""
MAX_EVIDENCE = 1_000
"""Kept of one kind for one log; the first ones, which later ones cannot push out."""
_BUSY_S = 5.0
_APPLICATION = 0x676C7774  # "glwt", which `file` and sqlite3 show
_VERSION = 1
_RETIRE = "see `golive help audit witness init`: start with a new key under a new name"

_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
CREATE TABLE witness (vkey TEXT NOT NULL, last_s INTEGER NOT NULL);
CREATE TABLE log_key (origin TEXT NOT NULL, vkey TEXT NOT NULL, PRIMARY KEY (origin, vkey));
CREATE TABLE newest (
  origin TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, note BLOB NOT NULL, time_s INTEGER NOT NULL
);
CREATE TABLE evidence (
  origin TEXT NOT NULL, kind TEXT NOT NULL, received_s INTEGER NOT NULL, why TEXT NOT NULL,
  refused BLOB NOT NULL, known BLOB, request BLOB NOT NULL, PRIMARY KEY (origin, refused)
);
"""


class WitnessDatabaseError(StateFileError):
    """The database failed; nothing was signed, and what reached the disk is read again."""

    reason = "witness-database"


class Refused(msgspec.Struct, frozen=True):
    """A checkpoint that was refused and kept.

    Attributes:
        origin: Of the log that has signed it.
        kind: Why it was kept.
        received_s: When, Unix time in seconds.
        why: The answer, in one sentence.
        refused: The note with the log's signatures.
        known: The note that was cosigned before it, with the cosignature; None when there was none.
        request: What was sent, byte for byte, with the proof.
    """

    origin: str
    kind: Evidence
    received_s: int
    why: str
    refused: bytes
    known: bytes | None
    request: bytes


class Known(msgspec.Struct, frozen=True):
    """A log that the witness knows.

    Attributes:
        origin: Its name.
        keys: Trusted for it.
        newest: The newest checkpoint that was cosigned; None when there is none.
        time_s: When that was, Unix time in seconds; 0 for never.
        forks: Checkpoints that were kept as a second story.
        unproven: Those that were kept because their proof did not verify.
    """

    origin: str
    keys: tuple[VerifierKey, ...]
    newest: Checkpoint | None
    time_s: int
    forks: int
    unproven: int


class Database:
    """What a witness remembers; any number of threads and processes may use it at once.

    Args:
        path: The file, made by `create`.
        public: The 32 raw bytes of the witness's public key; the file must belong to it.

    Attributes:
        key: That key, under the name that the witness has.

    Raises:
        ConfigError: There is no such file, it is no such database, or it belongs to another key.
    """

    def __init__(self, path: Path, public: bytes) -> None:
        self.path = path
        self._one_at_a_time = threading.Lock()
        self._open: sqlite3.Connection | None = None
        if not path.exists():
            raise ConfigError(
                f"{path}: the database of this witness is gone. What its key has signed is unknown, so"
                " it must never sign again",
                hint=_RETIRE,
            )
        try:
            self.key = self._owner()
            if self.key.public != public:
                raise ConfigError(
                    f"{path} is the memory of another key, {self.key.text}",
                    hint="put back the key and the database that belong together",
                )
        except WitnessDatabaseError as error:
            raise ConfigError(f"{path}: not the database of a witness ({error.message})") from error
        except GoliveError:
            self._drop()
            raise

    @classmethod
    def create(cls, path: Path, key: VerifierKey) -> Database:
        """Make the database of a new key, durably.

        Raises:
            RefusedError: The file exists.
            ConfigError: It cannot be made.
        """
        try:
            # Ours alone, whatever the umask: who can write it can make the witness sign a fork.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            connection = _connect(path)
            try:
                connection.execute("BEGIN")
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                connection.execute("INSERT INTO witness VALUES (?, 0)", (key.text,))
                connection.execute("COMMIT")
            finally:
                connection.close()
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except FileExistsError as error:
            raise RefusedError(
                f"{path} exists; the memory of a witness is never replaced"
            ) from error
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{path}: the database cannot be made ({error})") from error
        return cls(path, key.public)

    def close(self) -> None:
        """Close the file; a request that is under way ends first."""
        with self._one_at_a_time:
            self._drop()

    # -- logs ------------------------------------------------------------------------------------

    def add_log(self, origin: str, key: VerifierKey) -> bool:
        """Trust a key for a log; False when it was trusted already.

        Raises:
            RefusedError: There are too many.
            WitnessDatabaseError: The database failed.
        """
        with self._transaction() as connection:
            others, keys = connection.execute(
                "SELECT count(DISTINCT origin), count(*) FILTER (WHERE origin = ?) FROM log_key",
                (origin,),
            ).fetchone()
            if (not keys and others >= MAX_LOGS) or keys >= MAX_KEYS:
                raise RefusedError(
                    f"this witness knows {others} logs and {keys} keys of this one, and more it "
                    f"does not take ({MAX_LOGS} and {MAX_KEYS})"
                )
            statement = "INSERT OR IGNORE INTO log_key VALUES (?, ?)"
            return connection.execute(statement, (origin, key.text)).rowcount > 0

    def keys_of(self, origin: str) -> tuple[VerifierKey, ...]:
        """Return the keys that are trusted for a log; none when it is not known.

        Raises:
            WitnessDatabaseError: The database failed.
        """
        statement = "SELECT vkey FROM log_key WHERE origin = ? ORDER BY rowid"
        with self._transaction() as connection:
            rows = connection.execute(statement, (origin,)).fetchall()
        return tuple(parse_vkey(vkey) for (vkey,) in rows)

    def logs(self) -> list[Known]:
        """Return every log, by its origin.

        Raises:
            WitnessDatabaseError: The database failed.
        """
        with self._transaction() as connection:
            keys = connection.execute(
                "SELECT origin, vkey FROM log_key ORDER BY origin, rowid"
            ).fetchall()
            newest = dict(connection.execute("SELECT origin, note FROM newest").fetchall())
            times = dict(connection.execute("SELECT origin, time_s FROM newest").fetchall())
            counts: Mapping[tuple[str, str], int] = {
                (origin, kind): count
                for origin, kind, count in connection.execute(
                    "SELECT origin, kind, count(*) FROM evidence GROUP BY origin, kind"
                )
            }
        trusted: dict[str, list[VerifierKey]] = {}
        for origin, vkey in keys:
            trusted.setdefault(origin, []).append(parse_vkey(vkey))
        return [
            Known(
                origin,
                tuple(found),
                parse_text(parse(newest[origin]).text) if origin in newest else None,
                times.get(origin, 0),
                counts.get((origin, Evidence.FORK), 0),
                counts.get((origin, Evidence.UNPROVEN), 0),
            )
            for origin, found in trusted.items()
        ]

    def evidence(self) -> list[Refused]:
        """Return every checkpoint that was refused and kept, in the order in which they came.

        Raises:
            WitnessDatabaseError: The database failed.
        """
        statement = (
            "SELECT origin, kind, received_s, why, refused, known, request FROM evidence"
            " ORDER BY rowid"
        )
        with self._transaction() as connection:
            rows = connection.execute(statement).fetchall()
        return [Refused(origin, Evidence(kind), *rest) for origin, kind, *rest in rows]

    # -- checkpoints -----------------------------------------------------------------------------

    def newest(self, asked: str) -> bytes | None:
        """Return the newest cosigned checkpoint of a log, or None.

        Args:
            asked: The hash of its origin, as `protocol.origin_hash` makes it.

        Raises:
            WitnessDatabaseError: The database failed.
        """
        with self._transaction() as connection:
            row = connection.execute("SELECT note FROM newest WHERE hash = ?", (asked,)).fetchone()
        return bytes(row[0]) if row else None

    def cosign(
        self, submission: Submission, accepted: Accepted, request: bytes, *, by: Sign, now_s: int
    ) -> bytes:
        """Record a checkpoint that continues what is known, and return the line of our cosignature.

        Args:
            submission: Of a log that has signed it.
            accepted: The same, as `judgement.require_signed` took it.
            request: As it came, for the evidence.
            by: Signs with the witness's key.
            now_s: Unix time in seconds.

        Raises:
            RefusalError: It does not continue it, or the clock is wrong. Nothing was signed; what is
                evidence has been kept.
            WitnessDatabaseError: The database failed: nothing has been handed out.
        """
        origin = accepted.checkpoint.origin
        refusal: RefusalError | None = None
        line = b""
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT note FROM newest WHERE origin = ?", (origin,)
            ).fetchone()
            known = parse_text(parse(row[0]).text) if row else NOTHING
            try:
                require_continued(submission, known)
                last_s = connection.execute("SELECT last_s FROM witness").fetchone()[0]
                time_s = time_to_sign(now_s, last_s)
            except RefusalError as error:
                refusal = error  # raised below: raised in here it would take the evidence back
                if error.evidence is not None:
                    kept = (origin, error.evidence, now_s, error.message, accepted.note.encode())
                    _keep(connection, *kept, row[0] if row else None, request)
            else:
                signed = sign(accepted.note.text, self.key, by, time_s=time_s)
                whole = accepted.note.with_lines([signed]).encode()
                upsert = "INSERT OR REPLACE INTO newest VALUES (?, ?, ?, ?)"
                connection.execute(upsert, (origin, origin_hash(origin), whole, time_s))
                connection.execute("UPDATE witness SET last_s = ?", (time_s,))
                line = signed.text.encode()
        if refusal is not None:
            raise refusal
        return line

    # -- the file --------------------------------------------------------------------------------

    def _owner(self) -> VerifierKey:
        with self._transaction() as connection:
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if (application, version) != (_APPLICATION, _VERSION):
                raise ConfigError(f"{self.path}: not a witness's database of version {_VERSION}")
            vkey = connection.execute("SELECT max(vkey) FROM witness").fetchone()[0]
        return parse_vkey(vkey)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the file for writing; on disk at the end, or as it was before."""
        with self._one_at_a_time:
            try:
                if self._open is None:
                    self._open = _connect(self.path)
                self._open.execute("BEGIN IMMEDIATE")  # before the first look, or two would look
                yield self._open
                self._open.execute("COMMIT")
            except sqlite3.Error as error:
                # What reached the disk is unknown: the next request reads it anew.
                self._drop()
                raise WitnessDatabaseError(f"{self.path}: {error}") from error
            except BaseException:
                if self._open is not None:
                    with suppress(sqlite3.Error):
                        self._open.execute("ROLLBACK")
                raise

    def _drop(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            with suppress(sqlite3.Error):
                opened.close()


def _keep(
    connection: sqlite3.Connection,
    origin: str,
    kind: Evidence,
    received_s: int,
    why: str,
    refused: bytes,
    known: bytes | None,
    request: bytes,
) -> None:
    # Once for each text that the log has signed, so that whoever repeats it fills no disk.
    connection.execute(
        "INSERT OR IGNORE INTO evidence SELECT ?, ?, ?, ?, ?, ?, ? WHERE ("
        "SELECT count(*) FROM evidence WHERE origin = ? AND kind = ?) < ?",
        (origin, kind, received_s, why, refused, known, request, origin, kind, MAX_EVIDENCE),
    )


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,  # `rw` makes no new file where there is none
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.execute("PRAGMA journal_mode = WAL")
    # With a write-ahead log FULL means that a commit returns once it is on disk.
    connection.execute("PRAGMA synchronous = FULL")
    return connection
