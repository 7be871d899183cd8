"""`pretrain` and `finetune`: one recipe, each with its own values."""

from typing import Annotated, Literal

from pydantic import Field

from wordmill.params.length import TrainingLength
from wordmill.params.section import Section

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class TrainingParams(Section):
    """What the `pretrain` section and the `finetune` section share."""

    length: TrainingLength
    """Optimizer steps, tokens trained on, or passes over the data."""
    batch_size: Count
    """Sequences in an optimizer step, over all devices, B."""
    accumulate_batches: Count
    """Parts that a device takes its share of a step in, one after another."""
    lr: Annotated[float, Field(gt=0)]
    """Highest learning rate, reached when the warm-up ends."""
    warmup_steps: Annotated[int, Field(ge=0)]
    schedule: Literal["cosine", "wsd"]
    """`cosine`: falls all along after the warm-up; `wsd`: warm-up, stable, then a linear decay."""
    decay_fraction: Share
    """Share of all steps that the decay of `wsd` takes."""
    min_lr_fraction: Share
    """Where the schedule ends, as a share of `lr`."""
    weight_decay: Annotated[float, Field(ge=0)]
    """For matrices; norms and biases have none."""
    beta1: Share
    beta2: Share
    clip_norm: Annotated[float, Field(gt=0)]
    """Largest L2 norm of a step's gradient."""
    dropout: Probability
    """Probability that an activation is left out: after embeddings, attention, feed-forward."""
    label_smoothing: Probability
    """Share of each target spread over the vocabulary; validation has none."""
    validation_every_steps: Count
    patience_validations: Count | None
    """Validations in a row without a better loss that end the training; null: none do."""
    keeps: Literal["best", "last"]
    """Which weights become the model: those of the best validation loss, or the last."""
    max_loss_rise: Annotated[float, Field(gt=0)] | None
    """Nats above the median of the last losses that stop the run; null: none do."""
    precision: Literal["auto", 32, "bf16-mixed", "16-mixed"]
    """`auto`: bf16-mixed on a GPU that has it, else 32."""
    compile: Literal["auto", "always", "never"]
    """`torch.compile`; `auto`: on a GPU."""
    is_gradient_checkpointed: bool
    """Whether activations are computed again in the backward pass, for less memory."""


class DenoisingParams(Section):
    """What encoder-decoders learn from running text."""

    corrupted_fraction: Annotated[float, Field(gt=0, lt=1)]
    """Share of a block's tokens that spans take away, for the decoder to give back."""
    mean_span_tokens: Annotated[float, Field(ge=1)]
    continued_fraction: Share
    """Share of blocks that are cut in two instead, for the decoder to go on from the first part."""


class PretrainParams(TrainingParams):
    """The `pretrain` section."""

    attention: Literal["block", "document"]
    """How far a token sees: its whole block, or within its document only."""
    denoising: DenoisingParams


class LoraParams(Section):
    """Low-rank adapters (https://arxiv.org/abs/2106.09685) instead of training all weights."""

    is_on: bool
    rank: Count
    alpha: Annotated[float, Field(gt=0)]
    """The adapter's output is scaled by alpha / rank."""
    dropout: Probability


class FinetuneParams(TrainingParams):
    """The `finetune` section."""

    pair_packing: Literal["bucket", "pack"]
    """`bucket`: a row is a pair, pairs of like length share a batch; `pack`: a row as
    long as the model's context holds several pairs that do not see each other."""
    lora: LoraParams
