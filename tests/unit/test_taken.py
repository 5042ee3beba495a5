"""What a host keeps of the signed keysets: verified from its file on, and nothing lower is used.

Row 41.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from golive_redis.config.taken import Succession
from golive_redis.errors import ConfigError, GoliveError
from golive_redis.records.envelope import seal
from golive_redis.records.keyset import Keyset
from golive_redis.records.rotation import Step, draft, payload_of
from golive_redis.statefile import StateFile, StateFileError
from golive_redis.testing import Signers
from golive_redis.testing.signers import EVERYBODY

ROOTED = EVERYBODY | {"ruth": ("root",)}
CHAIN = [Signers(ROOTED, version=version) for version in range(1, 7)]


def keyset(version: int) -> Keyset:
    return CHAIN[version - 1].keyset


def step(to: int) -> Step:
    old = CHAIN[to - 2]
    record = draft(old.keyset, keyset(to), **old.trust.heading("ruth", 1_700_000_000_000))
    return Step(payload_of(keyset(to)), seal(record, old.signers["ruth"]))


def host(folder: Path | None, base: int = 1) -> Succession:
    return Succession(folder, keyset(base), "golive", "test")


def test_what_was_taken_is_used_after_a_restart(tmp_path: Path) -> None:
    host(tmp_path).keep([step(2), step(3)])
    assert host(tmp_path).newest().version == 3
    host(tmp_path).keep([step(4)])
    assert host(tmp_path).newest() == keyset(4)


def test_a_newer_file_is_used_and_an_older_one_leads_to_the_same(tmp_path: Path) -> None:
    host(tmp_path).keep([step(number) for number in (2, 3, 4)])
    assert [host(tmp_path, base).newest().version for base in (1, 3, 4, 5)] == [4, 4, 4, 5]
    # From the newer file on; what is between is not known here.
    host(tmp_path, 5).keep([step(6)])
    assert host(tmp_path, 5).newest().version == 6
    with pytest.raises(ConfigError, match="keyset 6 was taken on this host, and does not follow"):
        host(tmp_path, 3).newest()
    with pytest.raises(ConfigError, match="keyset 6 was taken"):
        host(tmp_path, 1).newest()


def test_another_file_of_the_same_number_is_refused(tmp_path: Path) -> None:
    host(tmp_path).keep([step(2)])
    other = Signers({k: v for k, v in ROOTED.items() if k != "bob"}, version=2).keyset
    with pytest.raises(ConfigError, match="has taken another keyset 2"):
        Succession(tmp_path, other, "golive", "test").newest()


def test_what_was_changed_on_the_disk_is_not_used(tmp_path: Path) -> None:
    host(tmp_path).keep([step(2)])
    (path,) = tmp_path.glob("*.json")
    good = path.read_text()
    for old, new in (('"alice', '"mallo'), ('"number":2', '"number":3'), ("{", "")):
        assert old.replace('"', '\\"') in good or old in good
        changed = good.replace(old.replace('"', '\\"'), new.replace('"', '\\"'), 1)
        path.write_text(changed if changed != good else good.replace(old, new, 1))
        with pytest.raises(GoliveError):
            host(tmp_path).newest()
    path.write_text(good)
    path.chmod(0o666)
    with pytest.raises(StateFileError, match="others may write it"):
        host(tmp_path).newest()


def test_a_slower_process_takes_nothing_back(tmp_path: Path) -> None:
    host(tmp_path).keep([step(number) for number in (2, 3, 4)])
    host(tmp_path).keep([step(2)])
    host(tmp_path).keep([step(2), step(3)])
    assert host(tmp_path).newest().version == 4
    host(tmp_path).keep([step(number) for number in (3, 4, 5)])
    assert host(tmp_path).newest().version == 5


def test_it_waits_for_another_process_that_writes_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("golive_redis.config.taken.TRIES", 3)
    (stem,) = {name.name.removesuffix(".0.json") for name in kept(tmp_path)}
    other = StateFile(tmp_path, stem)
    with pytest.raises(StateFileError, match="another live process holds it"):
        host(tmp_path).keep([step(2), step(3)])
    other.release()
    host(tmp_path).keep([step(2), step(3)])
    assert host(tmp_path).newest().version == 3


def kept(folder: Path) -> list[Path]:
    host(folder).keep([step(2)])
    return list(folder.glob("*.json"))


def test_without_a_folder_nothing_is_kept() -> None:
    host(None).keep([step(2)])
    assert host(None).newest().version == 1


def test_switches_share_a_folder(tmp_path: Path) -> None:
    host(tmp_path).keep([step(2)])
    assert Succession(tmp_path, keyset(1), "other", "test").newest().version == 1
    fleet = msgspec.structs.replace(keyset(1), fleet="0" * 32)
    assert Succession(tmp_path, fleet, "golive", "test").newest() == fleet
