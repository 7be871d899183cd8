"""Train a model from scratch to predict the next token of the cleaned documents."""

from stages.stage import Stage, run
from stages.training import train_and_save
from wordmill.models.building import new_model
from wordmill.models.folder import load_tokenizer
from wordmill.models.vocabulary import vocabulary_of
from wordmill.params.model import ModelParams
from wordmill.params.training import PretrainParams
from wordmill.tokens.batches import BlockBatches
from wordmill.tokens.store import TokenFolder
from wordmill.tokens.tokenizer import end_id, fingerprint


def main(stage: Stage) -> str:
    """Write data/pretrain: model/ and the curves."""
    shape = stage.section("model", ModelParams)
    params = stage.section("pretrain", PretrainParams)
    source = stage.input("tokenize")
    tokenizer = load_tokenizer(source / "tokenizer")
    tokens = TokenFolder(source, tokenizer_fingerprint=fingerprint(tokenizer))
    train, validation = (
        BlockBatches(
            tokens.ids(f"documents.{split}"),
            block_tokens=shape.context_tokens,
            batch_size=params.batch_size,
            seed=stage.seed,
            end_id=end_id(tokenizer) if params.attention == "document" else None,
        )
        for split in ("train", "validation")
    )
    model = new_model(shape, vocabulary_of(tokenizer), seed=stage.seed)
    return train_and_save(
        stage,
        model,
        tokenizer,
        params,
        train=train,
        validation=validation,
        logged={**shape.model_dump(), **params.model_dump()},
    )


if __name__ == "__main__":
    run("pretrain", main, description=__doc__)
