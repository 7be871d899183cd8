"""The n-gram family's part of pretrain and finetune: counting takes the place of training.

Both count from the start, finetune the documents and the pairs together: counts add up to the
same in any order. Nothing of the sections `pretrain` and `finetune` applies.
"""

import logging
import math
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from stages.stage import Stage
from stages.tracking import stage_run
from wordmill.errors import DataError
from wordmill.files import write_json
from wordmill.models.folder import load_model, load_tokenizer, save_model
from wordmill.models.ngram_model import NgramModel, TokenPairs
from wordmill.models.vocabulary import vocabulary_of
from wordmill.params.model import ModelParams
from wordmill.params.training import FinetuneParams
from wordmill.tokens.store import TokenFolder
from wordmill.tokens.tokenizer import fingerprint
from wordmill.training.cost import Meter, counters, device_name
from wordmill.training.spending import COST_FILE, Cost, new_cost

_STEP = 1  # there is but one

log = logging.getLogger("stages")


def pretrain(stage: Stage) -> str:
    """Write data/pretrain: model/, curves of one point, and the cost."""
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
    meter = Meter(counters(num_gpus=0))
    model = NgramModel.train(train, order=params.order, vocabulary=vocabulary_of(tokenizer))
    losses = {"loss": model.text_loss(train), "validation_loss": model.text_loss(validation)}
    cost = _cost(stage, meter, len(train))
    return _written(stage, model, tokenizer, losses, cost, logged=params.model_dump())


def finetune(stage: Stage) -> str:
    """Write data/finetune: model/, curves of one point, and the cost."""
    if stage.section("finetune", FinetuneParams).lora.is_on:
        log.warning("finetune.lora is not used: an n-gram model has no weights to adapt")
    pretrained = stage.input("pretrain") / "model"
    tokenizer, before = load_tokenizer(pretrained), load_model(pretrained)
    assert isinstance(before, NgramModel)  # whoever calls this has seen it
    tokens = TokenFolder(stage.input("tokenize"), tokenizer_fingerprint=fingerprint(tokenizer))
    train, validation = (_pairs(tokens, split) for split in ("train", "validation"))
    documents, meter = tokens.ids("documents.train"), Meter(counters(num_gpus=0))
    model = NgramModel.train(
        documents,
        order=before.order,
        vocabulary=before.vocabulary,
        pairs=train,
    )
    losses = {"loss": model.target_loss(train), "validation_loss": model.target_loss(validation)}
    cost = _cost(stage, meter, len(documents) + len(train.ids))
    return _written(stage, model, tokenizer, losses, cost, logged={"order": model.order})


def _cost(stage: Stage, meter: Meter, num_tokens: int) -> Cost:
    return new_cost(meter, stage=stage.name, device=device_name(num_gpus=0), tokens=num_tokens)


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
    cost: Cost,
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
            write_json(folder / COST_FILE, cost)
        tracker.log({**losses, "validation_perplexity": perplexity}, _STEP)
        tracker.made(stage.output)
    return (
        f"{model.num_parameters():,} n-grams up to order {model.order}, validation loss"
        f" {loss:.3f} (perplexity {perplexity:.1f})"
    )


def _write_curve(path: Path, loss: float) -> None:
    path.write_text(f"step,loss,perplexity\n{_STEP},{loss:.6f},{math.exp(loss):.4f}\n")
