"""The `python` source: a firm's own function, in a Python of its own.

A function that hangs in C, holds the interpreter's lock or calls `sys.exit` cannot be stopped from
another thread. A process can, and nothing that it does to its memory reaches the heartbeat.
"""

from __future__ import annotations

import json
import sys

from golive_redis.checks.parse import parse
from golive_redis.checks.question import PythonSource
from golive_redis.checks.source import Fetched, Surroundings, UnansweredError
from golive_redis.checks.sources.command import run


def fetch(source: PythonSource, where: Surroundings, deadline_ms: float) -> Fetched:
    """Call the function; `golive_redis.checks.sources.python_child` is the other end."""
    argv = [sys.executable, "-P", "-m", "golive_redis.checks.sources.python_child"]
    asked = json.dumps({"name": source.name, "arguments": source.arguments})
    ended = run(argv, where, deadline_ms, given=asked.encode())
    if ended.code != 0:
        raise UnansweredError(f"the check {source.name} exited {ended.code}: {ended.complaint}")
    said = parse(ended.out.decode(), of=f"what the check {source.name} returned")
    if "error" in said:
        raise UnansweredError(said["error"])
    return Fetched(said["value"], {"python": said["function"]})
