"""`make bench` says MISSED where a limit is missed, and sums up what it found."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    """The benchmarks' own modules: they are scripts and no package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in ("lab", "run", "page", "layout"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module


def row(lab, what: str, ratio: float, limit: float | None, **fields: object):
    return lab.Row(what, "ms", 1.0, ratio, ratio, limit, 0.1, load=0.5, **fields)


def test_a_limit_is_about_the_ratio_or_about_our_own_figure(bench) -> None:
    lab = bench("lab")
    assert row(lab, "a", 1.5, 1.5).verdict == "met"
    assert row(lab, "a", 1.51, 1.5).verdict == "MISSED"
    assert row(lab, "a", 9.0, None).verdict == "-"
    share = lab.Row("cpu", "%", 10.0, 49.0, 4.9, 50.0, 0.0, "ours", 0.5)
    assert share.verdict == "met"
    assert share._replace(ours=51.0).verdict == "MISSED"


def test_a_pair_is_compared_with_itself_so_that_a_slow_moment_hits_both(bench) -> None:
    lab = bench("lab")
    found = lab.compared("a", [(1.0, 2.0), (100.0, 200.0), (1.0, 2.0)])
    assert (found.ratio, found.floor, found.ours) == (2.0, 1.0, 2.0)


def test_the_summary_counts_what_was_met_and_names_the_worst_miss_and_what_failed(bench) -> None:
    lab, run = bench("lab"), bench("run")
    rows = [row(lab, "good", 1.0, 1.5), row(lab, "bad", 2.0, 1.5), row(lab, "scale", 9.0, None)]
    table = [{**each._asdict(), "verdict": each.verdict} for each in rows]
    found = {"rows": table, "notes": ["a note"]}
    line = run.summary([found], 0.02)
    assert line.startswith("bench: 3 figures, 1 of 2 within their limits; load 0.5 to 0.5")
    assert line.endswith("the worst miss: bad (2.00)")
    absent = {"bench": "x", "rows": [], "notes": ["500: not measured: too busy"]}
    assert run.summary([absent], 0.0).endswith("NOT MEASURED: 500")


def test_a_figure_that_cannot_be_taken_is_a_note_with_its_reason(bench) -> None:
    lab = bench("lab")
    notes: list[str] = []

    def busy() -> None:
        raise TimeoutError("timed out")

    assert lab.tried(notes, "500", busy) is None
    assert lab.tried(notes, "10", lambda: 7) == 7
    assert notes == ["500: not measured: timed out"]


def test_a_script_that_fails_or_hangs_is_a_note_and_the_run_goes_on(
    bench, tmp_path, monkeypatch
) -> None:
    lab, run = bench("lab"), bench("run")
    monkeypatch.setattr(lab, "HERE", tmp_path)
    (tmp_path / "bench_fails.py").write_text("raise SystemExit(3)")
    (tmp_path / "bench_hangs.py").write_text("import time; time.sleep(3600)")
    monkeypatch.chdir(tmp_path)

    def notes(names: str, patience_s: int) -> list[list[str]]:
        monkeypatch.setattr(run, "PATIENCE_S", patience_s)
        monkeypatch.setattr(sys, "argv", ["run.py", "--only", names, "--out", "out.json"])
        assert run.main() == 1
        found = json.loads((tmp_path / "out.json").read_text())
        return [each["notes"] for each in found["benches"]]

    assert notes("fails", 600) == [["fails: not measured: exit code 3"]]
    hangs, _ = notes("hangs,fails", 1)
    assert hangs == ["hangs: not measured: it did not end within 1 s"]


def test_every_script_is_run_and_its_figures_reach_the_page(bench, tmp_path, monkeypatch) -> None:
    lab, run, page = bench("lab"), bench("run"), bench("page")
    assert {f"bench_{name}.py" for name in run.SCRIPTS} == {
        path.name for path in FOLDER.glob("bench_*.py")
    }
    rows = [{**row(lab, "allows()", 1.25, 1.5)._asdict(), "verdict": "met"}]
    found = {
        "at": 0,
        "machine": {"cores": 2, "system": "Linux", "python": "3.11", "stolen": 0.0},
        "benches": [{"bench": "one question", "rows": rows, "notes": ["a note"]}],
        "summary": "bench: 1 figure",
    }
    (tmp_path / "bench.json").write_text(json.dumps(found))
    target = tmp_path / "performance.md"
    target.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    monkeypatch.setattr(page, "PAGE", target)
    monkeypatch.setattr(sys, "argv", ["page.py", str(tmp_path / "bench.json")])
    page.main()
    text = target.read_text()
    assert "| allows() | 1.00 ms | 1.25 ms | 1.25 | 1.50 | 10% | 0.5 |" in text
    assert "- a note" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
