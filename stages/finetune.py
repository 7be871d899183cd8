"""Train the pretrained model on the pairs; the loss covers the target alone."""

import logging
from pathlib import Path
from typing import Any

from stages import ngram
from stages.pairs import has_pairs, pair_data
from stages.stage import Stage, run
from stages.training import save_as_is, train_and_save
from wordmill.models.folder import load_model, load_tokenizer, save_model
from wordmill.models.lora import merged, save_adapters, with_adapters
from wordmill.models.ngram_model import NgramModel
from wordmill.params.model import ModelParams
from wordmill.params.training import FinetuneParams

log = logging.getLogger("stages")


def main(stage: Stage) -> str:
    """Write data/finetune: model/, the curves, and with LoRA adapters/."""
    params = stage.section("finetune", FinetuneParams)
    pretrained = stage.input("pretrain") / "model"
    shape = stage.section("model", ModelParams)
    model = load_model(pretrained, is_remote_code_run=shape.pretrained.is_remote_code_run)
    tokenizer = load_tokenizer(pretrained)
    if not has_pairs(stage, tokenizer):
        log.warning("there is no pair to finetune on: the pretrained model goes on as it is")
        return save_as_is(stage, model, tokenizer, logged={})
    if isinstance(model, NgramModel):
        return ngram.finetune(stage)
    data = pair_data(stage, tokenizer, params, model)
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


if __name__ == "__main__":
    run("finetune", main, description=__doc__)
