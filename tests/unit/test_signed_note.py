"""Signed notes: only what a known key has signed is read, and every line of such a key must verify."""

from __future__ import annotations

import base64

import pytest

from golive_redis.errors import RecordError
from golive_redis.records.signednote import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    KeyType,
    SignatureLine,
    SignedNote,
    VerifierKey,
    cosigned_bytes,
    decode64,
    opened,
    parse,
    parse_lines,
    parse_vkey,
    sign,
    verified,
)
from kit.curve import encoded, small_order_points
from kit.notary import log_key, private, witness_key

# The example of C2SP signed-note v1.0.0.
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2"
    "ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()

LOG, WITNESS = log_key(), witness_key()
TEXT = "one\n\ntwo\n"
LINE = sign(TEXT, LOG, private("hb-1").sign)
COSIGNED = sign(TEXT, WITNESS, private("w1").sign, time_s=1_790_000_000)
NOTE = SignedNote(TEXT, (LINE, COSIGNED)).encode()


def stranger(number: int) -> str:
    """A line that nobody here can verify."""
    return f"\u2014 stranger-{number} {base64.b64encode(bytes(69)).decode()}\n"


def test_the_example_of_the_specification_verifies_and_is_written_the_same():
    key = parse_vkey(VKEY)
    assert (key.name, key.kind, key.text) == ("example.com/foo", KeyType.ED25519, VKEY)
    note, (signed,) = opened(EXAMPLE, [key])
    assert note.text == "This is an example message.\n"
    assert note.encode() == EXAMPLE
    assert (signed.verifier, signed.time_s) == (key, None)


def test_a_text_with_empty_lines_is_split_at_the_last():
    note, found = opened(NOTE, [LOG, WITNESS])
    assert note.text == TEXT
    assert [(signed.verifier, signed.time_s) for signed in found] == [
        (LOG, None),
        (WITNESS, 1_790_000_000),
    ]


def test_what_a_cosignature_signs_is_two_lines_and_the_text():
    assert cosigned_bytes(TEXT, 1_790_000_000) == b"cosignature/v1\ntime 1790000000\none\n\ntwo\n"
    assert COSIGNED.signature[:8] == (1_790_000_000).to_bytes(8, "big")


@pytest.mark.parametrize(
    "line",
    [
        SignatureLine("stranger", LINE.key_id, bytes(64)),  # our id under another name
        SignatureLine(LINE.name, b"\0\0\0\0", bytes(64)),  # our name with another id
        SignatureLine("ml-dsa", b"\6\6\6\6", bytes(2_428)),
        SignatureLine("short", b"\1\2\3\4", b"\0"),
    ],
)
def test_lines_of_unknown_keys_are_ignored_whatever_they_say(line):
    raw = SignedNote(TEXT, (line, LINE)).encode()
    assert [signed.verifier for signed in opened(raw, [LOG])[1]] == [LOG]


@pytest.mark.parametrize("key", [LOG, WITNESS])
def test_one_bad_line_of_a_known_key_refuses_the_note_that_others_have_signed(key):
    bad = SignatureLine(key.name, key.key_id, bytes(72 if key is WITNESS else 64))
    for lines in [(LINE, COSIGNED, bad), (bad, LINE, COSIGNED)]:
        with pytest.raises(RecordError, match=f"bad signature by {key.name}"):
            opened(SignedNote(TEXT, lines).encode(), [LOG, WITNESS])


@pytest.mark.parametrize("change", [b"", b"\0", bytes(8)])
def test_a_signature_of_another_length_is_a_bad_one(change):
    for key, line in [(LOG, LINE), (WITNESS, COSIGNED)]:
        wrong = line.signature + change if change else line.signature[:-1]
        with pytest.raises(RecordError, match="bad signature"):
            key.verify(TEXT, wrong)


def test_a_time_beyond_the_limit_is_a_bad_signature():
    late = sign(TEXT, WITNESS, private("w1").sign, time_s=2**63 - 1)
    assert WITNESS.verify(TEXT, late.signature) == 2**63 - 1
    with pytest.raises(RecordError, match="bad signature"):
        WITNESS.verify(TEXT, b"\x80" + late.signature[1:])


def test_a_signature_does_not_pass_for_a_cosignature_nor_the_reverse():
    same = VerifierKey(LOG.name, KeyType.COSIGNATURE, LOG.public)
    assert same.key_id != LOG.key_id
    with pytest.raises(RecordError):
        same.verify(TEXT, bytes(8) + LINE.signature)


def test_a_note_that_no_known_key_has_signed_is_refused():
    with pytest.raises(RecordError, match="no trusted key"):
        opened(NOTE, [log_key("hb-2")])
    with pytest.raises(RecordError, match="no trusted key"):
        opened(NOTE, [])


def test_a_key_that_signs_twice_counts_once_and_both_must_verify():
    later = sign(TEXT, WITNESS, private("w1").sign, time_s=1_790_000_001)
    (signed,) = verified(SignedNote(TEXT, (COSIGNED, later)), [WITNESS])
    assert signed.time_s == 1_790_000_000


def test_two_keys_under_one_name_and_id_are_refused():
    class Same(VerifierKey, frozen=True):
        @property
        def key_id(self) -> bytes:
            return LOG.key_id

    other = Same(LOG.name, KeyType.ED25519, log_key("hb-2").public)
    with pytest.raises(RecordError, match="one key id"):
        opened(NOTE, [LOG, other])


def test_at_least_sixteen_signatures_are_read_and_at_most_64():
    rest = "".join(map(stranger, range(MAX_SIGNATURES - 1)))
    raw = TEXT + "\n" + rest + LINE.text
    assert len(opened(raw.encode(), [LOG])[0].signatures) == MAX_SIGNATURES >= 16
    with pytest.raises(RecordError, match="are the most"):
        parse((TEXT + "\n" + stranger(64) + rest + LINE.text).encode())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"text\n",
        b"text\n\n",
        TEXT.encode(),
        NOTE.removesuffix(b"\n"),
        NOTE + b"\n",
        NOTE + b" \n",
        NOTE.replace(b"one", b"o\tne"),
        NOTE.replace(b"one", b"o\rne"),
        NOTE.replace(b"one", b"o\0ne"),
        NOTE.replace(b"one", b"o\xffne"),
        NOTE.replace(b"one", b"o\xed\xa0\x80ne"),  # a surrogate
        NOTE.replace("\u2014".encode(), b"-"),
        NOTE.replace(b" testnet", b"  testnet"),
        NOTE.replace(b" testnet", " test\u00a0net".encode()),
        NOTE.replace(b" testnet", b" test+net"),
        NOTE.replace(b"==", b"="),
        b"text\n\n\xe2\x80\x94 name AAAA\n",  # too short for an id and a signature
        b"text\n\n\xe2\x80\x94 name !!!!\n",
        b"text\n\n\xe2\x80\x94 name\n",
        b"text\n\n\xe2\x80\x94 name AAAAAAAA more\n",
        b"x" * MAX_NOTE_BYTES + NOTE,
    ],
)
def test_what_is_no_note_is_refused_as_a_whole(raw):
    with pytest.raises(RecordError):
        parse(raw)


def test_a_control_character_in_front_refuses_a_note_that_would_verify():
    assert opened(NOTE, [LOG])
    with pytest.raises(RecordError, match="control"):
        parse(b"\x1b" + NOTE)


@pytest.mark.parametrize("text", ["no newline", "a\n\n\u2014 x AAAAAAAA", ""])
def test_a_note_that_would_be_read_otherwise_is_never_written(text):
    with pytest.raises(RecordError):
        SignedNote(text, (LINE,)).encode()


def test_base64_has_one_form():
    assert decode64("AAA=") == b"\0\0"
    for text in ("AAB=", "AAA", "A AA=", "AAA=\n", "AA-_", "\u00e9"):
        with pytest.raises(RecordError):
            decode64(text)


@pytest.mark.parametrize(
    ("vkey", "why"),
    [
        ("", "no name"),
        ("foo", "type 0x"),
        (VKEY.replace("530d903a", "530D903A"), "its id is"),
        (VKEY.replace("530d903a", "530d903b"), "its id is"),
        (VKEY.replace("foo", "bar"), "its id is"),
        (VKEY.replace("foo", "f oo"), "no name"),
        (VKEY[:-4], "32 bytes"),
        (VKEY + "=", "base64"),
        (VKEY + "\n", "base64"),
        ("w+00000000+" + base64.b64encode(b"\6" + bytes(1_312)).decode(), "type 0x06"),
        ("w+00000000+" + base64.b64encode(b"\2" + bytes(32)).decode(), "type 0x02"),
        ("w\udcff+530d903a+" + VKEY.rpartition("+")[2], "not UTF-8"),
    ],
)
def test_what_is_no_verifier_key_is_refused_with_the_reason(vkey, why):
    with pytest.raises(RecordError, match=why):
        parse_vkey(vkey)


@pytest.mark.parametrize("raw", sorted(map(encoded, small_order_points())))
def test_a_key_under_which_anybody_can_sign_is_refused(raw):
    for kind in KeyType:
        with pytest.raises(RecordError, match="small order"):
            parse_vkey(VerifierKey("w", kind, raw).text)


def test_a_point_off_the_curve_verifies_nothing():
    off = (2).to_bytes(32, "little")
    key = parse_vkey(VerifierKey("w", KeyType.ED25519, off).text)
    with pytest.raises(RecordError, match="bad signature"):
        key.verify(TEXT, LINE.signature)


def test_a_key_does_not_sign_in_the_name_of_another():
    with pytest.raises(RecordError, match="bad signature"):
        sign(TEXT, LOG, private("hb-2").sign)


def test_new_lines_take_the_place_of_earlier_ones_by_the_same_key():
    later = sign(TEXT, WITNESS, private("w1").sign, time_s=1_790_000_060)
    other = sign(TEXT, witness_key("w2", "w2"), private("w2").sign, time_s=1)
    note = parse(NOTE).with_lines([later, other])
    assert note.signatures == (LINE, later, other)
    assert parse(note.encode()) == note


def test_a_witness_answers_with_lines_of_the_same_form():
    assert parse_lines(COSIGNED.text + LINE.text) == (COSIGNED, LINE)
    for text in ("", "\n", COSIGNED.text + "\n", COSIGNED.text[:-1], "OK\n"):
        with pytest.raises(RecordError):
            parse_lines(text)
