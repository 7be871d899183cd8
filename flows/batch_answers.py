"""Answers the rows of a batch that have no answer yet, and gives the file its name.

A chunk of rows is answered together, in the order of the file, and written through to the disk
before the next. Chunks begin at multiples of their size: one that was cut off is answered again as
a whole, and what is missing of it is written, so that the bytes are those of a batch in one go.
Memory holds one chunk.
"""

import hashlib
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import IO, Any

from flows.answerer import Answerer, Located, Row, answerer
from flows.asking import warn_of_tasks, with_changes
from flows.batch_job import Job
from flows.batch_plan import Plan, check_replaces
from flows.batch_record import End, Record, Start, write_record
from flows.located import located
from flows.request_file import answered, is_answered, requests_in
from wordmill import __version__
from wordmill.errors import DataError, OutputError
from wordmill.files import sha256_of
from wordmill.params.everything import Params
from wordmill.progress import Progress, Show, nowhere

# Rows of a chunk are sorted by length before they are put into batches. With 16 batches of 8 a
# whole batch took 4 to 5% more processor time than one sort of all rows did, the look at every row
# before it begins counted in; a kill costs the work of one chunk.
_CHUNK_BATCHES = 16

Chunk = list[tuple[dict[str, Any], Row]]


def answer_rest(
    job: Job, plan: Plan, params: Params, *, flow_run: str, show: Show, every_seconds: float
) -> Record:
    """Answer what has no answer; returns the record of the whole.

    Args:
        job: what is asked for; the caller holds it (`alone`).
        plan: how it stands.
        params: of the project.
        flow_run: who answers.
        show: takes lines of progress.
        every_seconds: the least time between two of them.

    Raises:
        WordmillError: the model can't be loaded, or does not answer.
        DataError: the file has changed while it was read.
        OutputError: the answers can't be written.
    """
    if plan.step == "finish":
        assert plan.record is not None
        return _named(job, plan.record)
    with answerer() as asked, located(plan.model.version or job.model, params) as found:
        _check_stored(plan, found, params)
        warn_of_tasks(found, plan.tasks)
        model = with_changes(found, job.changes, num_sequences=job.num_sequences)
        asked.load(model)
        work = _Work(job, plan.record or _begun(job, plan, model), asked)
        with _write_errors_named(job):
            record = work.done(flow_run, show=show, every_seconds=every_seconds)
    return _named(job, record)


def _check_stored(plan: Plan, model: Located, params: Params) -> None:
    """See that a version's files are what was registered; of old ones nobody knows."""
    if model.stored is None or plan.model.version is None or not plan.model.files:
        return
    from mlflow import MlflowClient

    from flows.registry import Registry
    from flows.version_files import check_files

    registry = Registry(MlflowClient(), params.registry.name)
    check_files(registry, plan.model.version, model.stored)


def _begun(job: Job, plan: Plan, model: Located) -> Record:
    """The record of a batch without a row, on the disk; what was there is given up."""
    record = Record(
        wordmill=__version__,
        made_with=plan.made_with,
        input=str(job.source),
        num_rows=plan.num_rows,
        chunk_rows=_CHUNK_BATCHES * int(model.settings["batch_size"]),
        decoding=model.settings["decoding"],
        is_replacing=job.out.exists(),
        starts=[],
    )
    with _write_errors_named(job):
        job.part.unlink(missing_ok=True)
    write_record(job.record, record)
    return record


class _Work:
    """The loop over the chunks."""

    def __init__(self, job: Job, record: Record, asked: Answerer) -> None:
        self._job, self._record, self._asked = job, record, asked
        self._is_single = job.num_sequences == 1
        self._num_kept = 0
        self._started_at = time.monotonic()

    def done(self, flow_run: str, *, show: Show, every_seconds: float) -> Record:
        """Answer the rest; returns the record, not yet written, with its end."""
        digest, progress = hashlib.sha256(), None
        self._job.part.touch()
        with self._job.part.open("r+b") as part:
            for chunk in self._chunks(digest.update):
                num_standing = 0 if progress else self._standing(part, chunk)
                if num_standing == len(chunk):
                    continue
                if progress is None:
                    progress = self._begin(part, flow_run, show, every_seconds)
                self._write(part, chunk, num_standing, progress)
            part.truncate()
        if digest.hexdigest() != self._record.made_with.input:
            raise DataError(
                f"{self._job.source}: has changed while it was read; put back what it was and the"
                " batch goes on, or begin anew with --restart"
            )
        return self._record.model_copy(update={"end": self._end()})

    def _chunks(self, heard: Callable[[bytes], None]) -> Iterator[Chunk]:
        rows = requests_in(self._job.source, defaults=self._job.defaults, heard=heard)
        while chunk := list(islice(rows, self._record.chunk_rows)):
            yield chunk

    def _standing(self, part: IO[bytes], chunk: Chunk) -> int:
        """How many rows of a chunk have their answer; the file's place is then after them."""
        for number, (row, _) in enumerate(chunk):
            place = part.tell()
            if not is_answered(part.readline(), row, is_single=self._is_single):
                part.seek(place)  # cut off, or what a crash of the machine left
                return number
            self._num_kept += 1
        return len(chunk)

    def _begin(self, part: IO[bytes], flow_run: str, show: Show, every_seconds: float) -> Progress:
        """At the first row without an answer: what stands behind it is given up."""
        part.truncate()
        start = Start(at=_now(), row=self._num_kept, flow_run=flow_run)
        self._record = self._record.model_copy(update={"starts": [*self._record.starts, start]})
        write_record(self._job.record, self._record)
        self._started_at = time.monotonic()
        return Progress(
            "answers",
            show=show,
            total=self._record.num_rows,
            every_seconds=every_seconds,
            start=self._num_kept,
        )

    def _write(self, part: IO[bytes], chunk: Chunk, num_standing: int, progress: Progress) -> None:
        num_told = num_standing

        def count(num_done: int) -> None:
            nonlocal num_told
            if num_done > num_told:
                progress.advance(num_done - num_told, note=self._rate())
                num_told = num_done

        texts = self._asked.answers(
            [request for _, request in chunk],
            num_sequences=self._job.num_sequences,
            show=nowhere,
            count=count,
        )
        lines = [
            answered(row, said, is_single=self._is_single)
            for (row, _), said in zip(chunk, texts, strict=True)
        ]
        part.write(b"".join(lines[num_standing:]))
        part.flush()
        os.fsync(part.fileno())
        count(len(chunk))

    def _rate(self) -> str:
        rate = self._tokens_per_second()
        return "" if rate is None else f"{rate:,.0f} tokens/s"

    def _tokens_per_second(self) -> float | None:
        made, seconds = self._asked.num_tokens, time.monotonic() - self._started_at
        return None if made is None else made / max(seconds, 1e-9)

    def _end(self) -> End:
        seconds = time.monotonic() - self._started_at
        num_rows = self._record.num_rows - self._num_kept
        rate = self._tokens_per_second()
        return End(
            at=_now(),
            sha256=sha256_of(self._job.part),
            seconds=round(seconds, 3),
            num_rows=num_rows,
            rows_per_second=round(num_rows / max(seconds, 1e-9), 3),
            tokens_per_second=None if rate is None else round(rate, 1),
        )


def _named(job: Job, record: Record) -> Record:
    """Give the file its name."""
    check_replaces(job, record)
    # First what the whole is: after a kill between the two, the next start gives the name.
    write_record(job.record, record)
    with _write_errors_named(job):
        job.part.replace(job.out)
    return record


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _write_errors_named(job: Job) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{job.out}: can't be written: {error.strerror}") from None
