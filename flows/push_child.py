"""Runs `dvc push` in a group that ends with its flow: `python -m flows.push_child`.

DVC tells at the end how many files did not go, and logs why each did not: the reasons decide
whether another try may help.
"""

import errno
import logging
import sys
from collections.abc import Iterator

from dvc.exceptions import DvcException, UploadError
from dvc.lock import LockError
from dvc.repo import Repo

from flows.group import lead
from wordmill.errors import DataError, OutputError, TryAgainError

_LOGGERS = ("dvc", "dvc_data", "dvc_objects")
_MISSING = "do not exist neither locally nor on remote"
_AWAY = {
    *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT),
    *(errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET),
}
# Of the libraries behind DVC's remotes (botocore, aiohttp, requests, paramiko), none of which
# need be installed.
_AWAY_BY_NAME = {
    *("ConnectionError", "ClientConnectionError", "EndpointConnectionError", "ProxyError"),
    *("ConnectionClosedError", "ConnectTimeoutError", "ReadTimeoutError", "ServerTimeoutError"),
    *("Timeout", "TimeoutError", "gaierror", "ServiceRequestError", "SSHException"),
}


class _Told(logging.Handler):
    """Keeps what DVC logs: the errors, and whether files are lost."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors: list[BaseException] = []
        self.is_missing = False

    def emit(self, record: logging.LogRecord) -> None:
        self.is_missing |= _MISSING in record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])


def main() -> int:
    """Push, say how it went in the last line, and return the exit status."""
    lead()
    told = _Told()
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.handlers = [told]
    try:
        with Repo() as repo:
            num_pushed: int = repo.push()
    except LockError as error:
        return _leave(f"dvc: {error}", TryAgainError.exit_status)
    except UploadError as error:
        return _leave(f"dvc: {error}: {_reason(told.errors)}", _status(told.errors))
    except (DvcException, OSError) as error:
        return _leave(f"dvc: {_reason([error])}", _status([error]))
    if told.is_missing:
        lost = "some files are neither in DVC's cache nor on the remote; `dvc status -c` names them"
        return _leave(f"dvc: {lost}", DataError.exit_status)
    return _leave(f"{num_pushed} files pushed" if num_pushed else "all was there", 0)


def _leave(line: str, status: int) -> int:
    print(" ".join(line.split()), flush=True)
    return status


def _status(errors: list[BaseException]) -> int:
    """75 where every error passes by itself, else 73."""
    is_passing = bool(errors) and all(any(map(_is_away, _chain(error))) for error in errors)
    return TryAgainError.exit_status if is_passing else OutputError.exit_status


def _is_away(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return getattr(error, "errno", None) in _AWAY or bool(names & _AWAY_BY_NAME)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        yield now
        now = now.__cause__ or now.__context__


def _reason(errors: list[BaseException]) -> str:
    """The root of the first error, in a line."""
    if not errors:
        return "DVC did not say why"
    root = list(_chain(errors[0]))[-1]
    return f"{type(root).__name__}: {root}" if str(root) else type(root).__name__


if __name__ == "__main__":
    sys.exit(main())
