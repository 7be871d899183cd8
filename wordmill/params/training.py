"""`pretrain` and `finetune`: one recipe, each with its own values."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wordmill.params.section import Section

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class TrainingParams(Section):
    """What the `pretrain` section and the `finetune` section share."""

    steps: Count
    """Optimizer steps in all."""
    batch_size: Count
    """Sequences in a step, B."""
    lr: Annotated[float, Field(gt=0)]
    """Highest learning rate, reached when the warm-up ends."""
    warmup_steps: Annotated[int, Field(ge=0)]
    min_lr_fraction: Share
    """Where the cosine ends, as a share of `lr`."""
    weight_decay: Annotated[float, Field(ge=0)]
    """For matrices; norms and biases have none."""
    beta1: Share
    beta2: Share
    clip_norm: Annotated[float, Field(gt=0)]
    """Largest L2 norm of a step's gradient."""
    validation_every_steps: Count
    precision: Literal["auto", "32-true", "bf16-mixed"]
    """`auto`: bf16-mixed on a GPU that has it, else 32-true."""

    @model_validator(mode="after")
    def _warms_up_in_time(self) -> "TrainingParams":
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} must be below steps {self.steps}")
        return self


class PretrainParams(TrainingParams):
    """The `pretrain` section."""

    attention: Literal["block", "document"]
    """How far a token sees: its whole block, or within its document only."""


class FinetuneParams(TrainingParams):
    """The `finetune` section."""

    pair_packing: Literal["bucket", "pack"]
    """`bucket`: a row is a pair, pairs of like length share a batch; `pack`: a row as
    long as the model's context holds several pairs that do not see each other."""
