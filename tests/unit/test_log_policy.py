"""Log policies: a checkpoint is accepted when its own log signed it and enough witnesses did."""

from __future__ import annotations

import itertools

import pytest

from golive_redis.errors import RecordError
from golive_redis.records.checkpoint import EntryProof
from golive_redis.records.logpolicy import (
    MAX_LINES,
    Group,
    Policy,
    TrustedLog,
    TrustedWitness,
    parse_policy,
)
from golive_redis.records.merkle import inclusion_path, prove
from golive_redis.records.signednote import KeyType, VerifierKey, parse, sign
from kit.notary import ORIGIN, entries, log_key, private, signed, witness_key

LEAVES = entries(20)
LOG = log_key()
KEYS = {name: witness_key(name, f"{name}.example") for name in ("X1", "X2", "X3", "Y1", "Y2", "Y3")}
WITNESSES = "".join(f"witness {name} {key.text}\n" for name, key in KEYS.items())
# The example of C2SP tlog-policy, with keys.
EXAMPLE = f"""log {LOG.text}

{WITNESSES}group X-witnesses 2 X1 X2 X3
group Y-witnesses any Y1 Y2 Y3
group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""
POLICY = parse_policy(EXAMPLE.encode())


def cosigned(*names: str, by: str = "hb-1", origin: str = ORIGIN) -> bytes:
    note = parse(signed(LEAVES, by, origin))
    lines = [sign(note.text, KEYS[name], private(name).sign, time_s=7) for name in names]
    return note.with_lines(lines).encode()


def test_the_example_of_the_specification_means_two_of_x_and_one_of_y():
    for count in range(len(KEYS) + 1):
        for names in itertools.combinations(KEYS, count):
            x, y = (sum(name.startswith(kind) for name in names) for kind in "XY")
            assert POLICY.met(names) == (x >= 2 and y >= 1)


def test_a_checkpoint_is_judged_by_its_signatures_and_the_quorum():
    judged = POLICY.judge(cosigned("X1", "X3", "Y2"))
    assert judged.witnesses == {"X1", "X3", "Y2"}
    assert judged.checkpoint.size == 20
    with pytest.raises(RecordError, match="cosigned by X1, X3: the quorum X-and-Y is not met"):
        POLICY.judge(cosigned("X1", "X3"))
    assert POLICY.look(cosigned("X1", "X3")).witnesses == {"X1", "X3"}


def test_a_checkpoint_of_a_log_that_is_not_listed_is_refused():
    with pytest.raises(RecordError, match="no trusted key of its log"):
        POLICY.judge(cosigned("X1", "X3", "Y2", by="hb-2"))
    with pytest.raises(RecordError, match="no log of the origin"):
        POLICY.judge(cosigned("X1", "X3", "Y2", origin="other.invalid/golive"))


def test_the_key_of_one_log_signs_nothing_for_another():
    other = log_key("hb-2", "other.invalid/golive")
    policy = parse_policy(f"log {LOG.text}\nlog {other.text}\nquorum none\n".encode())
    policy.judge(signed(LEAVES, "hb-2", "other.invalid/golive"))
    mixed = parse(signed(LEAVES))
    raw = type(mixed)(mixed.text, (sign(mixed.text, other, private("hb-2").sign),)).encode()
    with pytest.raises(RecordError, match="no trusted key of its log"):
        policy.judge(raw)


def test_any_of_several_heartbeats_may_have_signed():
    keys = [log_key("hb-1"), log_key("hb-2")]
    policy = parse_policy("".join(f"log {key.text}\n" for key in keys).encode() + b"quorum none\n")
    assert policy.judge(signed(LEAVES, "hb-2")).opened.logs[0].verifier == keys[1]


def test_one_bad_cosignature_of_a_known_witness_refuses_all():
    note = parse(cosigned("X1", "X2", "Y1"))
    bad = sign("another text\n", KEYS["Y2"], private("Y2").sign, time_s=7)
    with pytest.raises(RecordError, match=r"bad signature by Y2\.example"):
        POLICY.judge(note.with_lines([bad]).encode())


def test_a_quorum_may_be_one_witness_or_nobody():
    one = parse_policy(f"log {LOG.text}\n{WITNESSES}quorum Y1\n".encode())
    assert one.judge(cosigned("Y1"))
    with pytest.raises(RecordError, match="cosigned by nobody"):
        one.judge(cosigned())
    nobody = parse_policy(f"log {LOG.text}\nquorum none\n".encode())
    assert nobody.judge(cosigned()).witnesses == frozenset()


def test_an_entry_is_verified_offline_from_policy_and_proof():
    proof = EntryProof(7, prove(inclusion_path(7, 20), LEAVES), cosigned("X1", "X2", "Y1"))
    assert POLICY.verify_entry(proof, LEAVES[7]).checkpoint.size == 20
    with pytest.raises(RecordError, match="does not show"):
        POLICY.verify_entry(proof, LEAVES[8])
    weak = EntryProof(7, proof.path, cosigned("X1"))
    with pytest.raises(RecordError, match="quorum"):
        POLICY.verify_entry(weak, LEAVES[7])


def test_spaces_tabs_comments_and_urls_are_read():
    key = KEYS["X1"].text
    raw = (
        f"# who\n \t\n\tlog\t{LOG.text}  https://log.example/ \n  # \u00e9\n"
        f"witness W {key} https://w.example\nquorum W"
    )
    policy = parse_policy(f"{raw}\n".encode())
    assert policy.logs[0].url == "https://log.example/"
    assert policy.witnesses[0].url == "https://w.example"


def test_names_are_opaque_bytes():
    raw = b"witness K\xff " + KEYS["X1"].text.encode() + b"\nquorum K\xff\n"
    policy = parse_policy(raw)
    assert policy.met([policy.witnesses[0].name])
    assert not policy.met(["K"])
    kelvin = "witness K {}\nwitness \u212a {}\nquorum K\n".format(*(k.text for k in KEYS.values()))
    assert len(parse_policy(kelvin.encode()).witnesses) == 2


def test_a_policy_is_written_as_it_is_read():
    assert parse_policy(POLICY.encode()) == POLICY
    odd = parse_policy(b"witness K\xff " + KEYS["X1"].text.encode() + b" u\nquorum none\n")
    assert parse_policy(odd.encode()) == odd


@pytest.mark.parametrize(
    "policy",
    [
        Policy((), (), (), "nobody"),
        Policy((), (TrustedWitness("two words", KEYS["X1"]),), (), "none"),
        Policy((), (TrustedWitness("W\ud800", KEYS["X1"]),), (), "none"),
        Policy((TrustedLog(LOG, "two words"),), (), (), "none"),
        Policy((), (TrustedWitness("W", KEYS["X1"]),), (Group("G", 2, ("W",)),), "G"),
        Policy((TrustedLog(LOG), TrustedLog(LOG)), (), (), "none"),
    ],
)
def test_a_policy_that_would_be_read_otherwise_is_never_written(policy):
    with pytest.raises(RecordError):
        policy.encode()


W = f"witness W {KEYS['X1'].text}\n"
V = f"witness V {KEYS['X2'].text}\n"
TWICE = VerifierKey("another.example", KeyType.COSIGNATURE, KEYS["X1"].public).text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "newline"),
        ("\n", "no quorum"),
        ("quorum none", "newline"),
        ("quorum none\nquorum none\n", "line 2: a second quorum"),
        ("quorum\n", "one witness or group"),
        ("quorum W\n" + W, "line 1"),
        (W + "quorum W W\n", "one witness or group"),
        (W + W + "quorum W\n", "line 2: the name 'W' is taken"),
        (W + f"witness V {TWICE}\nquorum V\n", "listed already"),
        (f"log {LOG.text}\nlog {LOG.text}\nquorum none\n", "listed already"),
        (f"witness none {KEYS['X1'].text}\nquorum none\n", "is taken"),
        (f"witness W {LOG.text}\nquorum W\n", "type is not 0x04"),
        (f"witness W {KEYS['X1'].text} u u\nquorum W\n", "a URL at most"),
        (f"log {LOG.text} u u\nquorum none\n", "a URL at most"),
        ("log\nquorum none\n", "a URL at most"),
        ("log nonsense\nquorum none\n", "line 1"),
        (W + V + "group G 0 W V\nquorum G\n", "1 to as many"),
        (W + V + "group G 3 W V\nquorum G\n", "1 to as many"),
        (W + V + "group G 02 W V\nquorum G\n", "1 to as many"),
        (W + V + "group G most W V\nquorum G\n", "1 to as many"),
        (W + "group G all\nquorum G\n", "one member"),
        (W + "group G all G\nquorum G\n", "not defined before"),
        (W + "group G all none\nquorum G\n", "not defined before"),
        (W + "group G any W W\nquorum G\n", "count twice"),
        (W + V + "group G any W\ngroup H any W V\nquorum H\n", "count twice"),
        (W + "group W any W\nquorum W\n", "is taken"),
        (W + "Quorum W\n", "none of log"),
        (W + "quorum W\r\n", "control character"),
        (W + "quorum W\x7f\n", "control character"),
        (
            "".join(
                f"log {VerifierKey(ORIGIN, KeyType.ED25519, bytes([9, at]) + bytes(30)).text}\n"
                for at in range(MAX_LINES + 1)
            )
            + "quorum none\n",
            f"line {MAX_LINES + 1}: more than",
        ),
        ("#" * 300_000 + "\nquorum none\n", "exceeds the limit"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_its_line(text, why):
    with pytest.raises(RecordError, match=why):
        parse_policy(text.encode())


def test_as_many_logs_witnesses_and_groups_as_recommended_are_read():
    names = [f"w{at}" for at in range(32)]
    text = "".join(
        f"witness {name} {witness_key(name, name).text}\nlog {log_key(name).text}\n"
        for name in names
    )
    text += "".join(f"group g-{name} any {name}\n" for name in names[:31])
    text += "group all-of-them all " + " ".join(f"g-{name}" for name in names[:31]) + "\n"
    policy = parse_policy(f"{text}quorum all-of-them\n".encode())
    assert policy.met(names[:31])
    assert not policy.met(names[1:])


def test_a_login_in_a_url_is_not_shown():
    text = f"log {LOG.text} https://u:secret@h/\nwitness W {KEYS['X1'].text} https://u:secret@h/\n"
    policy = parse_policy(f"{text}quorum none\n".encode())
    assert policy.logs[0].url == "https://u:secret@h/"
    assert "secret" not in repr(policy)
