"""`pkcs11:`, keys in a token, a smart card or a hardware security module.

The URI is that of RFC 7512: `pkcs11:token=golive;object=alice?module-path=/usr/lib/.../libsofthsm2.so`.
A PIN does not belong in it; it comes from `pin-source=file:/path`, or from where passphrases come from.
The mechanism is CKM_EDDSA without parameters: pure Ed25519 over the bytes as they are.

Needs the extra `pkcs11`. A driver cannot be interrupted, so each call to it has a thread of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

try:
    import pkcs11
except ImportError as error:  # pragma: no cover  (the tests have it)
    from golive_redis.errors import ConfigError as _ConfigError

    raise _ConfigError(
        "pkcs11: the Python package for it is not installed",
        hint="pip install 'golive-redis[pkcs11]'",
    ) from error

from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from golive_redis.errors import ConfigError, SignerError
from golive_redis.records.keyset import RAW_KEY_BYTES, Keyset, TrustedKey, key_id
from golive_redis.signers.asked import Asked
from golive_redis.signers.foreign import ForeignSigner, the_one
from golive_redis.statefile import open_to_others

OPEN_TIMEOUT_S = 10.0
MAX_PIN_BYTES = 256
MAX_OBJECTS = 256
# A DER octet string of 32 bytes; some tokens give the 32 bytes alone.
_OCTETS = bytes([0x04, RAW_KEY_BYTES])
_PATH = frozenset({"token", "serial", "manufacturer", "model", "slot-id", "object", "id", "type"})
_QUERY = frozenset({"module-path", "pin-source"})
_EXAMPLE = "pkcs11:token=TOKEN;object=LABEL?module-path=/path/of/the/driver.so"

Pin = Callable[[str], str | None]
"""Returns the PIN for the key of a principal, or None where there is none."""


class Uri(msgspec.Struct, frozen=True):
    """A parsed URI: what picks the token and the key, and where the driver is.

    Attributes:
        path: Attributes before the `?`, decoded; `id` as hex.
        module: Path of the driver.
        pin_file: File with the PIN, or None.
    """

    path: Mapping[str, str]
    module: str
    pin_file: str | None = None


def parse(setting: str) -> Uri:
    """Parse what stands behind `pkcs11:`.

    Raises:
        ConfigError: An attribute is unknown, written twice or missing, or a PIN stands in it.
    """
    path, _, query = setting.partition("?")
    found = _attributes(path, ";", _PATH)
    asked = _attributes(query, "&", _QUERY)
    if "module-path" not in asked:
        raise ConfigError(
            f"pkcs11: module-path is missing: {setting[:80]!r} does not say where the driver is",
            hint=f"write {_EXAMPLE}",
        )
    source = asked.get("pin-source")
    if source is not None and not source.startswith(("file:/", "/")):
        raise ConfigError(
            f"pkcs11: pin-source is {source[:60]!r}, and must be a file",
            hint="pin-source=file:/path, a file of mode 0600",
        )
    file = None if source is None else source.removeprefix("file://").removeprefix("file:")
    return Uri(found, asked["module-path"], file)


def _attributes(text: str, separator: str, known: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in text.split(separator) if text else []:
        name, equals, value = part.partition("=")
        if name == "pin-value":
            raise ConfigError(
                "pkcs11: a PIN does not belong into a setting, where others can read it",
                hint="take pin-value away; write pin-source=file:/path, or set GOLIVE_KEY_PASSPHRASE",
            )
        if name not in known or not equals or name in found:
            why = "twice" if name in found else "not known here"
            raise ConfigError(
                f"pkcs11: {part[:60]!r} is {why}",
                hint=f"write {_EXAMPLE}; there are also {', '.join(sorted(known))}",
            )
        found[name] = _hex(value) if name == "id" else unquote(value)
    return found


def _hex(value: str) -> str:
    return unquote(value, encoding="latin-1").encode("latin-1").hex()


def open_token(setting: str, keyset: Keyset, pin: Pin, *, patience_s: float) -> ForeignSigner:
    """Log in to the token, find the key there that the keyset lists, and return its signer.

    Args:
        setting: What stands behind `pkcs11:`.
        keyset: Whose key it is.
        pin: Asked once, for a token counts wrong PINs and locks.
        patience_s: The longest that a signature is waited for.

    Raises:
        ConfigError: The setting cannot be used, the driver, the token or the key is not there, or the
            PIN is missing or wrong.
    """
    uri = parse(setting)
    token = _in_time(lambda: _find_token(uri), OPEN_TIMEOUT_S)
    public = _in_time(lambda: _public_keys(token, uri), OPEN_TIMEOUT_S)
    known = [keyset.keys[keyid] for keyid in public if keyid in keyset.keys]
    if not known:
        seen = ", ".join(keyid[:12] for keyid in public) or "none"
        raise ConfigError(
            f"{_name(token)}: the keyset lists none of its Ed25519 keys that match ({seen})",
            hint="the public key must be on the token, with the same label and id as the private one; "
            "`golive keys list` shows the keyset",
        )
    key = the_one(
        known, where=_name(token), hint="add object=LABEL or id=%01 of the one that is meant"
    )
    secret = _pin(uri, token, pin, key)
    private = _in_time(lambda: _log_in(token, public[key.keyid][1], secret), OPEN_TIMEOUT_S)
    return ForeignSigner(
        key, _Signing(private, _name(token)).sign, where=_name(token), patience_s=patience_s
    )


class _Signing:
    """A private key's handle; a driver takes one call of a session at a time."""

    def __init__(self, private: Any, where: str) -> None:
        self._private = private
        self._where = where
        self._lock = threading.Lock()

    def sign(self, message: bytes, timeout_s: float) -> bytes:
        signature: bytes = _in_time(lambda: self._sign(message), timeout_s, where=self._where)
        return signature

    def _sign(self, message: bytes) -> bytes:
        with self._lock:
            return bytes(self._private.sign(message, mechanism=Mechanism.EDDSA))


def _in_time(step: Callable[[], Any], timeout_s: float, *, where: str = "pkcs11") -> Any:
    """Take a step of the driver on a thread of its own, and say its errors in words."""
    asked = Asked(step)
    if not asked.is_answered(timeout_s):
        raise SignerError(
            f"{where}: the token has not answered within {timeout_s:.1f} s",
            hint="does it wait for a touch or a PIN pad? Is it plugged in?",
        )
    try:
        return asked.answer()
    except pkcs11.PKCS11Error as error:
        raise SignerError(f"{where}: {_in_words(error)}", hint=_hint(error)) from error


def _in_words(error: pkcs11.PKCS11Error) -> str:
    if isinstance(error, pkcs11.PinIncorrect | pkcs11.PinInvalid | pkcs11.PinLenRange):
        return "the PIN is wrong"
    if isinstance(error, pkcs11.PinLocked):
        return "the PIN is locked"
    said = str(error).strip()
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _hint(error: pkcs11.PKCS11Error) -> str:
    if isinstance(error, pkcs11.PinIncorrect | pkcs11.PinInvalid | pkcs11.PinLenRange):
        return "a token locks after some wrong ones"
    if isinstance(error, pkcs11.PinLocked):
        return "its administrator unlocks it with the SO PIN"
    if isinstance(error, pkcs11.MechanismInvalid):
        return "this token does not sign with CKM_EDDSA; its driver or firmware may be too old"
    return "`pkcs11-tool --module DRIVER -L -O` shows what the driver sees"


def _find_token(uri: Uri) -> Any:
    try:
        library = pkcs11.lib(uri.module)
    except (pkcs11.PKCS11Error, RuntimeError, OSError) as error:
        raise ConfigError(
            f"pkcs11: the driver {uri.module} cannot be loaded: {error}",
            hint="is the path right? Debian's SoftHSM is /usr/lib/softhsm/libsofthsm2.so",
        ) from error
    tokens = [slot.get_token() for slot in library.get_slots(token_present=True)]
    chosen = [token for token in tokens if _is_meant(token, uri.path)]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(sorted(repr(str(token.label)) for token in tokens)) or "none"
    raise ConfigError(
        f"pkcs11: {len(chosen)} tokens match; there are {names}",
        hint="write token=LABEL, or serial=NUMBER",
    )


def _is_meant(token: Any, path: Mapping[str, str]) -> bool:
    def text(value: object) -> str:
        plain = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        return plain.rstrip(" \0")

    has = {
        "token": text(token.label),
        "serial": text(token.serial),
        "manufacturer": text(token.manufacturer_id),
        "model": text(token.model),
        "slot-id": str(token.slot.slot_id),
    }
    return all(path[name] == value for name, value in has.items() if name in path)


def shown(setting: str) -> list[tuple[bytes, str]]:
    """Return the Ed25519 public keys of a token that match, each with its label; without a PIN.

    Raises:
        ConfigError: The setting cannot be used, or the driver, the token or such a key is not there.
    """
    uri = parse(setting)
    token = _in_time(lambda: _find_token(uri), OPEN_TIMEOUT_S)
    public = _in_time(lambda: _public_keys(token, uri), OPEN_TIMEOUT_S)
    if not public:
        raise ConfigError(
            f"{_name(token)}: no Ed25519 public key matches",
            hint="`pkcs11-tool --module DRIVER -O` shows what is on it",
        )
    return [(raw, str(wanted[Attribute.LABEL])) for raw, wanted in public.values()]


def _public_keys(token: Any, uri: Uri) -> dict[str, tuple[bytes, dict[Attribute, Any]]]:
    """Return each Ed25519 key that matches, by key id, and where its private half is.

    Public keys can be read without a PIN, and say whose PIN is wanted.
    """
    wanted: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass.PUBLIC_KEY}
    if "object" in uri.path:
        wanted[Attribute.LABEL] = uri.path["object"]
    if "id" in uri.path:
        wanted[Attribute.ID] = bytes.fromhex(uri.path["id"])
    found: dict[str, tuple[bytes, dict[Attribute, Any]]] = {}
    with token.open() as session:
        for item in list(session.get_objects(wanted))[:MAX_OBJECTS]:
            raw = _point(item)
            if raw is not None:
                private = {
                    Attribute.CLASS: ObjectClass.PRIVATE_KEY,
                    Attribute.LABEL: item[Attribute.LABEL],
                    Attribute.ID: item[Attribute.ID],
                }
                found[key_id(raw)] = (raw, private)
    return found


def _point(item: Any) -> bytes | None:
    """Return the 32 bytes of an Ed25519 public key; None of any other object."""
    try:
        if item[Attribute.KEY_TYPE] not in (KeyType.EC_EDWARDS, KeyType.EC):
            return None
        point = bytes(item[Attribute.EC_POINT])
    except pkcs11.PKCS11Error:
        return None
    if len(point) == len(_OCTETS) + RAW_KEY_BYTES:
        point = point.removeprefix(_OCTETS)
    return point if len(point) == RAW_KEY_BYTES else None


def _log_in(token: Any, wanted: Mapping[Attribute, Any], secret: object) -> Any:
    """Log in and return the private key's handle; the session stays open as long as the process."""
    try:
        session = token.open(user_pin=secret)
    except pkcs11.UserAlreadyLoggedIn:  # a login is the process's: a second session needs none
        session = token.open()
    keys: Sequence[Any] = list(session.get_objects(dict(wanted)))
    if len(keys) != 1:
        session.close()
        raise ConfigError(
            f"{_name(token)}: {len(keys)} private keys have the label and the id of the public one",
            hint="name one more exactly: object=LABEL;id=%01",
        )
    return keys[0]


def _pin(uri: Uri, token: Any, pin: Pin, key: TrustedKey) -> object:
    if uri.pin_file is not None:
        try:
            with Path(uri.pin_file).open("rb") as file:
                why = open_to_others(Path(uri.pin_file), os.fstat(file.fileno()))
                if why is not None:
                    raise ConfigError(f"pkcs11: pin-source {why[0]}", hint=why[1])
                return file.read(MAX_PIN_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            failed = getattr(error, "strerror", None) or "not UTF-8"
            raise ConfigError(f"pkcs11: pin-source {uri.pin_file}: {failed}") from error
    if pkcs11.TokenFlag.PROTECTED_AUTHENTICATION_PATH in token.flags:
        return pkcs11.PROTECTED_AUTH
    secret = pin(key.principal)
    if not secret:
        raise ConfigError(
            f"{_name(token)}: the key of {key.principal} needs a PIN",
            hint="set GOLIVE_KEY_PASSPHRASE to it, or write pin-source=file:/path",
        )
    return secret


def _name(token: Any) -> str:
    return f"pkcs11 token {str(token.label).rstrip()!r}"
