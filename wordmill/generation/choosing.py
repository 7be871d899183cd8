"""From logits to a token: what is adjusted, what is cut off, and what is taken or drawn.

A draw takes one number from [0, 1), which follows from the seed, the row's prompt, the number of
its sequence and the step: whoever else is in the batch changes no answer. Adjusting and cutting
are transformers' own processors, in the order in which `generate` applies them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wordmill.params.decoding import DecodingParams


class Choice:
    """Chooses the next token of each row.

    Args:
        decoding: how.
        end_id: the token that ends an answer.
    """

    def __init__(self, decoding: DecodingParams, *, end_id: int) -> None:
        self.adjusting = adjusting(decoding, end_id=end_id)
        self._cutting = cutting(decoding)
        self._is_sampled = decoding.is_sampled

    def __call__(self, logits: Tensor, said: Tensor | None, draws: Tensor | None) -> Tensor:
        """The next token of each row, (B,).

        Args:
            logits: (B, V).
            said: the texts so far, (B, T); not read where nothing is adjusted.
            draws: a number from [0, 1) for each row, (B,); not read where nothing is drawn.
        """
        scores = logits if logits.dtype == torch.float64 else logits.float()
        for process in self.adjusting:
            assert said is not None
            scores = process(said, scores)
        if not self._is_sampled:
            return best(scores)
        for process in self._cutting:
            scores = process(said, scores)  # pyright: ignore[reportArgumentType] not read
        assert draws is not None
        return drawn(scores, draws)


def adjusting(decoding: DecodingParams, *, end_id: int) -> LogitsProcessorList:
    """What looks at the text so far."""
    found = LogitsProcessorList()
    if decoding.repetition_penalty != 1:
        found.append(RepetitionPenalty(decoding.repetition_penalty, end_id=end_id))
    if decoding.no_repeat_ngram_size > 0:
        found.append(NoRepeatNGramLogitsProcessor(decoding.no_repeat_ngram_size))
    return found


def cutting(decoding: DecodingParams) -> LogitsProcessorList:
    """What leaves only some tokens to draw from."""
    found = LogitsProcessorList()
    if decoding.is_sampled and decoding.temperature != 1:
        found.append(TemperatureLogitsWarper(decoding.temperature))
    if decoding.top_k > 0:
        found.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p < 1:
        found.append(TopPLogitsWarper(decoding.top_p))
    if decoding.min_p > 0:
        found.append(MinPLogitsWarper(decoding.min_p))
    return found


class RepetitionPenalty(RepetitionPenaltyLogitsProcessor):
    """transformers' own, but for the end token, which opens every text and repeats nothing."""

    def __init__(self, penalty: float, *, end_id: int) -> None:
        super().__init__(penalty)
        self._end_id = end_id

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Scores, (B, V), those of tokens in `input_ids`, (B, T), made smaller."""
        found: Tensor = super().__call__(input_ids, scores)  # pyright: ignore[reportArgumentType]
        found[:, self._end_id] = scores[:, self._end_id]
        return found


class Drawing(LogitsProcessor):
    """For `generate`, which then takes the best: leaves of each row only the token drawn.

    Args:
        draws: a number for each row and step, (B, steps).
        num_given: tokens of each row before the answer.
    """

    def __init__(self, draws: Tensor, *, num_given: int) -> None:
        self._draws, self._num_given = draws, num_given

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Zero for the token drawn, and minus infinity for the others."""
        tokens = drawn(scores, self._draws[:, input_ids.shape[1] - self._num_given])
        return torch.full_like(scores, -torch.inf).scatter(1, tokens[:, None], 0.0)


def best(scores: Tensor) -> Tensor:
    """The best token of each row, (B,)."""
    if scores.device.type == "cpu":  # NumPy is eight times as fast here
        return torch.from_numpy(np.argmax(scores.numpy(), axis=-1))
    return scores.argmax(dim=-1)


def drawn(scores: Tensor, draws: Tensor) -> Tensor:
    """The token of each row, (B,), where its draw falls in the cumulated distribution."""
    cumulated = scores.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)  # (B, V)
    wanted = draws[:, None] * cumulated[:, -1:]
    tokens = torch.searchsorted(cumulated, wanted, right=True)[:, 0]
    return tokens.clamp(max=scores.shape[1] - 1)


def draws_of(
    prompts: Sequence[Sequence[int]], numbers: Sequence[int], *, seed: int, num_steps: int
) -> Tensor:
    """A number from [0, 1) for each row and step, (B, steps), in double precision.

    Args:
        prompts: token ids of each row.
        numbers: which sequence of its prompt each row is.
        seed: of `evaluate.decoding`.
        num_steps: the most tokens of an answer.
    """
    rows = [
        np.random.default_rng([seed, number, len(ids), *ids]).random(num_steps)
        for ids, number in zip(prompts, numbers, strict=True)
    ]
    return torch.from_numpy(np.stack(rows))
