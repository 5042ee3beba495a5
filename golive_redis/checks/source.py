"""What every source works with: where it is asked from, what it remembers, what it brings back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec

from golive_redis.config import Config
from golive_redis.config.auditing import LogSettings
from golive_redis.config.yamlfile import beside
from golive_redis.core.timing import Haste
from golive_redis.errors import GoliveError
from golive_redis.masking import Masked
from golive_redis.records.trust import Trust
from golive_redis.store.connect import Address

MAX_BYTES = 1024 * 1024

_T = TypeVar("_T")


class UnansweredError(GoliveError):
    """A source brought no value that could be judged. Fails closed: the check is unknown."""

    reason = "unanswered"


class Memory:
    """What sources remember from one look to the next; it lives as long as what is counted from."""

    def __init__(self) -> None:
        self._kept: dict[type, Any] = {}

    def of(self, kind: type[_T]) -> _T:
        """Return the one value of a kind, made without arguments at the first look."""
        kept: _T = self._kept.setdefault(kind, kind())
        return kept


class Surroundings(Masked, frozen=True):
    """Where checks are asked from.

    Attributes:
        folder: Of the configuration; paths in it are relative to this.
        environ: The environment, where tokens and passwords are.
        address: This Redis, and which switch in it.
        policy: Digest of this host's policy; empty where it is not known.
        trust: Verifies the records of the ledger; None where it is not read.
        memory: Shared by all questions that are asked from here.
        state_dir: Where this host remembers what it has judged of the ledger; None for nowhere.
        haste: What that policy allows; None where it is not known.
        log: Which log the ledger is, and who its witnesses are; None holds it against no checkpoint.
    """

    MASKED: ClassVar[frozenset[str]] = frozenset({"environ"})

    folder: Path
    environ: Mapping[str, str]
    address: Address
    policy: str = ""
    trust: Trust | None = None
    memory: Memory = msgspec.field(default_factory=Memory)
    state_dir: Path | None = None
    haste: Haste | None = None
    log: LogSettings | None = None

    @classmethod
    def of(cls, config: Config, trust: Trust | None = None) -> Surroundings:
        """Return what can be asked with this configuration.

        Raises:
            ConfigError: The address, the policy's names or the section `audit` cannot be used.
        """
        address = config.address()
        return cls(
            config.path.parent,
            config.environ,
            address,
            config.policy_digest,
            trust,
            state_dir=config.state_dir,
            haste=config.policy.haste,
            log=LogSettings.of(config),
        )

    def resolve(self, name: str) -> Path:
        """Return a path from the configuration in full, as an error shows it."""
        return beside(self.folder, name)

    def variable(self, name: str) -> str:
        """Return the value of a variable that the configuration names.

        Raises:
            UnansweredError: It is not set.
        """
        found = self.environ.get(name)
        if not found:
            raise UnansweredError(f"{name} is not set", hint=f"export {name}=...")
        return found


class Fetched(msgspec.Struct, frozen=True):
    """One value, as a source brought it.

    Attributes:
        value: A time for `newer_than` is Unix ms.
        facts: What else was seen; without secrets.
        series: Several values by the names of their series, when the source had several.
        who: Which workers the value is about; added to the explanation.
    """

    value: object
    facts: dict[str, str] = {}
    series: dict[str, object] = {}
    who: str = ""
