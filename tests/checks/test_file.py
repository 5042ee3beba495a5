"""The `file` source: real files, also while somebody writes them."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from golive_redis.checks.parse import cell
from golive_redis.checks.source import UnansweredError
from golive_redis.checks.sources import file as file_source
from golive_redis.records.report import Outcome

PATIENCE_S = 60  # what would hang does so for minutes

Asking = Any
TRADES = "day,symbol,pnl\n2026-11-20,BTC,5\n2026-11-21,ETH,-3\n"


def test_json_yaml_and_text(asking: Asking) -> None:
    (asking.folder / "report.json").write_text('{"stress": {"passed": true, "runs": [1, 2]}}')
    (asking.folder / "report.yaml").write_text("stress:\n  passed: true\n  runs: [1, 2]\n")
    (asking.folder / "state").write_text("OK\n")
    for name in ("report.json", "report.yaml"):
        source = {"path": name, "value": "/stress/passed"}
        assert asking.value(file=source, equals=True) is True
        assert asking.value(file={"path": name, "value": "/stress/runs/1"}, equals=2) == 2
    assert asking.value(file={"path": "state"}, equals="OK") == "OK"
    report = {"path": "report.json", "format": "text"}
    assert str(asking.value(file=report, equals="OK")).startswith('{"stress"')


def test_rows_and_cells_of_a_csv(asking: Asking) -> None:
    (asking.folder / "trades.csv").write_text(TRADES)
    assert asking.value(file={"path": "trades.csv", "rows": True}, at_least=1) == 2
    for pointer, value in {"/0/symbol": "BTC", "/1/pnl": "-3", "/-1/symbol": "ETH"}.items():
        assert asking.value(file={"path": "trades.csv", "value": pointer}, equals=1) == value
    (asking.folder / "empty.csv").write_text("day,symbol,pnl\n")
    assert asking.value(file={"path": "empty.csv", "rows": True}, at_least=1) == 0
    (asking.folder / "list.json").write_text("[1, 2, 3]")
    assert asking.value(file={"path": "list.json", "rows": True}, at_least=1) == 3


@pytest.mark.parametrize(
    ("name", "content", "value", "says"),
    [
        ("x.json", '{"passed": tr', "/passed", "not complete JSON"),
        ("x.json", "", "", "not complete JSON"),
        ("x.json", '{"passed": true, "passed": false}', "/passed", "one key twice"),
        ("x.json", '{"other": 1}', "/passed", "nothing at /passed"),
        ("x.json", b"\xff\xfe", "", "not UTF-8"),
        ("x.json", b" " * 1_048_577, "", "over 1048576"),
        ("x.yaml", "passed: true\nruns: 1", "/passed", "half written"),
        ("x.yaml", "a: &a [1]\nb: *a\n", "/b", "aliases"),
        ("x.yaml", "a: [1\n", "/a", "not YAML"),
        ("x.yaml", "a: !!python/object/apply:os.getpid []\n", "/a", "not YAML"),
        ("x.csv", TRADES.removesuffix("3\n"), "/0/pnl", None),
        ("x.csv", TRADES.removesuffix("\n"), "/-1/pnl", "half written"),
        ("x.csv", TRADES + "2026-11-22,BT\n", "/-1/pnl", "2 cells in line 4, not 3"),
        ("x.csv", TRADES, "/2/pnl", "no row 2"),
        ("x.csv", TRADES, "/0/loss", "0 columns 'loss'"),
        ("x.csv", "a,a\n1,2\n", "/0/a", "2 columns 'a'"),
        ("x.csv", TRADES, "/0", "a value in a CSV is"),
        ("x.csv", TRADES, "/01/pnl", "a value in a CSV is"),
        ("x.csv", "", "/0/pnl", "half written"),
        ("x.csv", 'a\n"' + "x" * 200_000 + '"\n', "/0/a", "field larger than field limit"),
    ],
)
def test_what_is_not_there_as_a_whole_is_unknown(
    asking: Asking, name: str, content: str | bytes, value: str, says: str | None
) -> None:
    raw = content.encode() if isinstance(content, str) else content
    (asking.folder / name).write_bytes(raw)
    question = {"file": {"path": name, "value": value}, "equals": 1}
    if says is None:  # a row before the torn one can still be read
        assert asking.value(**question) == "5"
        return
    with pytest.raises(UnansweredError, match=says):
        asking.value(**question)


def test_the_rows_of_what_has_none_are_unknown(asking: Asking) -> None:
    (asking.folder / "x.json").write_text('{"a": 1}')
    with pytest.raises(UnansweredError, match="not a list"):
        asking.value(file={"path": "x.json", "rows": True}, at_least=1)


def test_a_long_csv_is_read_line_by_line_and_a_longer_one_refused(asking: Asking) -> None:
    path = asking.folder / "long.csv"
    line = "2026-11-21,ETH,-3\n"
    path.write_text("day,symbol,pnl\n" + line * 300_000)  # 5 MiB
    question = {"file": {"path": "long.csv", "rows": True}, "at_least": 1}
    assert asking.value(**question, deadline="60s") == 300_000
    with pytest.raises(UnansweredError, match="not be read in time"):
        asking.value(**question, deadline="10ms")
    os.truncate(path, 64 * 1024 * 1024 + 1)
    with pytest.raises(UnansweredError, match="over 67108864"):
        asking.value(**question)


def test_the_age_of_a_file(asking: Asking) -> None:
    path = asking.folder / "report.json"
    path.write_text("{")  # its age can be told, whatever is in it
    question = {"file": {"path": "report.json", "modified": True}, "newer_than": "1h"}
    assert asking.finding(question).outcome is Outcome.PASS
    for off_s, outcome in ((-7200, Outcome.FAIL), (7200, Outcome.UNKNOWN)):
        os.utime(path, (time.time() + off_s,) * 2)
        assert asking.finding(question).outcome is outcome


def test_times_in_files(asking: Asking) -> None:
    now = time.time()
    iso = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    good = [json.dumps(f"{iso}Z"), json.dumps(f"{iso}+00:00"), f"{now:.3f}", f"{now * 1000:.0f}"]
    for text in good:
        (asking.folder / "t.json").write_text(text)
        assert asking.finding({"file": {"path": "t.json"}, "newer_than": "1m"}).outcome == "pass"
    (asking.folder / "t.yaml").write_text(f"at: {iso}Z\n")
    source = {"path": "t.yaml", "value": "/at"}
    assert asking.finding({"file": source, "newer_than": "1m"}).outcome == "pass"
    for text, says in {
        json.dumps(iso): "a time without a zone",
        json.dumps(iso[:10]): "a time without a zone",
        '"soon"': "is not a time",
        "true": "is not a time",
        "NaN": "is not a time",
        "null": "there is no value",
    }.items():
        (asking.folder / "t.json").write_text(text)
        found = asking.finding({"file": {"path": "t.json"}, "newer_than": "1m"})
        assert found.outcome is Outcome.UNKNOWN
        assert says in found.explain


def test_only_regular_files_are_read(asking: Asking) -> None:
    os.mkfifo(asking.folder / "pipe")
    (asking.folder / "loop").symlink_to("loop")
    (asking.folder / "folder").mkdir()
    (asking.folder / "real").write_text("OK")
    (asking.folder / "link").symlink_to("real")
    for name, says in {
        "pipe": "not a regular file",
        "/dev/zero": "not a regular file",
        "folder": "not a regular file",
        "loop": "symbolic link",
        "none": "No such file",
        "real/x": "Not a directory",
    }.items():
        found = asking.finding({"file": {"path": name}, "equals": "OK", "deadline": "2s"})
        assert found.outcome is Outcome.UNKNOWN
        assert says in found.explain, name
    # Where that is, seen from the folder of the configuration, is not what an operator has to know.
    for missing in ("../none.json", "sub/../../none.json"):
        found = asking.finding({"file": {"path": missing}, "equals": "OK"})
        path = asking.folder.resolve().parent / "none.json"
        assert found.explain == f"{path}: No such file or directory"
    assert asking.value(file={"path": "link"}, equals="OK") == "OK"


def test_a_tilde_without_a_home_leaves_the_check_unknown(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container may run as a number: no HOME, and nobody in /etc/passwd."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 54_321)
    found = asking.finding({"file": {"path": "~/risk.json"}, "equals": "OK"})
    assert found.outcome is Outcome.UNKNOWN
    assert "a home folder, and there is none" in found.explain


def test_a_file_that_is_rewritten_in_place_while_it_is_read_is_never_judged_half(
    asking: Asking,
) -> None:
    """What is read is what somebody had written as a whole, or it is unknown."""
    path: Path = asking.folder / "report.json"
    whole = [json.dumps({"n": n, "pad": "x" * 200_000, "same": n}) for n in range(2)]
    path.write_text(whole[0])
    over = threading.Event()

    def rewrite() -> None:
        turn = 0
        while not over.is_set():
            turn += 1
            with path.open("w") as file:
                for at in range(0, len(whole[0]), 50_000):
                    file.write(whole[turn % 2][at : at + 50_000])
                    file.flush()
            if turn % 3 == 0:
                time.sleep(0.002)

    writer = threading.Thread(target=rewrite)
    writer.start()
    seen = {"whole": 0, "unknown": 0}
    try:
        until = time.monotonic() + PATIENCE_S
        while min(seen.values()) < 20 and time.monotonic() < until:
            try:
                value = asking.value(file={"path": "report.json"}, empty=False)
            except UnansweredError:
                seen["unknown"] += 1
                continue
            assert value["n"] == value["same"]
            seen["whole"] += 1
    finally:
        over.set()
        writer.join()
    assert min(seen.values()) >= 20, seen


def test_a_csv_that_grows_while_it_is_read_is_unknown(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole lines are added, so nothing in it looks half written; yet its last row is not the last."""
    path: Path = asking.folder / "trades.csv"
    path.write_text("day,symbol,pnl\n2026-11-21,ETH,-3\n")

    def growing(lines: Any, *args: Any, **options: Any) -> object:
        found = cell(lines, *args, **options)
        with path.open("a") as more:
            more.write("2026-11-22,BTC,1\n")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(file_source, "cell", growing)
        with pytest.raises(UnansweredError, match="changed while it was read"):
            asking.value(file={"path": "trades.csv", "value": "/-1/pnl"}, equals=1)
    assert asking.value(file={"path": "trades.csv", "value": "/-1/pnl"}, equals=1) == "1"
