"""Who has to stop a fleet from a place where nothing is set up reads what stops it all the same."""

from __future__ import annotations

import os

import pytest
import yaml

from golive_cli.exits import Exit
from golive_cli.main import main


def test_without_a_configuration_a_stop_says_that_nothing_was_stopped_and_what_does_it(golive):
    """Row 77."""
    done = golive("revoke", "--reason", "r")
    assert done.returncode == Exit.CONFIG
    tried = golive.folder.resolve() / "config" / "go_live.yaml"
    assert done.stderr.startswith(f"error: NOTHING WAS STOPPED: {tried}: No such file")
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
    assert "copy it from another host of this fleet" in done.stdout


@pytest.mark.parametrize(
    ("words", "environ", "tried"),
    [
        (("status",), {}, "config/go_live.yaml"),
        (("halt", "--reason", "r"), {}, "config/go_live.yaml"),
        (("status", "--config", "../b.yaml"), {}, "../b.yaml"),
        (("doctor",), {"GOLIVE_CONFIG": "c.yaml"}, "c.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_missing_configuration_is_named_in_full_and_a_new_setup_is_the_last_advice(
    golive, words, environ, tried
):
    done = golive(*words, **environ)
    assert done.returncode == Exit.CONFIG
    full = os.path.normpath(golive.folder.resolve() / tried)
    assert done.stderr.startswith(f"error: {full}: No such file or directory (")
    assert done.stderr.splitlines()[1].startswith("hint: `cd` to")
    hint = done.stderr.partition("hint: ")[2]
    ways = ("`cd` to the folder", "--config FILE", "$GOLIVE_CONFIG", "golive init", "golive dev")
    assert [hint.index(way) for way in ways] == sorted(hint.index(way) for way in ways)


def test_in_a_folder_that_was_deleted_it_still_says_what_stops_the_fleet(
    tmp_path, monkeypatch, capsys
):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(["revoke", "--reason", "r"]) == Exit.CONFIG
    said = capsys.readouterr().err
    assert "NOTHING WAS STOPPED" in said
    assert "--config FILE" in said and "stop every heartbeat on its host" in said


def test_a_stop_goes_on_without_the_home_in_which_its_state_would_be(made, server):
    """As in a container whose user is a number: it says so, and sends the stop all the same."""
    path = made.folder / "config" / "go_live.yaml"
    settings = yaml.safe_load(path.read_text()) | {"state_dir": "~no-such-user/state"}
    path.write_text(yaml.safe_dump(settings))
    done = made("revoke", "--reason", "r", GOLIVE_REDIS_URL=server.url)
    assert "~ stands for a home folder, and there is none" in done.stderr
    assert "NOTHING WAS STOPPED" not in done.stderr
    with server.client() as client:
        assert client.exists("golive:revoked")
