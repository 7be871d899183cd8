"""Which trial is not worth going on: one whose best validation so far is worse than the median.

The rule is Optuna's median pruner (https://arxiv.org/abs/1907.10902). It looks at one stage's curve
at a time, and only at curves of the same texts, tokens and objective: others have other losses
without being better or worse.
"""

from typing import Any

import optuna
from optuna.pruners import MedianPruner
from optuna.trial import TrialState, create_trial

from flows.experiment_record import Point, Remembered
from flows.grid import at, short_hash

LEAST_CURVES = 5
"""Finished curves before any is judged by them."""

# What decides beside the tokens what a loss is the loss of.
_OBJECTIVES = {"pretrain": ("model.kind", "pretrain.denoising", "tokenize.direction")}


def comparable_by(stage: str, one: Remembered, values: dict[str, Any]) -> str | None:
    """What two curves of a stage must have in common; None where that is not known yet.

    Args:
        stage: that trains.
        one: the experiment.
        values: its params.yaml.
    """
    tokens = one.outputs.get("tokenize")
    if not tokens:
        return None
    return short_hash([tokens, [at(values, key) for key in _OBJECTIVES.get(stage, ())]])


def why_hopeless(stage: str, curve: list[Point], others: list[list[Point]]) -> str:
    """Why a training is not worth going on; empty if it is.

    Args:
        stage: that trains.
        curve: its validations so far.
        others: whole curves of the same stage, of trials that are done.
    """
    if len(others) < LEAST_CURVES:
        return ""
    study = _study_of(others)
    pruner = MedianPruner(n_startup_trials=LEAST_CURVES)
    # Each point as it came: what is found does not depend on how often one looked.
    for num_points in range(1, len(curve) + 1):
        seen = curve[:num_points]
        trial = create_trial(state=TrialState.RUNNING, intermediate_values=_losses(seen))
        if pruner.prune(study, trial):
            best = min(point[1] for point in seen)
            return (
                f"{stage} had validation loss {best:.3f} by step {seen[-1][0]}, above the median of"
                f" {len(others)} others"
            )
    return ""


def _study_of(curves: list[list[Point]]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="minimize")
    for curve in curves:
        losses = _losses(curve)
        value = min(losses.values())
        done = create_trial(state=TrialState.COMPLETE, value=value, intermediate_values=losses)
        study.add_trial(done)
    return study


def _losses(curve: list[Point]) -> dict[int, float]:
    return {point[0]: point[1] for point in curve}
