"""Private keys in files: made, stored as PKCS#8 PEM of mode 0600, read; also those of OpenSSH."""

from __future__ import annotations

import binascii
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from golive_redis.config.yamlfile import in_full
from golive_redis.errors import ConfigError, RefusedError
from golive_redis.records.envelope import KeySigner
from golive_redis.records.keyset import Keyset, key_id, raw_of
from golive_redis.statefile import open_to_others

PASSPHRASE_VARIABLE = "GOLIVE_KEY_PASSPHRASE"  # noqa: S105  (the name of a variable)
KEY_VARIABLE = "GOLIVE_KEY"
MAX_PEM_BYTES = 64 * 1024
Ask = Callable[[str], str | None]
"""Asks a person for the passphrase of something; None where nobody can be asked."""

# An Ed25519 key without a passphrase is these 16 bytes and its own 32. Source: RFC 8410, section 7.
_PLAIN_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")
_PEM = b"PRIVATE KEY-----"
_OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_OPENSSH_MAGIC = b"openssh-key-v1\0"
_CONFIGURED = "`golive keys list` shows the configured ones"
_PLAIN_BYTES = len(_PLAIN_PKCS8) + 32


def generate() -> Ed25519PrivateKey:
    """Return a new key from the operating system's randomness."""
    return Ed25519PrivateKey.generate()


def to_pem(private: Ed25519PrivateKey, passphrase: str | None = None) -> bytes:
    """Return the key as PKCS#8 PEM, encrypted when there is a passphrase."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  (see _plain)

    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def write(path: Path, private: Ed25519PrivateKey, passphrase: str | None = None) -> None:
    """Write a key file of mode 0600.

    Raises:
        RefusedError: The file exists: a key is never overwritten.
        ConfigError: It cannot be written.
    """
    path = in_full(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path.parent}: {error.strerror}") from error
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise RefusedError(
            f"{path} exists; a key is never overwritten", hint="name another file with --out"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    with os.fdopen(handle, "wb") as file:
        file.write(to_pem(private, passphrase))
        file.flush()
        os.fsync(file.fileno())


class PassphraseNeededError(ConfigError):
    """The key is encrypted, and no passphrase was offered that nobody has to be asked for."""


class WrongPassphraseError(ConfigError):
    """The key is encrypted with another passphrase, or is no key at all: a library cannot tell."""


def parse_pem(pem: bytes, passphrase: str | None, where: str) -> Ed25519PrivateKey:
    """Parse a private key: PKCS#8 PEM, or a file of OpenSSH's.

    Raises:
        ConfigError: Not PEM, not Ed25519, or the passphrase is missing or wrong.
    """
    plain = None if passphrase else _plain(pem)
    if plain is not None:
        return plain
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  (see _plain)

    openssh = pem.lstrip().startswith(_OPENSSH)
    load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    secret = passphrase.encode() if passphrase else None
    if openssh and secret is not None and not is_encrypted(pem):
        raise _needless(where)  # which the library does not say of these
    try:
        key = load(pem, secret)
    except TypeError as error:
        if passphrase:
            raise _needless(where) from error
        raise PassphraseNeededError(
            f"{where}: needs a passphrase",
            hint=f"set {PASSPHRASE_VARIABLE} to the key's passphrase",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if openssh and "bcrypt" in str(error):
            raise ConfigError(
                f"{where}: an encrypted OpenSSH key needs the Python package bcrypt",
                hint="pip install 'golive-redis[openssh]', or `ssh-add FILE` and write agent:",
            ) from error
        raise WrongPassphraseError(
            f"{where}: not a private key in PEM, or the passphrase is wrong",
            hint="`golive keys new NAME --role ROLE` makes one",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"{where}: not an Ed25519 key")
    return key


def _needless(where: str) -> ConfigError:
    return ConfigError(
        f"{where}: has no passphrase",
        hint=f"unset {PASSPHRASE_VARIABLE}, or give the passphrase of another key in a variable of its "
        f"own: {PASSPHRASE_VARIABLE}_NAME",
    )


def is_encrypted(pem: bytes) -> bool:
    """Tell whether a private key has a passphrase, as far as its form says so."""
    if not pem.lstrip().startswith(_OPENSSH):
        return b"ENCRYPTED" in pem
    body = b"".join(line for line in pem.splitlines() if not line.strip().startswith(b"-----"))
    try:
        data = binascii.a2b_base64(body)
    except binascii.Error:
        return False
    # The magic is followed by a string, the name of the cipher. Source: OpenSSH, PROTOCOL.key.
    return not data.startswith(_OPENSSH_MAGIC + b"\0\0\0\4none")


def unlock(
    pem: bytes,
    where: str,
    environ: Mapping[str, str],
    principals: Iterable[str] = (),
    ask: Ask | None = None,
) -> Ed25519PrivateKey:
    """Parse a private key, with the first passphrase on offer that opens it.

    Args:
        pem: The key.
        where: Names it to people.
        environ: May have passphrases, or name a descriptor with one.
        principals: Whose key it may be.
        ask: Asks a person, last of all.

    Raises:
        PassphraseNeededError: It is encrypted, and there was nothing to try.
        ConfigError: It is no Ed25519 key, or nothing that was tried opens it.
    """
    if not is_encrypted(pem):
        return parse_pem(pem, environ.get(PASSPHRASE_VARIABLE), where)
    from golive_redis.config.passphrase import offers  # noqa: PLC0415  (only when one is needed)

    tried = []
    for offer in offers(environ, principals, where, ask):
        try:
            return parse_pem(pem, offer.reveal(), where)
        except WrongPassphraseError:
            tried.append(offer.origin)
    if not tried:
        raise PassphraseNeededError(
            f"{where}: needs a passphrase",
            hint=f"set {PASSPHRASE_VARIABLE}_NAME or {PASSPHRASE_VARIABLE} to it; on a terminal you are "
            "asked for it",
        )
    raise WrongPassphraseError(
        f"{where}: not a private key in PEM, or the passphrase is wrong",
        hint=f"tried what came from {', '.join(tried)}",
    )


def _plain(pem: bytes) -> Ed25519PrivateKey | None:
    """Read the PEM that `to_pem` writes without a passphrase; None leaves it to the library.

    The library's parser is imported with SSH, RSA and every cipher, and `golive revoke` would wait
    6 ms for that.
    """
    match pem.split():
        case [b"-----BEGIN", b"PRIVATE", b"KEY-----", body, b"-----END", b"PRIVATE", b"KEY-----"]:
            try:
                der = binascii.a2b_base64(body, strict_mode=True)
            except binascii.Error:
                return None
            if len(der) == _PLAIN_BYTES and der.startswith(_PLAIN_PKCS8):
                return Ed25519PrivateKey.from_private_bytes(der[len(_PLAIN_PKCS8) :])
        case _:
            pass
    return None


def read(
    path: Path,
    environ: Mapping[str, str],
    principals: Iterable[str] = (),
    ask: Ask | None = None,
) -> Ed25519PrivateKey:
    """Read a key file.

    Args:
        path: Of the file. Its name is the likeliest of a principal whose key it is.
        environ: May have passphrases.
        principals: Whose key it may be besides.
        ask: Asks a person for a passphrase.

    Raises:
        ConfigError: Unreadable, readable by others, or not an Ed25519 key in PEM.
    """
    path = in_full(path)
    try:
        # One descriptor: between two looks a mount may be swapped, and a pipe can be read only once.
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            pem = file.read(MAX_PEM_BYTES)
    except OSError as error:
        raise ConfigError(
            f"key file {path}: {error.strerror}", hint=f"is the path right? {_CONFIGURED}"
        ) from error
    if _PEM not in pem:  # ahead of its mode: any file may be named by mistake
        raise ConfigError(
            f"{path} is no private key in PEM", hint=f"is the path right? {_CONFIGURED}"
        )
    if why := open_to_others(path, info):
        raise ConfigError(f"key file {why[0]}", hint=why[1])
    return unlock(pem, f"key file {path}", environ, [path.stem, *principals], ask)


def signer(private: Ed25519PrivateKey, keyset: Keyset, where: str) -> KeySigner:
    """Return the signer for a private key, under the name the keyset knows it by.

    Raises:
        ConfigError: The keyset does not list the key.
    """
    keyid = key_id(raw_of(private.public_key()))
    trusted = keyset.keys.get(keyid)
    if trusted is None:
        raise ConfigError(
            f"{where}: the keyset does not list this key ({keyid[:12]}...)",
            hint="`golive keys show FILE` prints the line to add to the keyset",
        )
    return KeySigner(trusted.principal, private)


def forbid_core_dumps() -> None:
    """Keep the memory of this process, with the key in it, out of core files."""
    try:
        import resource  # noqa: PLC0415  (not before a stop: each import is time)
    except ImportError:  # a system without it, or a process that may not read its Python any more
        return
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
