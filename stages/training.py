"""What pretrain and finetune share: a resumable fit, tracked, and its model in one folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stages.inputs import identity
from stages.slurm import requeued
from stages.stage import Stage, is_first
from stages.tracking import stage_run
from wordmill.files import write_json
from wordmill.models.folder import Model, save_model
from wordmill.params.compute import ComputeParams
from wordmill.params.training import TrainingParams
from wordmill.tokens.batches import Batches
from wordmill.tokens.store import TokenFolder
from wordmill.tokens.tokenizer import fingerprint
from wordmill.training.curves import Curves
from wordmill.training.fit import fit
from wordmill.training.given import Data, Place
from wordmill.training.spending import COST_FILE, kept_cost

Save = Callable[[Path], None]


def train_and_save(
    stage: Stage,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    params: TrainingParams,
    data: Data,
    *,
    logged: dict[str, Any],
    save: Save | None = None,
) -> str:
    """Write model/, the curves and the cost as the stage's output, and say how it went.

    Args:
        stage: the stage that runs.
        model: what is trained.
        tokenizer: saved beside it.
        params: the recipe.
        data: what it learns from.
        logged: params for MLflow.
        save: writes the stage's folder, where that is more than the model.
    """
    with stage_run(stage, logged) as tracker:
        place = Place(
            scratch=stage.scratch,
            identity={**identity(stage.name), "tokenizer": fingerprint(tokenizer)},
            name=stage.name,
            tracker=tracker,
            **stage.progress,
        )
        compute = stage.section("compute", ComputeParams)
        with requeued():
            curves = fit(model, params, compute=compute, data=data, place=place, seed=stage.seed)
        if is_first():
            with stage.output_folder() as folder:
                if save:
                    save(folder)
                else:
                    save_model(folder / "model", model, tokenizer)
                curves.write(folder)
                write_json(folder / COST_FILE, kept_cost(stage.scratch))
            tracker.made(stage.output)
    return f"{model.num_parameters():,} parameters, {_summary(curves, params)}"


def save_as_is(
    stage: Stage,
    model: Model,
    tokenizer: PreTrainedTokenizerFast,
    *,
    logged: dict[str, Any],
) -> str:
    """Write a model as the stage's output as it was given; its curves have no point."""
    with stage_run(stage, logged) as tracker:
        if is_first():
            with stage.output_folder() as folder:
                save_model(folder / "model", model, tokenizer)
                Curves().write(folder)
            tracker.made(stage.output)
    return f"{model.num_parameters():,} parameters, as they were"


def records_of(tokens: TokenFolder, name: str, batches: Batches) -> Callable[[int], list[str]]:
    """Names the records of a step's batch, from the token file `name`."""
    return lambda step: tokens.record_ids(name, batches.records_of_step(step))


def _summary(curves: Curves, params: TrainingParams) -> str:
    found = curves.best if params.keeps == "best" else curves.validation[-1]
    if found is None:
        return "not validated"
    which = "best" if params.keeps == "best" else "last"
    return f"{which} after {found.step} of {params.length}, {found.words()}"
