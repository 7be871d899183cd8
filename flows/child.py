"""Runs one stage through DVC in a group that ends with its flow: `python -m flows.child STAGE`."""

import logging
import sys

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import reproduce

from flows.group import lead
from wordmill.errors import OutputError, TryAgainError


def main(stage: str, *, is_forced: bool) -> int:
    """Reproduce one stage and return the exit status."""
    lead()
    logging.getLogger("dvc").setLevel(logging.WARNING)  # its hints are for those who type
    try:
        with Repo() as repo:
            reproduce(repo, stage, single_item=True, force=is_forced)
    except LockError as error:
        print(f"dvc: {error}", file=sys.stderr)
        return TryAgainError.exit_status
    except DvcException as error:
        print(f"dvc: {error.__cause__ or error}", file=sys.stderr)
        return OutputError.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], is_forced="--force" in sys.argv[2:]))
