"""The function library on a server: is it there, is it ours, and the two steps that change that."""

from __future__ import annotations

import msgspec

from golive_redis.store import scripts
from golive_redis.store.link import Link, usable
from golive_redis.store.replies import text


class Installed(msgspec.Struct, frozen=True):
    """What a server has.

    Attributes:
        library: What the library of this version of golive is called.
        present: A library of that name is there.
        differs: It is there, and its code is not ours.
        others: Libraries of other versions.
    """

    library: str
    present: bool
    differs: bool
    others: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """True when the scripts of this version can be run as functions."""
        return self.present and not self.differs


@usable("FUNCTION LIST")
def look(link: Link) -> Installed:
    """Look at the libraries; changes nothing.

    Raises:
        StoreError: The login may not, or there is no answer.
    """
    found: dict[str, str] = {}
    for each in link.call("FUNCTION", "LIST", "LIBRARYNAME", f"{scripts.PREFIX}*", "WITHCODE"):
        fields = {text(key): value for key, value in zip(each[::2], each[1::2], strict=True)}
        found[text(fields.get("library_name"))] = text(fields.get("library_code"))
    own = scripts.library()
    present = own in found
    others = tuple(sorted(name for name in found if name != own))
    return Installed(own, present, present and found[own] != scripts.code(), others)


def install(link: Link) -> None:
    """Load the library of this version, in the place of what has its name. Others stay.

    Raises:
        StoreError: It is not installed, or nobody knows.
    """
    link.call("FUNCTION", "LOAD", "REPLACE", scripts.code())


def remove(link: Link, name: str) -> None:
    """Delete a library; whoever still uses it is closed."""
    link.call("FUNCTION", "DELETE", name)
