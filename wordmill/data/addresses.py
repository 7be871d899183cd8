"""Files wherever they lie: under the root or behind an address that fsspec knows.

A local file is known by its size and time of change, then by a hash of its bytes; a remote one
by what its server says of it (an ETag, a checksum, size and time). Addresses are shown without
passwords and signatures.
"""

import gzip
import hashlib
import lzma
import sys
import time
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, cast
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa

from wordmill.errors import DataError, TryAgainError, WordmillError

GLOB_SIGNS = "*?["
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
# Under these names a file system tells what changes with a file's content.
_VERSION_KEYS = ("ETag", "etag", "md5Hash", "Content-MD5", "content_md5", "checksum")
_TIME_KEYS = ("LastModified", "last_modified", "Last-Modified", "mtime", "updated", "created")
# A file changed this lately may change again without its time showing it.
_TIME_IS_COARSE_SECONDS = 2
_ABOUT_THE_ROOT = "README.md"  # tells what the folder is for; a source only if named itself
_DAMAGE = (
    *(EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError, zipfile.BadZipFile),
    *(NotImplementedError, pa.ArrowInvalid),  # a way to compress that is not known; zstd
)
_CONNECT_SECONDS, _READ_SECONDS = 20, 60


class File(Protocol):
    """A file that can be read, and that can tell whether it changed."""

    @property
    def name(self) -> str:
        """What it is called in records: under the root, or its address."""
        ...

    @property
    def size(self) -> int | None:
        """In bytes, as it lies there."""
        ...

    @property
    def is_outside(self) -> bool:
        """Whether DVC can't see it."""
        ...

    def stamp(self) -> str:
        """What changes when it may have changed, cheap to tell; empty where nothing is."""
        ...

    def identity(self) -> str:
        """What changes with its content; empty if nobody can tell."""
        ...

    def open(self) -> BinaryIO:
        """Its bytes."""
        ...


class LocalFile(NamedTuple):
    """A file under the root."""

    name: str
    path: Path
    is_outside: bool = False

    @property
    def size(self) -> int | None:
        return self.path.stat().st_size

    def stamp(self) -> str:
        state = self.path.stat()
        is_fresh = time.time() - state.st_mtime < _TIME_IS_COARSE_SECONDS
        return "" if is_fresh else f"{state.st_size} {state.st_mtime_ns}"

    def identity(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()

    def open(self) -> BinaryIO:
        return self.path.open("rb")


class RemoteFile(NamedTuple):
    """A file of an fsspec file system."""

    name: str
    path: str
    system: Any
    info: dict[str, Any]
    is_outside: bool = True

    @property
    def size(self) -> int | None:
        return self.info.get("size")

    def stamp(self) -> str:
        return ""

    def identity(self) -> str:
        for key in _VERSION_KEYS:
            if value := self.info.get(key):
                return str(value).strip('"')
        for key in _TIME_KEYS:
            if value := self.info.get(key):
                return f"{self.size} {value}"
        return ""

    def open(self) -> BinaryIO:
        # A web server need not serve parts of a file: take it as it comes.
        options = {"block_size": 0} if self.path.startswith("http") else {}
        return cast("BinaryIO", self.system.open(self.path, "rb", **options))


def shown(address: str) -> str:
    """An address without what must not be shown: user, password, query."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def find_files(path: str, root: Path) -> list[File]:
    """The files that a path, folder, glob or address names, in order of their names.

    Raises:
        DataError: there is none, or no way to it.
        TryAgainError: its server does not answer.
    """
    is_remote = "://" in path
    name = shown(path) if is_remote else str(root / path)
    try:
        with errors_named(name):
            found = _remote_files(path) if is_remote else _local_files(path, root)
            return sorted(found, key=lambda file: file.name)
    except ValueError as error:
        raise DataError(f"{name}: no such path, address or pattern: {_first_line(error)}") from None


@contextmanager
def errors_named(name: str) -> Generator[None]:
    """Turn what goes wrong with a file or its server into one line that names it."""
    try:
        yield
    except WordmillError:
        raise
    except FileNotFoundError as error:
        # fsspec says so of any page that it can't get; why is told by the cause.
        raise _meaning(error.__cause__ or error, name) from None
    except PermissionError as error:
        raise DataError(f"{name}: can't be read: no permission{_why(error)}") from None
    except _DAMAGE as error:
        raise DataError(f"{name}: damaged or cut short: {_first_line(error)}") from None
    except (OSError, _web_error(), *_s3_errors("BotoCoreError")) as error:
        raise _meaning(error, name) from None


def _meaning(error: BaseException, name: str) -> WordmillError:
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return DataError(f"{name}: no such file")
    if isinstance(error, ValueError):  # what aiohttp says of an address that is none
        return DataError(f"{name}: can't be read: {type(error).__name__}: {_first_line(error)}")
    away = _s3_errors("ConnectionError", "HTTPClientError")
    is_of_server = isinstance(error, (ConnectionError, TimeoutError, _web_error(), *away))
    if isinstance(status, int) and 400 <= status < 500 and status not in (408, 429):
        return DataError(f"{name}: the server refuses it: {status} {_first_line(error)}")
    if is_of_server and "://" in name:
        return TryAgainError(f"{name}: the server does not answer: {_first_line(error)}")
    return DataError(f"{name}: can't be read: {_first_line(error)}")


def _web_error() -> type[Exception]:
    from aiohttp import ClientError

    return ClientError


def _s3_errors(*names: str) -> tuple[type[Exception], ...]:
    """What S3's package raises of its own, where it is at work: fsspec knows other systems."""
    botocore = sys.modules.get("botocore.exceptions")
    return tuple(getattr(botocore, name) for name in names) if botocore else ()


def _local_files(path: str, root: Path) -> list[File]:
    found = root / path
    if found.is_file():
        return [LocalFile(path, found)]
    paths = found.rglob("*") if found.is_dir() else root.glob(path)
    named = {p.relative_to(root).as_posix(): p for p in paths if p.is_file()}
    if not named and not found.is_dir():
        raise DataError(
            f"{found}: no such file; a source's path is relative to ingest.root"
            f" ({root}) and may be a glob such as '**/*.txt'"
        )
    left_out = {name for name in named if _is_hidden(name)} | {_ABOUT_THE_ROOT}
    return [LocalFile(name, place) for name, place in named.items() if name not in left_out]


def _remote_files(address: str) -> Iterator[File]:
    system, path = _system(address)
    is_web = address.startswith("http")
    if "*" in path:
        found = system.glob(path, detail=True)
    elif path.endswith("/") or system.info(path).get("type") == "directory":
        found = system.find(path, detail=True)
    else:
        found = {path: system.info(path)}
    files = {p: info for p, info in found.items() if info.get("type", "file") == "file"}
    if not files:
        raise FileNotFoundError
    for place, info in files.items():
        full = place if "://" in place else system.unstrip_protocol(place)
        # A listing of a web page tells names alone.
        known = system.info(place) if is_web and len(files) > 1 else info
        yield RemoteFile(shown(full), place, system, known)


def _system(address: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    scheme = address.partition("://")[0]
    options: dict[str, Any] = {}
    if scheme in ("http", "https"):
        from aiohttp import ClientTimeout

        limits = ClientTimeout(sock_connect=_CONNECT_SECONDS, sock_read=_READ_SECONDS)
        options["client_kwargs"] = {"timeout": limits}
    try:
        # Listings are not kept: a run that comes later has to see what is new.
        return url_to_fs(address, use_listings_cache=False, skip_instance_cache=True, **options)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        install = f"pip install 'wordmill[{extra}]'" if extra else _first_line(error)
        raise DataError(
            f"{shown(address)}: {scheme}:// needs a package that is not here: {install}"
        ) from None
    except ValueError as error:
        raise DataError(
            f"{shown(address)}: can't be used: {_first_line(error)}; such as https://, s3://, gs://"
        ) from None


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _why(error: OSError) -> str:
    return f" ({_first_line(error)})" if error.errno is None and str(error) else ""


def _first_line(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.strip().partition("\n")[0]
