"""The demo's own configuration folder: the same files that `golive init` makes, with new keys."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from golive_redis.config import keyfile
from golive_redis.errors import ConfigError
from golive_redis.records.keyset import encode_public

OPERATOR = "alice"
HEARTBEAT = "hb-1"
WORKERS = "workers"
DISABLED = "activation_enabled: false"
ENABLED = "activation_enabled: true"

_ROLES = {OPERATOR: "approver", HEARTBEAT: "heartbeat", WORKERS: "worker"}

# One order stays within the limit that `prices.orders` knows; the rate is what the demo is for.
_CONFIG = """\
environment: demo
{gate}
allowed_profiles: [micro]
default_profile: micro
cool_down: 0s
store: {{url: {url}}}
keys:
  keyset: keyset.yaml
  operator: keys/{operator}.pem
  heartbeat: keys/{heartbeat}.pem
  worker: keys/{workers}.pem
state_dir: ../state
timing: {timing}
profiles:
  micro:
    currency: USD
    max_order_notional: "25"
    max_position_notional: "1000"
    max_daily_loss: "10"
    max_orders_per_minute: 3000
"""


def write(folder: Path, *, url: str, timing: str | dict[str, float]) -> Path:
    """Write configuration, keyset and keys; activation stays disabled.

    Args:
        folder: Where to.
        url: Where Redis is.
        timing: As in the configuration: a name, or the timers themselves.

    Returns:
        The path of the configuration.
    """
    principals = {}
    for name, role in _ROLES.items():
        private = keyfile.generate()
        keyfile.write(folder / "keys" / f"{name}.pem", private)
        public = encode_public(private.public_key())
        principals[name] = {"roles": [role], "keys": [public], "shared": role == "worker"}
    # JSON is YAML, too, and needs no thought about quoting.
    keyset = {
        "version": 1,
        "fleet": secrets.token_hex(16),
        "thresholds": {"approver": 1},
        "principals": principals,
    }
    trusted = folder / "keyset.yaml"
    trusted.write_text(json.dumps(keyset, indent=2) + "\n", "utf-8")
    trusted.chmod(0o644)  # whatever the umask: one that others may write is refused
    text = _CONFIG.format(
        gate=DISABLED,
        url=json.dumps(url),
        operator=OPERATOR,
        heartbeat=HEARTBEAT,
        workers=WORKERS,
        timing=json.dumps(timing),
    )
    path = folder / "go_live.yaml"
    path.write_text(text, "utf-8")
    return path


def enable(path: Path) -> None:
    """Edit the configuration as an operator does before the first activation.

    Raises:
        ConfigError: The line to change is not there exactly once; the file is left as it is.
    """
    before, found, after = path.read_text("utf-8").partition(f"{DISABLED}\n")
    if not found or DISABLED in after:
        raise ConfigError(f"{path}: the line {DISABLED!r} is not there once")
    path.write_text(f"{before}{ENABLED}\n{after}", "utf-8")
