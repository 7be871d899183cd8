"""The near side of a process that answers (flows/answering.py): one model, loaded once."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from wordmill.errors import (
    DataError,
    OutputError,
    ParamsError,
    TryAgainError,
    WordmillError,
)

Row = dict[str, str]

_PROGRAM = Path(__file__).with_name("answering.py")
_END_SECONDS = 10.0
_ERRORS = {kind.exit_status: kind for kind in (ParamsError, DataError, OutputError, TryAgainError)}


class Located(NamedTuple):
    """A model that is ready to be loaded."""

    name: str
    """As a person calls it."""
    folder: Path
    code: Path
    """The folder that holds the `wordmill` to load it with."""
    settings: dict[str, Any]
    """Of its engine: decoding, max_source_tokens, batch_size."""
    tasks: tuple[str, ...] = ()
    """What it was scored on; empty where that is not known."""
    stored: Path | None = None
    """All that was registered of a version; None for a folder."""


class Answerer:
    """Asks the process. Every answer is one of a row of `task`, `source` and perhaps `ask`.

    A row that can't be answered raises what the model's own code raised, in one line.
    """

    def __init__(self, process: "subprocess.Popen[str]", errors: IO[bytes]) -> None:
        self._process, self._errors = process, errors
        self._name = ""
        self.num_tokens: int | None = None
        """Of all answers so far, None where the model's own code does not say."""

    def load(self, model: Located) -> None:
        """Load a model, with its own code.

        Raises:
            WordmillError: it can't be loaded, or does not take these settings.
        """
        self._name = model.name
        told = {"code": str(model.code), "folder": str(model.folder), "settings": model.settings}
        self._tell(told)
        self._reply()

    def answers(
        self,
        rows: list[Row],
        *,
        num_sequences: int = 1,
        show: Callable[[str], None],
        count: Callable[[int], None] | None = None,
    ) -> list[list[str]]:
        """`num_sequences` answers to each row, in the order of the rows.

        Args:
            rows: what is asked.
            num_sequences: answers to each.
            show: takes lines of progress.
            count: takes how many are done, some times a second.

        Raises:
            TryAgainError: the process was killed.
            WordmillError: a row can't be answered.
        """
        self._ask(rows, num_sequences=num_sequences, is_streamed=False)
        while True:
            reply = self._reply()
            if "answers" in reply:
                if (made := reply["num_tokens"]) is not None:
                    self.num_tokens = (self.num_tokens or 0) + made
                return reply["answers"]
            show(reply["progress"])
            if count:
                count(reply["num_done"])

    def stream(self, row: Row) -> Iterator[str]:
        """One answer, piece by piece as it is written."""
        self._ask([row], num_sequences=1, is_streamed=True)
        has_begun = False
        while True:
            reply = self._reply()
            if "piece" in reply:
                has_begun = True
                yield reply["piece"]
            elif "answers" in reply:
                if not has_begun:  # the model's code can't stream, or there is nothing to say
                    yield reply["answers"][0][0]
                return

    def _ask(self, rows: list[Row], *, num_sequences: int, is_streamed: bool) -> None:
        self._tell({"rows": rows, "num_sequences": num_sequences, "is_streamed": is_streamed})

    def _tell(self, line: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(line) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._why_gone() from None

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith("\n"):
            raise self._why_gone()
        reply = json.loads(line)
        if "error" in reply:
            kind = _ERRORS.get(reply.get("exit_status", ParamsError.exit_status), DataError)
            raise kind(reply["error"])
        return reply

    def _why_gone(self) -> WordmillError:
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        name = self._name or "the model"
        if status < 0:
            return TryAgainError(
                f"{name} does not answer: its process was killed by signal {-status}; is there"
                " enough memory?"
            )
        reason = lines[-1] if lines else f"its process ended with status {status}"
        return DataError(f"{name} does not answer: {reason}")


@contextmanager
def answerer() -> Generator[Answerer]:
    """Start the process; it has ended when the block ends.

    Ctrl-C is for this side alone. A starter that is killed takes the process with it.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", str(_PROGRAM), str(os.getpid())],
            cwd="/",
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
            start_new_session=True,
        )
        try:
            yield Answerer(process, errors)
        finally:
            _end(process)


def _end(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:  # what was never read goes with the process
                continue
