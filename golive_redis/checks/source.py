"""What every source works with: where it is asked from, what it brings back, what it must not say."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from golive_redis.checks.sources.fleet import Fleet
from golive_redis.checks.sources.ledger import History
from golive_redis.config import Config
from golive_redis.errors import GoliveError
from golive_redis.store.connect import Address

MAX_BYTES = 1024 * 1024
MASK = "***"
# Shorter ones are words of any sentence, and no secrets; where only the name of a variable says that
# it may be one, `true` and `6379` are more likely.
_MIN_SECRET = 4
_MIN_GUESSED = 8
_SECRET_NAME = re.compile(
    r"PASS|TOKEN|SECRET|KEY|CREDENTIAL|DSN|_URL|AUTH|(?:_|\b)PW(?:_|\b)", re.IGNORECASE
)


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

    @classmethod
    def of(cls, config: Config) -> Surroundings:
        """Return what can be asked by whoever has this configuration.

        Raises:
            ConfigError: The address or the policy's names cannot be used.
        """
        address = config.address()
        fleet = Fleet(address, config.policy.namespace, config.policy_digest)
        return cls(config.path.parent, config.environ, address, fleet)

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
    for name, value in environ.items():
        if _SECRET_NAME.search(name) and len(value) >= _MIN_GUESSED:
            # Not the words behind `?` of any URL: `sslmode=disable` is no secret.
            found |= {value, *_passwords_in(value)}
    return sorted((item for item in found if len(item) >= _MIN_SECRET), key=len, reverse=True)


def _secrets_in(url: str) -> set[str]:
    try:
        query = urlsplit(url).query
    except ValueError:  # such a URL is refused where it is used
        return {url}
    return {query, *(value for _, value in parse_qsl(query)), *_passwords_in(url)}


def _passwords_in(url: str) -> set[str]:
    try:
        password = urlsplit(url).password
    except ValueError:
        return set()
    return {password, unquote(password)} if password else set()
