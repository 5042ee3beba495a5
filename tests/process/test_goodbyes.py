"""Leaving: a signed goodbye stands for a worker, and nothing unsigned does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from golive_cli.exits import Exit
from golive_cli.main import main
from golive_redis import Guard
from golive_redis.core.barrier import Pod
from golive_redis.errors import RefusedError
from golive_redis.operator import forgetting
from golive_redis.operator.forgetting import forget
from golive_redis.operator.session import Operator
from golive_redis.stop.attestation import attest
from golive_redis.testing.server import EmbeddedServer


def test_a_clean_restart_of_every_worker_leaves_the_next_stop_complete_by_receipts(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 96: of those that were there at the activation, and of those that came and went since."""
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2")
    for _ in range(2):
        for name in ("pod-1", "pod-2"):
            live.workers[name].quit()
            live.start_worker(name)
    live.wait_all_armed()
    rows = sorted(row.id for row in live.status().workers)  # listed by who was first seen
    assert rows == ["pod-1", "pod-2"], "the others have left"
    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")
    left = [row.pod.worker for row in report.outcome.workers if row.goodbye_ms is not None]
    assert left == ["pod-1", "pod-1", "pod-2", "pod-2"]
    assert all(row.signed_by == "workers" for row in report.outcome.workers)
    now = {f"{name}:{worker.instance}" for name, worker in live.workers.items()}
    assert {member.decode() for member in live.raw.zrange("golive:fleet", 0, -1)} == now

    live.activate()
    live.workers["pod-1"].quit()
    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")


def test_an_entry_that_is_gone_without_a_goodbye_is_asked_for_all_the_same(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Row 97: somebody takes a worker off the roster that is cut off, or frozen."""
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2")
    hidden = live.workers["pod-2"]
    hidden.pause()
    member = f"pod-2:{hidden.instance}"
    live.raw.zrem("golive:fleet", member)
    # A goodbye that another signed, or nobody, strikes nobody either.
    live.raw.set(f"golive:left:{member}", b"goodbye")
    report = live.revoke()
    assert (report.outcome.result, report.outcome.by) == ("STOPPED", "time")
    assert report.outcome.drain_unknown == ["pod-2"]
    again = live.revoke()
    assert again.outcome.drain_unknown == ["pod-2"], "nor does saying it twice"
    hidden.resume()


def test_a_worker_that_is_attested_dead_is_asked_by_no_host(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 119: by its signed word alone, and the word is in the ledger."""
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2")
    pod = f"pod-2:{live.workers['pod-2'].instance}"
    with Operator(live.config) as operator:
        with pytest.raises(RefusedError, match=r"heard too lately: pod-2:.* s ago"):
            forget(operator, ["pod-2"], reason="test")
        with pytest.raises(RefusedError, match=r"no silent worker 'pod_2' is on the roster"):
            forget(operator, ["pod_2"], reason="test")
    live.workers["pod-2"].kill()
    wait_for(lambda: not live.raw.exists(f"golive:worker:{pod}"), what="it is gone")
    with Operator(live.config) as operator:
        found = forget(operator, ["pod-2"], reason="its node is gone", ticket="T-7")
    assert ([each.short for each in found.dead], found.back) == ([pod[: len("pod-2:") + 6]], ())
    assert [row.id for row in live.status().workers] == ["pod-1"]
    (note,) = (note for note in live.notes() if note.topic == "worker-dead")
    assert (note.by, note.facts) == (
        found.by,
        {
            "worker": "pod-2",
            "instances": pod.partition(":")[2],
            "reason": "its node is gone",
            "ticket": "T-7",
        },
    )
    # This host remembers that it was there at the activation.
    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")
    rows = {row.pod.worker: row.attested_dead for row in report.outcome.workers}
    assert rows == {"pod-1": False, "pod-2": True}
    topics = [note.topic for note in live.notes()]
    assert topics.count("worker-dead") == 1, "whoever stops attests nothing that somebody else has"


@pytest.mark.parametrize("word", ["unsigned", "signed by a heartbeat", "of another process"])
def test_no_other_word_makes_a_worker_dead(
    fleet: Callable[..., Any], own_server: EmbeddedServer, word: str
) -> None:
    """Row 119."""
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2")
    hidden = live.workers["pod-2"]
    hidden.pause()
    member = f"pod-2:{hidden.instance}"
    live.raw.zrem("golive:fleet", member)
    pod = Pod("pod-2", "0" * 32 if word == "of another process" else hidden.instance)
    keyset = live.config.keyset()
    signer = live.config.stop_signer(keyset)
    if word == "signed by a heartbeat":
        signer = live.config.signer("heartbeat", keyset, name="hb-1")
    live.raw.delete(f"golive:worker:{member}")
    with Operator(live.config) as operator:
        assert list(attest(operator.store, operator.trust, signer, [pod])) == [[pod]]
    raw = live.raw.get(f"golive:left:{pod.worker}:{pod.instance}")
    live.raw.set(f"golive:left:{member}", b"dead" if word == "unsigned" else raw)
    report = live.revoke()
    assert (report.outcome.result, report.outcome.by) == ("STOPPED", "time")
    assert report.outcome.drain_unknown == ["pod-2"]
    hidden.resume()


def test_a_word_about_a_worker_that_lives_is_taken_back_by_its_next_read(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 119: it was frozen, and taken for dead."""
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2")
    frozen = live.workers["pod-2"]
    frozen.pause()
    member = f"pod-2:{frozen.instance}"
    wait_for(lambda: not live.raw.exists(f"golive:worker:{member}"), what="it is silent")
    with Operator(live.config) as operator:
        assert forget(operator, ["pod-2"], reason="taken for dead").back == ()
    word = live.raw.get(f"golive:left:{member}")
    frozen.resume()
    wait_for(lambda: live.raw.zscore("golive:fleet", member) is not None, what="it reads")
    frozen.kill()
    # Its registration has ended the word. Who puts it back gains nothing while it is on the roster.
    live.raw.set(f"golive:left:{member}", word)
    report = live.revoke()
    assert (report.outcome.result, report.outcome.by) == ("STOPPED", "time")
    assert report.outcome.drain_unknown == ["pod-2"]


def test_a_word_that_a_worker_has_taken_back_does_not_count_when_its_entry_is_hidden(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 119: taken for dead, back again, and then somebody takes it off the roster."""
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2")
    frozen = live.workers["pod-2"]
    frozen.pause()
    member = f"pod-2:{frozen.instance}"
    wait_for(lambda: not live.raw.exists(f"golive:worker:{member}"), what="it is silent")
    with Operator(live.config) as operator:
        assert forget(operator, ["pod-2"], reason="taken for dead").back == ()
    frozen.resume()
    wait_for(lambda: live.raw.zscore("golive:fleet", member) is not None, what="it reads")
    frozen.pause()
    assert live.raw.get(f"golive:left:{member}") == b"", "the word is ended, and its place stays"
    assert live.raw.pttl(f"golive:left:{member}") > 0
    live.raw.zrem("golive:fleet", member)
    report = live.revoke()
    assert (report.outcome.result, report.outcome.by) == ("STOPPED", "time")
    assert report.outcome.drain_unknown == ["pod-2"]
    frozen.resume()


def test_the_command_says_that_a_worker_has_come_back(
    fleet: Callable[..., Any],
    own_server: EmbeddedServer,
    wait_for: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Row 119: it wakes while the command watches."""
    live = fleet(own_server)
    live.go_live("pod-1", "pod-2")
    frozen = live.workers["pod-2"]
    frozen.pause()
    member = f"pod-2:{frozen.instance}"
    live.raw.delete(f"golive:worker:{member}")

    def wake(_: float) -> None:
        assert live.raw.zscore("golive:fleet", member) is not None, "it is asked meanwhile"
        frozen.resume()
        wait_for(lambda: live.raw.exists(f"golive:worker:{member}"), what="it reads")

    monkeypatch.setattr(forgetting.clock, "pause_ms", wake)
    command = ["workers", "forget", "pod-2", "--reason", "taken for dead"]
    assert main([*command, "--config", str(live.path)]) == Exit.REFUSED
    out = capsys.readouterr().out
    short = Pod("pod-2", frozen.instance).short
    assert out.startswith(f"NOT DEAD {short} in test") and "FORGOTTEN" not in out
    assert not live.raw.exists(f"golive:left:{member}"), "no word is kept"
    # Options that would be left out are refused, and so is a reason that says nothing.
    assert main(["workers", "--config", str(live.path), *command[1:]]) == Exit.USAGE
    assert "stand after it" in capsys.readouterr().err
    assert main([*command[:-1], " ", "--config", str(live.path)]) == Exit.USAGE
    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")


def test_whoever_was_silent_for_longer_than_any_lease_leaves_with_the_next_activation(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """A4, row 108: started without a goodbye; planted, with no presence or one that never ends."""
    live = fleet(own_server)
    live.start_worker("pod-1")
    live.start_heartbeat("hb-1")
    ghosts = [f"ghost-{number}:{number:032x}" for number in range(2)]
    live.raw.zadd("golive:fleet", dict.fromkeys(ghosts, 1))
    live.raw.hset(f"golive:worker:{ghosts[1]}", mapping={"state": "armed", "term": "1"})
    wait_for(lambda: "pod-1" in {row.id for row in live.status().workers if row.alive})
    rows = {row.id: row for row in live.status().workers}
    assert [rows[name].alive for name in ("ghost-0", "ghost-1", "pod-1")] == [False, False, True]
    assert rows["ghost-1"].reason.startswith("when it was heard is not known")
    said: list[str] = []
    done = live.activate(say=said.append)
    assert any("without a goodbye: ghost-0, ghost-1; one that is frozen" in text for text in said)
    assert ([item.name for item in done.armed], done.not_armed) == (["pod-1"], ())
    own = f"pod-1:{live.workers['pod-1'].instance}"
    assert live.raw.zrange("golive:fleet", 0, -1) == [own.encode()]
    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")


def test_a_closed_fleet_that_redis_has_forgotten_can_be_activated(
    fleet: Callable[..., Any], own_server: EmbeddedServer, wait_for: Callable[..., None]
) -> None:
    """Row 109: it goes on asking for orders, so that there is always a count to tell."""
    live = fleet(own_server)
    live.start_worker("pod-1", rate_hz=40)
    live.start_heartbeat("hb-1")
    for _ in range(3):
        skipped = live.raw.hget(_presence(live), "skipped")
        wait_for(lambda skipped=skipped: live.raw.hget(_presence(live), "skipped") != skipped)
        live.raw.flushall()
        wait_for(lambda: live.raw.exists(_presence(live)), what="it is there again")
        assert live.raw.hget(_presence(live), "version"), "and tells all of it"
    live.activate()
    live.workers["pod-1"].wait_permit()


def test_a_guard_that_is_closed_at_once_says_goodbye(
    fleet: Callable[..., Any], own_server: EmbeddedServer
) -> None:
    """Bots that crash at their start; the first answer of each shows the last stop."""
    live = fleet(own_server)
    live.go_live("pod-1")
    live.revoke()
    live.activate()
    for number in range(12):
        Guard.open(live.config, worker=f"crashy-{number}").close()
    assert [row.id for row in live.status().workers] == ["pod-1"]
    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")


HEAD = """
import asyncio, multiprocessing, os, signal, sys
from contextlib import suppress
from golive_redis import Guard

def work(start=None):
    guard = Guard.open(sys.argv[1], worker="pod-1")
    assert guard.wait_armed(60)
    print("armed", flush=True)
    return guard

if __name__ == "__main__":
"""
ENDINGS = {
    "returns": """
    guard = work()
""",
    "raises": """
    guard = work()
    raise ValueError("meant")
""",
    "in an order": """
    guard = work()
    with guard.order():
        sys.exit(3)
""",
    "asyncio, SIGTERM": """
    async def main():  # as in docs/how-to/guard-your-bot.md
        stop = asyncio.current_task().cancel
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        guard = await asyncio.to_thread(Guard.open, sys.argv[1], worker="pod-1")
        try:
            assert await guard.wait_armed_async(60)
            async with guard.order():
                print("armed", flush=True)
                os.kill(os.getpid(), signal.SIGTERM)
                await asyncio.sleep(60)
        finally:
            await asyncio.to_thread(guard.close)

    with suppress(asyncio.CancelledError):
        asyncio.run(main())
""",
    "child forked": """
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    sys.exit(child.exitcode)
""",
    "child spawned": """
    child = multiprocessing.get_context("spawn").Process(target=work)
    child.start()
    child.join()
    sys.exit(child.exitcode)
""",
    "pool": """
    with multiprocessing.get_context("fork").Pool(1) as pool:
        pool.apply_async(work)
        pool.close()
        pool.join()
""",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_process_that_ends_without_close_says_goodbye_all_the_same(
    fleet: Callable[..., Any], any_server: EmbeddedServer, tmp_path: Path, ending: str
) -> None:
    live = fleet(any_server)
    live.start_heartbeat("hb-1")
    live.activate(wait_s=0)
    program = tmp_path / "bot.py"
    program.write_text(HEAD + ENDINGS[ending])
    done = subprocess.run(
        [sys.executable, "-P", str(program), str(live.path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "armed" in done.stdout, done.stderr
    assert done.returncode == {"raises": 1, "in an order": 3}.get(ending, 0), done.stderr
    report = live.revoke(config=live.patient)
    assert (report.outcome.result, report.outcome.by) == ("COMPLETE", "receipts")
    assert [row.goodbye_ms is not None for row in report.outcome.workers] == [True]


def _presence(live: Any) -> str:
    return f"golive:worker:pod-1:{live.workers['pod-1'].instance}"
