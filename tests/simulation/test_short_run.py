"""About a cluster-hour of the simulation; `make simulate` runs 63 of them."""

import run


def test_an_hour_of_faults_breaks_no_rule() -> None:
    tally = run.simulate(list(range(12)))
    assert not tally.violations
    assert tally.hours == 1.0
    minutes = tally.hours * 60
    faults = sum(n for name, n in tally.counts.items() if name.startswith("faults: "))
    assert faults >= minutes
    assert tally.counts["revokes"] >= minutes
    assert tally.counts["activations"] > 12
    assert tally.accepts > 1_000
    assert 0.3 < tally.armed / tally.samples < 0.99


def test_another_seed_is_another_story() -> None:
    first, second = run.simulate([0]), run.simulate([1])
    assert first.counts != second.counts
