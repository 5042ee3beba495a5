"""Masking: the parts of a value, a URL or a text that are never printed.

A `repr` reaches logs, tracebacks with locals, error trackers and shared terminals. So a value that
holds a secret says itself which of its fields are masked; it is not left to the code that prints it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

MASK = "***"
# In the path of a web page an @ is a letter like any other.
_WEB = frozenset({"http", "https", ""})
_PORT = re.compile(r"(?:\[.*?\]|[^:]*)(?::[0-9]*)?")
_HOST = re.compile(r"(?:[^@:]*@)?(?:\[[0-9A-Fa-f:.%]+\]|[^:@]*)(?::[0-9]*)?")


def printable(text: str) -> str:
    """Return the text with everything but printable characters escaped.

    What comes from Redis, from files or from other people could forge a line of a log, or give a
    terminal orders.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


class Masked(msgspec.Struct, frozen=True):
    """A value some of whose fields are not shown.

    Attributes:
        MASKED: Names of the fields that hold a secret.
        URLS: Names of the fields with a URL, of which neither login nor query is shown.
    """

    MASKED: ClassVar[frozenset[str]] = frozenset()
    URLS: ClassVar[frozenset[str]] = frozenset()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return what is shown, also to rich, whose tracebacks do not ask `repr`."""
        shown: list[tuple[str, Any]] = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value and name in self.MASKED:
                value = MASK
            elif value and name in self.URLS:
                value = without_login(value)
            shown.append((name, value))
        return shown

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"


def is_unclear(url: str) -> bool:
    """Tell whether a login cannot be told apart: a password with a bare /, ? or #, or without its @."""
    scheme, _, rest = url.partition("://") if "://" in url else ("", "", url)
    place = re.split("[/?#]", rest, maxsplit=1)[0]
    if scheme not in _WEB and "@" not in rest:
        # redis://:password:6379, and redis://user:password, whose host was forgotten
        return any(not _PORT.fullmatch(node) for node in place.split(","))
    return "@" in rest[len(place) :] and (scheme not in _WEB or not _HOST.fullmatch(place))


def without_login(url: str) -> str:
    """Return a URL without its login and what stands behind `?` or `#`, all of which may be secret."""
    scheme, sep, rest = url.partition("://") if "://" in url else ("", "", url)
    if is_unclear(url):
        return f"{scheme}{sep}{MASK}"
    head, mark, _ = rest.partition("#")[0].partition("?")
    place, slash, path = head.partition("/")
    return f"{scheme}{sep}{place.rpartition('@')[2]}{slash}{path}{mark and '?...'}"


def without_password(url: str) -> str:
    """Return a URL like `without_login`, but with the user's name."""
    place = without_login(url)
    login, at, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    if not at or is_unclear(url):
        return place
    scheme, sep, rest = place.partition("://")
    return f"{scheme}{sep}{login.partition(':')[0]}:{MASK}@{rest}"


def secrets_in(url: str) -> set[str]:
    """Return what in a URL is not for everybody: its password, and the values behind `?`."""
    try:
        query = urlsplit(url).query
    except ValueError:  # such a URL is refused where it is used
        return {url}
    return {query, *(value for _, value in parse_qsl(query)), *passwords_in(url)}


def passwords_in(url: str) -> set[str]:
    """Return the password of a URL, as it is written and as it is meant; none where it has none."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return set()
    return {password, unquote(password)} if password else set()


def masked(text: str, secrets: Sequence[str]) -> str:
    """Return a text without these secrets.

    Args:
        text: What is to be shown.
        secrets: The longest first, so that none is found in half.
    """
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text
