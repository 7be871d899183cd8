"""Whether the servers that addresses name answer: told in seconds, their clients try for minutes.

For what a person starts. A flow that a worker starts leaves it to the clients' patience: at night
a server may be back in a minute.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from wordmill.errors import ParamsError, TryAgainError

_MLFLOW = "MLFLOW_TRACKING_URI"
_PREFECT = "PREFECT_API_URL"
_PREFECT_DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"

_EMBEDDED = "sqlite:///"
_WEB = ("http", "https")
_DATABASES = ("postgresql", "postgres", "mysql", "mssql")
_SECONDS = 30  # a server under load took more than ten
# How each driver calls the time that connecting may take.
_LIMITS = {"psycopg": "connect_timeout", "psycopg2": "connect_timeout", "asyncpg": "timeout"}
_DRIVERS = {"MLflow": "psycopg", "Prefect": "asyncpg"}


def check_servers() -> None:
    """See that MLflow and Prefect answer, where they are elsewhere.

    Raises:
        ParamsError: an address is none, or its driver is missing.
        TryAgainError: one of them does not answer.
    """
    check_mlflow()
    check_prefect()


def check_mlflow() -> None:
    """See that MLflow's server or database answers; the embedded one needs none.

    Raises:
        ParamsError: the address is none, or its driver is missing.
        TryAgainError: it does not answer.
    """
    address = os.environ[_MLFLOW]
    if is_web(address):
        _page(address, of="MLflow", named=_MLFLOW)
    elif urlsplit(address).scheme.partition("+")[0] in _DATABASES:
        _connect(address, of="MLflow", named=_MLFLOW)


def has_store() -> bool:
    """Whether MLflow has kept anything yet; asking a fresh store would make it, which takes 10 s.

    Raises:
        ParamsError: the address is none, or its driver is missing.
        TryAgainError: it is elsewhere, and does not answer.
    """
    address = os.environ[_MLFLOW]
    if address.startswith(_EMBEDDED):
        return Path(address.removeprefix(_EMBEDDED)).exists()
    check_mlflow()
    return True


def check_prefect() -> None:
    """See that Prefect's server answers, or the database that a temporary one would use.

    Raises:
        ParamsError: the address is none, or not one for Prefect.
        TryAgainError: it does not answer.
    """
    if address := os.environ.get(_PREFECT):
        said = _page(address, of="Prefect", named=_PREFECT)
        if said not in (b"", b"true"):  # the page's server says its own to whatever is asked
            raise TryAgainError(
                f"{_PREFECT}: {shown(address)} answers, but not as Prefect's API does; its address"
                " ends in /api"
            )
    elif address := os.environ.get(_PREFECT_DATABASE):
        scheme = urlsplit(address).scheme
        if scheme not in ("postgresql+asyncpg", "sqlite+aiosqlite"):
            raise ParamsError(
                f"{_PREFECT_DATABASE}: begins with {scheme}://; Prefect takes"
                " postgresql+asyncpg:// or sqlite+aiosqlite://"
            )
        if scheme == "postgresql+asyncpg":
            _connect(address, of="Prefect", named=_PREFECT_DATABASE)


def is_web(address: str) -> bool:
    """Whether an address is a server's, and not a database's or a file's."""
    return urlsplit(address).scheme in _WEB


def shown(address: str) -> str:
    """An address for messages: without user, password and query."""
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _page(address: str, *, of: str, named: str) -> bytes:
    """What the server says of its health; empty where only its client can get through."""
    import ssl  # 50 ms with urllib.request, for the few who need it
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    try:
        with urlopen(f"{shown(address).rstrip('/')}/health", timeout=_SECONDS) as page:
            return page.read(100)
    except HTTPError as error:
        if error.code >= 500:
            raise _away(of, named, address, f"it answers {error.code}") from None
    except URLError as error:
        if not isinstance(error.reason, ssl.SSLError):  # the client may have certificates
            raise _away(of, named, address, error.reason) from None
    except (OSError, HTTPException) as error:
        raise _away(of, named, address, error) from None
    except ValueError as error:  # a port that is no number
        raise ParamsError(f"{named}: {shown(address)} is no address: {error}") from None
    return b""


def _connect(address: str, *, of: str, named: str) -> None:
    import asyncio

    from asyncpg import PostgresError
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    async def connect_async() -> None:
        made = create_async_engine(address, poolclass=NullPool, connect_args=limit)
        async with made.connect():
            pass

    try:
        driver = make_url(address).get_driver_name()
        limit = {_LIMITS[driver]: _SECONDS} if driver in _LIMITS else {}
        if driver == "asyncpg":
            asyncio.run(connect_async())
        else:
            create_engine(address, poolclass=NullPool, connect_args=limit).connect().close()
    except ModuleNotFoundError as error:
        raise ParamsError(
            f"{named}: the driver {error.name} is not here; write postgresql+{_DRIVERS[of]}://,"
            " which `pip install 'wordmill[postgres]'` brings"
        ) from None
    except (ArgumentError, ValueError):
        raise ParamsError(
            f"{named}: not an address of a database; it is like"
            f" postgresql+{_DRIVERS[of]}://USER@HOST:5432/DATABASE"
        ) from None
    except (SQLAlchemyError, PostgresError, OSError) as error:
        raise _away(of, named, address, getattr(error, "orig", None) or error) from None


def _away(of: str, named: str, address: str, reason: object) -> TryAgainError:
    why = " ".join(str(reason).split()) or type(reason).__name__
    return TryAgainError(f"{of} does not answer at {shown(address)} ({named}): {why}")
