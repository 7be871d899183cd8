"""The one LightningModule: any neural model, loss on the labelled positions alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from wordmill.training.schedule import lr_fraction

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.utils.data import DataLoader
    from transformers import PreTrainedModel

    from wordmill.params.training import TrainingParams
    from wordmill.tokens.batches import Batch
    from wordmill.training.loss import Loss


class Part(NamedTuple):
    """A part of an optimizer step: what one device takes in one pass."""

    batch: Batch
    step: int
    """The step, counted from 0."""
    number: int
    """Of the part, over all devices."""
    num_labels: int
    """Labelled positions of the whole step: every token of it counts the same."""


class LanguageModelling(pl.LightningModule):
    """Trains a model to say the labels.

    Args:
        model: any transformers model with logits (B, T, V).
        params: the `pretrain` or `finetune` section.
        steps: of the whole run.
        seed: of dropout; each part draws from (seed, step, part), so that a resumed run goes on
            as an undisturbed one would.
        loss: of this model.
        loader: of the parts of a device, by its rank.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        params: TrainingParams,
        *,
        steps: int,
        seed: int,
        loss: Loss,
        loader: Callable[[int], DataLoader[Part]],
    ) -> None:
        super().__init__()
        self.model = model
        self._params, self._steps, self._seed = params, steps, seed
        self._loader, self._loss_sum = loader, loss
        # By name, and now: FSDP makes a flat part of each before the optimizer is asked for.
        self._matrices = {name for name, p in self.named_parameters() if p.dim() >= 2}
        self.loss = torch.zeros(())
        """Of the last step, this device's share."""
        self.gradient_norm = torch.zeros(())
        """Of the last step before it was clipped."""

    def train_dataloader(self) -> DataLoader[Part]:
        return self._loader(self.trainer.global_rank)

    def training_step(self, part: Part, batch_idx: int) -> Tensor:
        """This part's share of the step's mean cross-entropy over labelled positions, in nats."""
        self._draw_from(hash((self._seed, part.step, part.number)) % 2**63)
        share = self.loss_sum(part.batch, self._params.label_smoothing) / part.num_labels
        is_first = part.number < self.trainer.world_size
        self.loss = share.detach() if is_first else self.loss + share.detach()
        # Lightning divides by the one, and devices are averaged.
        return share * self.trainer.accumulate_grad_batches * self.trainer.world_size

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a validation batch; by this name Lightning's own validation stays out."""
        return self.loss_sum(batch)

    def _draw_from(self, seed: int) -> None:
        # torch.manual_seed asks every kind of device there is: 0.35 ms a step.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def loss_sum(self, batch: Batch, label_smoothing: float = 0.0) -> Tensor:
        """Cross-entropy in nats, summed over the labelled positions."""
        return self._loss_sum(batch, label_smoothing=label_smoothing)

    def configure_optimizers(self) -> Any:
        """AdamW (https://arxiv.org/abs/1711.05101), matrices decayed, norms and biases not."""
        params = self._params
        trained = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        matrices = [p for name, p in trained if name in self._matrices]
        others = [p for name, p in trained if name not in self._matrices]
        groups = [
            {"params": matrices, "weight_decay": params.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            groups,
            lr=params.lr,
            betas=(params.beta1, params.beta2),
            # With a gradient scaler the fused step unscales by itself, after we have clipped.
            fused=params.precision != "16-mixed",
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._lr_fraction)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip here: Lightning's own clipping refuses fused AdamW under mixed precision."""
        strategy: Any = self.trainer.strategy
        if hasattr(strategy.model, "clip_grad_norm_"):  # FSDP: each device has a part
            self.gradient_norm = strategy.model.clip_grad_norm_(self._params.clip_norm).detach()
        else:
            norm = nn.utils.clip_grad_norm_(self.parameters(), self._params.clip_norm)
            self.gradient_norm = norm.detach()

    def lr_at(self, step: int) -> float:
        """The learning rate of the step after `step` steps."""
        return self._params.lr * self._lr_fraction(step)

    def _lr_fraction(self, step: int) -> float:
        return lr_fraction(step, self._params, steps=self._steps)
