"""What a heartbeat takes from the disk, at its start and again when it is told to reload.

All of it is read and checked before any of it is used, so a file that is torn, wrong or unreadable
leaves a running heartbeat as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from golive_redis import clock
from golive_redis import config as configuration
from golive_redis.checks import windows
from golive_redis.checks.conditions import Conditions
from golive_redis.config.auditing import LogSettings
from golive_redis.errors import ConfigError
from golive_redis.heartbeat.logstart import LogKeys
from golive_redis.heartbeat.triggers import Triggers
from golive_redis.records.envelope import Signer
from golive_redis.records.keyset import Keyset, Role
from golive_redis.records.trust import Trust
from golive_redis.store.connect import Address
from golive_redis.witness.submit import Submitter


class Setup(msgspec.Struct, frozen=True):
    """A configuration with everything that it names, as one heartbeat uses it.

    Attributes:
        config: The configuration.
        trust: Keyset, namespace and environment.
        signer: The heartbeat's key.
        address: Where Redis is.
        open_until: Given Unix ms, when the trading windows that are open then will have closed; None
            when they are closed.
        triggers: What watches over its terms; not started.
        log: By which it signs checkpoints of the ledger.
    """

    config: configuration.Config
    trust: Trust
    signer: Signer
    address: Address
    open_until: Callable[[int], int | None]
    triggers: Triggers
    log: LogKeys

    @classmethod
    def of(
        cls,
        config: configuration.Config,
        name: str,
        say: Callable[[str], None],
        trust: Trust | None = None,
    ) -> Setup:
        """Read the keyset, the keys, the windows and the triggers of a configuration.

        Args:
            config: The configuration.
            name: Of the heartbeat.
            say: Told in a sentence what an operator should know.
            trust: The keyset; that of the configuration by default.

        Raises:
            ConfigError: One of them cannot be used.
        """
        trust = trust or config.trust()
        known = trust.keyset.principals(Role.HEARTBEAT)
        if name not in known:
            raise ConfigError(
                f"{name!r} is not a heartbeat in the keyset",
                hint=f"it has {', '.join(known)}"
                if known
                else "`golive keys new NAME --role heartbeat --add` adds one",
            )
        open_until = partial(windows.open_until, Conditions.of(config).windows)
        open_until(clock.wall_ms())  # a calendar that cannot be used is found out now
        signer = config.signer("heartbeat", trust.keyset, name=name)
        see_own(signer, name)
        triggers = Triggers(config, trust.keyset, signer, say)
        settings = LogSettings.of(config)
        for witness in settings.witnesses:
            Submitter(witness.url, witness.verifier)  # a URL that cannot be used is found out now
        log = LogKeys.of(trust, signer, settings)
        return cls(config, trust, signer, config.address(), open_until, triggers, log)

    def follow(self, old: Setup) -> None:
        """See that a running heartbeat may go over to this from what it uses now.

        Raises:
            ConfigError: Something differs that a process keeps for its life, or the keyset is no
                successor of the one in use.
        """
        was, now = old.config, self.config
        # An address also tells the namespace and the state folder, which are named by themselves.
        address = msgspec.structs.replace(
            self.address, namespace=old.address.namespace, addresses=old.address.addresses
        )
        fixed = {
            "environment": was.policy.environment != now.policy.environment,
            "namespace": was.policy.namespace != now.policy.namespace,
            "state_dir": was.state_dir != now.state_dir,
            "store": old.address != address,
            "timing": was.policy.timers != now.policy.timers,
        }
        if not (fixed["environment"] or fixed["namespace"]):  # of which it is made
            fixed["audit.origin"] = old.log.settings.origin != self.log.settings.origin
        if changed := [name for name, differs in fixed.items() if differs]:
            raise ConfigError(
                f"{now.path}: {' and '.join(changed)} cannot change while a heartbeat runs",
                hint="change it back, or restart the heartbeat",
            )
        _succeed(old.trust.keyset, self.trust.keyset)


def see_own(signer: Signer, name: str) -> None:
    """Refuse the key of another principal.

    Raises:
        ConfigError: It is.
    """
    if signer.principal != name:
        raise ConfigError(
            f"the heartbeat key is {signer.principal}'s, not {name}'s",
            hint=f"--name {signer.principal}, or set keys.heartbeat to the key of {name}",
        )


def _succeed(old: Keyset, new: Keyset) -> None:
    """Refuse a keyset of another fleet, or one that may be an older copy of the one in use.

    `golive keys new --add` leaves the version as it is: so without a higher one a keyset may add keys
    and raise thresholds, which no older copy does.
    """
    if new.fleet != old.fleet:
        raise ConfigError(
            f"the keyset is of fleet {new.fleet[:8]}, this heartbeat is of fleet {old.fleet[:8]}",
            hint="copy the keyset from another host of this fleet",
        )
    if new.version < old.version:
        raise ConfigError(
            f"the keyset has version {new.version}, the one in use has version {old.version}",
            hint="copy the newest keyset from another host of this fleet",
        )
    if new.version > old.version:
        return
    lost = sorted({key.principal for keyid, key in old.keys.items() if new.keys.get(keyid) != key})
    lower = sorted(role for role in Role if new.threshold(role) < old.threshold(role))
    if lost or lower:
        what = f"takes away or changes keys of {', '.join(lost)}" if lost else ""
        what += " and " if lost and lower else ""
        what += f"lowers the threshold of {', '.join(lower)}" if lower else ""
        raise ConfigError(
            f"the keyset {what}, and still has version {new.version}",
            hint="raise `version` in it, or copy the newest keyset from another host of this fleet",
        )
