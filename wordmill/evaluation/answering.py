"""What every system answers, and how long it took.

A pair of `classify` is answered by the likeliest of its labels, those that training pairs with
the same ask have.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from wordmill.generation.engine import Engine, Labels
from wordmill.models.lead import first_sentence
from wordmill.progress import Progress, Show
from wordmill.tokens.prompts import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from transformers import PreTrainedTokenizerFast

    from wordmill.data.records import Pair
    from wordmill.evaluation.exercises import Exercise
    from wordmill.models.folder import Model
    from wordmill.models.retrieval import Retrieval
    from wordmill.params.evaluate import EvaluateParams

_MAX_LABELS = 200
"""Of one ask; more are not labels but texts, and are answered in free words."""


class Answers(NamedTuple):
    """Of one system, in the order of the exercises."""

    texts: list[str]
    num_tokens: int
    """Tokens that were generated; 0 where a system looks its answers up."""
    seconds: float


class Answering:
    """Asks systems the same exercises.

    Args:
        exercises: of one task.
        labels: of `classify`.
        tokenizer: of all models.
        params: the `evaluate` section.
        max_source_tokens: where a source is cut, as in training.
        show: takes progress lines.
        every_seconds: time between two of them.
    """

    def __init__(
        self,
        exercises: Sequence[Exercise],
        *,
        labels: Labels,
        tokenizer: PreTrainedTokenizerFast,
        params: EvaluateParams,
        max_source_tokens: int,
        show: Show,
        every_seconds: float,
    ) -> None:
        self._requests = [Request(one.task, one.source, one.ask) for one in exercises]
        self._labels = labels
        self._tokenizer, self._params = tokenizer, params
        self._max_source_tokens = max_source_tokens
        self._show, self._every_seconds = show, every_seconds

    def lead(self) -> Answers:
        """The first sentence of each source."""
        return self._looked_up(lambda: [first_sentence(r.source) for r in self._requests])

    def retrieved(self, retrieval: Retrieval) -> Answers:
        """The target of the most similar training pair."""
        return self._looked_up(lambda: retrieval.answers(self._requests))

    def of_model(self, name: str, model: Model) -> Answers:
        """What a model writes, or of a `classify` pair the label it finds the likeliest."""
        engine = Engine(
            model,
            self._tokenizer,
            decoding=self._params.decoding,
            max_source_tokens=self._max_source_tokens,
            batch_size=self._params.batch_size,
            labels=self._labels,
        )
        begun = time.perf_counter()
        with self._progress(name) as progress:
            found = [answer for (answer,) in engine.generate(self._requests, progress=progress)]
        seconds = time.perf_counter() - begun
        num_tokens = sum(answer.num_tokens for answer in found)
        return Answers([answer.text for answer in found], num_tokens, seconds)

    def _looked_up(self, answers: Callable[[], list[str]]) -> Answers:
        begun = time.perf_counter()
        return Answers(answers(), 0, time.perf_counter() - begun)

    def _progress(self, system: str) -> Progress:
        return Progress(
            f"{system}: {self._requests[0].task}",
            show=self._show,
            total=len(self._requests),
            unit="answer",
            every_seconds=self._every_seconds,
        )


def labels_of(training_pairs: Iterable[Pair]) -> Labels:
    """The labels that `classify` pairs have, in the order of the alphabet, for each ask."""
    found: dict[str, set[str]] = defaultdict(set)
    for pair in training_pairs:
        if pair.task == "classify" and len(found[pair.ask]) <= _MAX_LABELS:
            found[pair.ask].add(pair.target)
    return {ask: sorted(labels) for ask, labels in found.items() if len(labels) <= _MAX_LABELS}
