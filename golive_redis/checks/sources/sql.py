"""The `sql` source: one value of a query that cannot write, through SQLAlchemy."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from golive_redis import clock
from golive_redis.checks.question import SqlSource
from golive_redis.checks.source import Fetched, Surroundings, UnansweredError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_OPS_BETWEEN_LOOKS = 10_000  # of SQLite's virtual machine: about a millisecond


def fetch(source: SqlSource, where: Surroundings, deadline_ms: float) -> Fetched:
    """Run the query in a read-only transaction that is rolled back."""
    try:
        import sqlalchemy  # noqa: PLC0415  (an extra)
    except ImportError as error:
        hint = "pip install golive-redis[sql]"
        raise UnansweredError("SQLAlchemy is not installed", hint=hint) from error
    url = source.url or where.variable(source.url_env or "")
    try:
        engine, begin = _engine(sqlalchemy.make_url(url), where, deadline_ms)
        with engine.connect() as connection:
            for statement in begin:
                connection.exec_driver_sql(statement)
            try:
                value = _value(connection, source.query)
            finally:
                connection.rollback()
    except ModuleNotFoundError as error:
        hint = f"pip install {'psycopg[binary]' if error.name == 'psycopg' else error.name}"
        raise UnansweredError(
            f"the database's driver is not installed: {error}", hint=hint
        ) from error
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise UnansweredError(_first_line(error)) from error
    return Fetched(
        value,
        {
            "database": f"{engine.dialect.name} {engine.url.host or engine.url.database or ''}".strip()
        },
    )


def _first_line(error: Exception) -> str:
    """Return what the driver said, without the statement and its background that SQLAlchemy adds."""
    said = getattr(error, "orig", None) or error
    return f"{type(said).__name__}: {str(said).strip().partition(chr(10))[0]}"


def _value(connection: Connection, query: str) -> Any:
    # Inside a SELECT nothing but a query is grammar, and a million rows stay where they are.
    inner = query.strip().removesuffix(";")
    # Without parameters a driver leaves % and : alone.
    rows = connection.execution_options(no_parameters=True).exec_driver_sql(
        f"SELECT * FROM (\n{inner}\n) AS golive_check LIMIT 2"  # noqa: S608  (the operator's own query)
    )
    found = rows.fetchall()
    if len(found) != 1 or len(found[0]) != 1:
        many = "no row" if not found else "more than one row" if len(found) > 1 else ""
        raise UnansweredError(f"the query has {many or f'{len(found[0])} columns'}, not one value")
    return found[0][0]


def _engine(url: Any, where: Surroundings, deadline_ms: float) -> tuple[Engine, list[str]]:
    """Return an engine and what to say first."""
    from sqlalchemy import create_engine  # noqa: PLC0415  (an extra)
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    kind = url.get_backend_name()
    if kind == "sqlite":
        if not url.database:
            raise UnansweredError("the URL names no file: sqlite:///FILE")

        def open_file() -> sqlite3.Connection:
            return _open_read_only(where.resolve(url.database or ""), deadline_ms)

        return create_engine("sqlite://", creator=open_file, poolclass=NullPool), [
            "PRAGMA query_only = ON"
        ]
    if kind not in {"postgresql", "postgres"}:
        raise UnansweredError(f"{kind} is not supported: PostgreSQL and SQLite are")
    limits = {
        "connect_timeout": max(1, round(deadline_ms / 1000)),
        # So that a connection whose other end is gone does not wait for days.
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "application_name": "golive-check",
    }
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"), connect_args=limits, poolclass=NullPool
    )
    timeout = f"SET LOCAL statement_timeout = {max(1, round(deadline_ms))}"
    return engine, ["SET TRANSACTION READ ONLY", timeout]


def _open_read_only(path: Path, deadline_ms: float) -> sqlite3.Connection:
    until_ms = clock.now_ms() + deadline_ms
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro",
            uri=True,
            timeout=deadline_ms / 1000,
            check_same_thread=False,
        )
    except sqlite3.OperationalError as error:
        raise UnansweredError(f"{path}: {error}") from error
    connection.set_progress_handler(lambda: clock.now_ms() > until_ms, _OPS_BETWEEN_LOOKS)
    return connection
