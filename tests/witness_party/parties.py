"""Our trees, notes, client and witness against another implementation: `make parties` runs this.

The other side is aics-tlog and aics-witness, which take Python 3.12, and pymerkle. `make test` does not
collect this file, for its name begins with no `test_`.
"""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aics_tlog
import pytest
from aics_tlog import MerkleTree, parse_note, parse_vkey
from aics_tlog.tiles import (
    FileSystemTileReader,
    TileVerificationError,
    consistency_proof_from_tiles,
    inclusion_proof_from_tiles,
    read_entry,
    tree_root_from_tiles,
)
from aics_tlog.verified import audit_tiles
from aics_witness.feeder import (
    WitnessAhead,
    WitnessClient,
    WitnessRejected,
    merge_cosignatures,
)
from aics_witness.protocol import format_add_checkpoint_request, parse_add_checkpoint_request
from pymerkle import InmemoryTree

from golive_redis.audit.archive import Archive
from golive_redis.audit.checkpoints import Held
from golive_redis.audit.layout import ArchiveChangedError
from golive_redis.audit.proving import proof
from golive_redis.audit.writing import Writer
from golive_redis.errors import RecordError
from golive_redis.records.checkpoint import Checkpoint, open_checkpoint, parse_proof
from golive_redis.records.keyset import decode_public
from golive_redis.records.ledger import GENESIS, Entry, extend
from golive_redis.records.logpolicy import Group, Policy, TrustedLog, TrustedWitness
from golive_redis.records.merkle import (
    EMPTY,
    consistency_path,
    inclusion_path,
    prove,
    verify_consistency,
    verify_inclusion,
)
from golive_redis.records.signednote import KeyType, VerifierKey, parse, sign
from golive_redis.records.signednote import parse_vkey as our_vkey
from golive_redis.testing.server import EmbeddedServer
from golive_redis.testing.signers import Signers
from golive_redis.witness.protocol import checkpoint_path, encode_submission, parse_submission
from golive_redis.witness.submit import (
    Submitter,
    WitnessRefusedError,
    WitnessUnavailableError,
)
from kit.fleet import fleets
from kit.notary import ORIGIN, WITNESS, entries, log_key, private, signed, witness_key
from kit.servers import redis_binary
from kit.witnesses import WitnessProcess, make_witness, proving

MOST = 256
MANY, CHECKED = 70_000, 66_001
LEAVES = entries(MOST)
TREE = MerkleTree(f"entry {index}".encode() for index in range(MOST))
OTHERS = entries(MOST, "another story")
OTHER_TREE = MerkleTree(f"another story {index}".encode() for index in range(MOST))
PROVE = proving(LEAVES)
ROOTS = [EMPTY.extend(LEAVES[:size]).root() for size in range(MOST + 1)]
HERE = Path(__file__).parent
Wait = Callable[..., None]


# -- trees -------------------------------------------------------------------------------------------


def test_roots_agree_for_all_sizes_up_to_256() -> None:
    assert [TREE.root(size) for size in range(MOST + 1)] == ROOTS


@pytest.mark.parametrize("start", range(0, MOST, 32))
def test_proofs_agree_for_all_pairs_up_to_256_and_each_verifies_the_others(start: int) -> None:
    made: dict[tuple[int, int], bytes] = {}

    def root_of(span: tuple[int, int]) -> bytes:
        if span not in made:
            made[span] = EMPTY.extend(LEAVES[span[0] : span[1]]).root()
        return made[span]

    pairs = 0
    for new in range(start + 1, start + 33):
        for old in range(new + 1):
            theirs = TREE.consistency_proof(old, new)
            assert [root_of(span) for span in consistency_path(old, new)] == theirs
            verify_consistency(old, new, ROOTS[old], ROOTS[new], theirs)
            assert aics_tlog.verify_consistency(old, new, ROOTS[old], ROOTS[new], theirs)
            if old < new:
                theirs = TREE.inclusion_proof(old, new)
                assert [root_of(span) for span in inclusion_path(old, new)] == theirs
                verify_inclusion(LEAVES[old], old, new, theirs, ROOTS[new])
                assert aics_tlog.verify_inclusion(LEAVES[old], old, new, theirs, ROOTS[new])
            pairs += 1
    assert pairs == sum(range(start + 2, start + 34))


def test_a_third_implementation_has_the_same_roots_and_inclusion_proofs() -> None:
    """pymerkle counts from one, orders a proof from left to right, and puts what is proved into it.

    Its consistency proofs have a form of their own, which says nothing about ours.
    """
    tree = InmemoryTree(algorithm="sha256")
    for index in range(MOST):
        tree.append_entry(f"entry {index}".encode())
    assert [tree.get_root(size) for size in range(1, MOST + 1)] == ROOTS[1:]
    pairs = 0
    for new in range(1, 71):
        for index in range(new):
            theirs = tree.prove_inclusion(index + 1, new).serialize()["path"]
            ours = [LEAVES[index], *prove(inclusion_path(index, new), LEAVES)]
            assert sorted(map(bytes.fromhex, theirs)) == sorted(ours)
            pairs += 1
    assert pairs == 2_485


@pytest.mark.parametrize("new", range(1, 41))
def test_both_refuse_the_same_edited_proofs(new: int) -> None:
    """Every proof with a hash flipped, left out, doubled, or moved: one verdict."""
    judged = {True: 0, False: 0}
    for old in range(new + 1):
        proof = list(prove(consistency_path(old, new), LEAVES))
        edits = [
            proof,
            proof[1:],
            proof[:-1],
            [*proof, ROOTS[new]],
            [ROOTS[old], *proof],
            proof[::-1],
        ]
        edits += [
            [*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :]]
            for at in range(len(proof))
        ]
        for edited in edits:
            theirs = aics_tlog.verify_consistency(old, new, ROOTS[old], ROOTS[new], edited)
            try:
                verify_consistency(old, new, ROOTS[old], ROOTS[new], edited)
            except RecordError:
                assert not theirs
            else:
                assert theirs
            judged[theirs] += 1
    assert all(judged.values())


# -- notes -------------------------------------------------------------------------------------------


def test_they_read_our_keys_checkpoints_and_cosignatures() -> None:
    note = parse(signed(LEAVES))
    line = sign(note.text, witness_key(), private("w1").sign, time_s=1_790_000_000)
    raw = note.with_lines([line]).encode()
    log, witness = parse_vkey(log_key().text), parse_vkey(witness_key().text)
    found = aics_tlog.verify_checkpoint(parse_note(raw), log, [witness], 1, expected_origin=ORIGIN)
    assert found.log_ok
    assert found.ok, found
    assert parse_note(raw).to_bytes() == raw
    other = aics_tlog.verify_checkpoint(
        parse_note(raw), parse_vkey(log_key("hb-2").text), [witness], 1
    )
    assert not other.ok


def test_we_read_their_keys_checkpoints_and_cosignatures() -> None:
    head = aics_tlog.Checkpoint(ORIGIN, MOST, TREE.root())
    note = aics_tlog.sign_checkpoint(head, private("hb-1"), ORIGIN)
    _, line = aics_tlog.sign_cosignature(
        private("w1"), WITNESS, 1_790_000_000, ORIGIN, MOST, TREE.root()
    )
    raw = aics_tlog.Note(note.text, (*note.signatures, line)).to_bytes()
    key = aics_tlog.cosignature_vkey(WITNESS, private("w1").public_key())
    assert our_vkey(aics_tlog.format_vkey(key)) == witness_key()
    policy = Policy(
        (TrustedLog(log_key()),),
        (TrustedWitness("w", witness_key()),),
        (Group("g", 1, ("w",)),),
        "g",
    )
    judged = policy.judge(raw)
    assert judged.checkpoint == Checkpoint(ORIGIN, MOST, ROOTS[MOST])
    assert [each.time_s for each in judged.opened.witnesses] == [1_790_000_000]


def test_a_request_has_one_form() -> None:
    proof, note = PROVE(7, 40), signed(LEAVES[:40])
    ours = encode_submission(7, proof, note)
    assert format_add_checkpoint_request(7, list(proof), note) == ours
    theirs = parse_add_checkpoint_request(ours)
    assert (theirs.old_size, tuple(theirs.proof)) == (7, proof)
    assert parse_submission(ours).proof == proof


def test_the_kept_vectors_are_those_that_it_makes(tmp_path: Path) -> None:
    made = tmp_path / "made.json"
    runpy.run_path(str(HERE / "make_vectors.py"))["main"](made)
    kept = HERE.parent / "vectors" / "transparency.json"
    assert json.loads(made.read_text()) == json.loads(kept.read_text())


# -- our client, their witness -----------------------------------------------------------------------


class Theirs:
    """The real aics-witness as a process.

    Args:
        folder: Its configuration, key and database.
        wait_for: Waits for a condition.
    """

    def __init__(self, folder: Path, wait_for: Wait) -> None:
        self.folder = folder
        self._wait_for = wait_for
        made = self.run("init", "--name", WITNESS, "--listen", "127.0.0.1:0")
        self.key = our_vkey(made.splitlines()[-1])
        self.run("add-log", "--origin", ORIGIN, "--vkey", log_key().text)
        self.start()

    def run(self, *words: str) -> str:
        """Run one of its commands."""
        done = subprocess.run(
            self._words(*words), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        """Start it; it takes a free port."""
        log = self.folder / "serve.log"
        with log.open("wb") as file:
            self.process = subprocess.Popen(self._words("serve"), stdout=file, stderr=file)

        def url() -> re.Match[str] | None:
            assert self.process.poll() is None, log.read_text()
            return re.search(r"listening on (http://[^ ]+)", log.read_text())

        self._wait_for(url, what="aics-witness listens")
        found = url()
        assert found
        self.url = found[1]

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(60)

    def _words(self, command: str, *words: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "aics_witness",
            command,
            "--config",
            str(self.folder / "witness.json"),
            *words,
        ]


@pytest.fixture
def theirs(tmp_path: Path, wait_for: Wait) -> Iterator[Theirs]:
    """Their witness, with our log."""
    (tmp_path / "theirs").mkdir()
    witness = Theirs(tmp_path / "theirs", wait_for)
    yield witness
    witness.kill()


def client(witness: Theirs, known: int = 0) -> Submitter:
    return Submitter(witness.url, witness.key, known=known, timeout_s=30)


def test_their_witness_cosigns_our_checkpoints_as_the_log_grows(theirs: Theirs) -> None:
    submitter = client(theirs)
    for size in (0, 1, 2, 7, 8, 40, 127, 128, MOST):
        note = signed(LEAVES[:size])
        found = submitter.submit(note, PROVE)
        assert (found.size, submitter.known) == (size, size)
        assert abs(found.time_s - time.time()) < 120
        whole = parse(note).with_lines(found.lines).encode()
        assert len(open_checkpoint(whole, [log_key()], [theirs.key]).witnesses) == 1
        assert aics_tlog.verify_checkpoint(
            parse_note(whole), parse_vkey(log_key().text), [parse_vkey(theirs.key.text)], 1
        ).ok
    assert submitter.submit(signed(LEAVES), PROVE).size == MOST  # once more, after a lost answer


def test_their_witness_cosigns_what_a_real_heartbeat_publishes(
    theirs: Theirs, tmp_path: Path, wait_for: Wait
) -> None:
    """And their reader verifies the proof of one entry against it."""
    origin = "test.invalid/golive"
    binary, about = redis_binary()
    assert binary is not None, about
    with EmbeddedServer(binary) as server, fleets(tmp_path) as make, ExitStack() as stack:
        live = make(
            server,
            timing={"failover_ms": 500},
            audit={
                "checkpoint_lag": "1s",
                "checkpoint_every": "1s",
                "witnesses": [{"vkey": theirs.key.text, "url": theirs.url}],
            },
        )
        raw = decode_public(live.principals["hb-1"]["keys"][0])
        log = VerifierKey(origin, KeyType.ED25519, raw)
        theirs.run("add-log", "--origin", origin, "--vkey", log.text)
        theirs.kill()
        theirs.start()  # on another port, so that the heartbeat is told where
        live.settings["audit"]["witnesses"][0]["url"] = theirs.url
        live.path = live.write_config("go_live.yaml")
        words = ("heartbeat", "--name", "hb-1", "--config", str(live.path))
        beating = subprocess.Popen([sys.executable, "-P", "-m", "golive_cli.main", *words])
        stack.callback(beating.wait, 60)
        stack.callback(beating.terminate)
        for count in (7, 5):
            head = (live.raw.get("golive:head") or GENESIS.encode()).decode()
            for number in range(count):
                record = f"record {head} {number}".encode()
                head = extend(head, record)
                live.raw.xadd("golive:audit", {"r": record, "h": head})
            live.raw.set("golive:head", head)
            wait_for(lambda: _covered(live.raw, theirs), what="a cosigned checkpoint of all of it")
        note = live.raw.get("golive:checkpoint")
        found = [fields[b"r"] for _, fields in live.raw.xrange("golive:audit")]
    key = parse_vkey(log.text)
    assert aics_tlog.verify_checkpoint(parse_note(note), key, [parse_vkey(theirs.key.text)], 1).ok
    tree = MerkleTree(found)
    assert open_checkpoint(note, [log], [theirs.key]).checkpoint.root == tree.root()
    held = Held(len(found), tree.root(), "hb-1", ("w",), 1, True, 1, note)
    made = proof(3, Entry(found[3], "", "1-0"), held, [[Entry(each, "", "1-0") for each in found]])
    shown = parse_proof(made.encode())  # as the file has it
    assert shown.extra is not None
    bundle = aics_tlog.Bundle(shown.extra, shown.index, shown.path, shown.checkpoint.decode())
    assert aics_tlog.verify_bundle(bundle, key, [parse_vkey(theirs.key.text)], 1).ok
    other = aics_tlog.Bundle(found[4], shown.index, shown.path, shown.checkpoint.decode())
    assert not aics_tlog.verify_bundle(other, key, [parse_vkey(theirs.key.text)], 1).ok


def _covered(raw: Any, witness: Theirs) -> bool:
    note = raw.get("golive:checkpoint")
    if note is None:
        return False
    lines = parse(note).signatures
    size = int(note.split(b"\n")[1])
    names = {line.name for line in lines}
    return size == raw.xlen("golive:audit") and witness.key.name in names


def test_our_client_follows_their_witness_up_and_down(theirs: Theirs) -> None:
    client(theirs).submit(signed(LEAVES[:40]), PROVE)
    behind = client(theirs)
    assert behind.submit(signed(LEAVES[:100]), PROVE).size == 100
    ahead = client(theirs, known=200)
    found = ahead.submit(signed(LEAVES), PROVE)
    assert (found.size, found.fell_back) == (MOST, 100)
    with pytest.raises(WitnessRefusedError, match=f"has cosigned {MOST} entries"):
        client(theirs).submit(signed(LEAVES[:40]), PROVE)


def test_their_witness_refuses_what_ours_refuses(theirs: Theirs) -> None:
    submitter = client(theirs)
    submitter.submit(signed(LEAVES[:40]), PROVE)
    rewritten = [*OTHERS[:40], *LEAVES[40:]]
    for status, note in [
        (422, signed(rewritten)),
        (422, signed(OTHERS[:40])),
        (403, signed(LEAVES, "hb-2")),
        (404, signed(LEAVES, "hb-1", "unknown.invalid/log")),
    ]:
        with pytest.raises(WitnessRefusedError) as caught:
            submitter.submit(note, PROVE)
        assert caught.value.status == status
    assert submitter.submit(signed(LEAVES), PROVE).size == MOST


def test_our_client_goes_on_after_their_witness_was_killed(theirs: Theirs) -> None:
    client(theirs).submit(signed(LEAVES[:40]), PROVE)
    theirs.kill()
    with pytest.raises(WitnessUnavailableError):
        client(theirs, known=40).submit(signed(LEAVES), PROVE)
    theirs.start()
    assert client(theirs, known=40).submit(signed(LEAVES), PROVE).size == MOST


# -- their client, our witness -----------------------------------------------------------------------


@pytest.fixture
def ours(tmp_path: Path, wait_for: Wait) -> Iterator[WitnessProcess]:
    """Our witness, with our log."""
    make_witness(tmp_path / "ours")
    # Cold, and not by the zygote, which imports what only our other tests need.
    cold = (sys.executable, "-P", "-m", "golive_cli.main")
    witness = WitnessProcess(tmp_path / "ours", wait_for, wrapped=cold)
    yield witness
    witness.kill()


def feeder(witness: WitnessProcess, **more: object) -> WitnessClient:
    return WitnessClient(witness.url, witness_key().text, **more)  # type: ignore[arg-type]


def test_our_witness_cosigns_for_their_client(ours: WitnessProcess, tmp_path: Path) -> None:
    state = tmp_path / "feeder.json"
    with feeder(ours, state_path=state) as theirs:
        for size in (0, 1, 2, 7, 8, 40, 127, 128, MOST):
            note = signed(LEAVES[:size])
            lines = theirs.submit(note, TREE.consistency_proof)
            whole = merge_cosignatures(note, lines)
            found = open_checkpoint(whole, [log_key()], [witness_key()])
            assert (found.checkpoint.size, len(found.witnesses)) == (size, 1)
    with feeder(ours, state_path=state) as theirs:  # again, after a lost answer
        assert theirs.submit(signed(LEAVES), TREE.consistency_proof)
    status, _, shown = ours.ask("GET", checkpoint_path(ORIGIN))
    assert status == 200
    log, witness = parse_vkey(log_key().text), parse_vkey(witness_key().text)
    assert aics_tlog.verify_checkpoint(parse_note(shown), log, [witness], 1).ok


def test_their_client_recovers_from_our_conflicts(ours: WitnessProcess) -> None:
    with feeder(ours) as one, feeder(ours) as other:
        one.submit(signed(LEAVES[:40]), TREE.consistency_proof)
        assert other.submit(signed(LEAVES[:100]), TREE.consistency_proof)  # 0, told of 40
        assert one.submit(signed(LEAVES), TREE.consistency_proof)  # 40, told of 100
        with pytest.raises(WitnessAhead):
            other.submit(signed(LEAVES[:40]), TREE.consistency_proof)


def test_our_witness_refuses_their_client_what_their_witness_refuses(ours: WitnessProcess) -> None:
    with feeder(ours) as theirs:
        theirs.submit(signed(LEAVES[:40]), TREE.consistency_proof)
        for status, note, proof in [
            (422, signed([*OTHERS[:40], *LEAVES[40:]]), TREE.consistency_proof),
            (422, signed(OTHERS), OTHER_TREE.consistency_proof),
            (422, signed(OTHERS[:40]), TREE.consistency_proof),
            (403, signed(LEAVES, "hb-2"), TREE.consistency_proof),
            (404, signed(LEAVES, "hb-1", "unknown.invalid/log"), TREE.consistency_proof),
        ]:
            with pytest.raises(WitnessRejected) as caught:
                theirs.submit(note, proof)
            assert caught.value.status == status
        assert theirs.submit(signed(LEAVES), TREE.consistency_proof)


# -- an archive --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive that grew in four runs, to 70,000 entries, with a checkpoint of an earlier size."""
    folder = tmp_path_factory.mktemp("party") / "archive"
    head, made = GENESIS, []
    for index in range(MANY):
        raw = f"entry {index}".encode()
        head = extend(head, raw)
        made.append(Entry(raw, head, f"{index + 1}-0"))
    for size in (1, 300, 65_536 + 300, MANY):
        with Writer(folder, Signers().trust) as writer:
            writer.append(made[writer.size : size])
            writer.settle()
    with Writer(folder, Signers().trust) as writer:
        writer.keep_checkpoint(signed(many()[:CHECKED]), CHECKED)
    return folder


def many() -> list[bytes]:
    return entries(MANY)


def test_their_reader_finds_our_archive_whole_at_each_size_that_was_kept(archive: Path) -> None:
    reader, leaves = FileSystemTileReader(archive), many()
    for size in (1, 300, 65_536 + 300, MANY, CHECKED):
        root = EMPTY.extend(leaves[:size]).root()
        report = audit_tiles(reader, size, root)
        assert (report.size, report.bundles) == (size, -(-size // 256))
        assert tree_root_from_tiles(reader, size) == root


def test_their_proofs_from_our_tiles_verify_with_ours(archive: Path) -> None:
    reader, leaves = FileSystemTileReader(archive), many()
    root = EMPTY.extend(leaves).root()
    for index in (0, 255, 256, 65_535, 65_536, MANY - 1):
        assert read_entry(reader, index, MANY) == f"entry {index}".encode()
        proof = inclusion_proof_from_tiles(reader, index, MANY)
        verify_inclusion(leaves[index], index, MANY, proof, root)
    for old in (1, 300, CHECKED):
        proof = consistency_proof_from_tiles(reader, old, MANY)
        verify_consistency(old, MANY, EMPTY.extend(leaves[:old]).root(), root, proof)


def test_their_reader_names_the_file_that_was_changed_as_ours_does(archive: Path) -> None:
    path = archive / "tile" / "entries" / "003"
    good = path.read_bytes()
    path.write_bytes(good[:20] + bytes([good[20] ^ 1]) + good[21:])
    try:
        with pytest.raises(TileVerificationError, match="tile/entries/003"):
            audit_tiles(FileSystemTileReader(archive), MANY, EMPTY.extend(many()).root())
        with pytest.raises(ArchiveChangedError, match="tile/entries/003 was changed"):
            Archive(archive).check()
    finally:
        path.write_bytes(good)
