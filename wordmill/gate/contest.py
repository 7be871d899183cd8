"""Challenger and champion on the same held-out sets, in one job.

Both are asked the same and decode alike; a source is cut where each of them was trained to, and
documents are read through windows that both contexts hold.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wordmill.errors import DataError, ParamsError
from wordmill.evaluation.answering import Answering, Answers
from wordmill.evaluation.comparison import (
    FINAL,
    Comparison,
    DocumentPart,
    TaskPart,
    measured_answers,
)
from wordmill.gate.evidence import CHAMPION
from wordmill.metrics.likelihood import HeldOut
from wordmill.metrics.novelty import novelty_statistics
from wordmill.metrics.significance import Difference, compare
from wordmill.models.ngram_model import NgramModel
from wordmill.tokens.tokenizer import encode_batch, end_id

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from transformers import PreTrainedTokenizerFast

    from wordmill.data.records import Document
    from wordmill.evaluation.board import Measured
    from wordmill.evaluation.exercises import Exercise
    from wordmill.generation.engine import Labels
    from wordmill.models.folder import Model
    from wordmill.params.evaluate import EvaluateParams
    from wordmill.progress import Show
    from wordmill.tasks import Task

_NUM_WARM_UP = 8
"""Requests of a task that a model answers before it is timed."""


class UnfitError(DataError):
    """A contender can't do what is asked of it.

    Args:
        system: which of them.
        why: in one line.
    """

    def __init__(self, system: str, why: str) -> None:
        super().__init__(why)
        self.system = system


class Contender(NamedTuple):
    """A model with what it needs to answer."""

    model: Model
    tokenizer: PreTrainedTokenizerFast
    max_source_tokens: int


class Outcome(NamedTuple):
    """What the job has found."""

    documents: DocumentPart
    tasks: dict[Task, TaskPart]
    answers: dict[Task, dict[str, Answers]]
    """task -> system -> what it answered."""
    measured: dict[str, dict[str, Measured]]
    """kind -> system -> metric -> statistics."""


class Contest:
    """Scores two contenders, or the challenger alone.

    Args:
        contenders: by system; the challenger is `finetuned`.
        params: the `evaluate` section.
        context_tokens: the longest window over a document.
        seed: of the resampling.
        show: takes progress lines.
        every_seconds: time between two of them.
    """

    def __init__(
        self,
        contenders: dict[str, Contender],
        *,
        params: EvaluateParams,
        context_tokens: int,
        seed: int,
        show: Show,
        every_seconds: float,
    ) -> None:
        self._contenders, self._seed = contenders, seed
        window = min(_context_of(one.model, context_tokens) for one in contenders.values())
        stride = min(params.stride_tokens, max(1, window // 2))
        self._params = params.model_copy(update={"stride_tokens": stride})
        self._window = window
        self._progress: dict[str, Any] = {"show": show, "every_seconds": every_seconds}

    def outcome(
        self,
        documents: Sequence[Document],
        tasks: dict[Task, list[Exercise]],
        *,
        labels: Labels,
        training_texts: Iterable[str],
    ) -> Outcome:
        """Score both on all of it.

        Args:
            documents: held out.
            tasks: what is asked.
            labels: of `classify`.
            training_texts: of the challenger, for what is new in answers.

        Raises:
            UnfitError: one of the two can't be scored.
        """
        measured_documents = self._documents(documents)
        lengths = [len(ids) for ids in self._ids(self._contenders[FINAL], documents)]
        comparison = self._comparison(self._contenders[FINAL])
        answers: dict[Task, dict[str, Answers]] = {
            task: self._answers(exercises, labels) for task, exercises in tasks.items()
        }
        said: dict[tuple[str, str], Sequence[str]] = {
            (task, name): found.texts
            for task, systems in answers.items()
            for name, found in systems.items()
        }
        novelty = novelty_statistics(said, training_texts)
        known = sorted({label for of_ask in labels.values() for label in of_ask})
        parts: dict[Task, TaskPart] = {}
        measured = {"documents": measured_documents}
        for task, exercises in tasks.items():
            texts = {name: found.texts for name, found in answers[task].items()}
            sources = encode_batch(
                self._contenders[FINAL].tokenizer, [one.source for one in exercises]
            )
            parts[task] = comparison.task(
                exercises,
                [len(ids) for ids in sources],
                texts,
                {name: novelty[task, name] for name in texts},
                labels=known,
            )
            measured[task] = measured_answers(exercises, texts, labels=known)
        told = comparison.document_part(documents, lengths, measured_documents)
        return Outcome(told, parts, answers, measured)

    def differences(self, outcome: Outcome, names: Iterable[str]) -> dict[str, Difference]:
        """Challenger minus champion.

        Args:
            outcome: with both.
            names: `KIND/METRIC` of each score that is wanted; those that are not there are left
                out.
        """
        found: dict[str, Difference] = {}
        for name in names:
            kind, _, metric = name.partition("/")
            ours, theirs = (outcome.measured.get(kind, {}).get(s) for s in (FINAL, CHAMPION))
            if ours and theirs and metric in ours and metric in theirs:
                pair = {metric: ours[metric]}, {metric: theirs[metric]}
                samples = self._params.bootstrap_samples
                found[name] = compare(*pair, samples=samples, seed=self._seed)[metric]
        return found

    def _documents(self, documents: Sequence[Document]) -> dict[str, Measured]:
        num_bytes = np.array([len(document.text.encode()) for document in documents], dtype=float)
        found: dict[str, Measured] = {}
        for name, one in self._contenders.items():
            with blaming(name):
                held_out = HeldOut(self._ids(one, documents), num_bytes, end_id(one.tokenizer))
                found |= self._comparison(one).measured(documents, held_out, {name: one.model})
        return found

    def _answers(self, exercises: Sequence[Exercise], labels: Labels) -> dict[str, Answers]:
        found: dict[str, Answers] = {}
        for name, one in self._contenders.items():
            of_one: dict[str, Any] = {
                "labels": labels,
                "tokenizer": one.tokenizer,
                "params": self._params,
                "max_source_tokens": one.max_source_tokens,
            }
            # The first answers of a process are slow, whoever gives them.
            warm_up = Answering(
                exercises[:_NUM_WARM_UP], **of_one, show=_say_nothing, every_seconds=60.0
            )
            asked = Answering(exercises, **of_one, **self._progress)
            with blaming(name):
                warm_up.of_model(name, one.model)
                found[name] = asked.of_model(name, one.model)
        return found

    def _ids(self, one: Contender, documents: Sequence[Document]) -> list[list[int]]:
        return encode_batch(one.tokenizer, [document.text for document in documents])

    def _comparison(self, one: Contender) -> Comparison:
        return Comparison(
            tokenizer=one.tokenizer,
            params=self._params,
            context_tokens=self._window,
            seed=self._seed,
            **self._progress,
        )


@contextmanager
def blaming(system: str) -> Generator[None]:
    """Say whose mistake it is.

    Raises:
        UnfitError: what the block does fails.
    """
    try:
        yield
    except (DataError, ParamsError) as error:  # the latter: it can't say as much as is asked
        raise UnfitError(system, str(error)) from None


def _context_of(model: Model, context_tokens: int) -> int:
    """The longest window that a model takes."""
    if isinstance(model, NgramModel):
        return context_tokens
    stated = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return min(context_tokens, stated or context_tokens)


def _say_nothing(line: str) -> None:
    pass
