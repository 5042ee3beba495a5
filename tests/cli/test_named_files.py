"""Errors about files name them in full, and say what chose the configuration that they come from."""

from __future__ import annotations

import re

import pytest
import typer.main

from golive_cli.app import COMMANDS, application
from golive_cli.exits import Exit
from golive_cli.failure import WITHOUT_CONFIG

# What each command needs to get as far as its configuration.
WORDS = {
    "acl": ["--role", "worker"],
    "acl check": [],
    "activate": ["--reason", "r", "--yes"],
    "approve": ["7f3k-9qmx", "--yes", "7f3k-9qmx"],
    "audit archive": ["archive"],
    "audit export": ["--out", "ledger.jsonl"],
    "audit generation": ["--archive", "archive", "--reason", "r"],
    "audit list": [],
    "audit restore": ["archive"],
    "audit report": ["--out", "report"],
    "audit policy": [],
    "audit prove": ["e1", "--out", "e1.tlog-proof"],
    "audit show": ["e1"],
    "audit tail": [],
    "audit trim": ["archive", "--unwitnessed"],
    "audit verify": [],
    "demote": ["micro", "--reason", "r"],
    "extend": ["--reason", "r"],
    "halt": ["--reason", "r"],
    "heartbeat": ["--name", "hb-1"],
    "keys draft": ["next.yaml"],
    "keys list": [],
    "keys new": ["new", "--role", "worker", "--add"],
    "keys publish": ["keyset-2.json"],
    "keys remove": ["alice"],
    "keys rotate": ["alice", "--new", "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="],
    "keys show": ["config/keys/alice.pem"],
    "keys status": [],
    "keys sign": ["keyset-2.json"],
    "keys take": ["keyset-2.json"],
    "preflight": [],
    "doctor": [],
    "promote": ["--reason", "r"],
    "proposals": [],
    "propose activate": ["--reason", "r"],
    "propose extend": ["--reason", "r"],
    "propose promote": ["--reason", "r"],
    "propose restore": ["--all", "--reason", "r"],
    "propose resume": ["--all", "--reason", "r"],
    "reduce": ["--reason", "r"],
    "stop-card": ["--epochs", "5", "--until", "30d", "--out", "card"],
    "stop-card check": ["card"],
    "stop-card list": [],
    "stop-card play": ["card"],
    "reject": ["7f3k-9qmx", "--reason", "r"],
    "restore": ["--all", "--reason", "r"],
    "resume": ["--all", "--reason", "r"],
    "revoke": ["--reason", "r"],
    "status": [],
    "store install": [],
    "store status": [],
    "watch": [],
    "workers": [],
    "withdraw": ["7f3k-9qmx"],
    "workers forget": ["pod-2", "--reason", "r"],
}
# These are about Redis alone: they read no keyset.
WITHOUT_KEYSET = {"acl", "acl check", "store install", "store status"}
# How a configuration is chosen from the folder it is in, and what the error has to say of that.
CHOSEN = {
    "default": ([], {}, "the default place"),
    "option": (["--config", "config/../config/go_live.yaml"], {}, "from --config"),
    "option-with-sign": (["--config=config/go_live.yaml"], {}, "from --config"),
    "variable": ([], {"GOLIVE_CONFIG": "config/go_live.yaml"}, "from $GOLIVE_CONFIG"),
    "both": (
        ["--config", "config/go_live.yaml"],
        {"GOLIVE_CONFIG": "elsewhere.yaml"},
        "from --config",
    ),
}


def reading() -> set[str]:
    """The commands that take a configuration."""
    found = set()
    for name, command in typer.main.get_command(application()).commands.items():
        for inner, each in {"": command, **getattr(command, "commands", {})}.items():
            if any("--config" in option.opts for option in each.params) or name == "revoke":
                found.add(f"{name} {inner}".strip())
    return found


def damaged(folder, what):
    """Break one file of a setup; return the path that the error has to name."""
    config, keyset = folder / "config" / "go_live.yaml", folder / "config" / "keyset.yaml"
    if what == "missing":
        config.unlink()
    elif what == "not readable":
        config.unlink()
        config.mkdir()  # root may read everything but this
    elif what == "not YAML":
        config.write_text("store: [\n")
    elif what == "unknown key":
        config.write_text(config.read_text() + "\nstor: 1\n")
    elif what == "no keyset":
        keyset.unlink()
        return keyset
    elif what == "writable keyset":
        keyset.chmod(0o666)
        return keyset
    elif what == "wrong keyset":
        keyset.write_text("principals: 1\n")
        return keyset
    return config


def test_every_command_that_takes_a_configuration_is_asked():
    assert reading() == set(WORDS)
    # Of `audit witness` no command reads one.
    without = {"help", "version", "audit", "propose"}
    assert {name.split()[0] for name in WORDS} | WITHOUT_CONFIG | without == set(COMMANDS)


@pytest.mark.parametrize("what", ["missing", "no keyset"])
@pytest.mark.parametrize("command", WORDS)
def test_every_command_names_the_file_in_full_and_what_chose_the_configuration(made, command, what):
    if command in WITHOUT_KEYSET:
        what = "missing"
    file = damaged(made.folder.resolve(), what)
    options = ["--config", "./config/go_live.yaml"]
    if command == "keys show" and what == "missing":
        options = options[:0]  # a key can be shown where no configuration is
    chosen = {"GOLIVE_CONFIG": "config/go_live.yaml"}
    done = made(*command.split(), *WORDS[command], **chosen)
    check(done, file, "from $GOLIVE_CONFIG", made.folder.resolve())
    if options:
        done = made(*command.split(), *WORDS[command], *options, **chosen)
        check(done, file, "from --config", made.folder.resolve())


def check(done, file, why, folder):
    assert done.returncode == Exit.CONFIG, done.stderr
    message = done.stderr.splitlines()[0]
    assert f"{file}" in message
    config = folder / "config" / "go_live.yaml"
    expected = f"({why})" if file == config else f"(configuration: {config}, {why})"
    assert message.endswith(f" {expected}"), message
    assert message.count(why) == 1


@pytest.mark.parametrize("chosen", CHOSEN)
@pytest.mark.parametrize(
    "what",
    [
        "missing",
        "not readable",
        "not YAML",
        "unknown key",
        "no keyset",
        "writable keyset",
        "wrong keyset",
    ],
)
def test_whatever_is_wrong_and_however_it_was_chosen(made, what, chosen):
    file = damaged(made.folder.resolve(), what)
    words, environ, why = CHOSEN[chosen]
    check(made("status", *words, **environ), file, why, made.folder.resolve())


def test_a_configuration_in_another_folder_is_named_in_full_too(made):
    below = made.folder / "below"
    below.mkdir()
    (made.folder / "config" / "keys" / "hb-1.pem").unlink()
    key = made.folder.resolve() / "config" / "keys" / "hb-1.pem"
    words = ("heartbeat", "--name", "hb-1", "--config", "../config/go_live.yaml")
    check(made(*words, cwd=below), key, "from --config", made.folder.resolve())


def test_a_state_folder_that_is_none_is_named_with_the_configuration_that_names_it(made):
    config = made.folder.resolve() / "config" / "go_live.yaml"
    config.write_text(re.sub(r"(?m)^#? ?state_dir:.*$", "", config.read_text()))
    config.write_text(config.read_text() + "\nstate_dir: state\n")
    state = config.parent / "state"
    state.write_text("")
    done = made("revoke", "--reason", "r", "--config", "config/go_live.yaml")
    assert f"{state}" in done.stderr
    check(
        made("heartbeat", "--name", "hb-1", "--config", "config/go_live.yaml"),
        state,
        "from --config",
        config.parent.parent,
    )


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "show", "nowhere/alice.pem"),
        ("keys", "new", "bob", "--role", "worker", "--out", "config/keys/alice.pem"),
        ("activate", "--reason", "r", "--yes", "--report", "nowhere/report"),
        ("preflight", "--out", "nowhere/report"),
        ("audit", "export", "--out", "nowhere/report"),
        ("audit", "verify", "--keyset", "nowhere/report"),
        ("audit", "verify", "--file", "nowhere/report", "--keyset", "config/keyset.yaml"),
        ("halt", "--reason", "r", "--ticket", "--config"),
        ("revoke", "--reason", "r", "--key", "nowhere/alice.pem"),
        ("init",),
        ("init", "--dir", "config/go_live.yaml"),
    ],
    ids=" ".join,
)
def test_no_file_is_named_by_a_path_that_rests_on_where_one_is(made, server, words):
    done = made(*words, GOLIVE_REDIS_URL=server.url)
    assert done.returncode
    named = re.findall(
        r"(\S*(?:alice\.pem|report|go_live\.yaml))", done.stderr.partition("hint:")[0]
    )
    folder = str(made.folder.resolve())
    assert all(path.startswith(folder) for path in named), done.stderr
    assert named or "--config" in words


def test_another_file_than_a_report_is_named_with_what_makes_one(made, server):
    words = ("activate", "--reason", "r", "--yes", "--report", "config/keyset.yaml")
    done = made(*words, GOLIVE_REDIS_URL=server.url)
    assert done.returncode == Exit.CONFIG
    path = made.folder.resolve() / "config/keyset.yaml"
    assert f"error: {path} is no saved report of a preflight: " in done.stderr
    assert "golive preflight --out FILE" in done.stderr


def test_a_file_that_is_judged_without_a_configuration_blames_none(made):
    done = made("audit", "verify", "--file", "nowhere", "--keyset", "config/keyset.yaml")
    path = made.folder.resolve() / "nowhere"
    assert done.returncode == Exit.CONFIG
    assert done.stderr.splitlines()[0] == f"error: {path}: No such file or directory"


def test_an_error_of_a_command_without_configuration_names_none(made):
    done = made("init", GOLIVE_CONFIG="config/go_live.yaml")
    assert "GOLIVE_CONFIG" not in done.stderr


def test_json_says_it_in_the_message(made):
    (made.folder / "config" / "keyset.yaml").unlink()
    path = made.folder.resolve() / "config" / "go_live.yaml"
    error = made.json("status", code=6, GOLIVE_CONFIG="config/go_live.yaml")["error"]
    assert error["message"].endswith(f"(configuration: {path}, from $GOLIVE_CONFIG)")


def test_a_file_that_is_not_the_error_is_not_named(made, server):
    done = made("halt", "--reason", "r", GOLIVE_REDIS_URL=server.url)
    assert done.returncode == Exit.REFUSED
    assert "go_live.yaml" not in done.stderr


@pytest.mark.parametrize("command", ["demo", "dev"])
def test_a_server_program_that_is_not_there_is_named_in_full(golive, command):
    done = golive(command, "--server", "./nowhere")
    path = golive.folder.resolve() / "nowhere"
    assert done.stderr.startswith(f"error: no server program at {path}\n")
    assert "called nowhere\n" in golive(command, "--server", "nowhere").stderr
