"""The n-gram family's part of pretrain and finetune: counting takes the place of training.

Both count from the start, finetune the documents and the pairs together: counts add up to the
same in any order. Of the sections `pretrain` and `finetune` nothing applies.
"""

import math
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from stages.stage import Stage
from stages.tracking import stage_run
from wordmill.errors import DataError
from wordmill.models.folder import load_model, load_tokenizer, save_model
from wordmill.models.ngram_model import NgramModel, TokenPairs
from wordmill.models.vocabulary import vocabulary_of
from wordmill.params.model import ModelParams
from wordmill.tokens.store import TokenFolder
from wordmill.tokens.tokenizer import fingerprint

_STEP = 1  # there is but one


def pretrain(stage: Stage) -> str:
    """Write data/pretrain: model/ and curves of one point."""
    params = stage.section("model", ModelParams).ngram
    source = stage.input("tokenize")
    tokenizer = load_tokenizer(source / "tokenizer")
    tokens = TokenFolder(source, tokenizer_fingerprint=fingerprint(tokenizer))
    train, validation = (tokens.ids(f"documents.{split}") for split in ("train", "validation"))
    if len(validation) < 2:
        raise DataError(
            "there is no document in the validation split; give more data or raise"
            " ingest.validation_fraction"
        )
    model = NgramModel.train(train, order=params.order, vocabulary=vocabulary_of(tokenizer))
    losses = {"loss": model.text_loss(train), "validation_loss": model.text_loss(validation)}
    return _written(stage, model, tokenizer, losses, logged=params.model_dump())


def finetune(stage: Stage) -> str:
    """Write data/finetune: model/ and curves of one point."""
    pretrained = stage.input("pretrain") / "model"
    tokenizer, before = load_tokenizer(pretrained), load_model(pretrained)
    assert isinstance(before, NgramModel)  # whoever calls this has seen it
    tokens = TokenFolder(stage.input("tokenize"), tokenizer_fingerprint=fingerprint(tokenizer))
    train, validation = (_pairs(tokens, split) for split in ("train", "validation"))
    model = NgramModel.train(
        tokens.ids("documents.train"),
        order=before.order,
        vocabulary=before.vocabulary,
        pairs=train,
    )
    losses = {"loss": model.target_loss(train), "validation_loss": model.target_loss(validation)}
    return _written(stage, model, tokenizer, losses, logged={"order": model.order})


def _pairs(tokens: TokenFolder, split: str) -> TokenPairs:
    pairs = TokenPairs(tokens.ids(f"pairs.{split}"), tokens.spans(f"pairs.{split}"))
    if len(pairs.spans) == 0:
        raise DataError(
            f"there is no pair in the {split} split; give a source of pairs or raise its share"
        )
    return pairs


def _written(
    stage: Stage,
    model: NgramModel,
    tokenizer: PreTrainedTokenizerFast,
    losses: dict[str, float],
    *,
    logged: dict[str, Any],
) -> str:
    """Write the stage's output, and say how it went."""
    loss, perplexity = losses["validation_loss"], math.exp(losses["validation_loss"])
    with stage_run(stage, logged) as tracker:
        with stage.output_folder() as folder:
            save_model(folder / "model", model, tokenizer)
            _write_curve(folder / "training.csv", losses["loss"])
            _write_curve(folder / "validation.csv", loss)
        tracker.log({**losses, "validation_perplexity": perplexity}, _STEP)
        tracker.made(stage.output)
    return (
        f"{model.num_parameters():,} n-grams up to order {model.order}, validation loss"
        f" {loss:.3f} (perplexity {perplexity:.1f})"
    )


def _write_curve(path: Path, loss: float) -> None:
    path.write_text(f"step,loss,perplexity\n{_STEP},{loss:.6f},{math.exp(loss):.4f}\n")
