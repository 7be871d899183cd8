"""Train the pretrained model on the pairs; the loss covers the target alone."""

from stages.stage import Stage, run
from stages.training import train_and_save
from wordmill.models.folder import load_model, load_tokenizer
from wordmill.params.training import FinetuneParams
from wordmill.tokens.batches import Batches
from wordmill.tokens.pair_batches import PackedPairBatches, PairBatches
from wordmill.tokens.store import TokenFolder
from wordmill.tokens.tokenizer import fingerprint, pad_id


def main(stage: Stage) -> str:
    """Write data/finetune: model/ and the curves."""
    params = stage.section("finetune", FinetuneParams)
    pretrained = stage.input("pretrain") / "model"
    tokenizer = load_tokenizer(pretrained)
    tokens = TokenFolder(stage.input("tokenize"), tokenizer_fingerprint=fingerprint(tokenizer))
    model = load_model(pretrained)
    train, validation = (
        _batches(
            tokens,
            split,
            params,
            row_tokens=int(model.config.max_position_embeddings),
            pad_id=pad_id(tokenizer),
            seed=stage.seed,
        )
        for split in ("train", "validation")
    )
    return train_and_save(
        stage,
        model,
        tokenizer,
        params,
        train=train,
        validation=validation,
        logged=params.model_dump(),
    )


def _batches(
    tokens: TokenFolder,
    split: str,
    params: FinetuneParams,
    *,
    row_tokens: int,
    pad_id: int,
    seed: int,
) -> Batches:
    ids, spans = tokens.ids(f"pairs.{split}"), tokens.spans(f"pairs.{split}")
    size = params.batch_size
    if params.pair_packing == "bucket":
        return PairBatches(ids, spans, pad_id=pad_id, batch_size=size, seed=seed)
    return PackedPairBatches(
        ids, spans, pad_id=pad_id, row_tokens=row_tokens, batch_size=size, seed=seed
    )


if __name__ == "__main__":
    run("finetune", main, description=__doc__)
