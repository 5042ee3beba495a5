"""The section `audit` of the configuration: the ledger as a log that others can hold to its word.

Like the sections about evidence it is read by those who use it and not by `golive revoke`: a mistake in
it stops nobody from stopping.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from golive_redis.config.config import Config
from golive_redis.config.yamlfile import line_of, validate
from golive_redis.errors import ConfigError, RecordError
from golive_redis.masking import Masked
from golive_redis.records.checkpoint import origin_of
from golive_redis.records.keyset import Keyset, Role, raw_of
from golive_redis.records.logpolicy import (
    MAX_LINES,
    NONE,
    Group,
    Policy,
    TrustedLog,
    TrustedWitness,
)
from golive_redis.records.record import Duration, Strict, decodable, duration_ms
from golive_redis.records.signednote import KeyType, VerifierKey, parse_vkey, require_name

QUORUM = "witnesses"
"""The group of all witnesses, in the policy that a configuration makes."""
MAX_WITNESSES = 32
MIN_LAG_MS = 30_000
LAG_FAILOVERS = 3
MIN_EVERY_MS = 1_000


class WitnessSettings(Masked, Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One witness: its verifier key, and where checkpoints are submitted."""

    URLS: ClassVar[frozenset[str]] = frozenset({"url"})

    vkey: Annotated[str, msgspec.Meta(max_length=1024)]
    url: Annotated[str, msgspec.Meta(max_length=1024)]


@decodable
class AuditSettings(Strict, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The section as it is written.

    Attributes:
        origin: Names the log; None makes it of environment and namespace.
        checkpoint_lag: How old an entry is before a checkpoint covers it; None for three times
            `timing.failover_ms`, and 30 s at least.
        checkpoint_every: No more often is a checkpoint signed.
        witnesses: Who cosigns.
        quorum: How many of them are needed; None for all.
        archive: The folder of the archive on this host, which `golive doctor` looks at.
    """

    origin: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    checkpoint_lag: Duration | None = None
    # A minute of entries is what a witness cannot speak for yet.
    checkpoint_every: Duration = "60s"
    witnesses: Annotated[list[WitnessSettings], msgspec.Meta(max_length=MAX_WITNESSES)] = []
    quorum: Annotated[int, msgspec.Meta(ge=1, le=MAX_WITNESSES)] | None = None
    archive: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)] | None = None


class LogSettings(msgspec.Struct, frozen=True):
    """The section, checked and with what follows from the rest of the configuration.

    Attributes:
        origin: Names the log.
        lag_ms: How old an entry is before a checkpoint covers it, by the server's clock.
        every_ms: No more often is a checkpoint signed.
        witnesses: Who cosigns, under the names that their keys have.
        quorum: How many of them are needed; 0 where there are none.
        archive: The folder of the archive on this host; None when it has none.
    """

    origin: str
    lag_ms: int
    every_ms: int
    witnesses: tuple[TrustedWitness, ...] = ()
    quorum: int = 0
    archive: Path | None = None

    @classmethod
    def of(cls, config: Config) -> LogSettings:
        """Return what a configuration says about checkpoints.

        Raises:
            ConfigError: With the line. Fails closed: the caller publishes and judges nothing.
        """
        policy, path, lines = config.policy, config.path, config.lines
        said = validate(policy.audit, AuditSettings, path, lines, at="$.audit")

        def refuse(name: str, message: str, hint: str = "") -> ConfigError:
            where = f"{path}:{line_of(f'$.audit.{name}', lines)}"
            return ConfigError(f"{where}: audit.{name}: {message}", hint=hint)

        try:
            origin = said.origin or origin_of(policy.environment, policy.namespace)
            require_name(origin)
        except RecordError as error:
            raise refuse("origin", error.message) from error
        failover_ms = policy.timers.failover_ms
        # A failover may lose what Redis has answered a moment before. What a checkpoint has counted may
        # not be lost, or the log has to be given up: so it waits three times as long as a failover.
        lag_ms = max(MIN_LAG_MS, LAG_FAILOVERS * failover_ms)
        if said.checkpoint_lag is not None:
            lag_ms = duration_ms(said.checkpoint_lag)
        if lag_ms <= failover_ms:
            raise refuse(
                "checkpoint_lag",
                f"{said.checkpoint_lag} is not more than timing.failover_ms, {failover_ms} ms",
                "what a failover loses must not be in a checkpoint yet: leave it out",
            )
        every_ms = duration_ms(said.checkpoint_every)
        if every_ms < MIN_EVERY_MS:
            raise refuse("checkpoint_every", f"{said.checkpoint_every} is less than 1s")
        witnesses: list[TrustedWitness] = []
        for number, each in enumerate(said.witnesses):
            try:
                witnesses.append(_witness(each, witnesses))
            except RecordError as error:
                hint = "`golive audit witness status FOLDER` prints it on the host of the witness"
                raise refuse(f"witnesses[{number}].vkey", error.message, hint) from error
        quorum = len(witnesses) if said.quorum is None else said.quorum
        if quorum > len(witnesses):
            raise refuse("quorum", f"{quorum} of {len(witnesses)} witnesses can never be met")
        archive = config.resolve(said.archive) if said.archive is not None else None
        return cls(origin, lag_ms, every_ms, tuple(witnesses), quorum, archive)

    def of_generation(self, generation: int) -> LogSettings:
        """Return the settings of the log of a generation of the ledger: `<origin>/2` is the second."""
        if generation == 1:
            return self
        return msgspec.structs.replace(self, origin=f"{self.origin}/{generation}")

    def verifier(self, raw: bytes) -> VerifierKey:
        """Return a heartbeat's public key as a key of this log."""
        return VerifierKey(self.origin, KeyType.ED25519, raw)

    def policy(self, keysets: Iterable[Keyset]) -> Policy:
        """Return the policy by which a checkpoint of this log is judged.

        Args:
            keysets: Whose heartbeats may have signed.
        """
        keys = {
            key.keyid: raw_of(key.public)
            for keyset in sorted(keysets, key=lambda keyset: -keyset.version)
            for key in keyset.keys.values()
            if key.holds(Role.HEARTBEAT)
        }
        logs = tuple(TrustedLog(self.verifier(raw)) for raw in list(keys.values())[:MAX_LINES])
        if not self.witnesses:
            return Policy(logs, (), (), NONE)
        names = tuple(witness.name for witness in self.witnesses)
        return Policy(logs, self.witnesses, (Group(QUORUM, self.quorum, names),), QUORUM)


def _witness(said: WitnessSettings, before: list[TrustedWitness]) -> TrustedWitness:
    key = parse_vkey(said.vkey)
    if key.kind is not KeyType.COSIGNATURE:
        raise RecordError(f"the key of {key.name} is none of a witness: its type is not 0x04")
    if any(each.verifier.public == key.public or each.name == key.name for each in before):
        raise RecordError(f"{key.name} is listed already: one witness counts once")
    if key.name in {QUORUM, NONE}:
        raise RecordError(f"a witness cannot be called {key.name}")
    return TrustedWitness(key.name, key, said.url)
