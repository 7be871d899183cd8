"""The rows that a database answers a query with, streamed through SQLAlchemy.

Nothing is written: SQLite and PostgreSQL are asked for reading alone, and the transaction is
rolled back. Messages and records hold no password; the driver finds it in its own place
(`.pgpass`, `PGPASSWORD`).
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wordmill.data.parts import Part
from wordmill.data.rows import About, Result, RowMapping
from wordmill.errors import DataError, TryAgainError
from wordmill.params.ingest import SqlSource

_BATCH_ROWS = 1000
_SECONDS_TO_CONNECT = 20
_EXTRAS = {"psycopg": "postgres", "psycopg2": "postgres"}
# What a server says that is there but can't serve now, among what it refuses for good.
_PASSES = ("starting up", "shutting down", "too many", "recovery mode")


def parts(source: SqlSource, *, about: About, max_row_bytes: int) -> list[Part]:
    """The one part that a query makes.

    Args:
        source: the database, the query, the columns.
        about: what all records have in common.
        max_row_bytes: a longer row is a bad one.
    """
    mapping = RowMapping(source.columns, about=about, max_row_bytes=max_row_bytes)

    def results() -> Iterator[Result]:
        yield from mapping.results(enumerate(_rows(source), start=1), file=about.origin)

    return [Part(name=about.origin, results=results, identity=lambda: _version(source))]


def shown_url(url: str) -> str:
    """A database's address for messages, without any password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number
        return "sql"
    return parsed.set(query={}).render_as_string(hide_password=True)


def _rows(source: SqlSource) -> Iterator[dict[str, Any]]:
    with _connected(source.url) as connection:
        streamed = connection.execution_options(yield_per=_BATCH_ROWS)
        for row in streamed.exec_driver_sql(source.query).mappings():
            yield dict(row)


def _version(source: SqlSource) -> str:
    if source.version_query is None:
        return ""
    with _connected(source.url) as connection:
        value = connection.exec_driver_sql(source.version_query).scalar()
    return "" if value is None else str(value)


@contextmanager
def _connected(url: str) -> Generator[Any]:
    from sqlalchemy.exc import SQLAlchemyError

    name = shown_url(url)
    try:
        with _engine(url, name).connect() as connection:
            yield _read_only(connection)
    except SQLAlchemyError as error:
        raise _meaning(error, name) from None


def _read_only(connection: Any) -> Any:
    """A connection that refuses to write; SQLite's driver would not roll back a `drop table`."""
    match connection.dialect.name:
        case "sqlite":
            connection.exec_driver_sql("pragma query_only = on")
        case "postgresql":
            return connection.execution_options(postgresql_readonly=True)
        case _:
            pass
    return connection


def _engine(url: str, name: str) -> Any:
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError
    from sqlalchemy.pool import NullPool

    try:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if "psycopg" in parsed.drivername:  # its own limit is the system's, two minutes
            limit = {"connect_timeout": str(_SECONDS_TO_CONNECT)}
            parsed = parsed.update_query_dict({**limit, **parsed.query})
        engine = create_engine(parsed, poolclass=NullPool)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(str(error.name).partition(".")[0])
        install = f"pip install 'wordmill[{extra}]'" if extra else f"install '{error.name}'"
        raise DataError(f"{name}: its driver is not here: {install}") from None
    except (ArgumentError, ValueError):
        raise DataError(
            f"{name}: not an address of a database that is known; such as"
            " postgresql://reader@host/news or sqlite:///data/raw/news.db"
        ) from None
    file = parsed.database or ":memory:"
    is_file = parsed.get_backend_name() == "sqlite" and not file.startswith((":", "file:"))
    if is_file and not Path(file).is_file():  # SQLite would make it
        raise DataError(f"{name}: no such file: {file}")
    return engine


def _meaning(error: Exception, name: str) -> DataError | TryAgainError:
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

    reason = " ".join(str(getattr(error, "orig", None) or error).split("\n")[:2])
    is_of_driver = isinstance(error, OperationalError | InterfaceError)
    is_connecting = isinstance(error, DBAPIError) and error.statement is None
    is_refused = "FATAL" in reason and not any(sign in reason for sign in _PASSES)
    is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if is_of_driver and (is_lost or (is_connecting and not is_refused and "sqlite" not in name)):
        return TryAgainError(f"{name}: the database does not answer: {reason}")
    return DataError(f"{name}: the query can't be answered: {reason}")
