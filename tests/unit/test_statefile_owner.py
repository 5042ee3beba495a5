"""A state file of another user, `sudo` once by mistake: named with its owner and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from golive_redis.statefile import StateFile, StateFileError


@pytest.mark.parametrize("left", ["worker-1.0.lock", "."])
def test_what_belongs_to_another_user_is_named_with_its_owner_and_chown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    """Another user by the process's own word, for a test can neither be two users nor need root."""
    lock, held = tmp_path / "worker-1.0.lock", tmp_path / left
    if left != ".":
        held.touch()
    real = os.open

    def refused(path: Any, *args: Any, **how: Any) -> int:
        if str(path) == str(lock):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **how)

    monkeypatch.setattr(os, "open", refused)
    monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    with pytest.raises(StateFileError) as caught:
        StateFile(tmp_path, "worker-1")
    owner = held.owner()
    assert caught.value.message == (
        f"{lock}: Permission denied: {held} belongs to {owner}, and this process runs as 54321"
    )
    assert f"`sudo chown 54321 {held}`" in caught.value.hint


def test_what_is_ours_and_cannot_be_opened_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Any, *_: Any, **__: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(StateFileError) as caught:
        StateFile(tmp_path, "worker-1")
    assert caught.value.message == f"{tmp_path / 'worker-1.0.lock'}: Permission denied"
