"""A signature that somebody else makes, verified before it is used.

A device in the wrong slot, a program that was given another key, one that signs a hash (Ed25519ph):
each answers with 64 bytes. Sent out, they would be refused by every pod; here they are an error that
says which of our own settings to look at.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from golive_redis.errors import ConfigError, SignerError
from golive_redis.records.keyset import Keyset, TrustedKey, raw_of, ssh_blob

SIGNATURE_BYTES = 64
SHORT = 12
_KEY_ID = re.compile("[0-9a-f]{8,64}")


class ForeignSigner:
    """A key of the keyset whose private half somebody else holds.

    Args:
        key: As the keyset lists it.
        ask: Asks for the signature of a message, within so many seconds.
        where: Who is asked, for people: "ssh-agent", "the program aws-sign".
        max_message: The most bytes that it signs at once, or None.
        patience_s: The longest that it is waited for, whatever a caller would give it.
    """

    def __init__(
        self,
        key: TrustedKey,
        ask: Callable[[bytes, float], bytes],
        *,
        where: str,
        max_message: int | None = None,
        patience_s: float,
    ) -> None:
        self.principal = key.principal
        self.keyid = key.keyid
        self.public: Ed25519PublicKey = key.public
        self.max_message = max_message
        self._ask = ask
        self._where = where
        self._patience_s = patience_s

    def sign(self, message: bytes, timeout_s: float) -> bytes:
        """Return the 64-byte signature of `message`, which verifies.

        Raises:
            SignerError: There is none in time, or it is another key's or of another form.
        """
        signature = self._ask(message, min(timeout_s, self._patience_s))
        try:
            self.public.verify(signature, message)
        except InvalidSignature as error:
            what = (
                f"{len(signature)} bytes instead of {SIGNATURE_BYTES}"
                if len(signature) != SIGNATURE_BYTES
                else f"a signature that the key of {self.principal} in the keyset does not verify"
            )
            raise SignerError(
                f"{self._where} answered with {what}",
                hint="it signs with another key, other bytes, or a hash of them (Ed25519ph); "
                "`golive keys list` shows the keys of the keyset",
            ) from error
        return signature


def fingerprint(public: Ed25519PublicKey) -> str:
    """Return a key's fingerprint as `ssh-add -l` prints it."""
    digest = hashlib.sha256(ssh_blob(raw_of(public))).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def named(keys: Iterable[TrustedKey], text: str) -> list[TrustedKey]:
    """Return the keys that a text means: those of a principal, or one by key id or fingerprint."""
    found = list(keys)
    if text.startswith("SHA256:"):
        return [key for key in found if fingerprint(key.public) == text]
    by_name = [key for key in found if key.principal == text]
    if by_name or not _KEY_ID.fullmatch(text):
        return by_name
    return [key for key in found if key.keyid.startswith(text)]


def the_one(keys: Sequence[TrustedKey], *, where: str, hint: str = "") -> TrustedKey:
    """Return the only key; of several nobody can know which is meant.

    Args:
        keys: At least one.
        where: Who holds them, for people.
        hint: How one is named there; else by principal, or by key id where one has several.

    Raises:
        ConfigError: There are more, with what to write instead.
    """
    if len(keys) == 1:
        return keys[0]
    found = sorted(keys, key=lambda key: (key.principal, key.keyid))
    listed = ", ".join(f"{key.principal} ({key.keyid[:SHORT]})" for key in found)
    twice = len({key.principal for key in found}) < len(found)
    example = found[0].keyid[:SHORT] if twice else found[0].principal
    raise ConfigError(
        f"{where}: several keys of the keyset are meant: {listed}",
        hint=hint or f"name one behind the colon of the setting, such as {example}",
    )


def of_keyset(keyset: Keyset, text: str, *, where: str) -> TrustedKey:
    """Return the key of the keyset that a text means.

    Raises:
        ConfigError: None is meant, or several.
    """
    found = named(keyset.keys.values(), text)
    if not found:
        raise ConfigError(
            f"{where}: the keyset has no key of {text[:64]!r}",
            hint="name a principal or the beginning of a key id, as `golive keys list` shows them",
        )
    return the_one(found, where=where)
