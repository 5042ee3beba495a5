"""What a server says of itself: kind, version, cluster. Parsed from INFO, and judged by nobody here."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from golive_redis.store.link import Link, usable

MIN_REDIS = (7, 0)
MIN_VALKEY = (7, 2)


class ServerInfo(msgspec.Struct, frozen=True):
    """The fields of INFO, all of them as text.

    Attributes:
        fields: By name; a field that a server does not have is not there.
    """

    fields: Mapping[str, str]

    @property
    def kind(self) -> str:
        """`valkey` or `redis`."""
        return "valkey" if "valkey_version" in self.fields else "redis"

    @property
    def number(self) -> str:
        """The version as text, `?` when it is not said."""
        return self.fields.get(f"{self.kind}_version", "?")

    @property
    def version(self) -> tuple[int, ...]:
        """The version as numbers; shorter, or empty, where one of its parts is no number."""
        found: list[int] = []
        for part in self.number.split("."):
            if not part.isdecimal():
                break
            found.append(int(part))
        return tuple(found)

    @property
    def shown(self) -> str:
        """Kind and version."""
        return f"{self.kind} {self.number}"

    @property
    def least(self) -> tuple[int, int]:
        """The oldest version that golive works with."""
        return MIN_VALKEY if self.kind == "valkey" else MIN_REDIS

    @property
    def too_old(self) -> bool:
        """True below that; also where the version cannot be read."""
        return self.version[:2] < self.least

    @property
    def cluster(self) -> bool:
        """True for a node of a Redis Cluster."""
        return self.fields.get("cluster_enabled") == "1"

    def get(self, name: str, default: str = "") -> str:
        """Return a field."""
        return self.fields.get(name, default)

    def count(self, name: str) -> int:
        """Return a field that is a number; 0 when it is not there or none."""
        text = self.fields.get(name, "")
        return int(text) if text.isdecimal() else 0


@usable("INFO")
def ask(link: Link) -> ServerInfo:
    """Ask a server.

    Raises:
        StoreError: It refuses, does not answer, or answers something else.
    """
    return parse(link.call("INFO").decode())


def parse(text: str) -> ServerInfo:
    """Return what INFO said."""
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return ServerInfo({name: value.strip() for name, _, value in pairs})
