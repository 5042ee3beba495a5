"""A fleet with roots: what they sign, and how it is published."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import yaml

from golive_redis import clock
from golive_redis import config as configuration
from golive_redis.config import keyfile
from golive_redis.operator import keysets, publishing
from golive_redis.operator.session import Operator
from golive_redis.records.keyset import Keyset, encode_public, parse_keyset
from golive_redis.records.rotation import Step
from golive_redis.records.trust import Trust
from kit.fleet import Fleet

ROOTS = ("ruth", "omar")


class Roots:
    """Two roots of a fleet, both of whom are needed, and what they appoint.

    Args:
        fleet: Whose; its keyset file becomes keyset 1 with these roots.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        for name in ROOTS:
            fleet.add_principal(name, "root")
        self.file = self.write(1)
        self.current = parse_keyset(self.file)

    def write(self, version: int, **changes: Any) -> dict[str, Any]:
        """Write the keyset file of every host."""
        value = {
            "version": version,
            "fleet": self.fleet.fleet_id,
            "thresholds": {"root": 2},
            "principals": self.fleet.principals,
        } | changes
        (self.fleet.folder / "keyset.yaml").write_text(yaml.safe_dump(value))
        return value

    def next(
        self, *, without: tuple[str, ...] = (), signed_by: tuple[str, ...] = ROOTS, **changes: Any
    ) -> Step:
        """Return the step to the next keyset; `changes` are its principals, `expires`, `thresholds`."""
        principals = {k: v for k, v in self.fleet.principals.items() if k not in without}
        top = {k: changes.pop(k) for k in ("expires", "thresholds") if k in changes}
        principals |= changes
        version = self.current.version + 1
        new = parse_keyset(self.file | {"version": version, "principals": principals} | top)
        return self.step(new, signed_by)

    def step(self, new: Keyset, signed_by: tuple[str, ...] = ROOTS) -> Step:
        policy = self.fleet.config.policy
        trust = Trust(self.current, policy.namespace, policy.environment)
        item = keysets.new_draft(trust, new, by=signed_by[0], now_ms=clock.wall_ms())
        known = msgspec.structs.replace(new, keys={**new.keys, **self.current.keys})
        for name in signed_by:
            private = keyfile.read(self.fleet.folder / f"{name}.pem", {})
            item = keysets.signed(item, trust, keyfile.signer(private, known, name))
        return item.step()

    def publish(self, step: Step | None = None, *, config: Any = None, **changes: Any) -> Keyset:
        """Publish a step, or the next one with those changes, from the operator's host."""
        step = step or self.next(**changes)
        with Operator(config or self.fleet.config) as operator:
            new = publishing.verified(operator, step, self.current.version + 1)
            publishing.publish(operator, step, new)
        self.current = new
        return new

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Within, Redis shows no signed keyset: for somebody whose client does not go by our scripts."""
        kept = self.fleet.raw.hgetall("golive:keyset")
        self.fleet.raw.delete("golive:keyset")
        yield
        self.fleet.raw.hset("golive:keyset", mapping=kept)

    def new_key(self, name: str, *, file: str = "") -> dict[str, Any]:
        """Make another key for a principal, beside the old one; return what the keyset says of them."""
        private = keyfile.generate()
        path = self.fleet.folder / (file or f"{name}-new.pem")
        keyfile.write(path, private)
        return self.fleet.principals[name] | {"keys": [encode_public(private.public_key())]}

    def host(self, name: str, **changes: Any) -> configuration.Config:
        """The configuration of the host of somebody else, with a state folder of its own."""
        keys = {**self.fleet.settings["keys"], "operator": f"{name}.pem"}
        changes = {"keys": keys, "state_dir": f"state-{name}"} | changes
        return configuration.load(self.fleet.write_config(**changes), environ={})
