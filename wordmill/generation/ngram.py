"""Decoding with an n-gram model: greedy or beam search, as transformers' `generate` does them.

One prompt after another: a step is a few binary searches and V sums, and gains little from
company. At V = 4,096 and order 5, on one core of a busy machine: 2,000 tokens a second, with 4
beams 700.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from wordmill.models.ngram import Floats
    from wordmill.models.ngram_counts import Ints
    from wordmill.models.ngram_model import NgramModel
    from wordmill.params.decoding import DecodingParams


class _Beams(NamedTuple):
    """Texts that go on."""

    texts: list[list[int]]
    """Prompt and answer so far."""
    scores: Floats
    """Log-probability of each answer so far, shape (beams,), the best first."""
    contexts: Ints
    """Shape (beams, order - 1)."""


def ngram_answers(
    model: NgramModel, prompts: list[list[int]], decoding: DecodingParams
) -> list[list[int]]:
    """The token ids of an answer to each prompt, without the end token.

    Args:
        model: of the prompts' tokenizer.
        prompts: token ids, each opened by the end token.
        decoding: how the model's distribution becomes text.
    """
    decode = _greedy if decoding.num_beams == 1 else _best_of_beams
    return [decode(model, prompt, decoding) for prompt in prompts]


def _greedy(model: NgramModel, prompt: list[int], decoding: DecodingParams) -> list[int]:
    beam = _begun(model, prompt)
    for _ in range(decoding.max_new_tokens):
        token = int(_continued(model, beam, decoding).argmax())
        if token == model.vocabulary.end_id:
            break
        beam = _moved(model, beam, np.zeros(1, dtype=np.int64), np.array([token]), beam.scores)
    return beam.texts[0][len(prompt) :]


def _best_of_beams(model: NgramModel, prompt: list[int], decoding: DecodingParams) -> list[int]:
    """The answer of the highest mean log-probability a token, its end token counted.

    Of twice as many candidates as beams those that do not end go on; one that ends is kept where
    it is among the first half. The search ends when the best beam is worse than every kept answer.
    """
    num_beams, end_id = decoding.num_beams, model.vocabulary.end_id
    beams = _begun(model, prompt)
    kept: list[tuple[float, list[int]]] = []
    for length in range(1, decoding.max_new_tokens + 1):
        scores = _continued(model, beams, decoding)  # (beams, V)
        best = _highest(scores.ravel(), 2 * num_beams)
        parents, tokens = np.divmod(best, scores.shape[1])
        is_ended = (tokens == end_id) | (length == decoding.max_new_tokens)
        for place in np.flatnonzero(is_ended[:num_beams]):
            token = int(tokens[place])
            answer = beams.texts[parents[place]][len(prompt) :]
            answer = answer if token == end_id else [*answer, token]
            kept.append((float(scores.flat[best[place]]) / length, answer))
        kept = sorted(kept, key=lambda found: -found[0])[:num_beams]
        chosen = np.flatnonzero(~is_ended)[:num_beams]
        if len(chosen) == 0:
            break
        going_on = scores.flat[best[chosen]]
        if len(kept) == num_beams and going_on[0] / length <= kept[-1][0]:
            break
        beams = _moved(model, beams, parents[chosen], tokens[chosen], going_on)
    return kept[0][1]


def _begun(model: NgramModel, prompt: list[int]) -> _Beams:
    return _Beams([prompt], np.zeros(1), model.estimate.contexts([prompt]))


def _moved(model: NgramModel, beams: _Beams, parents: Ints, tokens: Ints, scores: Floats) -> _Beams:
    chosen = zip(parents, tokens, strict=True)
    texts = [[*beams.texts[parent], int(token)] for parent, token in chosen]
    return _Beams(texts, scores, model.estimate.moved(beams.contexts[parents], tokens))


def _continued(model: NgramModel, beams: _Beams, decoding: DecodingParams) -> Floats:
    """Log-probability of each answer with each token after it, shape (beams, V)."""
    scores = model.estimate.next_log_probabilities(beams.contexts)
    for row, text in enumerate(beams.texts):
        scores[row, _repeating(text, decoding.no_repeat_ngram_size)] = -np.inf
    return scores + beams.scores[:, None]


def _repeating(ids: list[int], size: int) -> list[int]:
    """Tokens that would end an n-gram of `size` that the text has already; 0 is off."""
    if size == 0 or len(ids) < size:
        return []
    begin = len(ids) - size + 1
    last = ids[begin:]
    return [ids[i + size - 1] for i in range(begin) if ids[i : i + size - 1] == last]


def _highest(values: Floats, count: int) -> Ints:
    """Places of the highest values, the best first, of equal ones the first."""
    count = min(count, len(values))
    threshold = -np.partition(-values, count - 1)[count - 1]
    places = np.flatnonzero(values >= threshold)
    return places[np.argsort(-values[places], kind="stable")][:count]
