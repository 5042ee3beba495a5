"""Checkpoints by real heartbeats: who signs, what nobody signs, and what witnesses do to it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from golive_redis import clock
from golive_redis.audit.beginning import facts
from golive_redis.audit.history import Carry
from golive_redis.operator import status
from golive_redis.operator.session import Operator
from golive_redis.records.checkpoint import OpenedCheckpoint, open_checkpoint
from golive_redis.records.envelope import seal
from golive_redis.records.keyset import decode_public
from golive_redis.records.ledger import GENESIS, Note, extend
from golive_redis.records.merkle import EMPTY, leaf
from golive_redis.records.signednote import KeyType, VerifierKey
from golive_redis.store.keyspace import Keyspace
from golive_redis.testing.server import EmbeddedServer
from kit.fleet import Fleet
from kit.notary import naive_root, witness_key
from kit.program import Wait
from kit.witnesses import WitnessProcess, make_witness

ORIGIN = "test.invalid/golive"
HEARTBEATS = ("hb-1", "hb-2", "hb-3")
Start = Callable[..., Fleet]


@pytest.fixture
def publishing(fleet: Start) -> Start:
    """A fleet whose heartbeats sign each second what is a second old."""

    def start(server: EmbeddedServer, *, url: str = "", **audit: Any) -> Fleet:
        return fleet(
            server,
            timing={"failover_ms": 500},
            audit={"checkpoint_lag": "1s", "checkpoint_every": "1s", **audit},
            **({"store": {"url": url}} if url else {}),
        )

    return start


def key_of(live: Fleet, name: str) -> VerifierKey:
    return VerifierKey(ORIGIN, KeyType.ED25519, decode_public(live.principals[name]["keys"][0]))


def write(raw: Any, count: int = 1, word: str = "entry") -> None:
    """Append so many entries, as the scripts do."""
    head = (raw.get("golive:head") or GENESIS.encode()).decode()
    pipe = raw.pipeline()
    length = raw.xlen("golive:audit")
    for number in range(length, length + count):
        record = f"{word} {number}".encode()
        head = extend(head, record)
        pipe.xadd("golive:audit", {"r": record, "h": head})
    pipe.set("golive:head", head)
    pipe.execute()


def leaves(raw: Any) -> list[bytes]:
    return [leaf(fields[b"r"]) for _, fields in raw.xrange("golive:audit")]


def published(live: Fleet, raw: Any = None) -> OpenedCheckpoint | None:
    """The checkpoint that stands in Redis, by any heartbeat and any witness."""
    note = (raw or live.raw).get("golive:checkpoint")
    if note is None:
        return None
    return open_checkpoint(
        note,
        [key_of(live, name) for name in HEARTBEATS],
        [witness_key("w1", "w1"), witness_key("w2", "w2")],
    )


def signers(live: Fleet, note: OpenedCheckpoint) -> set[str]:
    keys = {signed.verifier for signed in note.logs}
    return {name for name in HEARTBEATS if key_of(live, name) in keys}


def wait_covered(live: Fleet, wait_for: Wait, raw: Any = None) -> OpenedCheckpoint:
    """Wait until all that is in the ledger is in the checkpoint, and return that."""
    raw = raw or live.raw
    found: list[OpenedCheckpoint] = []

    def covered() -> bool:
        note, length = published(live, raw), raw.xlen("golive:audit")
        found[:] = [note] if note is not None else []
        return note is not None and note.checkpoint.size == length

    wait_for(covered, what="a checkpoint of all entries")
    checkpoint = found[0].checkpoint
    assert checkpoint.root == naive_root(leaves(raw)[: checkpoint.size])
    assert checkpoint.origin == ORIGIN
    return found[0]


@pytest.fixture
def witness(tmp_path: Path, wait_for: Wait) -> Iterator[Callable[..., WitnessProcess]]:
    """Starts a witness of a fleet's log: `witness(live, "w1")`."""
    with contextlib.ExitStack() as stack:

        def start(live: Fleet, name: str, folder: str = "", port: int = 0) -> WitnessProcess:
            place = tmp_path / (folder or name)
            if not place.exists():
                make_witness(place, name, name, [key_of(live, each) for each in HEARTBEATS])
            process = WitnessProcess(place, wait_for, port=port)
            stack.callback(process.kill)
            return process

        yield start


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def listed(name: str, url: str) -> dict[str, str]:
    return {"vkey": witness_key(name, name).text, "url": url}


# -- who signs -------------------------------------------------------------------------------------


def test_the_first_by_name_signs_and_when_it_is_killed_the_second_goes_on(
    publishing: Start, own_server: EmbeddedServer, wait_for: Wait
) -> None:
    live = publishing(own_server)
    write(live.raw, 7)
    for name in ("hb-2", "hb-1"):
        live.start_heartbeat(name)
    wait_for(lambda: own_server_has(live, "hb-1", "hb-2"), what="both are on the roster")
    write(live.raw, 3)
    first = wait_covered(live, wait_for)
    wait_for(lambda: signs_alone(live, "hb-1"), what="hb-1 signs")
    live.heartbeats["hb-1"].kill()
    write(live.raw, 5)
    second = wait_covered(live, wait_for)
    assert signers(live, second) == {"hb-2"}
    assert second.checkpoint.size > first.checkpoint.size
    # It is back, and takes over from where the other one was.
    live.start_heartbeat("hb-1")
    wait_for(lambda: signs_alone(live, "hb-1"), what="hb-1 signs again")
    assert not [
        text for item in live.heartbeats.values() for text in item.said() if "SECUR" in text
    ]


def own_server_has(live: Fleet, *names: str) -> bool:
    roster = {name.decode() for name in live.raw.hkeys("golive:heartbeats")}
    return roster >= set(names)


def signs_alone(live: Fleet, name: str) -> bool:
    """Write an entry, and tell whether the newest checkpoint is signed by that heartbeat alone."""
    write(live.raw)
    note = published(live)
    return note is not None and signers(live, note) == {name}


def test_what_is_younger_than_the_lag_is_in_no_checkpoint(
    publishing: Start, own_server: EmbeddedServer, wait_for: Wait
) -> None:
    live = publishing(own_server)
    write(live.raw, 4)
    seconds, micros = live.raw.time()
    later = seconds * 1000 + micros // 1000 + 3_600_000
    live.raw.xadd("golive:audit", {"r": b"later", "h": b"x"}, id=f"{later}-0")
    live.start_heartbeat("hb-1")
    wait_for(lambda: published(live) is not None, what="a checkpoint")
    note = published(live)
    assert note is not None and note.checkpoint.size == live.raw.xlen("golive:audit") - 1
    assert note.checkpoint.root == naive_root(leaves(live.raw)[:-1])


def test_what_nobody_of_the_keyset_has_signed_is_replaced_and_said(
    publishing: Start, own_server: EmbeddedServer, wait_for: Wait
) -> None:
    live = publishing(own_server)
    live.raw.set("golive:checkpoint", b"no note at all")
    write(live.raw, 4)
    beating = live.start_heartbeat("hb-1")
    beating.wait_said("golive:checkpoint is not signed by a heartbeat of this keyset")
    wait_for(
        lambda: live.raw.get("golive:checkpoint").startswith(ORIGIN.encode()),
        what="a checkpoint",
    )
    wait_covered(live, wait_for)


# -- what nobody signs -----------------------------------------------------------------------------


def refused(live: Fleet, name: str) -> str:
    """What the heartbeat's presence says, which `status` reads."""
    instance = live.raw.hget("golive:heartbeats", name).decode()
    return (live.raw.hget(Keyspace("golive").heartbeat(name, instance), "log") or b"").decode()


@pytest.mark.parametrize("how", ["rewritten", "shortened", "emptied"])
def test_a_heartbeat_restarted_with_its_state_refuses_a_rewritten_ledger(
    publishing: Start, own_server: EmbeddedServer, wait_for: Wait, how: str
) -> None:
    live = publishing(own_server)
    write(live.raw, 20)
    live.start_heartbeat("hb-1").quit()
    live.start_heartbeat("hb-1")
    before = wait_covered(live, wait_for).checkpoint
    live.heartbeats["hb-1"].kill()
    # Whoever owns Redis makes a chain that is whole in itself, and takes the checkpoint away.
    live.raw.delete("golive:audit", "golive:head", "golive:checkpoint")
    write(live.raw, {"rewritten": 30, "shortened": 5, "emptied": 0}[how], "other")
    beating = live.start_heartbeat("hb-1")
    said = beating.wait_said("SECURITY: no checkpoint is signed", within_ms=60_000)["text"]
    assert f"entry {before.size - 1} of the ledger is not there any more" in said
    wait_for(
        lambda: refused(live, "hb-1").startswith("refuses: entry"), what="its presence says it"
    )
    assert live.raw.get("golive:checkpoint") is None
    with Operator(live.config) as operator:
        problems = status.read(operator).problems
    assert any("hb-1 refuses to sign the ledger: entry" in text for text in problems), problems
    # Nor does one that has seen nothing sign in its place.
    live.start_heartbeat("hb-2", config={"state_dir": "elsewhere"})
    wait_for(lambda: refused(live, "hb-2") == "signs", what="the second one follows")
    assert live.raw.get("golive:checkpoint") is None
    # It could, and does once nobody is there who knows better: that is what witnesses are for.
    beating.kill()
    write(live.raw, 2, "other")
    assert signers(live, wait_covered(live, wait_for)) == {"hb-2"}


def test_one_without_a_memory_refuses_what_does_not_fit_the_published_checkpoint(
    publishing: Start, own_server: EmbeddedServer, wait_for: Wait
) -> None:
    live = publishing(own_server)
    write(live.raw, 20)
    live.start_heartbeat("hb-1")
    note = wait_covered(live, wait_for)
    live.heartbeats["hb-1"].kill()
    live.raw.delete("golive:audit", "golive:head")
    write(live.raw, 30, "other")
    beating = live.start_heartbeat("hb-2", config={"state_dir": "elsewhere"})
    said = beating.wait_said("SECURITY: no checkpoint is signed", within_ms=60_000)["text"]
    assert "are not those of the checkpoint by hb-1: it was rewritten, or the log is fork" in said
    after = published(live)
    assert after is not None and after.checkpoint == note.checkpoint


def test_a_failover_that_has_lost_what_was_signed_is_refused_and_one_within_the_lag_is_not(
    publishing: Start,
    own_server: EmbeddedServer,
    make_replica: Callable[[EmbeddedServer], EmbeddedServer],
    proxy: Callable[..., Any],
    wait_for: Wait,
) -> None:
    replica = make_replica(own_server)
    way = proxy(own_server)
    live = publishing(own_server, url=way.url)
    write(live.raw, 10)
    beating = live.start_heartbeat("hb-1")
    wait_covered(live, wait_for)
    follower = replica.client()
    wait_for(
        lambda: follower.xlen("golive:audit") == live.raw.xlen("golive:audit"), what="it follows"
    )
    follower.replicaof("NO", "ONE")
    # Within the lag: entries that no checkpoint has counted are lost, and nothing is wrong.
    way.lead_to(replica)
    write(follower, 5, "after")
    wait_covered(live, wait_for, follower)
    assert not [text for text in beating.said() if "SECURITY" in text]
    # Beyond it: back to the old primary, which has never seen what was signed since.
    way.lead_to(own_server)
    write(live.raw, 3, "before")
    said = beating.wait_said("SECURITY: no checkpoint is signed", within_ms=60_000)["text"]
    assert "is not there any more as it was seen here" in said
    follower.close()


def test_behind_a_trim_both_who_has_seen_it_whole_and_who_has_not_go_on_signing(
    publishing: Start, own_server: EmbeddedServer, wait_for: Wait
) -> None:
    live = publishing(own_server)
    write(live.raw, 20)
    live.start_heartbeat("hb-1")
    wait_covered(live, wait_for)
    whole, found = leaves(live.raw), live.raw.xrange("golive:audit")
    last, fields = found[11]
    carry = Carry(count=12, head=fields[b"h"].decode(), last_id=last.decode())
    said = facts(carry, EMPTY.extend(whole[:12]), generation=1, directives=[])
    trust = live.config.trust()
    heading = trust.heading("alice", clock.wall_ms())
    note = seal(
        Note(**heading, topic="trimmed", text="12 entries", facts=said),
        live.config.signer("operator", trust.keyset),
    )
    head = extend(live.raw.get("golive:head").decode(), note)
    live.raw.xadd("golive:audit", {"r": note, "h": head})
    live.raw.set("golive:head", head)
    live.raw.set("golive:begins", note)
    live.raw.xtrim("golive:audit", minid=found[12][0].decode(), approximate=False)

    def covered(size: int) -> bool:
        standing = published(live)
        return standing is not None and standing.checkpoint.size == size

    for name in ("hb-1", "hb-2"):
        if name == "hb-2":
            live.heartbeats["hb-1"].kill()
            write(live.raw)
            live.start_heartbeat(name, config={"state_dir": "elsewhere"})
        every = whole[:12] + leaves(live.raw)
        wait_for(lambda: covered(len(every)), what=f"a checkpoint by {name}")  # noqa: B023
        standing = published(live)
        assert standing is not None and signers(live, standing) == {name}
        assert standing.checkpoint.root == naive_root(every)
    with Operator(live.config) as operator:
        seen = status.read(operator)
    assert seen.ledger is not None and seen.ledger.entries == 22
    assert not [text for text in seen.problems if "missing" in text or "refuses" in text]


def test_a_state_that_cannot_be_read_signs_nothing_and_the_beats_go_on(
    publishing: Start, own_server: EmbeddedServer, wait_for: Wait
) -> None:
    live = publishing(own_server)
    live.state_dir.mkdir()
    (live.state_dir / "checkpoints-hb-1.0.json").write_text("{torn")
    write(live.raw, 4)
    live.go_live("pod-1")
    wait_for(lambda: refused(live, "hb-1").startswith("cannot: "), what="its presence says it")
    assert live.raw.get("golive:checkpoint") is None
    # Another one signs meanwhile: what cannot sign holds nobody up.
    live.start_heartbeat("hb-2")
    assert signers(live, wait_covered(live, wait_for)) == {"hb-2"}
    live.wait_all_armed()


# -- witnesses -------------------------------------------------------------------------------------


def cosigned_by(note: OpenedCheckpoint | None) -> set[str]:
    return {signed.verifier.name for signed in note.witnesses} if note is not None else set()


def wait_cosigned(live: Fleet, wait_for: Wait, *names: str) -> OpenedCheckpoint:
    wait_for(
        lambda: (
            cosigned_by(published(live)) == set(names)
            and published(live).checkpoint.size == live.raw.xlen("golive:audit")
        ),  # type: ignore[union-attr]
        what=f"a checkpoint of all entries, cosigned by {names}",
    )
    return wait_covered(live, wait_for)


def test_two_witnesses_cosign_and_one_that_hangs_or_is_gone_costs_its_own_signature_only(
    publishing: Start,
    own_server: EmbeddedServer,
    wait_for: Wait,
    witness: Callable[..., WitnessProcess],
) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as hangs:  # it accepts, and never answers
        live = publishing(own_server)
        one = witness(live, "w1")
        url = f"http://127.0.0.1:{hangs.getsockname()[1]}"
        audit = {**live.settings["audit"], "witnesses": [listed("w1", one.url), listed("w2", url)]}
        write(live.raw, 9)
        beating = live.start_heartbeat("hb-1", config={"audit": audit})
        wait_cosigned(live, wait_for, "w1")
        beating.wait_said("not cosigned by w2: witness")
    audit["witnesses"][1]["url"] = f"http://127.0.0.1:{port}"
    beating.quit()
    write(live.raw, 9)
    beating = live.start_heartbeat("hb-1", config={"audit": audit})
    wait_cosigned(live, wait_for, "w1")
    beating.wait_said("not cosigned by w2: witness")
    # It comes, and has seen nothing of what was signed before: 409 moves the size down.
    witness(live, "w2", port=port)
    write(live.raw, 9)
    wait_cosigned(live, wait_for, "w1", "w2")
    beating.wait_said("cosigned by w2 again")


def test_a_witness_that_another_heartbeat_has_brought_further_is_followed_up(
    publishing: Start,
    own_server: EmbeddedServer,
    wait_for: Wait,
    witness: Callable[..., WitnessProcess],
) -> None:
    """409: its size moves up for a heartbeat that has never submitted."""
    live = publishing(own_server)
    one = witness(live, "w1")
    live.settings["audit"]["witnesses"] = [listed("w1", one.url)]
    live.path = live.write_config("go_live.yaml")
    write(live.raw, 2_500)  # more than two pages
    live.start_heartbeat("hb-1")
    wait_cosigned(live, wait_for, "w1")
    live.heartbeats["hb-1"].kill()
    write(live.raw, 1_200)
    # Without the other one's memory: it makes the proof from the ledger.
    live.start_heartbeat("hb-2", config={"state_dir": "elsewhere"})
    note = wait_cosigned(live, wait_for, "w1")
    assert signers(live, note) == {"hb-2"}


def test_a_witness_that_has_lost_its_memory_is_said(
    publishing: Start,
    own_server: EmbeddedServer,
    wait_for: Wait,
    witness: Callable[..., WitnessProcess],
) -> None:
    live = publishing(own_server)
    one = witness(live, "w1")
    live.settings["audit"]["witnesses"] = [listed("w1", one.url)]
    live.path = live.write_config("go_live.yaml")
    write(live.raw, 9)
    beating = live.start_heartbeat("hb-1")
    wait_cosigned(live, wait_for, "w1")
    port = int(one.url.rpartition(":")[2])
    one.stop()
    witness(live, "w1", folder="w1-without-memory", port=port)
    write(live.raw, 9)
    wait_cosigned(live, wait_for, "w1")
    assert "SECURITY: witness w1 knew 0 entries" in "\n".join(beating.said())


def test_a_witness_that_refuses_is_said_once_and_asked_again(
    publishing: Start,
    own_server: EmbeddedServer,
    wait_for: Wait,
    witness: Callable[..., WitnessProcess],
    tmp_path: Path,
) -> None:
    live = publishing(own_server)
    make_witness(tmp_path / "w1", "w1", "w1", [key_of(live, "hb-2")])
    one = witness(live, "w1")
    live.settings["audit"]["witnesses"] = [listed("w1", one.url)]
    live.path = live.write_config("go_live.yaml")
    write(live.raw, 9)
    beating = live.start_heartbeat("hb-1")
    beating.wait_said("not cosigned by w1: witness")
    for _ in range(2):
        write(live.raw, 3)
        assert cosigned_by(wait_covered(live, wait_for)) == set()
    assert len([text for text in beating.said() if "answered 403" in text]) == 1


def test_a_change_of_the_witnesses_is_taken_up_and_of_the_origin_is_not(
    publishing: Start,
    own_server: EmbeddedServer,
    wait_for: Wait,
    witness: Callable[..., WitnessProcess],
    program: Callable[..., Any],
) -> None:
    live = publishing(own_server)
    one = witness(live, "w1")
    write(live.raw, 9)
    daemon = program(live)
    assert cosigned_by(wait_covered(live, wait_for)) == set()
    live.settings["audit"]["witnesses"] = [listed("w1", one.url)]
    live.write_config("go_live.yaml")
    assert daemon.reload(wait_for).startswith("reloaded: ")
    wait_cosigned(live, wait_for, "w1")
    live.settings["audit"]["origin"] = "another.log"
    live.write_config("go_live.yaml")
    assert "audit.origin cannot change" in daemon.reload(wait_for)
