"""Prompts and targets as token ids: training and generation build them here and nowhere else.

A prompt is the end token, the source, and the cue with what is asked in it. Source and what is
asked share `max_source_tokens`; the words of the cue are never cut. With a backward tokenizer each
piece is reversed in its place: of what is given the same part of the text is kept either way, of
a target the part that a model writes first.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wordmill.errors import ParamsError
from wordmill.tasks import KEEPS_END, TASKS, Task, answer_text, cue
from wordmill.tokens.encoding import Encoder
from wordmill.tokens.rows import Ints, Rows, joined

_CUES: list[tuple[Task, bool]] = [
    (task, is_asking) for task in TASKS for is_asking in (False, True)
]


class Request(NamedTuple):
    """What is asked of a model."""

    task: Task
    source: str
    ask: str = ""
    """The question, the target language, who speaks next or the labels (wordmill/tasks.py)."""


class PackedPairs(NamedTuple):
    """Prompts with their targets, ready for a token file."""

    ids: Rows
    """A row for each pair: the prompt, then the target with its end token."""
    prompt_lengths: Ints
    text_lengths: Ints
    """Tokens of source, ask and target of each pair before anything was cut."""
    target_text_lengths: Ints
    """Tokens of each target before it was cut, the end token not counted."""
    num_prompts_cut: int
    num_targets_cut: int


class _Prompts(NamedTuple):
    rows: Rows
    text_lengths: Ints
    num_cut: int


def request(task: str, source: str, ask: str = "") -> Request:
    """A request whose task comes from outside.

    Raises:
        ParamsError: there is no such task.
    """
    for known in TASKS:
        if task == known:
            return Request(known, source, ask)
    raise ParamsError(f"task: got '{task}'; allowed: {', '.join(TASKS)}")


class Prompts:
    """Encodes requests and targets.

    Args:
        encoder: of the model's own tokenizer.
        max_source_tokens: where a source, together with what is asked, is cut.
    """

    def __init__(self, encoder: Encoder, *, max_source_tokens: int) -> None:
        self._encoder = encoder
        self._max_source_tokens = max_source_tokens
        cues = [cue(task, is_asking=is_asking) for task, is_asking in _CUES]
        # A space before what is asked goes with it, as tokenizers like it.
        self._spaces = [" " if found.before.endswith(" ") else "" for found in cues]
        self._before = encoder.encode([found.before.rstrip(" ") for found in cues])
        self._after = encoder.encode([found.after for found in cues])
        self._numbers = {key: number for number, key in enumerate(_CUES)}

    def encode(self, requests: Sequence[Request]) -> list[list[int]]:
        """The token ids that a model is given for each request."""
        return self._prompts(requests).rows.as_lists() if requests else []

    def with_targets(
        self, requests: Sequence[Request], targets: Sequence[str], *, max_target_tokens: int
    ) -> PackedPairs:
        """What a model is finetuned on: each prompt and the answer wanted, ended."""
        prompts = self._prompts(requests)
        answers = self._encoder.encode([answer_text(target) for target in targets])
        cut = answers.cut(max_target_tokens, is_end_kept=False)
        return PackedPairs(
            ids=joined([prompts.rows, cut, self._ends(len(requests))]),
            prompt_lengths=prompts.rows.lengths,
            text_lengths=prompts.text_lengths + answers.lengths,
            target_text_lengths=answers.lengths,
            num_prompts_cut=prompts.num_cut,
            num_targets_cut=int((cut.lengths < answers.lengths).sum()),
        )

    def _prompts(self, requests: Sequence[Request]) -> _Prompts:
        tasks, sources, asks = zip(*requests, strict=True)
        cues = np.array([self._numbers[t, bool(a)] for t, a in zip(tasks, asks, strict=True)])
        spaced = [
            f"{self._spaces[c]}{ask}" if ask else "" for c, ask in zip(cues, asks, strict=True)
        ]
        whole_source, whole_ask = self._encoder.encode(sources), self._encoder.encode(spaced)
        is_backward = self._encoder.is_backward
        ask = whole_ask.cut(self._max_source_tokens // 2, is_end_kept=is_backward)
        is_end_kept = np.array([(task in KEEPS_END) != is_backward for task in tasks])
        source = whole_source.cut(self._max_source_tokens - ask.lengths, is_end_kept=is_end_kept)
        before, after = (_chosen(found, cues) for found in (self._before, self._after))
        text_lengths = whole_source.lengths + whole_ask.lengths
        is_cut = source.lengths + ask.lengths < text_lengths
        rows = joined([self._ends(len(requests)), source, before, ask, after])
        return _Prompts(rows, text_lengths, int(is_cut.sum()))

    def _ends(self, count: int) -> Rows:
        end = np.array([self._encoder.end_id], dtype=self._before.ids.dtype)
        return Rows(end, np.zeros(count, dtype=np.int64), np.ones(count, dtype=np.int64))


def _chosen(rows: Rows, numbers: Ints) -> Rows:
    return Rows(rows.ids, rows.starts[numbers], rows.lengths[numbers])
