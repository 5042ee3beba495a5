"""Log policies: which logs and witnesses are trusted, and how many witnesses a checkpoint needs.

A policy is a text file that an auditor keeps beside the keysets. A checkpoint is accepted when one of
the logs has signed it under its own origin and the witnesses that have cosigned it meet the quorum. A
witness counts once.

Source: C2SP tlog-policy (main of 2026-07-22).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import partial
from typing import ClassVar, TypeVar

import msgspec

from golive_redis.errors import RecordError
from golive_redis.masking import Masked
from golive_redis.records.checkpoint import (
    Checkpoint,
    EntryProof,
    OpenedCheckpoint,
    open_checkpoint,
    parse_text,
)
from golive_redis.records.signednote import KeyType, VerifierKey, parse, parse_vkey

MAX_POLICY_BYTES = 256 * 1024
MAX_LINES = 64
"""Of logs, of witnesses and of groups; C2SP tlog-policy recommends 32 at least."""
NONE = "none"
_NUMBER = re.compile(r"[1-9][0-9]{0,3}")
_CONTROL = re.compile(rb"[^\x09\x0a\x20-\x7e\x80-\xff]")
_MIN_GROUP = 3  # words: name, threshold, a member

_T = TypeVar("_T")


class TrustedLog(Masked, frozen=True):
    """A log that is trusted, and where it is, if that is known."""

    URLS: ClassVar[frozenset[str]] = frozenset({"url"})

    verifier: VerifierKey
    url: str = ""


class TrustedWitness(Masked, frozen=True):
    """A witness.

    Attributes:
        name: In this policy.
        verifier: Its key, of type 0x04.
        url: Where checkpoints are submitted, if that is known.
    """

    URLS: ClassVar[frozenset[str]] = frozenset({"url"})

    name: str
    verifier: VerifierKey
    url: str = ""


class Group(msgspec.Struct, frozen=True):
    """So many of these witnesses and groups must have cosigned."""

    name: str
    needed: int
    members: tuple[str, ...]


class Judged(msgspec.Struct, frozen=True):
    """A checkpoint that the policy accepts.

    Attributes:
        opened: What it says and who has signed it.
        witnesses: The names, in this policy, of those that have cosigned it.
    """

    opened: OpenedCheckpoint
    witnesses: frozenset[str]

    @property
    def checkpoint(self) -> Checkpoint:
        """What the checkpoint says."""
        return self.opened.checkpoint


class Policy(msgspec.Struct, frozen=True):
    """Trusted logs, known witnesses, and the quorum.

    Attributes:
        logs: In the order of the file.
        witnesses: Likewise.
        groups: Likewise; each names only witnesses and groups before it.
        quorum: Name of a witness or a group, or `none`.
    """

    logs: tuple[TrustedLog, ...]
    witnesses: tuple[TrustedWitness, ...]
    groups: tuple[Group, ...]
    quorum: str

    def met(self, names: Collection[str]) -> bool:
        """Tell whether these witnesses, by their names in this policy, meet the quorum.

        Fails closed: a name that the policy does not know counts for nothing.
        """
        if self.quorum == NONE:
            return True
        counts = {witness.name: witness.name in names for witness in self.witnesses}
        for group in self.groups:
            counts[group.name] = sum(counts[member] for member in group.members) >= group.needed
        return counts[self.quorum]

    def judge(self, raw: bytes) -> Judged:
        """Return a checkpoint that this policy accepts.

        Raises:
            RecordError: Its log is not one of these or has not signed it, a known key's signature is
                bad, or too few witnesses have cosigned it.
        """
        judged = self.look(raw)
        if not self.met(judged.witnesses):
            names = ", ".join(sorted(judged.witnesses)) or "nobody"
            raise RecordError(
                f"checkpoint {judged.checkpoint.size} of {judged.checkpoint.origin} is cosigned by "
                f"{names}: the quorum {self.quorum} is not met"
            )
        return judged

    def look(self, raw: bytes) -> Judged:
        """Return a checkpoint that one of the logs has signed, whether the quorum is met or not.

        Raises:
            RecordError: As `judge`, but for the quorum.
        """
        origin = parse_text(parse(raw).text).origin
        # A log's key has the name of its origin: the key of one log says nothing about another.
        logs = [log.verifier for log in self.logs if log.verifier.name == origin]
        if not logs:
            raise RecordError(f"the policy has no log of the origin {origin[:120]!r}")
        found = open_checkpoint(raw, logs, [witness.verifier for witness in self.witnesses])
        keys = {signed.verifier for signed in found.witnesses}
        return Judged(found, frozenset(w.name for w in self.witnesses if w.verifier in keys))

    def verify_entry(self, proof: EntryProof, entry: bytes) -> Judged:
        """Verify that an entry is in a log that this policy accepts; offline, from the proof alone.

        Args:
            proof: As `checkpoint.parse_proof` read it.
            entry: The leaf hash, made from the entry's own bytes.

        Raises:
            RecordError: The checkpoint is not accepted, or the entry is not in it.

        Source: C2SP tlog-proof (main of 2026-07-22), verifying a tlog proof.
        """
        judged = self.judge(proof.checkpoint)
        proof.verify(entry, judged.opened)
        return judged

    def encode(self) -> bytes:
        """Return the text of the file.

        Raises:
            RecordError: It would be refused when it is read.
        """
        lines = [f"log {log.verifier.text} {log.url}".rstrip() for log in self.logs]
        lines += [f"witness {w.name} {w.verifier.text} {w.url}".rstrip() for w in self.witnesses]
        lines += [f"group {g.name} {g.needed} {' '.join(g.members)}" for g in self.groups]
        raw = "".join(f"{line}\n" for line in (*lines, f"quorum {self.quorum}"))
        try:
            data = raw.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise RecordError("the policy holds text that is not UTF-8") from error
        if parse_policy(data) != self:
            raise RecordError("the policy would be read as another one")
        return data


def parse_policy(raw: bytes) -> Policy:
    """Parse a policy file.

    Raises:
        RecordError: The number of the first line that breaks a rule, and which; or no quorum.

    Source: C2SP tlog-policy (main of 2026-07-22), policy file syntax and structure.
    """
    if len(raw) > MAX_POLICY_BYTES:
        raise RecordError(f"a policy of {len(raw)} bytes exceeds the limit of {MAX_POLICY_BYTES}")
    if _CONTROL.search(raw):
        raise RecordError("the policy holds a control character other than tab and newline")
    if not raw.endswith(b"\n"):
        # A file that was cut in mid-line can still have a meaning, and another one.
        raise RecordError("the policy does not end with a newline: it may have been cut off")
    reader = _Reader()
    # Names are opaque: what is no UTF-8 is kept as it is.
    for number, line in enumerate(raw.decode("utf-8", "surrogateescape").split("\n"), 1):
        words = re.split(r"[ \t]+", line.strip(" \t"))
        if words != [""] and not words[0].startswith("#"):
            try:
                reader.read(words[0], words[1:])
            except RecordError as error:
                raise RecordError(f"policy, line {number}: {error.message}") from error
    return reader.policy()


class _Reader:
    """What the lines so far have defined."""

    def __init__(self) -> None:
        self._logs: list[TrustedLog] = []
        self._witnesses: list[TrustedWitness] = []
        self._groups: list[Group] = []
        self._quorum: str | None = None
        self._names: set[str] = set()
        self._members: set[str] = set()

    def policy(self) -> Policy:
        if self._quorum is None:
            raise RecordError("the policy has no quorum line")
        return Policy(tuple(self._logs), tuple(self._witnesses), tuple(self._groups), self._quorum)

    def read(self, kind: str, words: list[str]) -> None:
        readers: dict[str, Callable[[list[str]], None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum_line,
        }
        reader = readers.get(kind)
        if reader is None:
            raise RecordError(f"{kind[:40]!r} is none of log, witness, group, quorum")
        reader(words)

    def _log(self, words: list[str]) -> None:
        match words:
            case [vkey, *url] if len(url) <= 1:
                log = TrustedLog(parse_vkey(vkey), *url)
            case _:
                raise RecordError("a log has a verifier key, and a URL at most")
        _listed(self._logs, log, partial(_same_key, log))

    def _witness(self, words: list[str]) -> None:
        match words:
            case [name, vkey, *url] if len(url) <= 1:
                witness = TrustedWitness(name, parse_vkey(vkey), *url)
            case _:
                raise RecordError("a witness has a name, a verifier key, and a URL at most")
        if witness.verifier.kind is not KeyType.COSIGNATURE:
            raise RecordError(f"the key of {name} is none of a witness: its type is not 0x04")
        self._define(name)
        _listed(self._witnesses, witness, partial(_same_key, witness))

    def _group(self, words: list[str]) -> None:
        if len(words) < _MIN_GROUP:
            raise RecordError("a group has a name, a threshold and one member at least")
        name, said, *members = words
        needed = {"all": len(members), "any": 1}.get(said)
        if needed is None:
            needed = int(said) if _NUMBER.fullmatch(said) else 0
        if not 1 <= needed <= len(members):
            raise RecordError(f"{said[:20]!r} of {len(members)}: `all`, `any`, or 1 to as many")
        for member in members:
            if member not in self._names:
                raise RecordError(f"{member[:80]!r} is not defined before this line")
            if member in self._members:
                raise RecordError(f"{member[:80]!r} is a member already; it could count twice")
            self._members.add(member)
        self._define(name)
        _listed(self._groups, Group(name, needed, tuple(members)))

    def _quorum_line(self, words: list[str]) -> None:
        if self._quorum is not None:
            raise RecordError("a second quorum line")
        if len(words) != 1 or (words[0] != NONE and words[0] not in self._names):
            raise RecordError("a quorum is one witness or group from before this line, or `none`")
        self._quorum = words[0]

    def _define(self, name: str) -> None:
        if name == NONE or name in self._names:
            raise RecordError(f"the name {name[:80]!r} is taken")
        self._names.add(name)


def _same_key(one: TrustedLog | TrustedWitness, other: TrustedLog | TrustedWitness) -> bool:
    # By the raw key: under two names one witness would count twice.
    return one.verifier.public == other.verifier.public


def _listed(found: list[_T], new: _T, same: Callable[[_T], bool] = lambda _: False) -> None:
    if any(map(same, found)):
        raise RecordError("its key is listed already, perhaps under another name")
    if len(found) >= MAX_LINES:
        raise RecordError(f"more than {MAX_LINES} lines of this kind")
    found.append(new)
