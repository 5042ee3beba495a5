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
