"""A stop gives its signer a second in all; whoever needs longer signs later."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from golive_redis import config as configuration
from golive_redis.config import Config, keyfile
from golive_redis.errors import ConfigError, SignerError
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import peek
from golive_redis.signers.asked import Asked
from golive_redis.stop import signing
from golive_redis.stop.signing import StopSigning
from golive_redis.testing import Signers
from kit.keystores import answering, script, signing_with

SIGNERS = Signers()
ALICE = SIGNERS.signers["alice"]._private
OURS = SIGNERS.revocation(9, by="alice")
LIMITS = {
    "currency": "USD",
    "max_order_notional": "25",
    "max_position_notional": "100",
    "max_daily_loss": "50",
    "max_orders_per_minute": 600,
}


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Config]:
    def make(operator: str, **environ: str) -> Config:
        keys = {"operator": operator}
        file: dict[str, Any] = {"environment": "test", "profiles": {"micro": LIMITS}, "keys": keys}
        (tmp_path / "go_live.yaml").write_text(json.dumps(file))
        (tmp_path / "keyset.yaml").write_text(json.dumps(SIGNERS.keyset_file))
        return configuration.load(tmp_path / "go_live.yaml", environ=environ)

    return make


def test_a_program_that_hangs_is_told_once_and_its_signature_is_taken_when_it_comes(
    load, tmp_path: Path
) -> None:
    wait = "while not os.path.exists('touched'): time.sleep(0.01)\n"
    script(tmp_path / "sign", wait + signing_with(ALICE))
    told: list[str] = []

    def late() -> None:
        told.append("late")
        assert not (tmp_path / "touched").exists()
        (tmp_path / "touched").touch()

    stop = StopSigning(load("exec:alice:./sign"), None, late)
    stop.open(SIGNERS.keyset)
    assert not told, "nothing is asked of a program until there is something to sign"
    assert stop.seal(peek(OURS, Revocation)) == OURS
    assert told == ["late"] and stop.is_late
    (tmp_path / "touched").unlink()
    threading.Timer(0.3, (tmp_path / "touched").touch).start()
    assert stop.seal(peek(OURS, Revocation)) == OURS
    assert told == ["late"], "the fleet is off; there is nothing to hurry for"


def test_the_second_is_for_all_that_is_waited_for_together(
    load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that takes most of it to list its keys leaves little for the signature."""
    monkeypatch.setattr(signing, "PATIENCE_MS", 60_000.0)
    stop = StopSigning(load("exec:alice:./sign"), None, lambda: pytest.fail("too early"))
    script(tmp_path / "sign", "time.sleep(0.4)\n" + signing_with(ALICE))
    stop.open(SIGNERS.keyset)
    stop.seal(peek(OURS, Revocation))
    assert stop._left_ms <= 60_000 - 400
    before = stop._left_ms
    stop.seal(peek(OURS, Revocation))
    assert stop._left_ms <= before - 400


def test_an_agent_that_never_answers_is_late_before_anything_is_signed(
    load, tmp_path: Path
) -> None:
    told: list[str] = []
    with answering(tmp_path / "s", lambda _: None):
        config = load("agent:", SSH_AUTH_SOCK=str(tmp_path / "s"))
        stop = StopSigning(config, None, lambda: told.append("late"))
        with pytest.raises(SignerError, match="has not answered within"):
            stop.open(SIGNERS.keyset)
    assert told == ["late"]


def test_a_key_in_a_file_is_asked_on_this_thread(
    load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyfile.write(tmp_path / "alice.pem", ALICE)
    monkeypatch.setattr(Asked, "__init__", lambda *_: pytest.fail("a thread for a file"))
    stop = StopSigning(load("alice.pem"), None, lambda: pytest.fail("late"))
    stop.open(SIGNERS.keyset)
    assert stop.seal(peek(OURS, Revocation)) == OURS


def test_a_key_whose_holder_may_not_stop_signs_nothing(load, tmp_path: Path) -> None:
    keyfile.write(tmp_path / "pod-1.pem", SIGNERS.signers["pod-1"]._private)
    stop = StopSigning(load("pod-1.pem"), None, lambda: None)
    with pytest.raises(ConfigError, match="every pod would refuse one that pod-1 signs"):
        stop.open(SIGNERS.keyset)


def test_an_error_of_the_thread_comes_to_who_asked_and_not_before_it_is_there() -> None:
    going = threading.Event()

    def step() -> int:
        going.wait(30)
        raise SignerError("no")

    asked = Asked(step)
    assert not asked.is_answered(0.0)
    going.set()
    assert asked.is_answered(30)
    with pytest.raises(SignerError, match="no"):
        asked.answer()
