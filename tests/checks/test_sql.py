"""The `sql` source against a real PostgreSQL and SQLite: one value, and nothing is ever written."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from golive_redis.checks.source import UnansweredError
from golive_redis.records.report import Outcome
from golive_redis.testing.freeze import freeze

PATIENCE_S = 60  # what would hang does so for minutes

Asking = Any
TABLE = """
create table trades (id integer primary key, venue text, pnl numeric, at timestamp{zone});
insert into trades values (1, 'testnet', 1.5, {now}), (2, 'testnet', -2, {now}), (3, 'live', 9, {now});
"""
WRITES = (
    "insert into trades values (4, 'x', 0, null) returning id",
    "delete from trades returning 1",
    "with gone as (delete from trades returning id) select count(*) from gone",
    "drop table trades",
    "select 1) as x; delete from trades; select * from (select 1",
    "select 1; commit; delete from trades; select 1",
    "1) as x; commit; begin; delete from trades; commit; select * from (select 1",
)


class Database:
    """A database with three trades in it, and how a question names it."""

    def __init__(self, source: dict[str, str], count: Any) -> None:
        self.source = source
        self.count = count


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, asking: Asking) -> Any:
    if request.param == "sqlite":
        path = asking.folder / "trades.db"
        db = sqlite3.connect(path)
        db.executescript(TABLE.format(zone="", now="datetime('now')"))
        yield Database(
            {"url": "sqlite:///trades.db"},
            lambda: db.execute("select count(*) from trades").fetchone()[0],
        )
        db.close()
        return
    postgres = request.getfixturevalue("postgres")
    asking.environ["TRADES_DB"] = postgres.url
    with postgres.connect() as connection:
        connection.execute("drop table if exists trades")
        connection.execute(TABLE.format(zone="tz", now="now()"))
        yield Database(
            {"url_env": "TRADES_DB"},
            lambda: connection.execute("select count(*) from trades").fetchone()[0],
        )


def test_one_value(asking: Asking, database: Database) -> None:
    for query, value in {
        "select count(*) from trades where venue = 'testnet'": 2,
        "select count(*) from trades where venue like 'test%'; ": 2,
        "with t as (select pnl from trades where venue = 'testnet') select sum(pnl) from t -- net": -0.5,
        "select venue from trades where id = 3": "live",
        "select ':name %s 12:30'": ":name %s 12:30",
        "select max(pnl) from trades where id > 99": None,
    }.items():
        assert asking.value(sql={"query": query, **database.source}, equals=1) == value
    query = "select count(*) from trades where venue = 'testnet'"
    found = asking.finding({"sql": {"query": query, **database.source}, "at_least": 3})
    assert (found.outcome, found.value, found.expected) == (Outcome.FAIL, "2", "at_least 3")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("select id from trades", "more than one row"),
        ("select id from trades where id = 99", "no row"),
        ("select id, pnl from trades where id = 1", "2 columns"),
        ("select nothing from trades", "nothing"),
        ("selec 1", "syntax error"),
        ("", "syntax error"),
    ],
)
def test_anything_but_one_value_is_unknown(
    asking: Asking, database: Database, query: str, says: str
) -> None:
    query = query or " "
    with pytest.raises(UnansweredError, match=says):
        asking.value(sql={"query": query, **database.source}, equals=1)


@pytest.mark.parametrize("query", WRITES)
def test_a_write_is_refused_and_nothing_is_lost(
    asking: Asking, database: Database, query: str
) -> None:
    found = asking.finding({"sql": {"query": query, **database.source}, "equals": 1})
    assert found.outcome is Outcome.UNKNOWN, found
    assert database.count() == 3


def test_a_function_that_writes_is_refused(asking: Asking, postgres: Any) -> None:
    """What the grammar of a query cannot show, the transaction refuses."""
    with postgres.connect() as connection:
        connection.execute("create sequence if not exists numbers")
        connection.execute(
            "create or replace function note() returns int language sql as"
            " $$ create table noted (a int); select 1 $$"
        )
        for query in ("select nextval('numbers')", "select note()"):
            with pytest.raises(UnansweredError, match="read-only transaction"):
                asking.value(sql={"query": query, "url": postgres.url}, equals=1)
        assert connection.execute("select to_regclass('noted')").fetchone() == (None,)


@pytest.mark.parametrize("slow", ["postgresql", "sqlite"])
def test_a_query_that_takes_too_long_is_ended(asking: Asking, slow: str, request: Any) -> None:
    queries = {
        "postgresql": "select count(*) from pg_sleep(600)",
        "sqlite": "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n",
    }
    url = "sqlite:///x.db"
    sqlite3.connect(asking.folder / "x.db").close()
    if slow == "postgresql":
        url = request.getfixturevalue("postgres").url
    began = time.monotonic()
    source = {"query": queries[slow], "url": url}
    found = asking.finding({"sql": source, "equals": 1, "deadline": "500ms"})
    assert found.outcome is Outcome.UNKNOWN
    assert time.monotonic() - began < PATIENCE_S
    if slow == "postgresql":
        assert_nothing_runs(request.getfixturevalue("postgres"))


def assert_nothing_runs(postgres: Any) -> None:
    look = "select count(*) from pg_stat_activity where application_name = 'golive-check'"
    until = time.monotonic() + PATIENCE_S
    with postgres.connect() as connection:
        while connection.execute(look).fetchone() != (0,):
            assert time.monotonic() < until
            time.sleep(0.02)


def test_a_server_that_says_nothing_is_unknown_in_time(asking: Asking, postgres: Any) -> None:
    source = {"query": "select 1", "url": postgres.url}
    freeze(postgres.process.pid)  # nobody accepts the connection
    try:
        began = time.monotonic()
        found = asking.finding({"sql": source, "equals": 1, "deadline": "400ms"})
        assert time.monotonic() - began < PATIENCE_S
        assert found.outcome is Outcome.UNKNOWN
    finally:
        os.kill(postgres.process.pid, signal.SIGCONT)
    assert asking.finding({"sql": source, "equals": 1}).outcome is Outcome.PASS


def test_times_from_a_database(asking: Asking, database: Database) -> None:
    """A timestamp with a zone is a time; one without could be of any zone."""
    query = "select max(at) from trades"
    found = asking.finding({"sql": {"query": query, **database.source}, "newer_than": "1m"})
    has_zone = "url_env" in database.source
    assert found.outcome is (Outcome.PASS if has_zone else Outcome.UNKNOWN), found
    if not has_zone:
        assert "without a zone" in found.explain


def test_a_password_is_never_shown(asking: Asking, postgres: Any) -> None:
    for url in (postgres.url, postgres.url.replace(postgres.password, "wr0ng-word")):
        for source in ({"url": url}, {"url_env": "DATABASE"}):
            asking.environ["DATABASE"] = url
            found = asking.finding({"sql": {"query": "select 1", **source}, "equals": 2})
            assert postgres.password not in repr(found)
            assert "wr0ng" not in repr(found)
    assert found.outcome is Outcome.UNKNOWN
    assert "authentication failed" in found.explain


def test_sqlite_makes_no_file_and_finds_it_beside_the_configuration(asking: Asking) -> None:
    found = asking.finding({"sql": {"query": "select 1", "url": "sqlite:///x.db"}, "equals": 1})
    assert found.outcome is Outcome.UNKNOWN
    path = (asking.folder / "x.db").resolve()
    assert found.explain == f"{path}: unable to open database file"
    assert not (asking.folder / "x.db").exists()
    (asking.folder / "x.db").write_bytes(b"garbage" * 100)
    query = {"query": "select count(*) from sqlite_master", "url": "sqlite:///x.db"}
    assert asking.finding({"sql": query, "equals": 0}).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://root@127.0.0.1/x", "mysql is not supported"),
        ("nonsense", "Could not parse"),
        ("sqlite://", "names no file"),
    ],
)
def test_another_database_is_refused(asking: Asking, url: str, says: str) -> None:
    with pytest.raises(UnansweredError, match=says):
        asking.value(sql={"query": "select 1", "url": url}, equals=1)


def test_without_the_extra_the_finding_says_what_to_install(tmp_path: Path) -> None:
    """In a Python that has none: the tests' own has one."""
    for missing, says in {
        "sqlalchemy": "pip install golive-redis[sql]",
        "psycopg": "pip install psycopg[binary]",
    }.items():
        code = f"""
import sys
sys.modules[{missing!r}] = None
from pathlib import Path
from golive_redis.checks.ask import finding
from golive_redis.checks.source import Surroundings
from golive_redis.checks.question import Question, SqlSource
from golive_redis.store.connect import Address
source = SqlSource(query="select 1", url="postgresql://127.0.0.1:1/x")
where = Surroundings(Path("."), {{}}, Address("redis://127.0.0.1:1"))
print(finding("x", [Question(sql=source, equals=1)], where).explain)
"""
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
            cwd=tmp_path,
        )
        assert says in done.stdout, done.stdout
