"""The Lua scripts: each file's header states its KEYS, ARGV and reply."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from golive_redis.store.link import Link, Reply, StoreRefusedError

_FOLDER = Path(__file__).parent / "lua"
_LEDGER = "-- include ledger.lua\n"
# Read when this is imported: by the time of a stop the process may have no file descriptor left (A15).
_FILES = {path.stem: path.read_text(encoding="utf-8") for path in _FOLDER.glob("*.lua")}


@cache
def text(name: str) -> str:
    """Return the source of a script, with what it shares with others in the place of its name."""
    return _FILES[name].replace(_LEDGER, _FILES["ledger"])


@cache
def _sha(name: str) -> str:
    return hashlib.sha1(text(name).encode(), usedforsecurity=False).hexdigest()


def run(link: Link, name: str, keys: tuple[str, ...], *args: str | bytes | int) -> Reply:
    """Run a script by its SHA; when the server lost it, send the text at once in the same call.

    Raises:
        StoreError: As `Link.call`.
    """
    try:
        return link.call("EVALSHA", _sha(name), len(keys), *keys, *args)
    except StoreRefusedError as error:
        if error.code != "NOSCRIPT":
            raise
    return run_text(link, name, keys, *args)


def run_text(link: Link, name: str, keys: tuple[str, ...], *args: str | bytes | int) -> Reply:
    """Run a script by its full text: the kill path depends on no script cache."""
    return link.call("EVAL", text(name), len(keys), *keys, *args)
