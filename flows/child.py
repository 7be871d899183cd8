"""Runs one stage in a group that ends with its flow: `python -m flows.child STAGE`.

Through DVC, and what is no stage of the DAG (`--outside`) as the program that it is.
"""

import logging
import runpy
import sys

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import reproduce
from dvc.stage.exceptions import MissingDataSource, StageCmdFailedError, StageFileDoesNotExistError

from flows.group import lead
from wordmill.errors import DataError, OutputError, TryAgainError


def main(stage: str, *, is_forced: bool) -> int:
    """Reproduce one stage and return the exit status."""
    lead()
    logging.getLogger("dvc").setLevel(logging.WARNING)  # its hints are for those who type
    try:
        with Repo() as repo:
            reproduce(repo, stage, single_item=True, force=is_forced)
    except DvcException as error:
        cause = error.__cause__ or error
        print(f"dvc: {cause}", file=sys.stderr)
        return _status(cause)
    return 0


def _status(cause: BaseException) -> int:
    match cause:
        case LockError():
            return TryAgainError.exit_status
        case MissingDataSource() | StageFileDoesNotExistError():
            return DataError.exit_status
        case StageCmdFailedError():  # the stage has said why, or it is our own fault
            return 1
        case _:
            return OutputError.exit_status


def outside(stage: str) -> None:
    """Run the program of a stage that DVC does not know; it leaves with its exit status."""
    lead()
    sys.argv = [stage]
    runpy.run_module(f"stages.{stage}", run_name="__main__")


if __name__ == "__main__":
    if "--outside" in sys.argv[2:]:
        outside(sys.argv[1])
    sys.exit(main(sys.argv[1], is_forced="--force" in sys.argv[2:]))
