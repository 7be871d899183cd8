"""Train the pretrained model on the pairs; the loss covers the target alone."""

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from stages import ngram
from stages.stage import Stage, run
from stages.training import records_of, train_and_save
from wordmill.errors import ParamsError
from wordmill.models.apart import check_apart
from wordmill.models.encoder_decoder import decoder_start_id
from wordmill.models.folder import load_model, load_tokenizer, save_model
from wordmill.models.lora import merged, save_adapters, with_adapters
from wordmill.models.ngram_model import NgramModel
from wordmill.params.model import ModelParams
from wordmill.params.training import FinetuneParams
from wordmill.tokens.batches import Batches
from wordmill.tokens.pair_batches import PackedPairBatches, PairBatches
from wordmill.tokens.seq2seq_batches import Seq2SeqPairBatches
from wordmill.tokens.store import TokenFolder
from wordmill.tokens.text_bytes import bytes_of_ids
from wordmill.tokens.tokenizer import fingerprint, pad_id
from wordmill.training.fit import Data


def main(stage: Stage) -> str:
    """Write data/finetune: model/, the curves, and with LoRA adapters/."""
    params = stage.section("finetune", FinetuneParams)
    pretrained = stage.input("pretrain") / "model"
    shape = stage.section("model", ModelParams)
    model = load_model(pretrained, is_remote_code_run=shape.pretrained.is_remote_code_run)
    if isinstance(model, NgramModel):
        return ngram.finetune(stage)
    tokenizer = load_tokenizer(pretrained)
    tokens = TokenFolder(stage.input("tokenize"), tokenizer_fingerprint=fingerprint(tokenizer))
    train, validation = (
        _batches(
            tokens,
            split,
            params,
            model,
            row_tokens=shape.context_tokens,
            pad_id=pad_id(tokenizer),
            seed=stage.seed,
        )
        for split in ("train", "validation")
    )
    data = Data(
        train=train,
        validation=validation,
        records_of=records_of(tokens, "pairs.train", train),
        bytes_of_ids=bytes_of_ids(tokenizer),
    )
    if not params.lora.is_on:
        logged = params.model_dump()
        return train_and_save(stage, model, tokenizer, params, data, logged=logged)
    adapted: Any = with_adapters(model, params.lora, seed=stage.seed)

    def save(folder: Path) -> None:
        save_adapters(folder / "adapters", adapted)
        save_model(folder / "model", merged(adapted), tokenizer)

    return train_and_save(
        stage, adapted, tokenizer, params, data, logged=params.model_dump(), save=save
    )


def _batches(
    tokens: TokenFolder,
    split: str,
    params: FinetuneParams,
    model: PreTrainedModel,
    *,
    row_tokens: int,
    pad_id: int,
    seed: int,
) -> Batches:
    ids, spans = tokens.ids(f"pairs.{split}"), tokens.spans(f"pairs.{split}")
    common: dict[str, Any] = {"pad_id": pad_id, "batch_size": params.batch_size, "seed": seed}
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


if __name__ == "__main__":
    run("finetune", main, description=__doc__)
