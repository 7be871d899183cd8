"""A process that holds one model and answers for as long as it is asked.

`python -P flows/answering.py` imports nothing of the project by itself: the first line of its
standard input says where the code of the model lies, which for a registered version is what was
stored with it. Requests and answers are lines of JSON; flows/answerer.py is the other side. The
heavy libraries load while that side still looks the model up.
"""

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

Rows = list[dict[str, str]]

_HEAVY = ("torch", "transformers.modeling_utils", "transformers.generation.utils")
_WATCH_SECONDS = 0.5
_PROGRESS_SECONDS = 0.5


class _TooOldError(Exception):
    """The model's own code, of another day than this, can't do what is asked."""


class _Counted:
    """Passes on to the progress of the model's own code, and knows how far it is."""

    def __init__(self) -> None:
        self.num_done = 0
        self.progress: Any = None

    def advance(self, units: int = 1, note: str = "") -> None:
        """Count `units` more as done."""
        self.num_done += units
        self.progress.advance(units, note)


class Answering:
    """The model, once it is loaded with its own code.

    Args:
        code: the folder that holds the package `wordmill`.
        folder: the model's.
        settings: of its engine.
    """

    def __init__(self, *, code: str, folder: str, settings: dict[str, Any]) -> None:
        sys.path.insert(0, code)
        from wordmill.generation.loading import load_engine
        from wordmill.progress import Progress
        from wordmill.tokens.prompts import request

        self._engine: Any = load_engine(Path(folder), **settings)
        self._progress, self._request = Progress, request

    def replies(self, *, rows: Rows, num_sequences: int, is_streamed: bool) -> Iterator[Any]:
        """What is said on the way, and last the answers: a list for each row."""
        requests = [self._request(r["task"], r["source"], r.get("ask", "")) for r in rows]
        if is_streamed and hasattr(self._engine, "stream"):
            pieces: list[str] = []
            for piece in self._engine.stream(requests[0]):
                pieces.append(piece)
                yield {"piece": piece}
            yield {"answers": [["".join(pieces)]], "num_tokens": None}
        else:
            texts, num_tokens = self._answers(requests, num_sequences)
            yield {"answers": texts, "num_tokens": num_tokens}

    def _answers(
        self, requests: list[Any], num_sequences: int
    ) -> tuple[list[list[str]], int | None]:
        """Texts, and how many tokens they took where the model's own code says."""
        counted = _Counted()
        with self._progress(
            "answers",
            show=lambda line: _say({"progress": line, "num_done": counted.num_done}),
            total=len(requests),
            unit="answer",
            every_seconds=_PROGRESS_SECONDS,
        ) as counted.progress:
            if hasattr(self._engine, "generate"):
                found = self._engine.generate(
                    requests, progress=counted, num_sequences=num_sequences
                )
                num_tokens = sum(answer.num_tokens for answers in found for answer in answers)
                return [[answer.text for answer in answers] for answers in found], num_tokens
            if num_sequences > 1:  # a version brings its code
                raise _TooOldError("the model's own code is older than --sequences")
            return [[text] for text in self._engine.answer(requests, progress=counted)], None


def main() -> None:
    """Load the model that the first line names, then answer line after line."""
    for name in _HEAVY:
        importlib.import_module(name)
    model = json.loads(sys.stdin.readline())
    sys.path.insert(0, model["code"])
    from pydantic import ValidationError

    from wordmill.errors import WordmillError

    try:
        answering = Answering(**model)
        _say({"is_ready": True})
        for line in sys.stdin:
            for reply in answering.replies(**json.loads(line)):
                _say(reply)
    except WordmillError as error:
        _say({"error": str(error), "exit_status": error.exit_status})
    except ValidationError as error:  # decoding that the model's own code does not know
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        _say({"error": f"the model's own code does not take {key}: {first['msg']}"})
    except _TooOldError as error:
        _say({"error": str(error)})


def _say(reply: dict[str, Any]) -> None:
    _replies.write(json.dumps(reply) + "\n")
    _replies.flush()


def _own_output() -> TextIO:
    """Standard output for replies alone: whatever libraries print goes to standard error."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def _end_with(starter: int) -> None:
    while os.getppid() == starter:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with, args=(int(sys.argv[1]),), daemon=True).start()
    _replies = _own_output()
    main()
