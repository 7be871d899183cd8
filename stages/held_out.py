"""What evaluation reads: the held-out records, and the systems that are compared on them."""

import heapq
import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerFast

from stages.stage import Stage
from wordmill.data.records import Document, Pair, read_records
from wordmill.errors import DataError
from wordmill.metrics.likelihood import HeldOut
from wordmill.models.folder import Model, load_model
from wordmill.models.ngram_model import NgramModel, TokenPairs
from wordmill.models.vocabulary import vocabulary_of
from wordmill.params.evaluate import EvaluateParams
from wordmill.tokens.store import TokenFolder
from wordmill.tokens.tokenizer import encode_batch, end_id, fingerprint


class Sets(NamedTuple):
    """What is held out for the test."""

    documents: list[Document]
    pairs: list[Pair]
    ids: HeldOut
    """Of the documents."""
    source_lengths: list[int]
    """Tokens of each pair's source."""


class Systems(NamedTuple):
    """By name; all of one tokenizer."""

    documents: dict[str, Model]
    """Scored on documents."""
    pairs: dict[str, Model]
    """Asked for answers."""


def held_out(stage: Stage, params: EvaluateParams, tokenizer: PreTrainedTokenizerFast) -> Sets:
    """Read the test split: of each kind the records with the lowest ids.

    Raises:
        DataError: nothing of a kind is held out.
    """
    folder = stage.input("clean")
    documents = heapq.nsmallest(
        params.max_documents, read_records(folder, Document, "test"), key=lambda d: d.id
    )
    pairs = heapq.nsmallest(
        params.max_pairs, read_records(folder, Pair, "test"), key=lambda p: p.id
    )
    if not documents or not pairs:
        raise DataError(
            f"{folder}: {len(documents)} documents and {len(pairs)} pairs are held out for the"
            " test; both are needed: raise ingest.test_fraction or give more data"
        )
    texts = [document.text for document in documents]
    num_bytes = np.array([len(text.encode()) for text in texts], dtype=np.float64)
    ids = HeldOut(encode_batch(tokenizer, texts), num_bytes, end_id(tokenizer))
    lengths = [len(found) for found in encode_batch(tokenizer, [pair.source for pair in pairs])]
    return Sets(documents, pairs, ids, lengths)


def systems(stage: Stage, params: EvaluateParams, tokenizer: PreTrainedTokenizerFast) -> Systems:
    """Load the trained models, and count what stands beside them.

    Raises:
        DataError: a model can't be loaded.
    """
    tokens = TokenFolder(stage.input("tokenize"), tokenizer_fingerprint=fingerprint(tokenizer))
    documents = tokens.ids("documents.train")
    pairs = TokenPairs(tokens.ids("pairs.train"), tokens.spans("pairs.train"))
    vocabulary, order = vocabulary_of(tokenizer), params.ngram_order
    is_remote_code_run = stage.value("model", "pretrained").is_remote_code_run
    trained = {
        name: load_model(stage.input(made_by) / "model", is_remote_code_run=is_remote_code_run)
        for name, made_by in (("pretrained", "pretrain"), ("finetuned", "finetune"))
    }
    return Systems(
        documents={
            "unigram": NgramModel.train(documents, order=1, vocabulary=vocabulary),
            "n-gram": NgramModel.train(documents, order=order, vocabulary=vocabulary),
            **trained,
        },
        pairs={
            "n-gram": NgramModel.train(documents, order=order, vocabulary=vocabulary, pairs=pairs),
            **_baselines(stage),
            **trained,
        },
    )


def _baselines(stage: Stage) -> dict[str, Model]:
    """The models of the stage `baselines`."""
    folder = stage.input("baselines")
    names = json.loads((folder / "systems.json").read_text(encoding="utf-8"))
    return {name: load_model(folder / name) for name in names}


def training_texts(stage: Stage) -> Iterator[str]:
    """All text that a model could have learned by heart."""
    folder = stage.input("clean")
    for document in read_records(folder, Document, "train"):
        yield document.text
    for pair in read_records(folder, Pair, "train"):
        yield pair.source
        yield pair.target
