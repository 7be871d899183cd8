"""Texts that hold a listed word or phrase."""

import re
from functools import lru_cache
from pathlib import Path

from wordmill.errors import DataError

_COMMENT = re.compile(r"(?:^|\s)#.*")
# Thai, kana and Han: their words stand side by side.
_WITHOUT_SPACES = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")


def holds_listed(text: str, listed: tuple[str, ...]) -> bool:
    """Whether one of the listed words or phrases stands in the text, upper case or lower."""
    pattern = _pattern(listed)
    return pattern is not None and pattern.search(text) is not None


def read_list(path: Path) -> tuple[str, ...]:
    """The entries of a list file: one a line, `#` starts a comment.

    Raises:
        DataError: the file is missing or is not UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file; lists lie in the folder that clean.lists names"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; convert it") from None
    entries = (_COMMENT.sub("", line).strip() for line in lines)
    return tuple(entry for entry in entries if entry)


@lru_cache(maxsize=4)
def _pattern(listed: tuple[str, ...]) -> re.Pattern[str] | None:
    if not listed:
        return None
    # A word border only where the entry has a letter that is written with spaces around.
    entries = (rf"{_border(entry[0])}{re.escape(entry)}{_border(entry[-1])}" for entry in listed)
    return re.compile("|".join(entries), re.IGNORECASE)


def _border(character: str) -> str:
    return r"\b" if character.isalnum() and not _WITHOUT_SPACES.match(character) else ""
