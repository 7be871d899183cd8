"""How long a run is in optimizer steps, and the learning rate at each of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from wordmill.errors import ParamsError

if TYPE_CHECKING:
    from wordmill.params.training import TrainingParams
    from wordmill.tokens.batches import Batches


def num_steps(params: TrainingParams, batches: Batches) -> int:
    """The optimizer steps that `params.length` asks for.

    Tokens are those trained on, padding left out; a part of a step at the end is a whole one.

    Raises:
        ParamsError: the warm-up would not end.
    """
    number, unit = params.length
    match unit:
        case "steps":
            steps = int(number)
        case "tokens":
            steps = math.ceil(number / (batches.mean_item_tokens * params.batch_size))
        case "epochs":
            steps = math.ceil(number * batches.num_items / params.batch_size)
    if params.warmup_steps >= steps:
        raise ParamsError(
            f"warmup_steps {params.warmup_steps} must be below the {steps} steps that length"
            f" '{params.length}' is here"
        )
    return steps


def lr_fraction(step: int, params: TrainingParams, *, steps: int) -> float:
    """Share of the highest learning rate at `step`, counted from 0.

    A linear warm-up; then half a cosine, or level until the last `decay_fraction` of all steps
    and a straight line down (https://arxiv.org/abs/2404.06395, warmup-stable-decay).
    """
    if step < params.warmup_steps:
        return (step + 1) / params.warmup_steps
    least = params.min_lr_fraction
    if params.schedule == "cosine":
        done = min((step - params.warmup_steps) / (steps - params.warmup_steps), 1.0)
        return least + (1 - least) * (1 + math.cos(math.pi * done)) / 2
    decay_steps = min(params.decay_fraction * steps, steps - params.warmup_steps)
    done = 1 - min((steps - step) / decay_steps, 1.0) if decay_steps else 0.0
    return 1 - (1 - least) * done
