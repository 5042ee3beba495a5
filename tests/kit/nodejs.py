"""The verifier in Node, `examples/verify-node`, as a process that answers one vector after the other."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "verify-node"


def run(node: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one of its programs to its end."""
    command = [node, str(FOLDER / words[0]), *map(str, words[1:])]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, encoding="utf-8"
    )


def decided(
    node: str, vectors: Iterable[Mapping[str, Any]], shared: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return its verdict on each of these vectors, asked in one process.

    Args:
        node: The program.
        vectors: Each with `op` and `given`.
        shared: The keysets and envelopes that they name.
    """
    lines = [json.dumps({"shared": shared}), *map(json.dumps, vectors)]
    asked = subprocess.run(
        [node, str(FOLDER / "vectors.mjs"), "--judge"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
        timeout=1_200,
        check=False,
        encoding="utf-8",
    )
    assert asked.returncode == 0, asked.stderr
    answers = [json.loads(line) for line in asked.stdout.split("\n") if line]
    assert len(answers) == len(lines) - 1, asked.stderr
    return answers
