"""Runs one stage in a fresh copy, from no cache: `python -m flows.rerun FOLDER STAGE`.

DVC is told to force the stage and to commit nothing; its cache there is an empty folder of its
own, and stays empty. The stage's output must not be there before.
"""

import logging
import os
import sys
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.repo.reproduce import reproduce

from flows.group import lead
from wordmill.errors import DataError, OutputError


def main(folder: Path, stage: str) -> int:
    """Run a stage and return the exit status."""
    lead()
    logging.getLogger("dvc").setLevel(logging.WARNING)
    os.chdir(folder)  # this program's own code is the project's, the stage's is the copy's
    try:
        with Repo() as repo:
            if there := _outs_there(repo, stage):
                print(f"{there[0]} is there before {stage} has run", file=sys.stderr)
                return DataError.exit_status
            reproduce(repo, stage, single_item=True, force=True, no_commit=True, run_cache=False)
            kept = [path for path in Path(repo.cache.local.path).rglob("*") if path.is_file()]
    except DvcException as error:
        print(f"dvc: {error.__cause__ or error}", file=sys.stderr)
        return DataError.exit_status
    if kept:
        print(f"DVC kept {kept[0]}: a later stage may pass from it", file=sys.stderr)
        return OutputError.exit_status
    return 0


def _outs_there(repo: Repo, stage: str) -> list[str]:
    return [str(out) for one in repo.stage.collect(stage) for out in one.outs if out.exists]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
