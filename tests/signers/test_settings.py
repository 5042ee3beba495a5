"""A key setting is a path, or says by its scheme who signs; nothing is imported that is not used."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from golive_redis import config as configuration
from golive_redis.config import Config, keyfile, signing
from golive_redis.errors import ConfigError, SignerError
from golive_redis.records.keyset import decode_public, parse_keyset, ssh_blob
from golive_redis.testing import Signers
from kit.keystores import RealAgent, as_openssh, owned, script, signing_with

SIGNERS = Signers()
LIMITS = {
    "currency": "USD",
    "max_order_notional": "25",
    "max_position_notional": "100",
    "max_daily_loss": "50",
    "max_orders_per_minute": 600,
}


def key_of(name: str):
    return SIGNERS.signers[name]._private


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Config]:
    """Loads a configuration with those `keys`; its environment is `environ`."""

    def make(environ: dict[str, str] | None = None, **keys: str) -> Config:
        file: dict[str, Any] = {"environment": "test", "profiles": {"micro": LIMITS}, "keys": keys}
        (tmp_path / "go_live.yaml").write_text(json.dumps(file))  # JSON is YAML, too
        (tmp_path / "keyset.yaml").write_text(json.dumps(SIGNERS.keyset_file))
        return configuration.load(tmp_path / "go_live.yaml", environ=environ or {})

    return make


# -- which signer ----------------------------------------------------------------------------------


def test_a_setting_is_a_path_unless_it_begins_with_a_scheme(load, tmp_path: Path) -> None:
    keyfile.write(tmp_path / "alice.pem", key_of("alice"))
    keyfile.write(tmp_path / "agent:alice", key_of("bob"))
    for setting, name in (("alice.pem", "alice"), ("./agent:alice", "bob")):
        config = load(operator=setting)
        assert config.signer("operator", config.keyset()).principal == name


def test_a_scheme_that_there_is_not_is_refused_with_those_that_there_are(load) -> None:
    config = load(operator="gpg:alice")
    with pytest.raises(ConfigError, match="no signer is called 'gpg'") as caught:
        config.signer("operator", config.keyset())
    assert "agent:, pkcs11:, exec:" in caught.value.hint and "./gpg:" in caught.value.hint


def test_the_agent_is_asked_by_the_setting_the_option_and_the_variable(
    load, agent: RealAgent
) -> None:
    agent.add("a", key_of("alice"))
    config = load(agent.environ, operator="agent:")
    keyset = config.keyset()
    assert config.signer("operator", keyset).principal == "alice"
    assert config.stop_signer(keyset).principal == "alice"
    assert config.signer_from("agent:alice", keyset).principal == "alice"
    by_variable = load({**agent.environ, "GOLIVE_KEY": "agent:"}, operator="absent.pem")
    assert by_variable.signer("operator", keyset).principal == "alice"


def test_a_name_takes_its_place_in_any_scheme(load, tmp_path: Path) -> None:
    script(tmp_path / "sign", signing_with(key_of("hb-2")))
    config = load({"PATH": "/usr/bin:/bin"}, heartbeat="exec:{name}:./sign")
    signer = config.signer("heartbeat", config.keyset(), name="hb-2")
    assert signer.principal == "hb-2"


def test_who_stands_beside_nobody_waits_a_second_and_not_a_minute(load, tmp_path: Path) -> None:
    """A heartbeat that waits for a finger does not read what it was pushed."""
    script(tmp_path / "sign", "time.sleep(600)")
    config = load({"PATH": "/usr/bin:/bin"}, heartbeat="exec:hb-1:./sign")
    signer = config.signer("heartbeat", config.keyset(), name="hb-1")
    with pytest.raises(SignerError, match=r"within 1\.0 s"):
        signer.sign(b"m", 60)


def test_it_is_known_who_may_keep_a_stop_waiting(load) -> None:
    pem = keyfile.to_pem(key_of("alice")).decode()
    assert not load(operator="alice.pem").stop_may_wait()
    assert load(operator="alice.pem").stop_may_wait("agent:")
    assert not load(operator="agent:").stop_may_wait("alice.pem")
    for setting in ("agent:", "pkcs11:token=a", "exec:alice:prog"):
        assert load(operator=setting).stop_may_wait()
        assert load(revoker=setting).stop_may_wait()
    assert not load({"GOLIVE_KEY": pem}, operator="agent:").stop_may_wait()
    assert load({"GOLIVE_KEY": "agent:"}, operator="a.pem").stop_may_wait()
    assert load({"GOLIVE_KEY_FD": "3"}, operator="a.pem").stop_may_wait()
    assert load({"GOLIVE_KEY_PASSPHRASE_FD": "3"}, operator="a.pem").stop_may_wait()


def test_no_value_of_the_variable_is_shown_that_is_no_pem(load) -> None:
    config = load({"GOLIVE_KEY": "secret:stuff"}, operator="a.pem")
    with pytest.raises(ConfigError) as caught:
        config.signer("operator", config.keyset())
    assert "secret" not in caught.value.message + caught.value.hint


LOADED = {
    "a key file": ("alice.pem", set()),
    "an agent": ("agent:", {"golive_redis.signers.agent", "golive_redis.signers.foreign"}),
    "a program": ("exec:alice:x", {"golive_redis.signers.program", "golive_redis.signers.foreign"}),
}
RARE = {
    "pkcs11",
    "bcrypt",
    "resource",
    "termios",
    "getpass",
    "golive_redis.config.passphrase",
    "golive_redis.config.descriptor",
    "golive_redis.signers.agent",
    "golive_redis.signers.asked",
    "golive_redis.signers.foreign",
    "golive_redis.signers.hsm",
    "golive_redis.signers.program",
    "cryptography.hazmat.primitives.serialization.ssh",
}


@pytest.mark.parametrize(("setting", "wanted"), LOADED.values(), ids=LOADED)
def test_a_stop_loads_only_what_its_own_signer_needs(
    load, tmp_path: Path, setting: str, wanted: set[str]
) -> None:
    keyfile.write(tmp_path / "alice.pem", key_of("alice"))
    load(operator=setting)
    code = f"""
import sys
import golive_cli.commands.revoke
from golive_redis.config import load
from golive_redis.stop.revoke import Revoke
config = load({str(tmp_path / "go_live.yaml")!r})
Revoke(config, reason="r")
try:
    config.stop_signer(config.keyset())
except Exception as error:
    assert "ssh-agent" in str(error), error
print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert set(done.stdout.split()) & RARE == wanted


# -- files of OpenSSH, and passphrases -------------------------------------------------------------


def test_a_key_file_of_openssh_is_read_as_ssh_keygen_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "id"
    run = ["ssh-keygen", "-q", "-t", "ed25519", "-f", path, "-C", "alice's laptop"]
    subprocess.run([*run, "-N", ""], check=True, timeout=60)
    subprocess.run([*run[:-4], "-f", tmp_path / "locked", "-N", "open me"], check=True, timeout=60)
    plain = keyfile.read(path, {})
    line = path.with_suffix(".pub").read_text().strip()
    assert decode_public(line) == plain.public_key().public_bytes_raw()
    environ = {"GOLIVE_KEY_PASSPHRASE": "open me"}
    locked = keyfile.read(tmp_path / "locked", environ)
    theirs = (tmp_path / "locked.pub").read_text().strip()
    assert decode_public(theirs) == locked.public_key().public_bytes_raw()
    with pytest.raises(ConfigError, match="needs a passphrase"):
        keyfile.read(tmp_path / "locked", {})
    with pytest.raises(ConfigError, match="the passphrase is wrong"):
        keyfile.read(tmp_path / "locked", {"GOLIVE_KEY_PASSPHRASE": "wrong"})
    with pytest.raises(ConfigError, match="has no passphrase"):
        keyfile.read(path, environ)


def test_an_openssh_key_of_another_algorithm_is_refused(tmp_path: Path) -> None:
    run = ["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "id"]
    subprocess.run(run, check=True, timeout=60)
    with pytest.raises(ConfigError, match="not an Ed25519 key"):
        keyfile.read(tmp_path / "id", {})


def test_each_key_may_have_a_passphrase_of_its_own(load, tmp_path: Path) -> None:
    keyfile.write(tmp_path / "alice.pem", key_of("alice"), "of alice")
    owned(tmp_path / "stick", as_openssh(key_of("hb-1"), "of hb"))
    keyfile.write(tmp_path / "bob.pem", key_of("bob"), "of all")
    environ = {
        "GOLIVE_KEY_PASSPHRASE_ALICE": "of alice",
        "GOLIVE_KEY_PASSPHRASE_HB_1": "of hb",
        "GOLIVE_KEY_PASSPHRASE": "of all",
    }
    config = load(environ, operator="alice.pem")
    keyset = config.keyset()
    assert config.signer("operator", keyset).principal == "alice"
    assert config.signer_from(tmp_path / "stick", keyset).principal == "hb-1"
    assert config.signer_from(tmp_path / "bob.pem", keyset).principal == "bob"
    del environ["GOLIVE_KEY_PASSPHRASE_ALICE"]
    config = load(environ, operator="alice.pem")
    with pytest.raises(ConfigError, match="the passphrase is wrong") as caught:
        config.signer("operator", keyset)
    assert caught.value.hint == (
        "tried what came from $GOLIVE_KEY_PASSPHRASE_HB_1, $GOLIVE_KEY_PASSPHRASE"
    )


def test_a_person_is_asked_last_and_told_which_file_it_is_about(tmp_path: Path) -> None:
    keyfile.write(tmp_path / "alice.pem", key_of("alice"), "secret")
    asked: list[str] = []

    def ask(what: str) -> str:
        asked.append(what)
        return "secret"

    path = tmp_path / "alice.pem"
    keyfile.read(path, {"GOLIVE_KEY_PASSPHRASE_ALICE": "secret"}, ask=ask)
    assert not asked
    keyfile.read(path, {}, ask=ask)
    assert asked == [f"key file {path}"]
    with pytest.raises(keyfile.PassphraseNeededError):
        keyfile.read(path, {}, ask=lambda _: None)
    plain = tmp_path / "plain.pem"
    keyfile.write(plain, key_of("bob"))
    keyfile.read(plain, {}, ask=ask)
    assert len(asked) == 1


# -- the keyset ------------------------------------------------------------------------------------


def test_the_keyset_takes_lines_of_openssh() -> None:
    file = json.loads(json.dumps(SIGNERS.keyset_file))
    public = SIGNERS.signers["alice"].public
    line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    for text in (line, f"{line} alice@laptop", f"{line}  a comment: with words"):
        file["principals"]["alice"]["keys"] = [text]
        assert parse_keyset(file).keys.keys() == SIGNERS.keyset.keys.keys()
    file["principals"]["bob"]["keys"] = [line]
    with pytest.raises(ConfigError, match="is already listed for alice"):
        parse_keyset(file)


def _line(blob: bytes, algorithm: str = "ssh-ed25519") -> str:
    return f"{algorithm} {base64.b64encode(blob).decode()}"


GOOD = ssh_blob(bytes(range(32)))
BAD_LINES = {
    "no blob": "ssh-ed25519",
    "no base64": "ssh-ed25519 AAAA!",
    "cut": _line(GOOD[:-1]),
    "longer": _line(GOOD + b"x"),
    "another inside": _line(GOOD.replace(b"ssh-ed25519", b"ssh-ed25518")),
    "a security key": _line(GOOD, "sk-ssh-ed25519@openssh.com"),
    "of FIDO2": _line(GOOD, "ssh-ed25519-cert-v01@openssh.com"),
    "a length that lies": _line(GOOD[:15] + b"\0\0\0\x21" + GOOD[19:]),
    "RSA": _line(b"\0\0\0\x07ssh-rsa" + bytes(40), "ssh-rsa"),
    "both": f"ed25519:{_line(GOOD)}",
}


@pytest.mark.parametrize("line", BAD_LINES.values(), ids=BAD_LINES)
def test_a_line_that_is_no_ed25519_key_is_refused(line: str) -> None:
    with pytest.raises(ConfigError, match="is not an Ed25519 key"):
        decode_public(line)


def test_a_small_order_key_is_refused_in_a_line_of_openssh_too() -> None:
    file = json.loads(json.dumps(SIGNERS.keyset_file))
    file["principals"]["alice"]["keys"] = [_line(ssh_blob(b"\x01" + bytes(31)))]
    with pytest.raises(ConfigError, match="of small order"):
        parse_keyset(file)


def test_a_key_in_the_environment_is_known_as_exposed(load) -> None:
    pem = keyfile.to_pem(key_of("alice")).decode()
    assert load({"GOLIVE_KEY": pem}).has_exposed_key
    assert not load({"GOLIVE_KEY": "agent:"}).has_exposed_key
    assert not load({"GOLIVE_KEY_FD": "3"}).has_exposed_key
    assert not load().has_exposed_key
    assert signing.patience_of("operator") > signing.patience_of("worker")
