"""What pretrain and finetune share: a resumable fit, tracked, and its model in one folder."""

from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerFast

from stages.stage import Stage
from stages.tracking import stage_run
from wordmill.models.folder import save_model
from wordmill.params.training import TrainingParams
from wordmill.tokens.batches import Batches
from wordmill.training.fit import fit


def train_and_save(
    stage: Stage,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    params: TrainingParams,
    *,
    train: Batches,
    validation: Batches,
    logged: dict[str, Any],
) -> str:
    """Write model/ and the curves as the stage's output, and say how it went."""
    with stage_run(stage, logged) as tracker:
        curves = fit(
            model,
            params,
            train=train,
            validation=validation,
            seed=stage.seed,
            scratch=stage.scratch,
            name=stage.name,
            tracker=tracker,
            **stage.progress,
        )
        with stage.output_folder() as folder:
            save_model(folder / "model", model, tokenizer)
            curves.write(folder)
        tracker.made(stage.output)
    return f"{model.num_parameters():,} parameters, {params.steps} steps, {curves.summary()}"
