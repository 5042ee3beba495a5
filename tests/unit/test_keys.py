"""Private keys: for their owner's eyes only, never overwritten, never half understood."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from golive_redis.config import keyfile
from golive_redis.errors import ConfigError, RefusedError
from golive_redis.statefile import is_open_to_others
from golive_redis.testing import Signers

PASSPHRASE = {"GOLIVE_KEY_PASSPHRASE": "correct horse"}


@pytest.fixture
def private() -> ed25519.Ed25519PrivateKey:
    return keyfile.generate()


@pytest.fixture
def file(tmp_path: Path, private: ed25519.Ed25519PrivateKey) -> Path:
    path = tmp_path / "new" / "folder" / "alice.pem"
    keyfile.write(path, private)
    return path


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_key_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        keyfile.write(tmp_path / "a.pem", keyfile.generate())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.pem").stat().st_mode) == 0o600


def test_a_key_is_read_back(file: Path, private: ed25519.Ed25519PrivateKey) -> None:
    assert keyfile.read(file, {}).private_bytes_raw() == private.private_bytes_raw()


def test_a_key_is_never_overwritten(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(RefusedError, match="never overwritten"):
        keyfile.write(file, keyfile.generate())
    assert file.read_bytes() == before


def test_a_link_to_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.pem").symlink_to(tmp_path / "elsewhere.pem")
    with pytest.raises(RefusedError, match="never overwritten"):
        keyfile.write(tmp_path / "a.pem", keyfile.generate())
    assert not (tmp_path / "elsewhere.pem").exists()


def test_a_key_that_cannot_be_written_is_an_error_with_its_path(file: Path) -> None:
    with pytest.raises(ConfigError, match=f"{file}: "):
        keyfile.write(file / "below.pem", keyfile.generate())


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o660, 0o620, 0o610])
def test_a_key_file_open_to_others_is_refused_with_the_line_to_type(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(ConfigError, match=f"mode {mode:04o}") as caught:
        keyfile.read(file, {})
    assert caught.value.hint == f"chmod 600 {file}"
    file.chmod(0o400)
    keyfile.read(file, {})


@pytest.mark.parametrize(
    ("mode", "owner", "group", "others"),
    [
        (0o400, 0, 2000, False),
        (0o440, 0, 2000, False),  # a Secret of Kubernetes with the pod's fsGroup
        (0o640, 0, 2000, False),
        (0o440, 0, 3000, True),  # a group that we are not in
        (0o440, 1000, 2000, True),  # our own file, which needs no group
        (0o460, 0, 2000, True),
        (0o420, 0, 2000, True),
        (0o444, 0, 2000, True),
        (0o404, 0, 2000, True),
    ],
)
def test_only_root_and_this_process_may_read_a_key(
    mode: int, owner: int, group: int, others: bool
) -> None:
    info = os.stat_result((stat.S_IFREG | mode, 1, 1, 1, owner, group, 1, 0, 0, 0))
    assert is_open_to_others(info, {1000, 2000}) is others


def test_a_key_may_come_through_a_descriptor(private: ed25519.Ed25519PrivateKey) -> None:
    """As `--key <(pass show golive)` and `3< <(...)` in a shell bring it: a pipe, read once."""
    out, into = os.pipe()
    os.write(into, keyfile.to_pem(private))
    os.close(into)
    try:
        read = keyfile.read(Path(f"/dev/fd/{out}"), {})
    finally:
        os.close(out)
    assert read.private_bytes_raw() == private.private_bytes_raw()


def test_a_passphrase_is_asked_of_the_environment(tmp_path: Path) -> None:
    private = keyfile.generate()
    path = tmp_path / "locked.pem"
    keyfile.write(path, private, "correct horse")
    assert b"ENCRYPTED" in path.read_bytes()
    assert keyfile.read(path, PASSPHRASE).private_bytes_raw() == private.private_bytes_raw()


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "needs a passphrase"),
        ({"GOLIVE_KEY_PASSPHRASE": ""}, "needs a passphrase"),
        ({"GOLIVE_KEY_PASSPHRASE": "wrong"}, "the passphrase is wrong"),
    ],
    ids=["missing", "empty", "wrong"],
)
def test_a_missing_or_wrong_passphrase_is_said_so(
    tmp_path: Path, environ: dict[str, str], says: str
) -> None:
    path = tmp_path / "locked.pem"
    keyfile.write(path, keyfile.generate(), "correct horse")
    with pytest.raises(ConfigError, match=says):
        keyfile.read(path, environ)


def test_a_passphrase_for_a_key_without_one_is_said_so(file: Path) -> None:
    with pytest.raises(ConfigError, match="has no passphrase") as caught:
        keyfile.read(file, PASSPHRASE)
    assert "GOLIVE_KEY_PASSPHRASE" in caught.value.hint


def of_unknown_algorithm() -> bytes:
    """An Ed25519 key whose object identifier says 1.3.101.99, which nobody assigned."""
    der = keyfile.generate().private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    body = base64.encodebytes(der.replace(b"\x2b\x65\x70", b"\x2b\x65\x63"))
    return b"-----BEGIN PRIVATE KEY-----\n" + body + b"-----END PRIVATE KEY-----\n"


def of_another_algorithm() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def a_public_key() -> bytes:
    return (
        keyfile.generate()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"\x00\xff" * 100,
        b"-----BEGIN PRIVATE KEY-----\n",
        keyfile.to_pem(keyfile.generate())[:60],
        a_public_key(),
        of_another_algorithm(),
        of_unknown_algorithm(),
    ],
    ids=["empty", "binary", "header", "truncated", "public", "EC", "unknown"],
)
def test_what_is_no_ed25519_private_key_is_refused(tmp_path: Path, pem: bytes) -> None:
    path = tmp_path / "a.pem"
    path.write_bytes(pem)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=str(path)):
        keyfile.read(path, {})


def test_an_unreadable_key_file_is_an_error_with_its_path(tmp_path: Path, file: Path) -> None:
    for bad in (tmp_path / "absent.pem", file / "below.pem"):
        with pytest.raises(ConfigError, match=f"key file {bad}"):
            keyfile.read(bad, {})
    with pytest.raises(ConfigError):
        keyfile.read(tmp_path, {})


def test_a_signer_has_the_name_by_which_the_keyset_knows_the_key() -> None:
    signers = Signers()
    private = keyfile.parse_pem(keyfile.to_pem(signers.signers["rita"]._private), None, "x")
    assert keyfile.signer(private, signers.keyset, "x").principal == "rita"
    with pytest.raises(ConfigError, match="does not list this key"):
        keyfile.signer(keyfile.generate(), signers.keyset, "x")
