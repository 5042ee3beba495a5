"""State files: nobody but their owner, and a group of its own, may write them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from golive_redis.guard.memory import WorkerState
from golive_redis.statefile import StateFile, StateFileError, others_may_write, write_durably


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_a_state_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    (tmp_path / "worker-pod-1.0.tmp").touch()
    (tmp_path / "worker-pod-1.0.tmp").chmod(0o666)  # left by a crash
    before = os.umask(umask)
    try:
        write_durably(tmp_path / "beside.json", b"{}")
        file = StateFile(tmp_path, "worker-pod-1")
        for _ in range(2):  # the second takes what the first has prepared
            file.write(WorkerState())
            assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "beside.json").stat().st_mode) == 0o600
        file.release()
    finally:
        os.umask(before)


@pytest.mark.parametrize("mode", [0o602, 0o606, 0o666, 0o622])
def test_a_state_file_that_others_may_write_is_refused_by_name(tmp_path: Path, mode: int) -> None:
    """Row 115: a stop could have been taken out of it."""
    file = StateFile(tmp_path, "worker-pod-1")
    file.write(WorkerState())
    file.path.chmod(mode)
    with pytest.raises(StateFileError, match=f"{file.path}: others may write it") as caught:
        file.read_all(WorkerState)
    assert caught.value.hint.endswith(f"chmod 600 {file.path}")
    file.path.chmod(0o600)
    assert file.read_all(WorkerState) == [WorkerState()]
    file.release()


@pytest.mark.parametrize(
    ("mode", "group", "others"),
    [
        (0o600, 3000, False),
        (0o644, 3000, False),
        (0o660, 2000, False),  # as Kubernetes leaves them in a volume of a pod with that fsGroup
        (0o660, 3000, True),
        (0o662, 2000, True),
    ],
)
def test_a_group_of_our_own_may_write_state(mode: int, group: int, others: bool) -> None:
    info = os.stat_result((stat.S_IFREG | mode, 1, 1, 1, 1000, group, 1, 0, 0, 0))
    assert others_may_write(info, {1000, 2000}) is others
