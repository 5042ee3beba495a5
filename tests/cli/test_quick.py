"""The commands that go past Typer mean the same, and do without what makes a start slow."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer.main

from golive_cli import app, main, quick
from golive_cli.commands import change, heartbeat, status
from golive_cli.exits import UsageError

SLOW = ("typer", "pydantic", "redis.asyncio", "redis.client", "golive_redis.checks.sources.http")


@pytest.fixture
def taken(monkeypatch):
    """What a command would have been called with."""
    calls = []

    def note(name):
        return lambda *words, **options: calls.append((name, words, options))

    monkeypatch.setattr(change, "restrict", note("restrict"))
    monkeypatch.setattr(status, "status", note("status"))
    monkeypatch.setattr(status, "workers", note("workers"))
    monkeypatch.setattr(heartbeat, "heartbeat", note("heartbeat"))
    return calls


@pytest.mark.parametrize("command", quick.COMMANDS)
def test_what_is_read_here_is_what_typer_declares(command):
    assert command in main.QUICK
    declared = typer.main.get_command(app.application([command])).commands[command].params
    options = {word for each in declared if each.param_type_name == "option" for word in each.opts}
    takes = quick.COMMANDS[command][0]
    in_no_hurry = {"--help", "--dry-run"}
    assert options - in_no_hurry == {*takes, quick.FLAG}
    has_labels = any(each.param_type_name == "argument" for each in declared)
    assert has_labels == (takes is quick.RESTRICTION)
    required = {word for each in declared if each.required for word in each.opts}
    needed = quick.NEEDED.get(takes)
    assert required == ({needed} if needed else set())


def test_each_quick_command_is_read():
    assert set(quick.COMMANDS) == main.QUICK


@pytest.mark.parametrize(
    "line",
    [
        "status",
        "status --json",
        "status --config a.yaml",
        "workers --config=a=b.yaml --json",
        "halt --reason because",
        "halt symbol=BTCUSDT --reason=because venue=paper",
        "halt --ticket T-1 --json --reason because --config c.yaml symbol=BTCUSDT",
        "reduce --reason because symbol=X",
        "heartbeat --name hb-1",
        "heartbeat --json --config a.yaml --name=hb-1",
    ],
)
def test_a_plain_command_means_the_same_on_both_ways(taken, line):
    words = line.split()
    assert quick.run(words) == 0
    assert app.run(words) == 0
    quickly, slowly = taken
    # Typer says None for no labels.
    assert [[word or None for word in quickly[1]], quickly[2]] == [
        [word or None for word in slowly[1]],
        slowly[2],
    ]
    assert quickly[0] == slowly[0]


@pytest.mark.parametrize(
    "words",
    [
        ["status", "--help"],
        ["status", "extra"],
        ["status", "--config"],
        ["status", "--config", ""],
        ["status", "--config", "--json"],
        ["status", "--config", "a", "--config", "b"],
        ["status", "--json", "--json"],
        ["status", "--jso"],
        ["status", "--", "extra"],
        ["status", "--reason", "x"],
        ["heartbeat"],
        ["heartbeat", "hb-1"],
        ["halt"],
        ["halt", "symbol=X"],
        ["halt", "--reason", "x", "--dry-run"],
        ["halt", "--reason", "", "symbol=X"],
        ["halt", "--reason", "-x"],
        ["halt", "--reason", "x", "--all"],
        ["halt", "--reason", "x", "--", "symbol=X"],
    ],
)
def test_anything_unusual_is_left_to_typer(taken, words):
    assert quick.run(words) is None
    assert taken == []


def test_a_command_that_lacks_its_reason_is_refused_by_typer():
    with pytest.raises(UsageError, match="--reason"):
        app.run(["halt", "symbol=X"])


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["workers", "--json"],
        ["halt", "--reason", "x"],
        ["revoke", "--reason", "x"],
        ["heartbeat", "--name", "x"],
    ],
)
def test_a_quick_command_loads_nothing_that_it_does_not_use(words):
    out = python(
        "import sys; from golive_cli.main import main\n"
        f"print(main({[*words, '--config', '/nowhere/go_live.yaml']!r}))\n"
        f"print('redis.connection' in sys.modules, [n for n in {SLOW!r} if n in sys.modules])"
    )
    assert out.splitlines()[-2:] == ["6", "True []"]


def test_one_command_imports_no_module_of_another():
    out = python(
        "import sys; from golive_cli.main import main; main(['keys', 'list', '--help'])\n"
        "print([n.split('.')[-1] for n in sys.modules if n.startswith('golive_cli.commands.')])"
    )
    assert set(eval(out.splitlines()[-1])) <= {
        *("keys", "keyset", "keypublish", "init"),
        "stopcard",  # of which `keys status` shows the cards
    }


def test_a_postponed_package_is_whole_when_it_is_used():
    assert (
        python(
            "from golive_cli.main import postpone; postpone('redis'); postpone('redis')\n"
            "import redis, redis.connection, sys\n"
            "assert 'redis.client' not in sys.modules\n"
            "assert redis.connection.Connection\n"
            "from redis import Redis\n"
            "assert redis.Redis is Redis and redis.asyncio.Redis and redis.__version__\n"
            "assert not hasattr(redis, 'nothing')\n"
            "print('ok')"
        )
        == "ok\n"
    )


def test_a_package_that_is_missing_or_loaded_is_left_alone():
    assert (
        python(
            "import sys; from golive_cli.main import postpone; postpone('no_such_package')\n"
            "assert 'no_such_package' not in sys.modules\n"
            "import redis; before = dict(vars(redis)); postpone('redis')\n"
            "assert sys.modules['redis'] is redis and vars(redis) == before\n"
            "print('ok')"
        )
        == "ok\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "halt --reason --json symbol=BTC",
        "halt --reason x --ticket --json symbol=BTC",
        "halt --reason x --config --json symbol=BTC",
        "reduce symbol=BTC --reason --json",
        "status --config --json c.yaml",
        "halt --reason x --json --json symbol=BTC",
    ],
)
def test_a_flag_where_a_value_is_due_is_left_to_typer(taken, line):
    """A halt of one symbol must not become one of everything."""
    assert quick.run(line.split()) is None
    assert taken == []
