"""The family `ngram`: a Kneser-Ney model that is trained, saved and loaded like the others.

Its folder holds config.json and model.safetensors like any other, but with counts in place of
weights: the estimate follows from them, exactly. No other software reads it. 500,000 tokens at
order 5 are 1.2 million n-grams, 14 MB, trained in 0.6 s and loaded in 0.1 s.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from safetensors.numpy import load_file, save_file

from wordmill.errors import DataError
from wordmill.files import write_json
from wordmill.models.ngram import KneserNey
from wordmill.models.ngram_counts import Counts, Ints
from wordmill.models.vocabulary import Vocabulary
from wordmill.tokens.rows import places

if TYPE_CHECKING:
    from pathlib import Path

    from wordmill.tokens.store import Ids

MODEL_TYPE = "wordmill-ngram"
"""What config.json says that the folder holds."""

_CONFIG = "config.json"
_WEIGHTS = "model.safetensors"
_VALUES = ("order", "vocab_size", "eos_token_id", "pad_token_id")


class TokenPairs(NamedTuple):
    """Prompts with their targets, as a token file of pairs holds them."""

    ids: Ids
    """Shape (tokens,); each pair is opened and closed by the end token."""
    spans: Ints
    """Shape (pairs, 3): start, target start, end."""


@dataclass(frozen=True, kw_only=True)
class NgramModel:
    """A Kneser-Ney model and the ids of its tokenizer."""

    estimate: KneserNey
    vocabulary: Vocabulary

    @classmethod
    def train(
        cls, documents: Ids, *, order: int, vocabulary: Vocabulary, pairs: TokenPairs | None = None
    ) -> NgramModel:
        """Count n-grams; none reaches from a document or a pair into the next.

        Args:
            documents: running text, shape (tokens,), opened and closed by the end token.
            order: the longest n-gram.
            vocabulary: of the tokenizer.
            pairs: each counted as a document is, prompt and target as one text.

        Raises:
            DataError: there is no text.
        """
        end_id = vocabulary.end_id
        text = np.asarray(documents, dtype=np.int64)
        if pairs is not None:
            text = np.concatenate((text, pairs_text(pairs, end_id=end_id)[min(len(text), 1) :]))
        if len(text) < 2:
            raise DataError("there is no text to count n-grams in; give a source of documents")
        size = vocabulary.size
        estimate = KneserNey(text, order=order, vocab_size=size, end_id=end_id)
        return cls(estimate=estimate, vocabulary=vocabulary)

    @property
    def order(self) -> int:
        """The longest n-gram."""
        return len(self.estimate.counts)

    def num_parameters(self) -> int:
        """How many n-grams the folder holds, of all orders; of order 1 there are V."""
        return sum(len(level.times) for level in self.estimate.counts)

    def text_loss(self, ids: Ids) -> float:
        """Mean negative log-likelihood in nats of each token after the first of running text."""
        return -float(self.estimate.log_probabilities(np.asarray(ids, dtype=np.int64)).mean())

    def target_loss(self, pairs: TokenPairs) -> float:
        """Mean negative log-likelihood in nats of the tokens of targets, end tokens counted."""
        text = pairs_text(pairs, end_id=self.vocabulary.end_id)
        starts, targets, ends = pairs.spans.T
        before = np.cumsum(ends - starts - 1) - (ends - starts - 1)
        # The first token of a pair after its end token is the first that has a probability.
        is_target = places(before + targets - starts - 1, ends - targets)
        return -float(self.estimate.log_probabilities(text)[is_target].mean())

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors; the same bytes for the same counts."""
        folder.mkdir(parents=True, exist_ok=True)
        values = (self.order, *self.vocabulary)
        config = {"model_type": MODEL_TYPE, **dict(zip(_VALUES, values, strict=True))}
        write_json(folder / _CONFIG, config)
        arrays: dict[str, Any] = {}
        for m, (keys, times) in enumerate(self.estimate.counts, start=1):
            arrays[f"{m}.keys"], arrays[f"{m}.times"] = keys, times.astype(np.uint32)
        save_file(arrays, folder / _WEIGHTS)

    @classmethod
    def load(cls, folder: Path) -> NgramModel:
        """Read what `save` wrote.

        Raises:
            ValueError: a file of the folder is not what `save` writes.
            OSError: a file can't be read.
            SafetensorError: the counts are damaged.
        """
        config = _config_of(folder)
        values = [value for name in _VALUES if isinstance(value := config.get(name), int)]
        if len(values) < len(_VALUES):
            raise ValueError(f"{_CONFIG} needs a whole number for each of {', '.join(_VALUES)}")
        order, size, end_id, pad_id = values
        arrays = load_file(folder / _WEIGHTS)
        if set(arrays) != {f"{m}.{part}" for m in range(1, order + 1) for part in Counts._fields}:
            raise ValueError(f"{_WEIGHTS} does not hold the counts of orders 1 to {order}")
        counts = [
            Counts(arrays[f"{m}.keys"], arrays[f"{m}.times"].astype(np.int64))
            for m in range(1, order + 1)
        ]
        if [len(times) for _, times in counts] != [size, *(len(keys) for keys, _ in counts[1:])]:
            raise ValueError(f"{_WEIGHTS} does not fit {_CONFIG}")
        estimate = KneserNey.from_counts(counts, vocab_size=size, end_id=end_id)
        return cls(estimate=estimate, vocabulary=Vocabulary(size, end_id, pad_id))


def is_ngram(folder: Path) -> bool:
    """Whether a model folder holds an n-gram model.

    Raises:
        ValueError: its config.json is no JSON object.
        OSError: it can't be read.
    """
    return _config_of(folder).get("model_type") == MODEL_TYPE


def _config_of(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{_CONFIG} holds no object")
    return found


def pairs_text(pairs: TokenPairs, *, end_id: int) -> Ints:
    """Pairs as running text: the end token that closes one opens the next."""
    starts, _, ends = pairs.spans.T
    ids = np.asarray(pairs.ids)[places(starts + 1, ends - starts - 1)]
    return np.concatenate(([end_id], ids)).astype(np.int64)
