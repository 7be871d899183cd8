"""The one LightningModule: any causal model, loss on the labelled positions alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wordmill.tokens.batches import IGNORED, Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from wordmill.params.training import TrainingParams


def lr_fraction(step: int, *, steps: int, warmup_steps: int, min_lr_fraction: float) -> float:
    """Share of the highest learning rate at `step`: a linear warm-up, then half a cosine."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    done = min((step - warmup_steps) / max(steps - warmup_steps, 1), 1.0)
    return min_lr_fraction + (1 - min_lr_fraction) * (1 + math.cos(math.pi * done)) / 2


class LanguageModelling(pl.LightningModule):
    """Trains a model to predict the labels from the tokens before them.

    Args:
        model: any transformers model with logits (B, T, V).
        params: the `pretrain` or `finetune` section.
        seed: of dropout; each step draws from (seed, step), so that a resumed run goes on
            as an undisturbed one would.
    """

    def __init__(self, model: PreTrainedModel, params: TrainingParams, *, seed: int) -> None:
        super().__init__()
        self.model = model
        self._params, self._seed = params, seed
        self.gradient_norm = math.nan
        self._validation_nll = 0.0
        self._validation_tokens = 0
        self.validation_loss = math.nan

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        torch.manual_seed((self._seed * 1_000_003 + self.global_step) % 2**63)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean cross-entropy over the labelled positions, in nats."""
        return self._loss(batch, "mean")

    def on_validation_epoch_start(self) -> None:
        self._validation_nll, self._validation_tokens = 0.0, 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add up the cross-entropy of a batch, so that every token counts the same."""
        self._validation_nll += float(self._loss(batch, "sum"))
        self._validation_tokens += int((batch["labels"] != IGNORED).sum())

    def on_validation_epoch_end(self) -> None:
        self.validation_loss = self._validation_nll / max(self._validation_tokens, 1)

    def configure_optimizers(self) -> Any:
        """AdamW (https://arxiv.org/abs/1711.05101), matrices decayed, norms and biases not."""
        params = self._params
        trained = [p for p in self.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.dim() >= 2], "weight_decay": params.weight_decay},
            {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
        ]
        betas = (params.beta1, params.beta2)
        optimizer = torch.optim.AdamW(groups, lr=params.lr, betas=betas, fused=True)
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
        norm = nn.utils.clip_grad_norm_(self.parameters(), self._params.clip_norm)
        self.gradient_norm = float(norm)

    def lr_at(self, step: int) -> float:
        """The learning rate of the step after `step` steps."""
        return self._params.lr * self._lr_fraction(step)

    def _lr_fraction(self, step: int) -> float:
        return lr_fraction(
            step,
            steps=self._params.steps,
            warmup_steps=self._params.warmup_steps,
            min_lr_fraction=self._params.min_lr_fraction,
        )

    def _loss(self, batch: Batch, reduction: str) -> Tensor:
        logits = self.model(
            input_ids=batch["input_ids"],
            position_ids=batch.get("position_ids"),  # None: each row is one text
            use_cache=False,
        ).logits  # (B, T, V)
        return F.cross_entropy(
            logits.flatten(0, 1).float(),  # (B * T, V)
            batch["labels"].flatten(),  # (B * T,)
            ignore_index=IGNORED,
            reduction=reduction,
        )
