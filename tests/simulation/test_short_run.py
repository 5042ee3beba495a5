"""Some minutes of the simulation; `make simulate` runs 63 cluster-hours."""

from . import run


def test_minutes_of_faults_break_no_rule() -> None:
    tally = run.simulate(list(range(5)))
    assert not tally.violations
    assert round(tally.hours * 60) == 25
    minutes = tally.hours * 60
    faults = sum(n for name, n in tally.counts.items() if name.startswith("faults: "))
    assert faults >= minutes
    assert tally.counts["revokes"] >= minutes
    assert tally.counts["activations"] > 5
    assert tally.accepts > 400
    assert 0.3 < tally.armed / tally.samples < 0.99


def test_another_seed_is_another_story() -> None:
    first, second = run.simulate([0]), run.simulate([1])
    assert first.counts != second.counts
