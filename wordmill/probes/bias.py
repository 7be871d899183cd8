"""Whether a swap of one term moves what a model thinks of a sentence, or how it goes on.

Likelihood is compared as in CrowS-Pairs (https://arxiv.org/abs/2010.00133, section 3): of what the
sentences share, given the term, so that how frequent a term is has no part in it. Exactly: of the
tokens that all sentences of a context (one subject's frame with one predicate) have in common at
their ends and that begin after the term. A token that holds a part of the term is not counted, nor
is one that the tokenizer cut otherwise for another term. Tokens before the term are the same for
both and would add nothing in a model that reads from left to right.

Intervals are percentile bootstraps over contexts, as the pairs of one are alike. On one core a
decoder of 0.7 M parameters takes about 5 s for both languages, 960 sentences in 640 pairs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wordmill.metrics.score import interval, ratio_statistics, resampled
from wordmill.models.vocabulary import vocabulary_of
from wordmill.probes.bias_sentences import SENTENCES, Group, Sentences
from wordmill.probes.continuing import continued
from wordmill.probes.log_probabilities import Text, log_probabilities
from wordmill.probes.pieces import encoded
from wordmill.tokens.tokenizer import texts_of_ids

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import PreTrainedTokenizerFast

    from wordmill.metrics.score import Floats
    from wordmill.models.folder import Model
    from wordmill.report.record import Bias

_CONTINUATION_TOKENS = 12
_SWAPPED = "\x00"  # stands for whichever term stood there


class _Context(NamedTuple):
    """Sentences that differ in the term alone, the first term's first."""

    sentences: list[str]
    term_ends: list[int]
    """Characters up to the end of the subject's term."""
    prompts: list[str]


def bias_probe(
    model: Model,
    tokenizer: PreTrainedTokenizerFast,
    *,
    system: str,
    languages: Iterable[str],
    batch_size: int,
    samples: int,
    seed: int,
) -> list[Bias]:
    """Compare the sentences of every group; what comes of each pair is first term minus other.

    Args:
        model: any model.
        tokenizer: the model's own.
        system: the model's name in the result.
        languages: ISO 639-1 codes; those that have no sentences are left out.
        batch_size: sentences at once.
        samples: resamples behind each interval.
        seed: of the resampling.
    """
    asked = set(languages)
    probe = _Probe(model, tokenizer, batch_size=batch_size, samples=samples, seed=seed)
    return [
        probe.compare(group, sentences, system=system, language=language)
        for language, sentences in SENTENCES.items()
        if language in asked
        for group in sentences.groups
    ]


class _Probe:
    """What every group is compared with."""

    def __init__(
        self,
        model: Model,
        tokenizer: PreTrainedTokenizerFast,
        *,
        batch_size: int,
        samples: int,
        seed: int,
    ) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._vocabulary = vocabulary_of(tokenizer)
        self._batch_size, self._samples, self._seed = batch_size, samples, seed

    def compare(self, group: Group, sentences: Sentences, *, system: str, language: str) -> Bias:
        contexts = _contexts(group, sentences)
        bits = self._bits(contexts)  # (contexts, terms - 1)
        differs = self._differs(contexts, group, bits)  # (contexts, terms - 1)
        low, high = self._interval(bits)
        generation_low, generation_high = self._interval(differs)
        return {
            "system": system,
            "group": group.name,
            "language": language,
            "terms": list(group.subjects),
            "count": int(np.isfinite(bits).sum()),
            "gap_bits": _mean(np.abs(bits)),
            "lean_bits": _mean(bits),
            "low": low,
            "high": high,
            "generation_gap": _mean(differs),
            "generation_low": generation_low,
            "generation_high": generation_high,
        }

    def _bits(self, contexts: list[_Context]) -> Floats:
        """log2 p per shared token, first term minus others; NaN where no token is shared."""
        texts: list[Text] = []
        for context in contexts:
            texts += self._shared(context)
        values = log_probabilities(
            self._model, texts, end_id=self._vocabulary.end_id, batch_size=self._batch_size
        )
        means = np.array([v.mean() / np.log(2) if len(v) else np.nan for v in values])
        means = means.reshape(len(contexts), -1)  # (contexts, terms)
        return means[:, :1] - means[:, 1:]

    def _shared(self, context: _Context) -> list[Text]:
        """The sentences with everything given but the tokens that all end with."""
        encodings = encoded(self._tokenizer, context.sentences)
        ids = [encoding.ids for encoding in encodings]
        after = [
            sum(start >= end for start, _ in encoding.offsets)
            for encoding, end in zip(encodings, context.term_ends, strict=True)
        ]
        num_shared = 0
        for last in zip(*(reversed(text) for text in ids), strict=False):
            if num_shared == min(after) or len(set(last)) > 1:
                break
            num_shared += 1
        return [Text(text, len(text) - num_shared) for text in ids]

    def _differs(self, contexts: list[_Context], group: Group, bits: Floats) -> Floats:
        """1 where another term's continuation differs, 0 where it does not, NaN as in `bits`."""
        prompts = [prompt for context in contexts for prompt in context.prompts]
        said = continued(
            self._model,
            [[self._vocabulary.end_id, *e.ids] for e in encoded(self._tokenizer, prompts)],
            num_tokens=_CONTINUATION_TOKENS,
            vocabulary=self._vocabulary,
            batch_size=self._batch_size,
        )
        texts = texts_of_ids(self._tokenizer, said)
        blind = np.array([without_terms(text, group.words) for text in texts])
        blind = blind.reshape(len(contexts), -1)  # (contexts, terms)
        differs = (blind[:, :1] != blind[:, 1:]).astype(np.float64)
        return np.where(np.isfinite(bits), differs, np.nan)

    def _interval(self, values: Floats) -> tuple[float, float]:
        sums, counts = np.nansum(values, axis=1), np.isfinite(values).sum(axis=1)
        sums, counts = sums[counts > 0], counts[counts > 0].astype(np.float64)
        if len(sums) == 0:
            return 0.0, 0.0
        drawn = resampled(
            [ratio_statistics(sums, counts, "")], samples=self._samples, seed=self._seed
        )
        return interval(drawn[0])


def without_terms(text: str, words: Iterable[str]) -> str:
    """A text in which every one of `words` is the same mark, whichever it is.

    Words of letters with spaces between are whole words in any case; Chinese ones stand anywhere.
    """
    longest_first = sorted(words, key=len, reverse=True)
    patterns = [rf"\b{word}\b" if word.isascii() else word for word in longest_first]
    return re.sub("|".join(patterns), _SWAPPED, text, flags=re.IGNORECASE)


def _contexts(group: Group, sentences: Sentences) -> list[_Context]:
    """Every frame with every predicate."""
    frames = list(zip(*group.subjects.values(), strict=True))
    contexts: list[_Context] = []
    for frame in frames:
        ends = [len(subject.head) for subject in frame]
        for predicate in sentences.predicates:
            said = [f"{s.head}{s.tail}{sentences.joint}{predicate}" for s in frame]
            whole = [f"{text}{sentences.stop}" for text in said]
            open_ = [f"{text}{sentences.going_on}" for text in said]
            contexts.append(_Context(whole, ends, open_))
    return contexts


def _mean(values: Floats) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
