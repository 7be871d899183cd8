"""Decoding with an n-gram model: its steps for the decode loop, and its own search over beams.

A step is a few binary searches and V sums a row, and gains little from company. At V = 4,096 and
order 5, on one core of a busy machine: 2,000 tokens a second, with 4 beams 700.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from wordmill.generation.answers import Said
from wordmill.generation.choosing import adjusting

if TYPE_CHECKING:
    from torch import Tensor

    from wordmill.models.ngram import Floats
    from wordmill.models.ngram_counts import Ints
    from wordmill.models.ngram_model import NgramModel
    from wordmill.params.decoding import DecodingParams


class NgramStepper:
    """Goes on with a batch of texts, a token a step; logits are log-probabilities, in float64."""

    device = torch.device("cpu")

    def __init__(self, model: NgramModel) -> None:
        self._estimate = model.estimate

    def begin(self, prompts: list[list[int]], *, max_new_tokens: int) -> Tensor:
        """Read the prompts; logits of what follows each, (B, V)."""
        self._contexts = self._estimate.contexts(prompts)
        return self._logits()

    def step(self, tokens: Tensor) -> Tensor:
        """Take a token of each row, (B,); logits of what follows, (B, V)."""
        self._contexts = self._estimate.moved(self._contexts, tokens.numpy())
        return self._logits()

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows, (B',), in this order."""
        self._contexts = self._contexts[rows.numpy()]

    def _logits(self) -> Tensor:
        return torch.from_numpy(self._estimate.next_log_probabilities(self._contexts))


class _Beams(NamedTuple):
    """Texts that go on."""

    texts: list[list[int]]
    """Prompt and answer so far."""
    scores: Floats
    """Log-probability of each answer so far, shape (beams,), the best first."""
    contexts: Ints
    """Shape (beams, order - 1)."""


def ngram_beams(model: NgramModel, prompt: list[int], decoding: DecodingParams) -> list[Said]:
    """The answers of the highest scores, the best first, as transformers' `generate` finds them.

    An answer's score is its log-probability over its length to the power of the length penalty, its
    end token counted. Of twice as many candidates as beams those that do not end go on; one that
    ends is kept where it is among the first half. The search ends when the best beam is worse than
    every kept answer.

    Args:
        model: of the prompt's tokenizer.
        prompt: token ids, opened by the end token.
        decoding: how the model's distribution becomes text.
    """
    num_beams, end_id = decoding.num_beams, model.vocabulary.end_id
    estimate = model.estimate
    beams = _Beams([prompt], np.zeros(1), estimate.contexts([prompt]))
    kept: list[tuple[float, Said]] = []
    for length in range(1, decoding.max_new_tokens + 1):
        scores = _continued(model, beams, decoding)  # (beams, V)
        best = _highest(scores.ravel(), 2 * num_beams)
        parents, tokens = np.divmod(best, scores.shape[1])
        is_ended = (tokens == end_id) | (length == decoding.max_new_tokens)
        over = length**decoding.length_penalty
        for place in np.flatnonzero(is_ended[:num_beams]):
            token = int(tokens[place])
            answer = beams.texts[parents[place]][len(prompt) :]
            said = Said(answer, True) if token == end_id else Said([*answer, token], False)
            kept.append((float(scores.flat[best[place]]) / over, said))
        kept = sorted(kept, key=lambda found: -found[0])[:num_beams]
        chosen = np.flatnonzero(~is_ended)[:num_beams]
        if len(chosen) == 0:
            break
        going_on = scores.flat[best[chosen]]
        if len(kept) == num_beams and going_on[0] / over <= kept[-1][0]:
            break
        beams = _moved(model, beams, parents[chosen], tokens[chosen], going_on)
    return [said for _, said in kept]


def _moved(model: NgramModel, beams: _Beams, parents: Ints, tokens: Ints, scores: Floats) -> _Beams:
    chosen = zip(parents, tokens, strict=True)
    texts = [[*beams.texts[parent], int(token)] for parent, token in chosen]
    return _Beams(texts, scores, model.estimate.moved(beams.contexts[parents], tokens))


def _continued(model: NgramModel, beams: _Beams, decoding: DecodingParams) -> Floats:
    """Log-probability of each answer with each token after it, shape (beams, V)."""
    found = torch.from_numpy(model.estimate.next_log_probabilities(beams.contexts))
    adjust = adjusting(decoding, end_id=model.vocabulary.end_id)
    if adjust:
        texts = torch.tensor(beams.texts)  # (beams, T)
        for process in adjust:
            found = process(texts, found)
    scores: Floats = found.numpy()
    return scores + beams.scores[:, None]


def _highest(values: Floats, count: int) -> Ints:
    """Places of the highest values, the best first, of equal ones the first."""
    count = min(count, len(values))
    threshold = -np.partition(-values, count - 1)[count - 1]
    places = np.flatnonzero(values >= threshold)
    return places[np.argsort(-values[places], kind="stable")][:count]
