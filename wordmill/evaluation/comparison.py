"""Every system on the same held-out records, as parts of one record.

Documents are scored by likelihood, tasks by what each system answers. All systems score the same
events and answer the same requests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wordmill.evaluation.board import Board, Measured
from wordmill.evaluation.examples import chosen
from wordmill.evaluation.slices import parts
from wordmill.metrics.likelihood import HeldOut, model_nll, ngram_nll
from wordmill.metrics.pairs import PRIMARY, example_metric, example_values, pair_statistics
from wordmill.metrics.perplexity import count_words, document_statistics
from wordmill.models.ngram_model import NgramModel
from wordmill.progress import Progress, Show
from wordmill.tokens.tokenizer import fingerprint

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from wordmill.data.records import Document
    from wordmill.evaluation.exercises import Exercise
    from wordmill.metrics.score import Floats, Statistics
    from wordmill.models.folder import Model
    from wordmill.params.evaluate import EvaluateParams
    from wordmill.report.record import Difference, Example, Scored, Slice

TRAINED = "pretrained"
"""The system that documents are told about, where it is another than the final one."""
FINAL = "finetuned"
"""The system that tasks are told about, and that is registered."""


class DocumentPart(NamedTuple):
    """What is known of the systems on documents."""

    scores: Scored
    slices: list[Slice]
    differences: list[Difference]


class TaskPart(NamedTuple):
    """What is known of the systems on one task."""

    scores: Scored
    slices: list[Slice]
    differences: list[Difference]
    examples: list[Example]


class Comparison:
    """Scores systems on one held-out set.

    Args:
        tokenizer: of all models.
        params: the `evaluate` section.
        context_tokens: the longest sequence that the models take.
        seed: of the resampling.
        show: takes progress lines.
        every_seconds: time between two of them.
    """

    def __init__(
        self,
        *,
        tokenizer: PreTrainedTokenizerFast,
        params: EvaluateParams,
        context_tokens: int,
        seed: int,
        show: Show,
        every_seconds: float,
    ) -> None:
        self._tokenizer, self._params = tokenizer, params
        self._context_tokens = context_tokens
        self._resampling: dict[str, Any] = {"samples": params.bootstrap_samples, "seed": seed}
        self._show, self._every_seconds = show, every_seconds

    def documents(
        self, documents: Sequence[Document], held_out: HeldOut, systems: dict[str, Model]
    ) -> DocumentPart:
        """Perplexity and bits per byte of each system.

        Args:
            documents: held out from training.
            held_out: their token ids.
            systems: models of this tokenizer, by name.
        """
        return self.document_part(
            documents,
            [len(ids) for ids in held_out.ids],
            self.measured(documents, held_out, systems),
        )

    def measured(
        self, documents: Sequence[Document], held_out: HeldOut, systems: dict[str, Model]
    ) -> dict[str, Measured]:
        """What the scores of each system are made of, as `documents` takes them."""
        known_by = fingerprint(self._tokenizer)
        sizes = {
            "num_tokens": np.array([len(ids) + 1.0 for ids in held_out.ids]),
            "num_words": count_words([document.text for document in documents]),
            "num_bytes": held_out.num_bytes,
        }
        return {
            name: document_statistics(
                self._nll(name, model, held_out),
                **sizes,
                tokenizer=known_by,
                signature="ends:counted",
            )
            for name, model in systems.items()
        }

    def document_part(
        self,
        documents: Sequence[Document],
        lengths: Sequence[int],
        measured: dict[str, Measured],
    ) -> DocumentPart:
        """What is told of the systems on documents.

        Args:
            documents: held out from training.
            lengths: tokens of each.
            measured: of each system.
        """
        board = Board(
            "documents", primary=PRIMARY["documents"], systems=measured, **self._resampling
        )
        told = TRAINED if TRAINED in measured else FINAL
        return DocumentPart(
            board.scores(),
            board.slices(parts(documents, lengths)),
            board.differences(told),
        )

    def task(
        self,
        exercises: Sequence[Exercise],
        source_lengths: Sequence[int],
        answers: dict[str, list[str]],
        novelty: dict[str, Statistics],
        *,
        labels: Iterable[str] = (),
    ) -> TaskPart:
        """The metrics of one task, for each system that answers.

        Args:
            exercises: of the task.
            source_lengths: tokens of each source.
            answers: of each system, in the order of the exercises.
            novelty: statistics of each system.
            labels: of `classify`, all that could be chosen; one that is chosen and nowhere wanted
                counts in the macro scores like any other.
        """
        task = exercises[0].task
        systems = measured_answers(exercises, answers, labels=labels)
        values = example_values(task, systems[FINAL])
        if task != "classify":  # a label is never new
            for name, measured in systems.items():
                measured["novelty"] = novelty[name]
        board = Board(task, primary=PRIMARY[task], systems=systems, **self._resampling)
        return TaskPart(
            board.scores(),
            board.slices(parts(exercises, source_lengths)),
            board.differences(FINAL),
            _examples(exercises, answers, values),
        )

    def _nll(self, name: str, model: Model, held_out: HeldOut) -> Floats:
        if isinstance(model, NgramModel):
            return ngram_nll(model.estimate, held_out)
        with self._progress(f"{name}: documents") as progress:
            return model_nll(
                model,
                held_out,
                context_tokens=self._context_tokens,
                stride_tokens=self._params.stride_tokens,
                batch_size=self._params.batch_size,
                progress=progress,
            )

    def _progress(self, what: str) -> Progress:
        return Progress(what, show=self._show, unit="window", every_seconds=self._every_seconds)


def measured_answers(
    exercises: Sequence[Exercise], answers: dict[str, list[str]], *, labels: Iterable[str] = ()
) -> dict[str, Measured]:
    """What the scores of each system's answers to one task are made of.

    Args:
        exercises: of the task.
        answers: of each system, in the order of the exercises.
        labels: of `classify`, all that could be chosen.
    """
    wanted = [one.target for one in exercises]
    languages = [one.language for one in exercises]
    known = [*wanted, *labels]
    return {
        name: pair_statistics(exercises[0].task, texts, wanted, labels=known, languages=languages)
        for name, texts in answers.items()
    }


def set_hash(ids: Iterable[str]) -> str:
    """What a held-out set is known by: the ids of its records, in any order."""
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]


def _examples(
    exercises: Sequence[Exercise], answers: dict[str, list[str]], values: Floats
) -> list[Example]:
    return [
        {
            "id": exercises[row].id,
            "task": exercises[row].task,
            "source": exercises[row].source,
            "ask": exercises[row].ask,
            "target": exercises[row].target,
            "language": exercises[row].language,
            "why": why,
            "metric": example_metric(exercises[row].task),
            "value": float(values[row]),
            "predictions": {name: texts[row] for name, texts in answers.items()},
        }
        for row, why in chosen(values)
    ]
