"""The errors that a user can cause, each with the exit status its process leaves with.

A message is written for the person who has to act on it: what was wrong, where, what is
allowed, what to do. Whatever is not one of these is our own fault and keeps its traceback.
"""


class WordmillError(Exception):
    """The base of the family; raise one of the others."""

    exit_status: int = 1


class ParamsError(WordmillError):
    """The command line or params.yaml is wrong."""

    exit_status = 2


class DataError(WordmillError):
    """The data is wrong, or training on it gave NaN."""

    exit_status = 65


class OutputError(WordmillError):
    """An output can't be written."""

    exit_status = 73


class TryAgainError(WordmillError):
    """Something that passes: a lock is held, a server is away, a checkpoint awaits its resume."""

    exit_status = 75
