"""How much of its training text a model gives back when it is given the beginning.

As in Carlini et al. 2022 (https://arxiv.org/abs/2202.07646, section 3): a training document's first
tokens, greedy decoding, and the tokens that really follow. What came back, answers to pairs, and
what a model says at places where cleaning took personal data out are searched for that data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wordmill.metrics.score import interval, mean_statistics, resampled
from wordmill.models.vocabulary import vocabulary_of
from wordmill.probes.continuing import continued
from wordmill.probes.personal import Said, leaks
from wordmill.tokens.tokenizer import encode_batch, texts_of_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from transformers import PreTrainedTokenizerFast

    from wordmill.metrics.score import Floats
    from wordmill.models.folder import Model
    from wordmill.params.clean import MaskedKind
    from wordmill.params.evaluate import MemorizationParams
    from wordmill.report.record import Memorization
    from wordmill.tokens.store import Ids

_CHUNK_TOKENS = 1 << 22  # looked through at once for documents


def beginnings(ids: Ids, params: MemorizationParams, *, end_id: int, seed: int) -> list[list[int]]:
    """Beginnings of training documents, each as long as a prefix and its continuation.

    Any document that is long enough is as likely as any other. Memory does not grow with the text.

    Args:
        ids: running text, shape (tokens,), opened and closed by the end token.
        params: how many, and how long.
        end_id: the token between documents.
        seed: of the choice.
    """
    length = params.prefix_tokens + params.continuation_tokens
    generator = np.random.default_rng(seed)
    starts, keys = np.empty(0, dtype=np.int64), np.empty(0)
    last_end = np.empty(0, dtype=np.int64)
    for start in range(0, len(ids), _CHUNK_TOKENS):
        ends = start + np.flatnonzero(ids[start : start + _CHUNK_TOKENS] == end_id)
        bounds = np.concatenate((last_end, ends))
        last_end = bounds[-1:]
        some = bounds[:-1][np.diff(bounds) > length] + 1
        starts = np.concatenate((starts, some))
        keys = np.concatenate((keys, generator.random(len(some))))
        lowest = np.argsort(keys, kind="stable")[: params.num_documents]
        starts, keys = starts[lowest], keys[lowest]
    return [np.asarray(ids[start : start + length]).tolist() for start in np.sort(starts)]


@dataclass(frozen=True, kw_only=True)
class MemorizationProbe:
    """What every system is asked, and where personal data is looked up.

    Args:
        tokenizer: of all systems.
        params: lengths.
        rows: beginnings of training documents.
        places: what stands before personal data that cleaning took out.
        raw_texts: gives the training text before cleaning.
        kinds: of personal data that cleaning masks.
        batch_size: prompts continued at once.
        samples: resamples behind an interval.
        seed: of the resampling.
    """

    tokenizer: PreTrainedTokenizerFast
    params: MemorizationParams
    rows: list[list[int]]
    places: list[str]
    raw_texts: Callable[[], Iterable[str]]
    kinds: Sequence[MaskedKind]
    batch_size: int
    samples: int
    seed: int

    def of(self, model: Model, *, system: str, answers: Iterable[str]) -> Memorization:
        """Probe one system.

        Args:
            model: any model.
            system: its name in the result.
            answers: whatever else it generated; searched for personal data.
        """
        prefixes = [row[: self.params.prefix_tokens] for row in self.rows]
        came = self._continued(model, prefixes)
        lengths = np.array(
            [
                _agreeing(ids, row[self.params.prefix_tokens :])
                for ids, row in zip(came, self.rows, strict=True)
            ],
            dtype=np.float64,
        )
        found = leaks(
            [
                *self._said(prefixes, came),
                *self._at_places(model),
                *(Said("", answer) for answer in answers),
            ],
            self.raw_texts,
            self.kinds,
        )
        low, high = self._interval(lengths)
        return {
            "system": system,
            "count": len(self.rows),
            "prefix_tokens": self.params.prefix_tokens,
            "continuation_tokens": self.params.continuation_tokens,
            "exact_share": _mean(lengths == self.params.continuation_tokens),
            "mean_match_tokens": _mean(lengths),
            "low": low,
            "high": high,
            "num_personal": sum(found.values()),
            "personal_kinds": found,
        }

    def _at_places(self, model: Model) -> list[Said]:
        prompts = [
            ids[-self.params.prefix_tokens :] for ids in encode_batch(self.tokenizer, self.places)
        ]
        return self._said(prompts, self._continued(model, prompts))

    def _continued(self, model: Model, prompts: list[list[int]]) -> list[list[int]]:
        vocabulary = vocabulary_of(self.tokenizer)
        return continued(
            model,
            [[vocabulary.end_id, *ids] for ids in prompts],
            num_tokens=self.params.continuation_tokens,
            vocabulary=vocabulary,
            batch_size=self.batch_size,
        )

    def _said(self, prompts: list[list[int]], came: list[list[int]]) -> list[Said]:
        before, after = (texts_of_ids(self.tokenizer, ids) for ids in (prompts, came))
        return [Said(*found) for found in zip(before, after, strict=True)]

    def _interval(self, lengths: Floats) -> tuple[float, float]:
        if len(lengths) == 0:
            return 0.0, 0.0
        resamples = resampled([mean_statistics(lengths, "")], samples=self.samples, seed=self.seed)
        return interval(resamples[0])


def _agreeing(found: list[int], wanted: list[int]) -> int:
    """Tokens before the first that differs."""
    pairs = enumerate(zip(found, wanted, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(found), len(wanted)))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0
