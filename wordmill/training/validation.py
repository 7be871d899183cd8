"""The validation loss: every labelled token of the split counts the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from wordmill.tokens.batches import IGNORED, Batch, Batches
from wordmill.training.curves import Validation

if TYPE_CHECKING:
    import lightning.pytorch as pl
    import numpy as np
    from numpy.typing import NDArray

    from wordmill.training.module import LanguageModelling


class Validator:
    """Computes the loss of a split, each device its share of the batches.

    Args:
        batches: of the split.
        bytes_of_ids: UTF-8 bytes that each token stands for, shape (V,), if that is asked for.
    """

    def __init__(self, batches: Batches, *, bytes_of_ids: NDArray[np.int64] | None) -> None:
        self._batches, self._bytes_of_ids = batches, bytes_of_ids

    def validate(self, trainer: pl.Trainer, module: LanguageModelling) -> Validation | None:
        """The loss of the model as it is; None where SIGTERM came meanwhile."""
        sums = torch.zeros(3, dtype=torch.float64)  # nats, tokens, bytes
        module.eval()
        with torch.no_grad():
            for batch in self._batches.validation(trainer.global_rank, trainer.world_size):
                if trainer.received_sigterm and trainer.world_size == 1:
                    break
                sums += self._sums(trainer, module, batch)
            else:
                module.train()
                return _validation(trainer.global_step, _added_up(trainer, sums, module.device))
        module.train()
        return None

    def _sums(self, trainer: pl.Trainer, module: LanguageModelling, batch: Batch) -> Tensor:
        labels = batch["labels"]
        labels = labels[labels != IGNORED]
        num_bytes = 0 if self._bytes_of_ids is None else int(self._bytes_of_ids[labels].sum())
        there: Any = trainer.strategy.batch_to_device(batch)
        with trainer.precision_plugin.val_step_context():
            nats = float(module.loss_sum(there))
        return torch.tensor([nats, len(labels), num_bytes], dtype=torch.float64)


def _added_up(trainer: pl.Trainer, sums: Tensor, device: torch.device) -> Tensor:
    if trainer.world_size == 1:
        return sums
    return trainer.strategy.reduce(sums.to(device), reduce_op="sum").cpu()


def _validation(step: int, sums: Tensor) -> Validation:
    nats, tokens, num_bytes = sums.tolist()
    bits = nats / math.log(2) / num_bytes if num_bytes else None
    return Validation(step, nats / max(tokens, 1), bits)
