"""`pkcs11:` signs with a real SoftHSM, and says what a token may lack."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from golive_redis.errors import ConfigError, SignerError
from golive_redis.records.directive import Revocation
from golive_redis.records.envelope import peek, seal
from golive_redis.records.keyset import Keyset, parse_keyset, raw_of
from golive_redis.records.trust import Trust
from golive_redis.signers.hsm import open_token, parse
from golive_redis.testing import FLEET, Signers
from kit.keystores import PIN, SoftHsm

pytestmark = pytest.mark.xdist_group("softhsm")

PATIENCE_S = 30.0


@pytest.fixture(scope="session")
def keyset(hsm: SoftHsm) -> Keyset:
    """Of the keys that are made on the tokens, once."""
    keys = {
        "alice": hsm.new_key("golive", "alice", b"\x01"),
        "bob": hsm.new_key("golive", "bob", b"\x02"),
        "carol": hsm.new_key("half", "carol", b"\x03", public=False),
    }
    hsm.new_key("golive", "stranger", b"\x04")
    principals = {
        name: {"roles": ["approver"], "keys": ["ed25519:" + base64.b64encode(raw).decode()]}
        for name, raw in keys.items()
    }
    return parse_keyset({"version": 1, "fleet": FLEET, "principals": principals})


@pytest.fixture
def opened(hsm: SoftHsm, keyset: Keyset):
    def make(
        path: str,
        pin: Callable[[str], str | None] = lambda _: PIN,
        query: str = "",
        **kwargs: float,
    ):
        setting = f"{path}?module-path={hsm.module}{query}"
        return open_token(setting, keyset, pin, **{"patience_s": PATIENCE_S, **kwargs})

    return make


def test_a_token_signs_what_every_pod_verifies(opened, keyset: Keyset) -> None:
    signer = opened("token=golive;object=alice")
    assert signer.principal == "alice"
    record = peek(Signers().revocation(9, by="alice"), Revocation)
    raw = seal(record, signer)
    assert Trust(keyset, "golive", "test").revocation(raw).signers == {"alice"}


def test_a_key_is_picked_by_its_label_or_its_id(opened) -> None:
    assert opened("token=golive;object=bob").principal == "bob"
    assert opened("token=golive;id=%02").principal == "bob"
    assert opened("token=golive;object=bob;id=%02;type=private").principal == "bob"


def test_two_keys_of_the_keyset_have_to_be_told_apart(opened) -> None:
    with pytest.raises(ConfigError, match=r"several keys of the keyset are meant: alice .*, bob"):
        opened("token=golive")


def test_the_pin_is_asked_for_in_the_name_of_the_principal_and_once(opened) -> None:
    asked: list[str] = []
    opened("token=golive;object=bob", lambda name: asked.append(name) or PIN)
    assert asked == ["bob"]


_THREE_PINS = """
import base64
from golive_redis.errors import ConfigError
from golive_redis.records.keyset import parse_keyset
from golive_redis.signers.hsm import open_token
line = "ed25519:" + base64.b64encode(bytes.fromhex({raw!r})).decode()
alice = {{"roles": ["approver"], "keys": [line]}}
keyset = parse_keyset({{"version": 1, "fleet": "f" * 32, "principals": {{"alice": alice}}}})
for pin in ("0000-0000", "", {pin!r}):
    try:
        signer = open_token({uri!r}, keyset, lambda _: pin, patience_s=30)
        print(len(signer.sign(b"m", 30)))
    except ConfigError as error:
        print(type(error).__name__, error.message, "|", error.hint)
"""


def test_a_wrong_pin_is_said_and_the_right_one_works_after_it(hsm: SoftHsm, keyset: Keyset) -> None:
    """In a process of its own: a login is the process's, and any test before may have logged in."""
    alice = next(key for key in keyset.keys.values() if key.principal == "alice")
    raw, uri = raw_of(alice.public), f"token=golive;object=alice?module-path={hsm.module}"
    code = _THREE_PINS.format(raw=raw.hex(), uri=uri, pin=PIN)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **hsm.environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    wrong, missing, right = done.stdout.splitlines() or [done.stderr, "", ""]
    assert wrong.startswith("SignerError pkcs11: the PIN is wrong | a token locks"), wrong
    assert "the key of alice needs a PIN" in missing and "GOLIVE_KEY_PASSPHRASE" in missing
    assert right == "64"
    assert PIN not in done.stdout + done.stderr and "0000-0000" not in done.stdout + done.stderr


def test_a_pin_comes_from_a_file(opened, tmp_path: Path) -> None:
    file = tmp_path / "pin"
    file.write_text(f"{PIN}\n")
    file.chmod(0o600)

    def nobody(_: str) -> str:
        raise AssertionError

    for source in (f"file:{file}", f"file://{file}", str(file)):
        signer = opened("token=golive;object=bob", nobody, f"&pin-source={source}")
        assert signer.principal == "bob"
    with pytest.raises(ConfigError, match=r"pin-source .*absent: No such file"):
        opened("token=golive;object=bob", nobody, f"&pin-source=file:{tmp_path}/absent")
    file.chmod(0o644)  # the rule of a key file
    with pytest.raises(ConfigError, match=r"pin-source .*is open to others \(mode 0644\)") as open_:
        opened("token=golive;object=bob", nobody, f"&pin-source=file:{file}")
    assert open_.value.hint == f"chmod 600 {file}"


def test_a_second_login_in_one_process_is_no_error(opened) -> None:
    """A heartbeat that reloads opens its key once more."""
    first, second = opened("token=golive;object=alice"), opened("token=golive;object=alice")
    assert first.sign(b"m", PATIENCE_S) == second.sign(b"m", PATIENCE_S)


LACKING = {
    "token=nowhere;object=alice": r"0 tokens match; there are .*'golive'",
    "token=golive;object=eve": r"'golive': the keyset lists none of its .* that match \(none\)",
    "token=golive;object=stranger": r"lists none of its Ed25519 keys that match \([0-9a-f]{12}\)",
    "token=empty": r"'empty': the keyset lists none",
    "token=half;object=carol": r"'half': the keyset lists none",
    "object=alice": r"\d tokens match",
}


@pytest.mark.parametrize(("path", "says"), LACKING.items(), ids=LACKING)
def test_what_is_not_there_is_said_with_what_there_is(opened, path: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        opened(path)
    assert caught.value.hint


def test_a_driver_that_is_none_is_named(keyset: Keyset, tmp_path: Path) -> None:
    (tmp_path / "text.so").write_text("no driver")
    for file in ("absent.so", "text.so"):
        with pytest.raises(ConfigError, match=rf"the driver .*{file} cannot be loaded"):
            open_token(
                f"token=x?module-path={tmp_path}/{file}", keyset, lambda _: PIN, patience_s=1
            )


def test_a_driver_that_hangs_is_given_up_in_time(opened) -> None:
    signer = opened("token=golive;object=alice")
    signing = signer._ask.__self__
    with signing._lock, pytest.raises(SignerError, match=r"has not answered within 0\.3 s"):
        signer.sign(b"m", 0.3)  # a call of another thread is under way, and does not end
    assert len(signer.sign(b"m", PATIENCE_S)) == 64


REFUSED = {
    "token=a": "module-path is missing",
    "token=a?pin-value=1234&module-path=/x": "a PIN does not belong into a setting",
    "token=a;tokn=b?module-path=/x": "'tokn=b' is not known here",
    "token=a;token=b?module-path=/x": "'token=b' is twice",
    "token?module-path=/x": "'token' is not known here",
    "token=a?module-path=/x&pin-source=|cat": "pin-source is '.cat', and must be a file",
}


@pytest.mark.parametrize(("setting", "says"), REFUSED.items(), ids=REFUSED)
def test_a_uri_with_a_fault_is_refused_and_its_pin_not_shown(setting: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        parse(setting)
    assert "1234" not in caught.value.message + caught.value.hint


def test_percent_signs_are_decoded() -> None:
    uri = parse("token=go%20live;id=%01%ff;object=a%3Bb?module-path=/x%20y.so&pin-source=file:/p")
    assert uri.path == {"token": "go live", "id": "01ff", "object": "a;b"}
    assert (uri.module, uri.pin_file) == ("/x y.so", "/p")
