"""What evaluation reads: the held-out records, and the systems that are compared on them."""

import filecmp
import heapq
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerFast

from stages.stage import Stage
from wordmill.data.records import Document, Pair, read_records
from wordmill.errors import DataError
from wordmill.evaluation.comparison import FINAL, TRAINED
from wordmill.evaluation.exercises import Exercise, drafts, of_pairs
from wordmill.metrics.likelihood import HeldOut
from wordmill.models.folder import Model, load_model
from wordmill.models.ngram_model import NgramModel, TokenPairs
from wordmill.models.vocabulary import vocabulary_of
from wordmill.params.evaluate import EvaluateParams
from wordmill.tasks import Task
from wordmill.tokens.store import TokenFolder
from wordmill.tokens.tokenizer import encode_batch, end_id, fingerprint

_TRAINED_BY = {TRAINED: "pretrain", FINAL: "finetune"}


class Sets(NamedTuple):
    """What is held out for the test."""

    documents: list[Document]
    ids: HeldOut
    """Of the documents."""
    tasks: dict[Task, list[Exercise]]
    """What is asked, by task: the pairs, and documents to go on with."""


class Systems(NamedTuple):
    """By name; all of one tokenizer."""

    documents: dict[str, Model]
    """Scored on documents."""
    writers: dict[str, Model]
    """Go on with documents."""
    answerers: dict[str, Model]
    """Answer the pairs."""


def held_out(stage: Stage, params: EvaluateParams, tokenizer: PreTrainedTokenizerFast) -> Sets:
    """Read the test split: of each kind the records with the lowest ids.

    Raises:
        DataError: no document is held out.
    """
    folder = stage.input("clean")
    documents = heapq.nsmallest(
        params.max_documents, read_records(folder, Document, "test"), key=lambda d: d.id
    )
    pairs = heapq.nsmallest(
        params.max_pairs, read_records(folder, Pair, "test"), key=lambda p: p.id
    )
    if not documents:
        raise DataError(
            f"{folder}: no document is held out for the test; raise ingest.test_fraction or give"
            " more data"
        )
    texts = [document.text for document in documents]
    num_bytes = np.array([len(text.encode()) for text in texts], dtype=np.float64)
    ids = HeldOut(encode_batch(tokenizer, texts), num_bytes, end_id(tokenizer))
    exercises = of_pairs(pairs) + drafts(
        documents,
        tokenizer,
        count=params.max_drafts,
        source_tokens=stage.value("tokenize", "max_source_tokens"),
        target_tokens=params.decoding.max_new_tokens,
    )
    tasks: dict[Task, list[Exercise]] = {}
    for one in exercises:
        tasks.setdefault(one.task, []).append(one)
    return Sets(documents, ids, dict(sorted(tasks.items())))


def systems(stage: Stage, params: EvaluateParams, tokenizer: PreTrainedTokenizerFast) -> Systems:
    """Load the trained models, and count what stands beside them.

    Raises:
        DataError: a model can't be loaded.
    """
    tokens = TokenFolder(stage.input("tokenize"), tokenizer_fingerprint=fingerprint(tokenizer))
    documents = tokens.ids("documents.train")
    spans = tokens.spans("pairs.train")
    pairs = TokenPairs(tokens.ids("pairs.train"), spans) if len(spans) else None
    vocabulary, order = vocabulary_of(tokenizer), params.ngram_order
    is_remote_code_run = stage.value("model", "pretrained").is_remote_code_run
    folders = {name: stage.input(made_by) / "model" for name, made_by in _TRAINED_BY.items()}
    if _is_same(*folders.values()):  # without pairs finetuning hands the model on
        del folders[TRAINED]
    trained = {
        name: load_model(folder, is_remote_code_run=is_remote_code_run)
        for name, folder in folders.items()
    }
    n_gram = NgramModel.train(documents, order=order, vocabulary=vocabulary)
    of_pairs_too = NgramModel.train(documents, order=order, vocabulary=vocabulary, pairs=pairs)
    return Systems(
        documents={
            "unigram": NgramModel.train(documents, order=1, vocabulary=vocabulary),
            "n-gram": n_gram,
            **trained,
        },
        writers={"n-gram": n_gram, **trained},
        answerers={"n-gram": of_pairs_too, **_baselines(stage), **trained},
    )


def _is_same(one: Path, other: Path) -> bool:
    """Whether two folders hold the same weights."""
    names = sorted(path.name for path in one.glob("*.safetensors"))
    if names != sorted(path.name for path in other.glob("*.safetensors")):
        return False
    return all(filecmp.cmp(one / name, other / name, shallow=False) for name in names)


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
