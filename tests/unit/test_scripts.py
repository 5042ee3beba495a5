"""The Lua scripts are in memory before anything needs them."""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

import pytest

from golive_redis.store import scripts

LUA = Path(scripts.__file__).parent / "lua"


@pytest.mark.parametrize("name", sorted(path.stem for path in LUA.glob("*.lua")))
def test_a_script_is_there_although_the_process_has_no_file_handle_left(name: str) -> None:
    """Row 85. The first loss of a key was noted with a script that no file could be opened for (A15)."""
    expected = (LUA / f"{name}.lua").read_text()
    scripts.text.cache_clear()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    found = ""
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.open(os.devnull, os.O_RDONLY)
        with suppress(OSError):
            found = scripts.text(name)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert found.startswith(expected.splitlines()[0])


def test_another_script_is_another_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """And its functions have other names: a server may have both."""
    caches = (scripts.text, scripts.library, scripts.function, scripts.code)
    names = scripts.names()
    assert "ledger" not in names and len(names) == len(list(LUA.glob("*.lua"))) - 1
    seen: set[tuple[str, ...]] = set()
    try:
        for name in ("", *names):
            for cache in caches:
                cache.cache_clear()
            with monkeypatch.context() as patch:
                if name:
                    changed = scripts._FILES[name] + "-- changed\n"
                    patch.setitem(scripts._FILES, name, changed)
                assert scripts.code().startswith(f"#!lua name={scripts.library()}\n")
                assert all(f"'{scripts.function(each)}'" in scripts.code() for each in names)
                seen.add((scripts.library(), *map(scripts.function, names)))
    finally:
        for cache in caches:
            cache.cache_clear()
    assert len({library for library, *_ in seen}) == len(names) + 1
    assert len({each for _, *functions in seen for each in functions}) == len(names) * len(seen)
