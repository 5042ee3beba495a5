"""Files that people edit: `go_live.yaml`, the keyset, key files, validated, faults named by line.

Here belongs how a file is found, parsed and checked, and how a private key is loaded. What a setting
means for trading does not: that is in `core`, and checks are validated by `checks.conditions`. Start
with `config.config`.
"""

from golive_redis.config.config import Config, load

__all__ = ["Config", "load"]
