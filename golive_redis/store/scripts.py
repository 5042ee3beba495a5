"""The Lua scripts: each file's header states its KEYS, ARGV and reply.

This is the one place where they are run: by EVAL, or as the functions of one library that an
administrator has installed (`store.scripts: function`), so that a login needs no EVAL.

The library and its functions carry a digest of all scripts in their names. So two versions of golive can
use one server at the same time, and none ever calls a function of another than it was written for.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from golive_redis.store.link import Link, Reply, StoreRefusedError

_FOLDER = Path(__file__).parent / "lua"
_LEDGER = "-- include ledger.lua\n"
# Read when this is imported: by the time of a stop the process may have no file descriptor left (A15).
_FILES = {path.stem: path.read_text(encoding="utf-8") for path in _FOLDER.glob("*.lua")}
PREFIX = "golive_"
MISSING = "NOFUNCTION"
"""The code of the error where the library is not there; Redis has none for it."""


@cache
def text(name: str) -> str:
    """Return the source of a script, with what it shares with others in the place of its name."""
    return _FILES[name].replace(_LEDGER, _FILES["ledger"])


@cache
def _sha(name: str) -> str:
    return hashlib.sha1(text(name).encode(), usedforsecurity=False).hexdigest()


# -- as functions --------------------------------------------------------------------------------


def names() -> list[str]:
    """Return the names of all scripts; what they share is none."""
    return sorted(set(_FILES) - {"ledger"})


@cache
def library() -> str:
    """Return what the library of these scripts is called."""
    whole = "\0".join(f"{name}\0{text(name)}" for name in names())
    return PREFIX + hashlib.sha256(whole.encode()).hexdigest()[:12]


@cache
def function(name: str) -> str:
    """Return what the function of a script is called; functions of all libraries share their names."""
    return f"{library()}_{name}"


@cache
def code() -> str:
    """Return the library as `FUNCTION LOAD` takes it: each script as it stands is one function."""
    return f"#!lua name={library()}\n" + "".join(map(_registered, names()))


def _registered(name: str) -> str:
    first, _, body = text(name).partition("\n")
    # A script without that line has no flags, and runs where memory is full.
    flags = first.partition("flags=")[2] if first.startswith("#!lua") else "allow-oom"
    shown = f"'{flags}'" if flags else ""
    return (
        f"redis.register_function{{function_name='{function(name)}', flags={{{shown}}}, "
        f"callback=function(KEYS, ARGV)\n{body}\nend}}\n"
    )


# -- running -------------------------------------------------------------------------------------


def run(link: Link, name: str, keys: tuple[str, ...], *args: str | bytes | int) -> Reply:
    """Run a script by its SHA; when the server lost it, send the text at once in the same call.

    Raises:
        StoreError: As `Link.call`; with the code `MISSING` where functions are used and are not there.
    """
    if link.functions:
        return _call(link, name, keys, *args)
    try:
        return link.call("EVALSHA", _sha(name), len(keys), *keys, *args)
    except StoreRefusedError as error:
        if error.code != "NOSCRIPT":
            raise
    return _eval(link, name, keys, *args)


def run_text(link: Link, name: str, keys: tuple[str, ...], *args: str | bytes | int) -> Reply:
    """Run a script by its full text: the kill path depends on no script cache, and on no library.

    Where functions are used they are tried first, for a login without EVAL may have them.
    """
    if link.functions:
        # A function that writes runs on no replica; to read the roster there the text does.
        otherwise = {MISSING, "NOPERM", *(("READONLY",) if name == "fleet" else ())}
        try:
            return _call(link, name, keys, *args)
        except StoreRefusedError as error:
            if error.code not in otherwise:
                raise
    return _eval(link, name, keys, *args)


def _eval(link: Link, name: str, keys: tuple[str, ...], *args: str | bytes | int) -> Reply:
    return link.call("EVAL", text(name), len(keys), *keys, *args)


def _call(link: Link, name: str, keys: tuple[str, ...], *args: str | bytes | int) -> Reply:
    try:
        return link.call("FCALL", function(name), len(keys), *keys, *args)
    except StoreRefusedError as error:
        if "Function not found" not in error.message:
            raise
        text = f"{MISSING} there is no function library {library()} of this version of golive"
        raise StoreRefusedError(MISSING, text) from error
