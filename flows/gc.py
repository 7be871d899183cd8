"""`wordmill gc`: free what no version, branch, experiment or working tree needs.

It only looks, and takes no lock, until it is told to delete. Then it holds everything that could
make a reference meanwhile, and looks again: nothing is freed by an older look. What can't be read
counts as needing everything of its kind.
"""

import time
from contextlib import nullcontext

from flows.gc_alone import alone
from flows.gc_found import Part, as_json, as_text
from wordmill.errors import WordmillError

_A_DAY = 86_400.0


def gc(*, is_deleted: bool, keep_days: float, is_json: bool) -> int:
    """Show what nothing needs, or free it; returns the exit status.

    Args:
        is_deleted: free it.
        keep_days: what is younger stays: it may be about to be named.
        is_json: for programs.

    Raises:
        BusyError: a flow, an experiment, a promotion or DVC is at work.
        WordmillError: freeing a kind failed; the others are done.
    """
    with alone() if is_deleted else nullcontext():
        parts = found(newest=time.time() - keep_days * _A_DAY)
        if is_deleted:
            for part in parts:
                _free(part)
    days = "" if keep_days == 1 else f" --keep-days {keep_days:g}"
    next_line = f"wordmill gc --delete{days}"
    told = as_json(parts, is_freed=is_deleted) if is_json else None
    print(told or as_text(parts, is_freed=is_deleted, next_line=next_line))
    errors = [part.error for part in parts if part.error]
    return max((error.exit_status for error in errors), default=0)


def found(*, newest: float) -> list[Part]:
    """Everything that nothing needs, and what stays, by kind.

    Args:
        newest: what came after this moment stays: seconds of the system's clock.
    """
    from flows.gc_dvc import cache_part
    from flows.gc_mlflow import mlflow_part
    from flows.gc_needed import read_needed
    from flows.gc_scratch import resumed_runs, scratch_part, workspaces_part

    needed = read_needed()
    own = [scratch_part(newest=newest), workspaces_part(needed, newest=newest)]
    resumed = resumed_runs(own)
    of_mlflow = mlflow_part(needed, resumed=resumed, newest=newest)
    return [*own, cache_part(needed, newest=newest), of_mlflow]


def _free(part: Part) -> None:
    try:
        part.free()
    except OSError as error:
        part.end(WordmillError(f"{error.filename or part.kind}: {error.strerror or error}"))
    except WordmillError as error:
        part.end(error)
