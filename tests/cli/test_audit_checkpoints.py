"""`golive audit verify`, `policy` and `prove` with checkpoints: witnessed, or contradicted by them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from golive_redis import clock
from golive_redis.records.checkpoint import Checkpoint, parse_proof
from golive_redis.records.ledger import Entry
from golive_redis.records.logpolicy import parse_policy
from golive_redis.records.merkle import EMPTY, leaf
from golive_redis.records.signednote import KeyType, VerifierKey, parse, sign
from golive_redis.testing.server import EmbeddedServer
from kit.ledgers import CLI, Book, chained, day
from kit.ledgers import put as put_entries
from kit.notary import private, witness_key

Audited = Any  # the `audited` fixture's class: test modules cannot import a conftest
ORIGIN = "testnet.invalid/golive"
W1, W2 = witness_key("w1", "compliance"), witness_key("w2", "backup")


def log_key(name: str = "hb-1") -> VerifierKey:
    return VerifierKey(ORIGIN, KeyType.ED25519, CLI.signers[name].public.public_bytes_raw())


def checkpoint(
    entries: Sequence[Entry], size: int, *witnesses: str, by: str = "hb-1", ago_s: int = 31
) -> bytes:
    """A checkpoint of the first entries, signed by a heartbeat and cosigned."""
    root = EMPTY.extend(leaf(entry.envelope) for entry in entries[:size]).root()
    signer = CLI.signers[by]
    note = parse(
        Checkpoint(ORIGIN, size, root).signed(log_key(by), lambda raw: signer.sign(raw, 1.0))
    )
    time_s = clock.wall_ms() // 1000 - ago_s
    keys = {"w1": W1, "w2": W2}
    lines = [sign(note.text, keys[name], private(name).sign, time_s=time_s) for name in witnesses]
    return note.with_lines(lines).encode()


@pytest.fixture
def book(server: EmbeddedServer) -> Book:
    made = day(CLI)
    with server.client() as client:
        made.put(client)
    return made


@pytest.fixture
def publish(server: EmbeddedServer) -> Any:
    def put(note: bytes) -> None:
        with server.client() as client:
            client.set("golive:checkpoint", note)

    return put


@pytest.fixture
def witnessed(audited: Audited) -> Audited:
    """A host whose configuration names two witnesses, of which both are needed."""
    path = audited.folder / "config" / "go_live.yaml"
    value = yaml.safe_load(path.read_text())
    value["audit"] = {
        "witnesses": [
            {"vkey": W1.text, "url": "http://127.0.0.1:1"},
            {"vkey": W2.text, "url": "http://127.0.0.1:1"},
        ]
    }
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    return audited


def forget(audited: Audited) -> None:
    """This host has seen nothing."""
    for path in (audited.folder / "state").glob("ledger-*"):
        path.unlink()


# -- the verdict -----------------------------------------------------------------------------------


def test_a_witnessed_ledger_is_verified_where_nobody_has_seen_it_before(
    witnessed: Audited, book: Book, publish: Any
) -> None:
    publish(checkpoint(book.entries, 11, "w1", "w2"))
    done = witnessed("audit", "verify", "--require-witness")
    assert (done.returncode, done.stderr) == (0, "")
    counted, verdict, _ = done.stdout.splitlines()
    assert counted.startswith(
        "13 entries · keyset 1 · 2 terms · "
        "checkpoint 11 by hb-1, cosigned by backup and compliance (2 of 2) 3"
    )
    assert verdict == (
        "VERIFIED testnet (golive) up to entry 10; "
        "2 newer ones are chained and signed, not yet witnessed"
    )
    found = witnessed.json("audit", "verify")
    assert (found["result"], found["witnessed"]) == ("VERIFIED", 11)
    assert found["checkpoint"]["cosigned"] == ["backup", "compliance"]
    assert (found["checkpoint"]["size"], found["checkpoint"]["by"]) == (11, "hb-1")


def test_too_few_witnesses_do_not_verify_it_and_are_named(
    witnessed: Audited, book: Book, publish: Any
) -> None:
    publish(checkpoint(book.entries, 11, "w1"))
    done = witnessed("audit", "verify", "--require-witness")
    assert done.returncode == 5
    assert "checkpoint 11 by hb-1, cosigned by compliance (1 of 2) 3" in done.stdout
    assert "CONSISTENT testnet (golive), not protected" in done.stdout
    assert "NOT WITNESSED" in done.stdout
    forget(witnessed)
    done = witnessed("audit", "verify")
    assert (done.returncode, "NOT WITNESSED" in done.stdout) == (0, False)
    found = witnessed.json("audit", "verify", "--require-witness", code=5)
    assert (found["witnessed"], found["checkpoint"]["enough"]) == (None, False)


def test_what_no_heartbeat_has_signed_counts_for_nothing_and_is_said(
    witnessed: Audited, book: Book, publish: Any
) -> None:
    publish(checkpoint(book.entries, 11, "w1", "w2", by="alice"))
    done = witnessed("audit", "verify")
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        0,
        "13 entries · keyset 1 · 2 terms",
    )
    assert "what stands in Redis as a checkpoint is none: no trusted key" in done.stderr
    found = witnessed.json("audit", "verify")
    assert (found["checkpoint"], found["witnessed"]) == (None, None)
    assert "no trusted key of its log" in found["strange"]


def rewritten(book: Book) -> list[Entry]:
    """The same ledger but for one entry, whole in itself: the last note says something else."""
    other = Book(CLI, book.at_ms)
    other.entries = book.entries[:12]
    other.note("goodbye", text="another word")
    return chained(other.entries)


def test_a_ledger_that_was_rewritten_contradicts_its_checkpoint_by_the_index(
    witnessed: Audited, book: Book, publish: Any, server: EmbeddedServer
) -> None:
    publish(checkpoint(book.entries, 13, "w1", "w2"))
    with server.client() as client:
        put_entries(client, rewritten(book))
    done = witnessed("audit", "verify")
    assert done.returncode == 5
    assert done.stdout.splitlines() == [
        "entry 0 or one after it, up to entry 12, is another than in checkpoint 13 by hb-1 (V14)",
        "NOT VERIFIED testnet (golive): no entry is known to be good",
    ]
    found = witnessed.json("audit", "verify", code=5)
    assert (found["broken"]["index"], found["broken"]["rule"]) == (0, "V14")


def test_checkpoints_that_this_host_has_seen_narrow_the_place_down(
    witnessed: Audited, book: Book, publish: Any, server: EmbeddedServer
) -> None:
    for size in (5, 12):
        publish(checkpoint(book.entries, size, "w1", "w2"))
        assert witnessed("audit", "verify").returncode == 0
    forgotten = [*(witnessed.folder / "state").glob("ledger-*[0-9a-f].0.json")]
    forgotten += (witnessed.folder / "state").glob("ledger-*.seen")
    for path in forgotten:  # how far it has judged; what it has seen signed stays
        path.unlink()
    publish(checkpoint(book.entries, 13, "w1", "w2"))
    with server.client() as client:
        put_entries(client, rewritten(book))
    broken = witnessed.json("audit", "verify", code=5)["broken"]
    assert (broken["index"], broken["why"]) == (12, "is another than in checkpoint 13 by hb-1")


def test_an_end_that_was_cut_off_is_missed_by_what_was_signed_of_it(
    witnessed: Audited, book: Book, publish: Any, server: EmbeddedServer
) -> None:
    publish(checkpoint(book.entries, 13, "w1", "w2"))
    with server.client() as client:
        put_entries(client, book.entries[:9])
    broken = witnessed.json("audit", "verify", code=5)["broken"]
    assert (broken["index"], broken["rule"]) == (9, "V14")
    assert broken["why"] == (
        "is missing: the ledger ends here, and checkpoint 13 by hb-1 counts 13 entries"
    )


@pytest.mark.parametrize("how", ["gone", "an older one", "of another history"])
def test_a_host_that_has_seen_a_checkpoint_is_not_deceived_by_what_stands_there_later(
    witnessed: Audited, book: Book, publish: Any, server: EmbeddedServer, how: str
) -> None:
    """The owner of Redis has the key of a heartbeat, and of both witnesses."""
    publish(checkpoint(book.entries, 13, "w1", "w2"))
    assert witnessed("status").returncode == 0  # it has looked, and judged nothing
    with server.client() as client:
        put_entries(client, rewritten(book) if how == "of another history" else book.entries[:9])
        client.delete("golive:checkpoint")
    if how == "an older one":
        publish(checkpoint(book.entries, 9, "w1", "w2"))
    if how == "of another history":
        publish(checkpoint(rewritten(book), 13, "w1", "w2"))
    broken = witnessed.json("audit", "verify", code=5)["broken"]
    assert broken["rule"] == "V14" and "seen" in broken["why"]
    status = witnessed.json("status")
    word = "the log is forked" if how == "of another history" else "a checkpoint of 13 was signed"
    assert any(word in problem for problem in status["problems"]), status["problems"]
    forget(witnessed)  # nobody has seen anything
    assert witnessed("audit", "verify").returncode == 0


@pytest.mark.parametrize("size", [9, 1_000_000])
def test_what_one_stolen_key_has_signed_is_said_and_not_remembered(
    audited: Audited, book: Book, publish: Any, size: int
) -> None:
    good = checkpoint(book.entries, 13)
    publish(good)
    assert audited("audit", "verify").returncode == 0
    signer, root = CLI.signers["hb-1"], b"\x07" * 32
    forged = Checkpoint(ORIGIN, size, root).signed(
        log_key("hb-1"), lambda raw: signer.sign(raw, 1.0)
    )
    publish(forged)
    status = audited.json("status")
    if size > 13:
        assert any("its end is lost" in each for each in status["problems"]), status["problems"]
    assert audited("audit", "verify").returncode == 5, "while it stands there"
    publish(good)
    assert audited("audit", "verify").returncode == 0
    assert audited.json("status")["problems"] == []


def test_what_is_new_is_held_against_checkpoints_of_before_and_of_now(
    witnessed: Audited, book: Book, publish: Any, server: EmbeddedServer
) -> None:
    def put() -> None:
        with server.client() as client:
            book.put(client)

    assert witnessed("audit", "verify", "--new").returncode == 0
    publish(checkpoint(book.entries, 11, "w1", "w2"))  # ends before what was judged
    done = witnessed("audit", "verify", "--new", "--require-witness")
    assert (done.returncode, done.stdout.splitlines()[0].partition(" · ")[0]) == (
        0,
        "nothing new: this host has judged all 13 entries before",
    )
    book.note()
    book.note()
    put()
    publish(checkpoint(book.entries, 14, "w1", "w2"))
    found = witnessed.json("audit", "verify", "--new")
    assert (found["judged"], found["witnessed"]) == (2, 14)
    # A heartbeat signs another history of what was judged before: it is found from the first entry on.
    other = [*rewritten(book), *book.entries[13:]]
    publish(checkpoint(other, 14, "w1", "w2"))
    broken = witnessed.json("audit", "verify", "--new", code=5)["broken"]
    assert (broken["rule"], broken["index"]) == ("V14", 11)


# -- from a file -----------------------------------------------------------------------------------


def exported(audited: Audited, folder: Path) -> list[str | Path]:
    """An export with its checkpoint and the policy, on a stick; the words that judge it."""
    folder.mkdir()
    assert audited("audit", "export", "--out", folder / "ledger.jsonl").returncode == 0
    (folder / "audit.policy").write_text(audited("audit", "policy").stdout)
    keyset = audited.folder / "config" / "keyset.yaml"
    return [
        *("--file", folder / "ledger.jsonl", "--keyset", keyset),
        *("--policy", folder / "audit.policy"),
    ]


def test_an_export_is_judged_offline_by_its_checkpoint_and_a_policy(
    witnessed: Audited, book: Book, publish: Any, tmp_path: Path
) -> None:
    publish(checkpoint(book.entries, 11, "w1", "w2"))
    words = exported(witnessed, tmp_path / "stick")
    away = {"cwd": "/", "GOLIVE_REDIS_URL": "redis://127.0.0.1:1/0"}
    found = witnessed.json("audit", "verify", *words, "--require-witness", **away)
    assert (found["result"], found["witnessed"]) == ("VERIFIED", 11)
    # Without the checkpoint, and under another policy, it is not.
    beside = tmp_path / "stick" / "ledger.jsonl.checkpoint"
    kept = beside.rename(tmp_path / "elsewhere")
    found = witnessed.json("audit", "verify", *words, "--require-witness", code=5, **away)
    assert (found["result"], found["witnessed"]) == ("CONSISTENT", None)
    found = witnessed.json("audit", "verify", *words, "--checkpoint", kept, **away)
    assert found["witnessed"] == 11
    # A file that was cut is missed.
    file = tmp_path / "stick" / "ledger.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:7]))
    broken = witnessed.json("audit", "verify", *words, "--checkpoint", kept, code=5, **away)[
        "broken"
    ]
    assert (broken["index"], broken["rule"]) == (7, "V14")
    policy = tmp_path / "stick" / "audit.policy"
    policy.write_text(policy.read_text().replace("log ", "# log "))
    done = witnessed("audit", "verify", *words, "--checkpoint", kept, **away)
    assert (done.returncode, "the policy has no log of the origin" in done.stderr) == (5, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--checkpoint", "c"], "--checkpoint goes with --file and --policy"),
        (["--file", "f", "--keyset", "k", "--require-witness"], "takes --policy"),
        (["--policy", "nowhere"], "nowhere: No such file"),
    ],
)
def test_words_that_do_not_go_together_are_refused(
    audited: Audited, words: list[str], said: str
) -> None:
    done = audited("audit", "verify", *words)
    assert done.returncode in {2, 6} and said in done.stderr


# -- policy and proofs -----------------------------------------------------------------------------


def test_the_policy_has_a_log_for_each_heartbeat_and_needs_no_redis(witnessed: Audited) -> None:
    done = witnessed("audit", "policy", GOLIVE_REDIS_URL="redis://127.0.0.1:1/0")
    assert (done.returncode, done.stderr) == (0, "")
    policy = parse_policy(done.stdout.encode())
    assert {log.verifier for log in policy.logs} == {log_key("hb-1"), log_key("hb-2")}
    assert [witness.verifier for witness in policy.witnesses] == [W1, W2]
    assert policy.met({"compliance", "backup"}) and not policy.met({"backup"})
    assert witnessed.json("audit", "policy")["policy"] == done.stdout
    first = witnessed.json("audit", "policy")["origin"]
    assert witnessed.json("audit", "policy", "--generation", "2")["origin"] == f"{first}/2"


def test_one_entry_is_proved_and_the_proof_is_read_without_anything_else(
    witnessed: Audited, book: Book, publish: Any, tmp_path: Path
) -> None:
    publish(checkpoint(book.entries, 11, "w1", "w2"))
    proof, policy = tmp_path / "e2.tlog-proof", tmp_path / "audit.policy"
    policy.write_text(witnessed("audit", "policy").stdout)
    done = witnessed("audit", "prove", "e2", "--out", proof)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("PROVED entry 3 of testnet (golive): halt 2 by ")
    assert "cosigned by backup and compliance (2 of 2)" in done.stdout
    assert parse_proof(proof.read_bytes()).extra == book.entries[3].envelope
    away = {"cwd": "/", "GOLIVE_REDIS_URL": "redis://127.0.0.1:1/0"}
    words = ["audit", "prove", "--check", proof, "--policy", policy]
    done = witnessed(*words, **away)
    assert done.returncode == 0 and "entry 3 of testnet.invalid/golive: halt 2" in done.stdout
    assert "nobody's signature under the entry itself was checked" in done.stderr
    keyset = witnessed.folder / "config" / "keyset.yaml"
    found = witnessed.json(*words, "--keyset", keyset, **away)
    assert (found["index"], found["signed_by"], found["origin"]) == (3, ["rita"], ORIGIN)
    assert found["checkpoint"]["enough"] is True
    # One byte of the entry, and it is not in the log.
    raw = proof.read_bytes()
    proof.write_bytes(raw.replace(b"extra ey", b"extra ez", 1))
    done = witnessed(*words, **away)
    assert (done.returncode, done.stdout) == (5, "")
    # Too few witnesses, and the policy does not accept it.
    proof.write_bytes(raw[: raw.rindex(b"\xe2\x80\x94")])
    done = witnessed(*words, **away)
    assert done.returncode == 5 and "the quorum witnesses is not met" in done.stderr
    # A proof is not replaced.
    assert witnessed("audit", "prove", "e2", "--out", proof).returncode == 1


def test_what_cannot_be_proved_is_said(
    witnessed: Audited, book: Book, publish: Any, server: EmbeddedServer, tmp_path: Path
) -> None:
    words = ["audit", "prove", "0", "--out", tmp_path / "p"]
    done = witnessed(*words)
    assert done.returncode == 1 and "there is no checkpoint of this ledger" in done.stderr
    publish(checkpoint(book.entries, 11, "w1"))
    assert witnessed(*words).returncode == 1
    publish(checkpoint(book.entries, 11, "w1", "w2"))
    done = witnessed("audit", "prove", "12", "--out", tmp_path / "p")
    assert done.returncode == 1 and "entry 12 is newer than checkpoint 11 by hb-1" in done.stderr
    with server.client() as client:
        put_entries(client, rewritten(book))
    publish(checkpoint(book.entries, 13, "w1", "w2"))
    done = witnessed(*words)
    assert done.returncode == 5 and "nothing of it can be proved" in done.stderr
    assert not (tmp_path / "p").exists()
    for wrong in (["e2"], ["--check", "f"], ["e2", "--out", "f", "--entry", "g"]):
        assert witnessed("audit", "prove", *wrong).returncode == 2


# -- status ----------------------------------------------------------------------------------------


def test_status_says_how_the_ledger_stands(witnessed: Audited, book: Book, publish: Any) -> None:
    assert "ledger 13 entries, no checkpoint yet" in witnessed("status").stdout
    publish(checkpoint(book.entries, 11, "w1", "w2"))
    assert "ledger 13 entries, checkpoint 11, witnessed 2 of 2, 3" in witnessed("status").stdout
    found = witnessed.json("status")["ledger"]
    assert (found["entries"], found["checkpoint"], found["enough"]) == (13, 11, True)
    publish(b"garbage")
    found = witnessed.json("status")
    assert any("golive:checkpoint is no checkpoint" in text for text in found["problems"])
    assert json.dumps(found["ledger"]["problems"])[2:] in json.dumps(found["problems"])
