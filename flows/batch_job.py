"""What a batch is asked to do, and the files beside OUT.

OUT.part grows a chunk at a time, OUT.batch.json says what it is made with, and OUT appears by a
rename when every row is answered. Whoever writes them holds the lock of OUT.
"""

import argparse
import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.answerer import Row
from flows.asking import check_changes
from flows.asking_options import check_sequences, check_task, out_file
from flows.request_file import check_is_another
from flows.workspace import only_one
from wordmill.errors import ParamsError
from wordmill.params.everything import Params


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is asked for."""

    source: Path
    out: Path
    model: str
    """An alias, a version or a folder."""
    defaults: Row
    """`task` and `ask` of rows that do not say them."""
    changes: dict[str, Any]
    """Decoding values that take the place of the model's own."""
    num_sequences: int
    is_restarted: bool
    """Whether what an earlier batch has left, or a file in the place of OUT, is given up."""

    @property
    def part(self) -> Path:
        """Gets the answers; it becomes OUT."""
        return self.out.with_name(f"{self.out.name}.part")

    @property
    def record(self) -> Path:
        """Says what they are made with."""
        return self.out.with_name(f"{self.out.name}.batch.json")


def job_of(
    *,
    source: str,
    out: str,
    model: str,
    task: str,
    ask: str,
    decoding: dict[str, Any],
    num_sequences: int,
    is_restarted: bool,
) -> Job:
    """A job from what a flow run is told."""
    return Job(
        source=Path(source),
        out=Path(out),
        model=model,
        defaults={"task": task, "ask": ask},
        changes=decoding,
        num_sequences=num_sequences,
        is_restarted=is_restarted,
    )


@contextmanager
def alone(job: Job) -> Generator[None]:
    """Hold OUT.

    Raises:
        BusyError: another batch of this project does.
    """
    path = hashlib.sha256(str(job.out.resolve()).encode()).hexdigest()
    with only_one(f"batch-{path[:16]}", otherwise=f"another batch writes {job.out}"):
        yield


def check_job(job: Job, params: Params) -> None:
    """See that a job can be done, as far as that shows at once.

    Raises:
        ParamsError: it can't.
    """
    check_task(job.defaults["task"])
    check_sequences(job.num_sequences)
    check_changes(params, job.changes)
    try:
        out_file(str(job.out))
    except argparse.ArgumentTypeError as error:
        raise ParamsError(str(error)) from None
    for ours in (job.out, job.part, job.record):
        check_is_another(ours, job.source)
        if ours.exists() and not ours.is_file():
            raise ParamsError(f"{ours}: is no plain file; name another for the answers")
    if job.source.exists() and not job.source.is_file():
        raise ParamsError(f"{job.source}: is no plain file, and a batch reads it more than once")
