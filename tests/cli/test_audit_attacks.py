"""Somebody who owns Redis rewrites the ledger that real commands made: what `golive audit verify` names.

The nine ways stand with what was noticed of them before there was such a command: nearly nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
import yaml

from golive_cli.exits import Exit
from golive_redis import Guard
from golive_redis import config as configuration
from golive_redis.audit.history import LATE_MS
from golive_redis.records.directive import Grant, Restriction, Revocation
from golive_redis.records.envelope import decode, issued_at
from golive_redis.records.ledger import Entry
from golive_redis.testing.server import EmbeddedServer
from kit import nodejs
from kit.ledgers import chained, next_id, put

Golive = Any  # the `made` fixture's class: test modules cannot import a conftest
DAY = (
    ("activate", "--reason", "open", "--yes", "--wait", "0"),
    ("halt", "symbol=BTCUSDT", "--reason", "spread"),
    ("resume", "symbol=BTCUSDT", "--reason", "calm"),
    ("revoke", "--reason", "lunch"),
    ("activate", "--reason", "afternoon", "--yes", "--wait", "0"),
    ("halt", "--reason", "news"),
    ("revoke", "--reason", "enough"),
)
HALT, RESUME, STOP = Restriction.payload_type(), Grant.payload_type(), Revocation.payload_type()


class Attack(NamedTuple):
    """A rewritten ledger, and what is said of it.

    Attributes:
        entries: What is in Redis then.
        seen: Index and rule that a host names which has judged the ledger before.
        fresh: Likewise, a host that has not; None when nothing shows it.
    """

    entries: list[Entry]
    seen: tuple[int, str]
    fresh: tuple[int, str] | None


def kinds(entries: list[Entry]) -> list[str]:
    return [decode(entry.envelope).payload_type for entry in entries]


def without(entries: list[Entry], at: int) -> list[Entry]:
    return [*entries[:at], *entries[at + 1 :]]


def attacks(good: list[Entry]) -> dict[str, Attack]:
    """The nine, and the removal of a note, which no directive names."""
    kind, end = kinds(good), len(good)
    halt = kind.index(HALT)
    resume = kind.index(RESUME, halt)
    stop = kind.index(STOP, resume)
    note = stop + 1
    assert kind[note].split(".")[2] == "note"
    said = bytes(good[halt].envelope)
    other = bytearray(said)
    other[said.index(b'"payload":"') + 40] ^= 1
    edited = Entry(bytes(other), "", good[halt].id)
    second = kind.index(HALT, stop)
    last = kind.index(STOP, second)
    moved = list(good)
    moved[second] = Entry(good[last].envelope, "", good[second].id)
    moved[last] = Entry(good[second].envelope, "", good[last].id)
    late = good[last].at_ms - issued_at(good[second].envelope) >= LATE_MS
    twice = Entry(good[note].envelope, "", next_id(good, good[-1].at_ms + 1))
    return {
        "an entry removed": Attack(without(good, resume), (resume, "V2"), (resume, "V2")),
        "a directive removed, heads computed anew": Attack(
            chained(without(good, halt)), (resume - 1, "V6"), (resume - 1, "V6")
        ),
        "a note removed, heads computed anew": Attack(
            chained(without(good, note)), (end - 1, "V14"), (end - 1, "V12")
        ),
        "the last three cut, the head put back": Attack(
            good[:-3], (end - 3, "V14"), (end - 3, "V13")
        ),
        "the first five cut": Attack(good[5:], (0, "V2"), (0, "V2")),
        "stream and head deleted": Attack([], (0, "V14"), (0, "V13")),
        "an entry edited, heads computed anew": Attack(
            chained([*good[:halt], edited, *good[halt + 1 :]]), (halt, "V3"), (halt, "V3")
        ),
        "an entry told twice, heads computed anew": Attack(
            chained([*good, twice]), (end, "V5"), (end, "V5")
        ),
        "a stop moved before its halt, heads computed anew": Attack(
            chained(moved), (end - 1, "V14") if late else (last, "V7"), None if late else (last, "V7")
        ),
        "a field added to an entry": Attack(
            [*good[:4], msgspec.structs.replace(good[4], others=("x",)), *good[5:]],
            (4, "V1"), (4, "V1"),
        ),
    }  # fmt: skip


@pytest.fixture
def real(
    made: Golive, beating: Callable[..., Any], server: EmbeddedServer
) -> tuple[Golive, list[Entry]]:
    """A host, and the ledger of a real day: two terms, halts, a resume, two stops."""
    config = made.folder / "config" / "go_live.yaml"
    config.write_text(
        config.read_text().replace("activation_enabled: false", "activation_enabled: true")
    )
    made.environ["GOLIVE_REDIS_URL"] = server.url
    heartbeat = beating()
    setup = configuration.load(config, environ={"GOLIVE_REDIS_URL": server.url})
    with Guard.open(setup, worker="pod-1"):  # so that each stop is confirmed at once
        for words in DAY:
            done = made(*words)
            assert done.returncode in {Exit.DONE, Exit.NO_MATCH}, done.stdout + done.stderr
    heartbeat.terminate()
    heartbeat.communicate(timeout=60)
    with server.client() as client:
        stream = client.xrange("golive:audit")
    return made, [
        Entry(fields[b"r"], fields[b"h"].decode(), name.decode()) for name, fields in stream
    ]


def test_each_way_to_rewrite_a_ledger_is_named_with_its_first_bad_entry(
    real: tuple[Golive, list[Entry]], server: EmbeddedServer
):
    golive, good = real
    verified = golive.json("audit", "verify")
    assert (verified["result"], verified["entries"]) == ("CONSISTENT", len(good))
    assert golive.json("audit", "verify")["result"] == "VERIFIED"
    state = golive.folder / "state"
    remembered = {path: path.read_bytes() for path in state.glob("ledger-*")}
    assert len([path for path in remembered if path.suffix in {".json", ".seen"}]) == 2
    told: dict[str, tuple[Any, Any]] = {}
    wanted = {name: (attack.seen, attack.fresh) for name, attack in attacks(good).items()}
    for name, attack in attacks(good).items():
        with server.client() as client:
            put(client, attack.entries)
            if not attack.entries:
                client.delete("golive:head")
        told[name] = (_judged(golive), None)
        for path in remembered:
            path.unlink(missing_ok=True)
        told[name] = (told[name][0], _judged(golive))
        for path in state.glob("ledger-*"):
            path.unlink()
        for path, content in remembered.items():
            path.write_bytes(content)
            path.chmod(0o600)
    assert told == wanted
    assert len(told) == 10


def _judged(golive: Golive) -> tuple[int, str] | None:
    done = golive("audit", "verify", "--json")
    found = json.loads(done.stdout)
    if done.returncode == 0:
        assert found["result"] in {"VERIFIED", "CONSISTENT"}
        return None
    assert done.returncode == 5
    assert found["good"] <= found["broken"]["index"]
    return found["broken"]["index"], found["broken"]["rule"]


def test_the_verifier_in_node_says_the_same_of_an_export_of_each(
    real: tuple[Golive, list[Entry]], server: EmbeddedServer, node: str
):
    """Offline, with a kept head and without one: verdict, first bad entry and rule."""
    golive, good = real
    keyset = golive.folder / "keyset.json"
    keyset.write_text(
        json.dumps(yaml.safe_load((golive.folder / "config/keyset.yaml").read_text()))
    )
    entries = {"as it was written": good} | {n: a.entries for n, a in attacks(good).items()}
    verdicts: dict[str, set[int]] = {}
    for number, (name, rewritten) in enumerate(entries.items()):
        with server.client() as client:
            put(client, rewritten)
        file = golive.folder / f"{number}.jsonl"
        assert golive("audit", "export", "--out", file).returncode == 0
        for head in ((), ("--head", good[-1].head)):
            words = ("--keyset", keyset, *head, "--json")
            ours = golive("audit", "verify", "--file", file, *words)
            theirs = nodejs.run(node, "verify.mjs", file, *words)
            assert ours.returncode == theirs.returncode, (name, head, theirs.stdout, theirs.stderr)
            found, told = json.loads(ours.stdout), json.loads(theirs.stdout)
            verdicts.setdefault(name, set()).add(ours.returncode)
            if "result" in found:  # of an empty file there is no verdict of ours, only an error
                broken = found["broken"] or {}
                expected = found["result"], broken.get("index"), broken.get("rule")
                assert expected == (told["verdict"], told.get("index"), told.get("rule")), name
    whole = verdicts.pop("as it was written")
    assert whole == {0}
    # In a file there is no place for a further field, so it is not in the export.
    assert verdicts.pop("a field added to an entry") == {0}
    assert all(5 in codes for codes in verdicts.values())
    assert len(verdicts) == 9
