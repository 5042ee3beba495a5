"""A halt says whom it meets: what orders have stated reaches the operator, and so does a miss."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from golive_cli.exits import Exit
from golive_cli.main import main
from golive_redis.testing.server import EmbeddedServer

Golive = Callable[..., tuple[int, str]]
SYMBOLS = {"pod-1": "BTCUSDT", "pod-2": "BTC/USDT:USDT"}


@pytest.fixture
def live(
    fleet: Callable[..., Any], any_server: EmbeddedServer, wait_for: Callable[..., None]
) -> Any:
    """Two workers that trade one symbol each, and have told so."""
    live = fleet(any_server)
    live.go_live(*SYMBOLS)
    for name, symbol in SYMBOLS.items():
        live.workers[name].wait_permit(symbol=symbol, venue="paper")

    def told() -> bool:
        found = {
            key.decode().split(":")[2]: json.loads(live.raw.hget(key, "stated") or "{}")
            for key in live.raw.keys("golive:worker:*")
        }
        return found == {name: {"symbol": [s], "venue": ["paper"]} for name, s in SYMBOLS.items()}

    wait_for(told, what="the values")
    return live


@pytest.fixture(params=["quick", "typer"])
def golive(
    request: pytest.FixtureRequest,
    live: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Golive:
    """The command, on either of its ways."""
    if request.param == "typer":
        monkeypatch.setattr("golive_cli.main.QUICK", frozenset())

    def golive(*words: str) -> tuple[int, str]:
        code = main([*words, "--config", str(live.path)])
        return code, "".join(capsys.readouterr())

    return golive


def permits(live: Any) -> dict[str, bool]:
    return {name: bool(live.workers[name].check(symbol=s)["permit"]) for name, s in SYMBOLS.items()}


def everything(live: Any) -> dict[bytes, Any]:
    """What stands in Redis for good."""
    raw = live.raw
    return {
        b"last": raw.get("golive:last"),
        b"epoch": raw.get("golive:epoch"),
        b"audit": raw.xlen("golive:audit"),
        b"active": raw.hgetall("golive:active"),
    }


def test_a_halt_that_meets_nobody_says_so_names_what_is_near_and_stays_in_force(
    live: Any, golive: Golive
) -> None:
    """Row 81."""
    code, said = golive("halt", "symbol=BTC-USD", "--reason", "news")
    assert code == Exit.NO_MATCH == 8
    lines = said.splitlines()
    assert [line.split()[-1] for line in lines[1:3]] == ["no", "no"]
    assert lines[3] == ("NO WORKER MATCHES symbol=BTC-USD: 2 worker(s) have stated other values")
    assert lines[4].startswith(
        "HALTED symbol=BTC-USD in test (golive): term 1, epoch 2, audit entry written; 2 of 2"
    )
    assert lines[5] == "did you mean symbol=BTCUSDT, symbol=BTC/USDT:USDT?"
    assert lines[6:] == ["It stays in force; golive resume symbol=BTC-USD --reason ... lifts it."]
    (halt,) = live.status().active.restrictions
    assert halt.labels == {"symbol": "BTC-USD"}
    assert live.workers["pod-1"].check(symbol="btc-usd ")["reason"] == "halted"
    for name, symbol in SYMBOLS.items():
        live.workers[name].wait_permit(symbol=symbol)


def test_a_halt_says_how_many_workers_and_which_values_it_meets(live: Any, golive: Golive) -> None:
    """Row 81."""
    code, said = golive("halt", "symbol= btcusdt", "--reason", "news")
    assert code == Exit.DONE
    assert "1 of 2 worker(s) match: symbol=BTCUSDT" in said
    assert "not concerned, though near: symbol=BTC/USDT:USDT" in said
    assert permits(live)["pod-1"] is False
    code, said = golive("reduce", "symbol=btc*", "--reason", "news", "--json")
    assert code == Exit.DONE
    result = json.loads(said)
    assert (result["matching"], result["near"], result["dry_run"]) == (2, {}, False)
    assert {row["id"]: (row["matches"], row["values"]) for row in result["workers"]} == {
        name: ("matches", {"symbol": [symbol]}) for name, symbol in SYMBOLS.items()
    }
    assert all(row["applied_ms"] is not None for row in result["workers"])
    code, said = golive("halt", "desk=fx", "--reason", "an unstated label may be anything")
    assert (code, "2 of 2 worker(s) match" in said) == (Exit.DONE, True)
    assert permits(live) == {"pod-1": False, "pod-2": False}


def test_a_dry_run_says_whom_it_would_meet_and_changes_nothing(live: Any, golive: Golive) -> None:
    live.halt(symbol="BTCUSDT")
    before = everything(live)
    for kind in ("halt", "reduce"):
        code, said = golive(kind, "symbol=BTC/USDT*", "--reason", "r", "--dry-run")
        assert code == Exit.DONE
        assert (
            f"DRY RUN {kind} symbol=BTC/USDT* in test (golive): term 1, 1 of 2 worker(s) match"
            in said
        )
        code, said = golive(kind, "worker=pod-3", "--reason", "r", "--dry-run", "--json")
        result = json.loads(said)
        assert (code, result["dry_run"], result["matching"]) == (Exit.NO_MATCH, True, 0)
        assert result["near"] == {"worker": ["pod-1", "pod-2"]}
    code, said = golive("demote", "micro", "--reason", "r", "--dry-run")
    assert code == Exit.REFUSED and "micro is not smaller" in said
    code, said = golive("resume", "symbol=btcusdt", "--reason", "r", "--dry-run")
    assert code == Exit.DONE
    assert "would lift halt 2 for symbol=BTCUSDT, by alice: test" in said
    assert (
        "DRY RUN resume in test (golive): term 1, no halts or reductions remain; nothing was changed"
        in said
    )
    for asked in ("--all", "symbol=X"):
        code, said = golive("restore", asked, "--reason", "r", "--dry-run")
        assert (code, "no reduction is in force" in said) == (Exit.REFUSED, True)
    for kind in ("resume", "restore"):
        code, said = golive(kind, "--all", "symbol=BTCUSDT", "--reason", "r")
        assert (code, "--all or labels, not both" in said) == (Exit.USAGE, True)
    assert everything(live) == before
    code, said = golive("resume", "symbol=X", "--reason", "r")
    assert code == Exit.REFUSED
    assert (
        "no halt with these labels is in force (halt 2 by alice (test) for symbol=BTCUSDT)" in said
    )
    assert permits(live)["pod-1"] is False
    code, said = golive("resume", "symbol=btcusdt", "--reason", "r", "--json")
    result = json.loads(said)
    assert (code, result["dry_run"], result["lifts"][0]["epoch"]) == (Exit.DONE, False, 2)


def test_a_halt_that_nobody_answers_is_in_force_and_no_success(live: Any, golive: Golive) -> None:
    """Row 81."""
    live.workers["pod-1"].pause()
    code, said = golive("halt", "worker=pod-1", "--reason", "news")
    assert code == Exit.NO_MATCH
    assert "NO ANSWER from the 1 worker(s) that it concerns" in said
    assert "no answer" in said and "No answer from" in said and "is off within 0.5 s" in said
    live.workers["pod-1"].resume()


def test_a_halt_of_a_fleet_without_workers_is_in_force_and_no_success(
    fleet: Callable[..., Any], any_server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Row 81."""
    live = fleet(any_server)
    live.start_heartbeat()
    begun = time.monotonic()
    live.activate(wait_s=60)  # for nobody: it does not wait
    assert time.monotonic() - begun < 30
    assert main(["halt", "--reason", "news", "--config", str(live.path)]) == Exit.NO_MATCH
    said = capsys.readouterr().out
    assert said.startswith(
        "NO WORKER is there: nothing is known to be stopped by it\nHALTED all orders"
    )
    assert said.endswith("It stays in force; golive resume --reason ... lifts it.\n")
    assert [item.kind for item in live.status().active.restrictions] == ["halt"]
