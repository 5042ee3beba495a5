"""What every source works with: where it is asked from, what it brings back, what it must not say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from golive_redis.checks.fleet import Fleet
from golive_redis.checks.ledger import History
from golive_redis.errors import GoliveError
from golive_redis.store.connect import Address

MAX_BYTES = 1024 * 1024
MASK = "***"
# Shorter ones are words of any sentence, and no secrets; where only the name of a variable says that
# it may be one, `true` and `6379` are more likely.
_MIN_SECRET = 4
_MIN_GUESSED = 8
_SECRET_NAME = re.compile(r"PASS|TOKEN|SECRET|KEY|CREDENTIAL|DSN|_URL", re.IGNORECASE)


class UnansweredError(GoliveError):
    """A source brought no value that could be judged. Fails closed: the check is unknown."""

    reason = "unanswered"


class Surroundings(msgspec.Struct, frozen=True):
    """Where checks are asked from.

    Attributes:
        folder: Of the configuration; paths in it are relative to this.
        environ: The environment, where tokens and passwords are.
        address: This Redis.
        fleet: The workers on it; None where nobody asks about them.
        history: The ledger in it; likewise.
    """

    folder: Path
    environ: Mapping[str, str]
    address: Address
    fleet: Fleet | None = None
    history: History | None = None

    def variable(self, name: str) -> str:
        """Return the value of a variable that the configuration names.

        Raises:
            UnansweredError: It is not set.
        """
        found = self.environ.get(name)
        if not found:
            raise UnansweredError(f"{name} is not set", hint=f"export {name}=...")
        return found


class Fetched(msgspec.Struct, frozen=True):
    """One value, as a source brought it.

    Attributes:
        value: A time for `newer_than` is Unix ms.
        facts: What else was seen; without secrets.
        series: Several values by the names of their series, when the source had several.
    """

    value: object
    facts: dict[str, str] = {}
    series: dict[str, object] = {}


def without_login(url: str) -> str:
    """Return a URL without its login and what stands behind `?`, either of which may be secret."""
    head, mark, _ = url.partition("?")
    scheme, sep, rest = head.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{sep}{place.rpartition('@')[2]}{slash}{path}{mark and '?...'}"


def masked(text: str, secrets: Sequence[str]) -> str:
    """Return a text without these secrets."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text


def secrets_of(source: Any, environ: Mapping[str, str]) -> list[str]:
    """Return what an answer or an error might repeat and must not; the longest first."""
    found: set[str] = set()
    for name in ("bearer_env", "url_env"):
        if variable := getattr(source, name, None):
            found.add(environ.get(variable, ""))
    for url in [*found, getattr(source, "url", None) or ""]:
        found |= _secrets_in(url)
    found |= {
        value
        for name, value in environ.items()
        if _SECRET_NAME.search(name) and len(value) >= _MIN_GUESSED
    }
    return sorted((item for item in found if len(item) >= _MIN_SECRET), key=len, reverse=True)


def _secrets_in(url: str) -> set[str]:
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:  # such a URL is refused where it is used
        return {url}
    found = {parts.query, *(value for _, value in parse_qsl(parts.query))}
    if password:
        found |= {password, unquote(password)}
    return found
