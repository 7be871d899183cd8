"""Train the pretrained model on the pairs; the loss covers the target alone."""

from stages.stage import Stage, run
from stages.training import train_and_save
from wordmill.models.folder import load_model, load_tokenizer
from wordmill.params.training import TrainingParams
from wordmill.tokens.batches import PairBatches
from wordmill.tokens.store import TokenFolder
from wordmill.tokens.tokenizer import fingerprint, pad_id


def main(stage: Stage) -> str:
    """Write data/finetune: model/ and the curves."""
    params = stage.section("finetune", TrainingParams)
    pretrained = stage.input("pretrain") / "model"
    tokenizer = load_tokenizer(pretrained)
    tokens = TokenFolder(stage.input("tokenize"), tokenizer_fingerprint=fingerprint(tokenizer))
    train, validation = (
        PairBatches(
            tokens.ids(f"pairs.{split}"),
            tokens.spans(f"pairs.{split}"),
            pad_id=pad_id(tokenizer),
            batch_size=params.batch_size,
            seed=stage.seed,
        )
        for split in ("train", "validation")
    )
    model = load_model(pretrained)
    return train_and_save(
        stage,
        model,
        tokenizer,
        params,
        train=train,
        validation=validation,
        logged=params.model_dump(),
    )


if __name__ == "__main__":
    run("finetune", main, description=__doc__)
