"""Reading what others wrote: pointers, times, tables; nothing but a refusal comes of garbage."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from golive_redis.checks.parse import cell, count_rows, look, parse, parse_yaml, time_ms
from golive_redis.checks.question import CommandSource, HttpSource, RedisSource
from golive_redis.checks.secrets import secrets_of
from golive_redis.checks.source import UnansweredError
from golive_redis.masking import masked, without_login

# RFC 6901 section 5.
DOCUMENT = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


def test_the_pointers_of_the_standard() -> None:
    for pointer, value in {
        "": DOCUMENT,
        "/foo": ["bar", "baz"],
        "/foo/0": "bar",
        "/": 0,
        "/a~1b": 1,
        "/c%d": 2,
        "/e^f": 3,
        "/g|h": 4,
        "/i\\j": 5,
        '/k"l': 6,
        "/ ": 7,
        "/m~0n": 8,
    }.items():
        assert look(DOCUMENT, pointer) == value


@pytest.mark.parametrize(
    "pointer",
    [
        "/foo/2",
        "/foo/-1",
        "/foo/-",
        "/foo/00",
        "/foo/01",
        "/foo/²",
        "/foo/1e0",
        "/bar",
        "/foo/0/0",
        "/foo/",
        "/a/b",
    ],
)
def test_a_pointer_to_nothing_is_refused(pointer: str) -> None:
    with pytest.raises(UnansweredError, match="there is nothing at"):
        look(DOCUMENT, pointer)


def test_a_number_of_thousands_of_digits_points_to_nothing() -> None:
    with pytest.raises(UnansweredError, match="there is nothing at"):
        look(DOCUMENT, "/foo/" + "9" * 5000)


def test_a_tilde_and_a_one_are_read_in_this_order() -> None:
    assert look({"~1": 1, "/": 2}, "/~01") == 1


AT_MS = 1_795_335_723_456
AT = datetime(2026, 11, 22, 8, 22, 3, 456_000, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        AT_MS,
        str(AT_MS),
        AT_MS / 1000,
        "1795335723.456",
        Decimal("1795335723.456"),
        AT,
        AT.astimezone(timezone(timedelta(hours=5, minutes=30))),
        "2026-11-22T08:22:03.456Z",
        "2026-11-22T08:22:03.456+00:00",
        "2026-11-22 09:22:03.456+01:00",
        "20261122T082203.456Z",
        " 2026-11-22T08:22:03.456Z\n",
    ],
    ids=repr,
)
def test_one_time_however_it_is_written(value: object) -> None:
    assert time_ms(value) == AT_MS


def test_a_date_of_http() -> None:
    assert time_ms("Sun, 22 Nov 2026 08:22:03 GMT") == AT_MS // 1000 * 1000


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (datetime(2026, 11, 22), "without a zone"),  # noqa: DTZ001
        ("2026-11-22T08:22:03", "without a zone"),
        ("2026-11-22", "without a zone"),
        ("Sun, 22 Nov 2026 08:22:03 -0000", "without a zone"),
        ("08:22", "is not a time"),
        ("", "is not a time"),
        ("now", "is not a time"),
        (True, "is not a time"),
        (None, "is not a time"),
        (float("nan"), "is not a time"),
        ([AT_MS], "is not a time"),
    ],
    ids=repr,
)
def test_what_could_be_another_hour_is_no_time(value: object, says: str) -> None:
    with pytest.raises(UnansweredError, match=says):
        time_ms(value)


@given(st.text() | st.datetimes(timezones=st.timezones()) | st.floats() | st.integers())
@example("0001-01-01T00:00:00+23:59")
@example("9999-12-31T23:59:59-23:59")
@example(1e308)
@example("Mon, 99999999999999 Jan 9999999999999999 99:99:99 +9999999999999")
def test_a_time_is_a_number_or_refused(value: object) -> None:
    with suppress(UnansweredError):
        assert isinstance(time_ms(value), int)


@given(st.text(alphabet='a0,"\n\r\\ :{}[]&*!-~', max_size=60))
def test_garbage_is_refused_and_never_raises_anything_else(text: str) -> None:
    for read in (
        lambda: parse(text),
        lambda: parse_yaml(text + "\n", of="x"),
        lambda: cell(text.splitlines(keepends=True), "/0/a", of="x"),
        lambda: count_rows(text.splitlines(keepends=True), of="x"),
    ):
        with suppress(UnansweredError):
            read()


@given(st.dictionaries(st.text(), st.integers() | st.text(), min_size=1))
def test_every_member_of_an_object_can_be_pointed_to(value: dict[str, object]) -> None:
    read = parse(json.dumps(value))
    for name, item in value.items():
        assert look(read, "/" + name.replace("~", "~0").replace("/", "~1")) == item


# -- secrets ---------------------------------------------------------------------------------------


def test_a_url_is_shown_without_what_may_be_secret() -> None:
    for url, shown in {
        "https://alice:pw@host:8443/a/b?key=1&x=2": "https://host:8443/a/b?...",
        "https://host/a@b?c@d": "https://host/a@b?...",
        "redis://:pw@host:6379/0": "redis://host:6379/0",
        "redis://host": "redis://host",
        "https://a:b@c:d@host/": "https://host/",
    }.items():
        assert without_login(url) == shown


def test_secrets_are_found_where_they_are_and_masked_wherever_they_turn_up() -> None:
    environ = {
        "RISK": "plain-token",
        "OTHER": "redis://bob:pass%40word@host",
        "VENUE_API_KEY": "k" * 20,
        "API_KEY_ID": "7",
        "PATH": "/usr/bin:/bin",
    }
    web = HttpSource(url="https://alice:swordfish@host/?sig=abcdef", bearer_env="RISK")
    found = secrets_of(web, environ)
    for secret in ("plain-token", "swordfish", "abcdef", "sig=abcdef", "k" * 20):
        assert secret in found
    assert not {"7", "/usr/bin:/bin"} & set(found)
    text = "at https://alice:swordfish@host/?sig=abcdef with plain-token"
    assert masked(text, found) == "at https://alice:***@host/?*** with ***"
    found = secrets_of(RedisSource(key="x", url_env="OTHER"), environ)
    assert masked("redis://bob:pass%40word@host: no pass@word", found) == "***: no ***"


def test_a_secret_that_no_source_names_is_masked_by_the_name_of_its_variable() -> None:
    """A program that a check starts has the whole environment, and may complain about any of it."""
    environ = {
        "DATABASE_URL": "postgresql://bob:hunter2secret@db/trades?sslmode=disable",
        "REDIS_AUTH": "tiptop-secret",
        "STORE_PW": "another-secret",
        "PWD": "/srv/golive",
    }
    found = secrets_of(CommandSource(argv=["check"]), environ)
    said = "hunter2secret, tiptop-secret and another-secret in /srv/golive, disable"
    assert masked(said, found) == "***, *** and *** in /srv/golive, disable"
