"""URLs: what is known is read, everything else is refused before anybody connects.

Rows 48 and 73.
"""

from __future__ import annotations

import pytest

from golive_redis.errors import ConfigError
from golive_redis.store.connect import Address
from golive_redis.store.place import Place, read_place

MARK = "hunter2"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://h", Place("redis", (("h", 6379),))),
        ("redis://h:1/0", Place("redis", (("h", 1),))),
        ("redis://h/3", Place("redis", (("h", 6379),), db=3)),
        ("redis://h?db=3", Place("redis", (("h", 6379),), db=3)),
        ("redis://[::1]/3", Place("redis", (("::1", 6379),), db=3)),
        ("rediss://h", Place("rediss", (("h", 6379),), tls=True)),
        ("unix:///run/a%20b.sock?db=2", Place("unix", path="/run/a b.sock", db=2)),
        (
            "redis+sentinel://a,[::1],b:2/fleet/4?ssl=true",
            Place(
                "redis+sentinel",
                (("a", 26379), ("::1", 26379), ("b", 2)),
                service="fleet",
                db=4,
                tls=True,
            ),
        ),
        (
            "redis+sentinel://a/fleet?ssl=false",
            Place("redis+sentinel", (("a", 26379),), "", "fleet"),
        ),
        (
            "redis+cluster://a,b:2?ssl=true",
            Place("redis+cluster", (("a", 6379), ("b", 2)), tls=True),
        ),
    ],
)
def test_what_is_known_is_read(url: str, place: Place) -> None:
    assert read_place(url) == place


def test_a_login_is_read_as_it_was_meant() -> None:
    for url in (
        "redis://op:p%40ss%3A@h",
        "unix://op:p%40ss%3A@/run/r",
        "redis+cluster://op:p%40ss%3A@h",
    ):
        found = read_place(url)
        assert (found.username, found.password) == ("op", "p@ss:")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis+sentinel://h/s?ssl=1", "write ?ssl=true for TLS"),
        ("redis+sentinel://h/s?ssl=True", "write ?ssl=true for TLS"),
        ("redis+sentinel://h/s?tls=true", "tls is not known; did you mean ssl?"),
        ("redis+sentinel://h/s?sssl=true", "sssl is not known; did you mean ssl?"),
        ("redis+sentinel://h/s?ssl=true&ssl=false", "ssl is given twice"),
        ("redis+cluster://h?TLS=true", "TLS is not known; did you mean ssl?"),
        ("redis://h?ssl=true", "TLS is the scheme rediss://"),
        ("redis://h?tls=true", "TLS is the scheme rediss://"),
        ("rediss://h?ssl_cert_reqs=none", "certificate and host name are always verified"),
        ("rediss://h?ssl_check_hostname=false", "certificate and host name are always verified"),
        ("rediss://h?ssl_ca_certs=/ca.pem", "files are under store.tls"),
        ("redis://h?socket_timeout=20", "every wait has its own bound"),
        ("redis://h?socket_connect_timeout=20", "every wait has its own bound"),
        ("redis://h?timeout=20", "every wait has its own bound"),
        ("redis://h?retry_on_timeout=true", "every wait has its own bound"),
        ("redis://h?protocol=3", "protocol is not known"),
        ("redis://h?decode_responses=true", "decode_responses is not known"),
        ("redis://h?health_check_interval=1", "health_check_interval is not known"),
        ("redis://h?client_name=x", "client_name is not known"),
        ("redis://h?dbb=1", "did you mean db?"),
        (f"redis://h?password={MARK}", "store.password_env"),
        ("redis://h?username=op", "store.username"),
        (f"redis://h?{MARK}", "behind the ? only db=... is known"),
        (f"redis://h?{MARK}%21=1", "behind the ? only db=... is known"),
        ("redis://h/zero", "the database is a number"),
        ("redis://h/²", "the database is a number"),
        ("redis://h/-1", "the database is a number"),
        ("redis://h/0/1", "the database is a number"),
        ("redis://h?db=", "the database is a number"),
        ("redis://h/1?db=1", "the database is given twice"),
        ("redis+sentinel://h/s/zero", "the database is a number"),
        ("redis+sentinel://h", "names no service"),
        ("redis+cluster://h/0", "neither service nor database"),
        ("redis://a,b", "one server has one address"),
        ("redis://", "redis+cluster://"),
        ("redis:///0", "each address is a host"),
        ("redis://:6379", "each address is a host"),
        (f"redis://op:{MARK}", "it cannot be read"),
        ("redis://op:pw@h:port", "a port that is a number"),
        ("redis://op:pw@h:²", "a port that is a number"),
        ("redis://h:0", "from 1 to 65535"),
        ("redis://h:65536", "from 1 to 65535"),
        ("redis+cluster://a,,b", "each address is a host"),
        ("redis://a%00b", "a host has"),
        ("unix://run/redis.sock", "a path from the root"),
        ("unix:///", "a path from the root"),
        ("unix:///run/%00", "a path from the root"),
        (f"redis://h#{MARK}", "in a password it is %23"),
        ("http://h", "redis+cluster://"),
        ("REDIS://h", "redis+cluster://"),
    ],
)
def test_what_is_not_known_is_refused_with_what_to_write(url: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Address(url).link(timeout_ms=100)
    assert says in refused.value.message
    assert MARK not in refused.value.message + refused.value.hint
    assert "redis://host:6379/0" in refused.value.hint


def test_two_logins_that_differ_are_refused_and_two_that_agree_are_one() -> None:
    with pytest.raises(ConfigError, match=r"its login is not that of store\.username"):
        Address("redis://alice@h", "bob").place()
    with pytest.raises(
        ConfigError, match=r"its login is not that of store\.password_env"
    ) as refused:
        Address(f"redis://:{MARK}@h", password="other").place()
    assert MARK not in refused.value.message
    assert Address(f"redis://bob:{MARK}@h", "bob", MARK).place().username == "bob"


def test_channels_carry_the_database_and_keys_do_not() -> None:
    """A11: pub/sub knows no databases."""
    first, second = Address("redis://h").keyspace, Address("redis+sentinel://h/s/1").keyspace
    assert (first.events, first.receipts) == ("golive:events", "golive:receipts")
    assert (second.events, second.receipts) == ("golive:events@1", "golive:receipts@1")
    assert first.active == second.active == "golive:active"
