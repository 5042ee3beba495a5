"""Calls one function of a firm's own: the program that the `python` source starts."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from importlib.metadata import entry_points
from typing import Any

GROUP = "golive.checks"


def _call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    known = entry_points(group=GROUP)
    found = [item for item in known if item.name == name]
    if len(found) != 1:
        names = ", ".join(sorted({item.name for item in known})) or "none is installed"
        return {
            "error": f"{len(found)} entry points of {GROUP} are named {name}; there are: {names}"
        }
    try:
        return {"value": found[0].load()(**arguments), "function": found[0].value}
    except Exception as error:  # noqa: BLE001  (whatever it is, there is no value)
        return {"error": f"{found[0].value}: {type(error).__name__}: {error}"}


def _plain(value: object) -> str:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def main() -> None:
    """Read what to call from standard input, and write what came of it to standard output."""
    asked = json.load(sys.stdin)
    # What the function prints is no part of the answer.
    answer_to = os.dup(1)
    os.dup2(2, 1)
    answer = _call(asked["name"], asked["arguments"])
    try:
        text = json.dumps(answer, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        text = json.dumps({"error": f"{answer['function']} returned no value: {error}"})
    with os.fdopen(answer_to, "w") as file:
        file.write(text)


if __name__ == "__main__":
    main()
