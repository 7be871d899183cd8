"""Train what stands beside the model: an LSTM with attention, on the pairs alone."""

from pathlib import Path

from stages.pairs import has_pairs, pair_data
from stages.stage import Stage, run
from stages.training import train_and_save
from wordmill.files import write_json
from wordmill.models.building import new_lstm_with_vectors
from wordmill.models.folder import load_tokenizer, save_model
from wordmill.models.vocabulary import vocabulary_of
from wordmill.params.baselines import BaselinesParams, LstmBaselineParams
from wordmill.params.training import FinetuneParams

_SYSTEMS = "systems.json"


def main(stage: Stage) -> str:
    """Write data/baselines: systems.json, which names them, and lstm/, a model folder."""
    params = stage.section("baselines", BaselinesParams).lstm
    tokenizer = load_tokenizer(stage.input("tokenize") / "tokenizer")
    if not params.is_on or not has_pairs(stage, tokenizer):
        with stage.output_folder() as folder:
            write_json(folder / _SYSTEMS, [])
        return "no LSTM is wanted" if not params.is_on else "no LSTM: there is no pair"
    model = new_lstm_with_vectors(
        params.sizes, vocabulary_of(tokenizer), seed=stage.seed, tokenizer=tokenizer
    )
    recipe = _recipe(params, stage.section("finetune", FinetuneParams))
    data = pair_data(stage, tokenizer, recipe, model)

    def save(folder: Path) -> None:
        save_model(folder / "lstm", model, tokenizer)
        write_json(folder / _SYSTEMS, ["lstm"])

    return train_and_save(
        stage, model, tokenizer, recipe, data, logged=params.model_dump(), save=save
    )


def _recipe(params: LstmBaselineParams, finetune: FinetuneParams) -> FinetuneParams:
    """Finetuning's recipe, but for what the LSTM has of its own."""
    own = params.model_dump(include={"length", "batch_size", "lr", "warmup_steps"})
    return finetune.model_copy(
        update={
            **own,
            "length": params.length,
            "pair_packing": "bucket",
            "is_gradient_checkpointed": False,
            "lora": finetune.lora.model_copy(update={"is_on": False}),
        }
    )


if __name__ == "__main__":
    run("baselines", main, description=__doc__)
