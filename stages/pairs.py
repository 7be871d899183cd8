"""The pairs as finetuning reads them, in the form that the model takes."""

from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stages.stage import Stage
from stages.training import records_of
from wordmill.errors import ParamsError
from wordmill.models.apart import check_apart
from wordmill.models.encoder_decoder import decoder_start_id
from wordmill.params.training import FinetuneParams
from wordmill.tokens.batches import Batches
from wordmill.tokens.pair_batches import PackedPairBatches, PairBatches
from wordmill.tokens.seq2seq_batches import Seq2SeqPairBatches
from wordmill.tokens.store import TokenFolder
from wordmill.tokens.text_bytes import bytes_of_ids
from wordmill.tokens.tokenizer import fingerprint, pad_id
from wordmill.training.given import Data


def has_pairs(stage: Stage, tokenizer: PreTrainedTokenizerFast) -> bool:
    """Whether there is anything to finetune on; documents alone make a model that drafts."""
    tokens = TokenFolder(stage.input("tokenize"), tokenizer_fingerprint=fingerprint(tokenizer))
    return any(len(tokens.spans(f"pairs.{split}")) for split in ("train", "validation"))


def pair_data(
    stage: Stage,
    tokenizer: PreTrainedTokenizerFast,
    params: FinetuneParams,
    model: PreTrainedModel,
) -> Data:
    """The training and validation pairs for a model.

    Args:
        stage: the stage that trains.
        tokenizer: the model's own.
        params: the recipe.
        model: what is trained.

    Raises:
        ParamsError: the model can't take pairs packed as the recipe wants them.
    """
    tokens = TokenFolder(stage.input("tokenize"), tokenizer_fingerprint=fingerprint(tokenizer))
    settings: dict[str, Any] = {
        "row_tokens": stage.value("model", "context_tokens"),
        "pad_id": pad_id(tokenizer),
        "batch_size": params.batch_size,
        "seed": stage.seed,
    }
    train, validation = (
        _batches(tokens, split, params, model, **settings) for split in ("train", "validation")
    )
    return Data(
        train=train,
        validation=validation,
        records_of=records_of(tokens, "pairs.train", train),
        bytes_of_ids=bytes_of_ids(tokenizer),
    )


def _batches(
    tokens: TokenFolder,
    split: str,
    params: FinetuneParams,
    model: PreTrainedModel,
    *,
    row_tokens: int,
    **common: Any,
) -> Batches:
    ids, spans = tokens.ids(f"pairs.{split}"), tokens.spans(f"pairs.{split}")
    if model.config.is_encoder_decoder:
        if params.pair_packing == "pack":
            raise ParamsError(
                "finetune.pair_packing: 'pack' is for decoders; an encoder-decoder needs 'bucket'"
            )
        start_id = decoder_start_id(model)
        return Seq2SeqPairBatches(ids, spans, start_id=start_id, **common)
    if params.pair_packing == "bucket":
        return PairBatches(ids, spans, **common)
    check_apart(model, key="finetune.pair_packing", instead="bucket")
    return PackedPairBatches(ids, spans, row_tokens=row_tokens, **common)
