"""The words after `golive` as far as they say something before they are parsed, or cannot be."""

from __future__ import annotations

from collections.abc import Sequence


def wants_json(argv: Sequence[str]) -> bool:
    """Tell whether `--json` is among the options."""
    return "--json" in _options(argv)


def named_config(argv: Sequence[str]) -> str | None:
    """Return the file that `--config` names last, or None."""
    words, found = _options(argv), None
    for word, after in zip(words, [*words[1:], None], strict=False):
        if word == "--config":
            found = after
        elif word.startswith("--config="):
            found = word.partition("=")[2]
    return found


def offline(argv: Sequence[str]) -> bool:
    """Tell whether it is `audit verify --file`, which reads no configuration."""
    words = _options(argv)
    file = any(word == "--file" or word.startswith("--file=") for word in words)
    return words[:2] == ["audit", "verify"] and file


def _options(argv: Sequence[str]) -> list[str]:
    words = list(argv)
    return words[: words.index("--")] if "--" in words else words
