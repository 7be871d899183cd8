"""The comparison: every system on the same held-out documents and the same held-out pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from wordmill.generation.engine import Engine
from wordmill.metrics.likelihood import HeldOut, model_nll, ngram_nll
from wordmill.metrics.pairs import pair_statistics
from wordmill.metrics.perplexity import count_words, document_statistics
from wordmill.metrics.score import scores as scores_of
from wordmill.models.lead import first_sentence
from wordmill.models.ngram import KneserNey
from wordmill.models.ngram_model import NgramModel
from wordmill.progress import Progress, Show
from wordmill.tokens.prompts import Request
from wordmill.tokens.tokenizer import encode_batch, end_id, fingerprint, num_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from wordmill.data.records import Document, Pair
    from wordmill.metrics.score import Score
    from wordmill.models.folder import Model
    from wordmill.params.evaluate import EvaluateParams
    from wordmill.tokens.store import Ids

_NUM_EXAMPLES = 6
Scores = dict[str, dict[str, "Score"]]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is held out, what the systems are, and how they are scored.

    Args:
        models: by the name of their system.
        tokenizer: of all of them.
        training_ids: running text that the n-gram models learn from.
        documents: held out from training.
        pairs: held out from training.
        params: the `evaluate` section.
        max_source_tokens: where a source is cut, as in training.
        context_tokens: the longest sequence that the models take.
        seed: of the resampling.
        show: takes progress lines.
        every_seconds: time between two of them.
    """

    models: dict[str, Model]
    tokenizer: PreTrainedTokenizerFast
    training_ids: Ids
    documents: list[Document]
    pairs: list[Pair]
    params: EvaluateParams
    max_source_tokens: int
    context_tokens: int
    seed: int
    show: Show
    every_seconds: float

    def document_scores(self) -> Scores:
        """Perplexity and bits per byte of the unigram and n-gram baselines and of the models."""
        held_out = self._held_out()
        end_id, vocab_size = held_out.end_id, num_ids(self.tokenizer)
        training_ids = np.asarray(self.training_ids, dtype=np.int64)
        scores: Scores = {}
        for name, order in (("unigram", 1), ("n-gram", self.params.ngram_order)):
            model = KneserNey(training_ids, order=order, vocab_size=vocab_size, end_id=end_id)
            nll = ngram_nll(model, held_out)
            scores[name] = self._likelihood(nll, held_out, f"order:{order}")
        for name, model in self.models.items():
            scores[name] = self._model_scores(name, model, held_out)
        return scores

    def predictions(self) -> dict[str, list[str]]:
        """What each system answers to the sources of the pairs, in their order."""
        requests = [Request(pair.task, pair.source, pair.ask) for pair in self.pairs]
        found = {"lead": [first_sentence(pair.source) for pair in self.pairs]}
        for name, model in self.models.items():
            engine = Engine(
                model,
                self.tokenizer,
                decoding=self.params.decoding,
                max_source_tokens=self.max_source_tokens,
                batch_size=self.params.batch_size,
            )
            with self._progress(f"{name}: answers", len(requests), "answer") as progress:
                found[name] = engine.answer(requests, progress=progress)
        return found

    def pair_scores(self, predictions: dict[str, list[str]]) -> Scores:
        """BLEU, chrF and ROUGE of each system's predictions."""
        wanted = [pair.target for pair in self.pairs]
        samples = self.params.bootstrap_samples
        return {
            system: scores_of(
                pair_statistics("summarize", texts, wanted), samples=samples, seed=self.seed
            )
            for system, texts in predictions.items()
        }

    def record(
        self, documents: Scores, pairs: Scores, predictions: dict[str, list[str]]
    ) -> dict[str, Any]:
        """Everything a report shows, as plain values."""
        return {
            "identity": {
                "documents": _set_hash(document.id for document in self.documents),
                "pairs": _set_hash(pair.id for pair in self.pairs),
                "tokenizer": fingerprint(self.tokenizer),
                "decoding": self.params.decoding.model_dump(),
            },
            "num_documents": len(self.documents),
            "num_pairs": len(self.pairs),
            "documents": _plain(documents),
            "pairs": _plain(pairs),
            "examples": [
                {
                    "source": pair.source,
                    "target": pair.target,
                    "predictions": {system: texts[i] for system, texts in predictions.items()},
                }
                for i, pair in enumerate(self.pairs[:_NUM_EXAMPLES])
            ],
        }

    def _held_out(self) -> HeldOut:
        texts = [document.text for document in self.documents]
        num_bytes = np.array([len(text.encode()) for text in texts], dtype=np.float64)
        ids = encode_batch(self.tokenizer, texts)
        return HeldOut(ids, num_bytes, end_id(self.tokenizer))

    def _model_scores(self, name: str, model: Model, held_out: HeldOut) -> dict[str, Score]:
        if isinstance(model, NgramModel):
            nll = ngram_nll(model.estimate, held_out)
            return self._likelihood(nll, held_out, f"order:{model.order}")
        context_tokens, stride_tokens = self.context_tokens, self.params.stride_tokens
        with self._progress(f"{name}: documents", None, "window") as progress:
            nll = model_nll(
                model,
                held_out,
                context_tokens=context_tokens,
                stride_tokens=stride_tokens,
                batch_size=self.params.batch_size,
                progress=progress,
            )
        return self._likelihood(nll, held_out, f"context:{context_tokens}|stride:{stride_tokens}")

    def _likelihood(self, nll: Any, held_out: HeldOut, how: str) -> dict[str, Score]:
        statistics = document_statistics(
            nll,
            num_tokens=np.array([len(ids) + 1.0 for ids in held_out.ids]),
            num_words=count_words([document.text for document in self.documents]),
            num_bytes=held_out.num_bytes,
            tokenizer=fingerprint(self.tokenizer),
            signature=f"ends:counted|{how}",
        )
        return scores_of(statistics, samples=self.params.bootstrap_samples, seed=self.seed)

    def _progress(self, what: str, total: int | None, unit: str) -> Progress:
        return Progress(
            what, show=self.show, total=total, unit=unit, every_seconds=self.every_seconds
        )


def plain_values(scores: Scores) -> dict[str, dict[str, float]]:
    """The values alone, for tables of metrics."""
    return {
        system: {name: round(score.value, 4) for name, score in found.items()}
        for system, found in scores.items()
    }


def _plain(scores: Scores) -> dict[str, dict[str, Any]]:
    return {
        system: {name: score.as_dict() for name, score in found.items()}
        for system, found in scores.items()
    }


def _set_hash(ids: Iterator[str]) -> str:
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]
