"""Who has to stop a fleet from a place where nothing is set up reads what stops it all the same."""

from __future__ import annotations

from golive_cli.exits import Exit


def test_without_a_configuration_a_stop_says_that_nothing_was_stopped_and_what_does_it(golive):
    """Row 77."""
    done = golive("revoke", "--reason", "r")
    assert done.returncode == Exit.CONFIG
    assert done.stderr.startswith("error: NOTHING WAS STOPPED: config/go_live.yaml: ")
    assert "golive init" not in done.stderr
    for way in ("--config FILE", "redis-cli -u URL DEL NAMESPACE:active", "stop every heartbeat"):
        assert way in done.stderr


def test_a_configuration_further_up_is_named(made):
    below = made.folder / "logs" / "of today"
    below.mkdir(parents=True)
    done = made("revoke", "--reason", "r", cwd=below)
    assert done.returncode == Exit.CONFIG
    assert f"--config {made.folder.resolve()}/config/go_live.yaml" in done.stderr


def test_a_keyset_that_is_gone_is_no_reason_to_make_a_new_one(made):
    (made.folder / "config" / "keyset.yaml").unlink()
    done = made("revoke", "--reason", "r", "--json")
    assert done.returncode == Exit.CONFIG
    assert "NOTHING WAS STOPPED" in done.stdout
    assert "golive init" not in done.stdout
