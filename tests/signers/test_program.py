"""`exec:` believes no program: not its exit code, not its output, and never for longer than it has."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from golive_redis.errors import ConfigError, RecordError, SignerError
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import peek, seal
from golive_redis.signers.program import open_program, parse
from golive_redis.testing import Signers
from kit.keystores import script, signing_with

SIGNERS = Signers()
ALICE = SIGNERS.signers["alice"]._private
PATIENCE_S = 30.0


@pytest.fixture
def opened(tmp_path: Path):
    """Opens `exec:` for a program with that body, in the name of alice."""

    def make(body: str, head: str = "alice", patience_s: float = PATIENCE_S, **environ: str):
        script(tmp_path / "sign", body)
        given = {"PATH": os.environ["PATH"], **environ}
        return open_program(
            f"{head}:./sign", SIGNERS.keyset, tmp_path, given, patience_s=patience_s
        )

    return make


def test_what_a_program_signs_is_a_signature_like_any_other(opened) -> None:
    signer = opened(signing_with(ALICE))
    assert (signer.principal, signer.keyid) == ("alice", SIGNERS.signers["alice"].keyid)
    assert signer.sign(b"bytes", PATIENCE_S) == ALICE.sign(b"bytes")


def test_its_arguments_are_split_as_a_shell_does_and_no_shell_is_there(tmp_path: Path) -> None:
    body = f"open('seen', 'w').write(repr(sys.argv[1:]))\n{signing_with(ALICE)}"
    script(tmp_path / "sign", body)
    signer = open_program(
        "alice:./sign 'a b' $HOME;x", SIGNERS.keyset, tmp_path, {}, patience_s=PATIENCE_S
    )
    signer.sign(b"m", PATIENCE_S)
    assert (tmp_path / "seen").read_text() == repr(["a b", "$HOME;x"])


LIES = {
    "other bytes": signing_with(ALICE).replace("message)", "message + b'!')"),
    "another key": signing_with(SIGNERS.signers["bob"]._private),
    "a hash": signing_with(ALICE).replace(
        "private.sign(message)", "private.sign(__import__('hashlib').sha512(message).digest())"
    ),
    "zeros": "print(base64.b64encode(bytes(64)).decode())",
}


@pytest.mark.parametrize("body", LIES.values(), ids=LIES)
def test_a_signature_that_does_not_verify_is_not_used(opened, body: str) -> None:
    with pytest.raises(
        SignerError, match="the key of alice in the keyset does not verify"
    ) as caught:
        opened(body).sign(b"m", PATIENCE_S)
    assert "Ed25519ph" in caught.value.hint


FAULTS: dict[str, tuple[str, str]] = {
    "exits 1": (
        "sys.stderr.write('no\\x1b[2J session'); sys.exit(1)",
        r"exited 1: no\\x1b\[2J session",
    ),
    "prints nothing": ("", "0 bytes instead of 64"),
    "prints no base64": ("print('vault:v1:abc')", "printed what is no base64"),
    "prints too few": ("print('AAAA')", "3 bytes instead of 64"),
    "prints 1 MiB": ("print('A' * (1 << 20))", "printed over 4096 bytes"),
    "prints for ever": ("while True: print('A' * 65536)", "printed over 4096 bytes"),
    "complains 1 MiB": (
        "sys.stderr.write('A' * (1 << 20)); sys.exit(3)",
        "exited 3: A{300}(?!A)",
    ),
    "is killed": ("os.kill(os.getpid(), 9)", "was killed by SIGKILL"),
}


@pytest.mark.parametrize(("body", "says"), FAULTS.values(), ids=FAULTS)
def test_what_goes_wrong_in_a_program_is_said_in_a_sentence(opened, body: str, says: str) -> None:
    with pytest.raises(SignerError, match=says) as caught:
        opened(body).sign(b"m", PATIENCE_S)
    assert len(caught.value.message) < 500 and "\x1b" not in caught.value.message


def test_one_that_hangs_is_killed_with_what_it_started(
    opened, tmp_path: Path, wait_for: Callable[..., None]
) -> None:
    body = """
if os.fork() == 0:
    open("child", "w").write(str(os.getpid()))
    time.sleep(600)
time.sleep(600)
"""
    signer = opened(body, patience_s=2.0)
    with pytest.raises(SignerError, match=r"has not answered within 2\.0 s and was killed"):
        signer.sign(b"m", 60)
    child = int((tmp_path / "child").read_text())

    def is_gone() -> bool:
        try:
            stat = Path(f"/proc/{child}/stat").read_text()
        except OSError:
            return True
        return stat.rpartition(")")[2].split()[0] == "Z"

    wait_for(is_gone, what="the end of its child")


def test_one_that_ends_and_leaves_its_pipes_open_is_given_up_in_time(opened) -> None:
    body = f"{signing_with(ALICE)}\nsys.stdout.flush()\nif os.fork() == 0: time.sleep(600)"
    with pytest.raises(SignerError, match="has not answered within"):
        opened(body, patience_s=2.0).sign(b"m", 60)


def test_one_that_is_missing_or_no_program_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for word, why in (("./absent", "No such file"), ("./text", "Permission denied")):
        signer = open_program(f"alice:{word}", SIGNERS.keyset, tmp_path, {}, patience_s=1)
        with pytest.raises(SignerError, match=f"{word} cannot be started: {why}"):
            signer.sign(b"m", 1)


def test_it_is_given_no_secret_of_another_key(opened, tmp_path: Path) -> None:
    body = f"open('seen', 'w').write(repr(sorted(os.environ)))\n{signing_with(ALICE)}"
    secrets = {"GOLIVE_KEY": "x", "GOLIVE_KEY_PASSPHRASE": "x", "GOLIVE_KEY_PASSPHRASE_BOB": "x"}
    opened(body, **secrets, AWS_PROFILE="desk").sign(b"m", PATIENCE_S)
    seen = (tmp_path / "seen").read_text()
    assert "AWS_PROFILE" in seen and "GOLIVE" not in seen


def test_a_record_beyond_its_limit_is_refused_with_the_limit_before_anybody_is_asked(
    opened, tmp_path: Path
) -> None:
    signer = opened("open('asked', 'w')", head="alice;max-message=300")
    assert signer.max_message == 300
    record = peek(SIGNERS.revocation(9, by="alice", reason="r" * 200), Revocation)
    with pytest.raises(RecordError, match=r"the key of alice signs at most 300 bytes") as caught:
        seal(record, signer)
    assert "bytes long" in caught.value.message and "--key" in caught.value.hint
    assert not (tmp_path / "asked").exists()
    short = msgspec.structs.replace(record, reason="r")
    fits = opened(signing_with(ALICE), head="alice;max-message=450")
    assert SIGNERS.trust.revocation(seal(short, fits)).record.reason == "r"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "alice:",
        ":prog",
        "alice:'open",
        "a b:prog",
        "alice;max-message=x:prog",
        "alice;x=1:p",
    ],
)
def test_a_setting_that_names_nobody_or_no_program_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^exec:") as caught:
        parse(text)
    assert "exec:NAME:PROGRAM" in caught.value.hint


def test_a_name_that_the_keyset_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the keyset has no key of 'eve'"):
        open_program("eve:prog", SIGNERS.keyset, tmp_path, {}, patience_s=1)
    keyid = SIGNERS.signers["bob"].keyid
    signer = open_program(f"{keyid[:8]}:prog", SIGNERS.keyset, tmp_path, {}, patience_s=1)
    assert signer.principal == "bob"


def test_a_caller_in_a_hurry_waits_no_longer_than_it_says(opened) -> None:
    began = time.monotonic()
    with pytest.raises(SignerError, match=r"within 0\.5 s"):
        opened("time.sleep(600)", patience_s=600).sign(b"m", 0.5)
    assert time.monotonic() - began < 300  # the program's own time would be 600 s
