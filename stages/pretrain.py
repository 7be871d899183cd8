"""Train a model of the kind in params.yaml on the cleaned documents."""

from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stages import ngram
from stages.stage import Stage, run
from stages.training import records_of, save_as_is, train_and_save
from wordmill.models.apart import check_apart
from wordmill.models.building import new_model
from wordmill.models.encoder_decoder import decoder_start_id
from wordmill.models.folder import load_tokenizer
from wordmill.models.pretrained import load_checkpoint, resize
from wordmill.models.vocabulary import vocabulary_of
from wordmill.params.model import ModelParams
from wordmill.params.training import PretrainParams
from wordmill.tokens.batches import Batches, BlockBatches
from wordmill.tokens.denoising import DenoisingBatches
from wordmill.tokens.sentinels import sentinel_ids
from wordmill.tokens.store import TokenFolder
from wordmill.tokens.text_bytes import bytes_of_ids
from wordmill.tokens.tokenizer import end_id, fingerprint, pad_id
from wordmill.training.given import Data


def main(stage: Stage) -> str:
    """Write data/pretrain: model/ and the curves."""
    shape = stage.section("model", ModelParams)
    params = stage.section("pretrain", PretrainParams)
    if shape.kind == "ngram":
        return ngram.pretrain(stage)
    source = stage.input("tokenize")
    tokenizer = load_tokenizer(source / "tokenizer")
    model = _model(stage, shape, tokenizer)
    if shape.kind == "pretrained" and not shape.pretrained.is_pretraining_continued:
        return save_as_is(stage, model, tokenizer, logged={"model": shape.in_use()})
    tokens = TokenFolder(source, tokenizer_fingerprint=fingerprint(tokenizer))
    train, validation = (
        _batches(tokens.ids(f"documents.{split}"), model, tokenizer, shape, params, stage.seed)
        for split in ("train", "validation")
    )
    # What spans are taken out of has no bytes of its own.
    known: dict[str, Any] = {}
    if not model.config.is_encoder_decoder:
        known["bytes_of_ids"] = bytes_of_ids(tokenizer)
    data = Data(
        train=train,
        validation=validation,
        records_of=records_of(tokens, "documents.train", train),
        **known,
    )
    logged = {"model": shape.in_use(), **params.model_dump()}
    return train_and_save(stage, model, tokenizer, params, data, logged=logged)


def _model(stage: Stage, shape: ModelParams, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    vocabulary = vocabulary_of(tokenizer)
    if shape.kind != "pretrained":
        return new_model(shape, vocabulary, seed=stage.seed, tokenizer=tokenizer)
    model = load_checkpoint(
        stage.value("tokenize", "checkpoint"),
        revision=stage.value("tokenize", "revision"),
        is_remote_code_run=shape.pretrained.is_remote_code_run,
        vocabulary=vocabulary,
        context_tokens=shape.context_tokens,
    )
    if model.config.is_encoder_decoder and shape.pretrained.is_pretraining_continued:
        resize(model, int(sentinel_ids(tokenizer).max()) + 1)
    return model


def _batches(
    ids: Any,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    shape: ModelParams,
    params: PretrainParams,
    seed: int,
) -> Batches:
    common: dict[str, Any] = {
        "block_tokens": shape.context_tokens,
        "batch_size": params.batch_size,
        "seed": seed,
    }
    if not model.config.is_encoder_decoder:
        is_apart = params.attention == "document"
        if is_apart:
            check_apart(model, key="pretrain.attention", instead="block")
        return BlockBatches(ids, **common, end_id=end_id(tokenizer) if is_apart else None)
    return DenoisingBatches(
        ids,
        **common,
        params=params.denoising,
        sentinels=sentinel_ids(tokenizer),
        start_id=decoder_start_id(model),
        pad_id=pad_id(tokenizer),
        end_id=end_id(tokenizer),
    )


if __name__ == "__main__":
    run("pretrain", main, description=__doc__)
