"""The validation loss: every labelled token of the split counts the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from wordmill.tokens.batches import IGNORED, Batch, Batches
from wordmill.training.curves import Validation

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        try:
            with torch.no_grad():
                for batch, is_mine in self._share(trainer.global_rank, trainer.world_size):
                    if trainer.received_sigterm and trainer.world_size == 1:
                        return None
                    sums += self._sums(trainer, batch) * is_mine
        finally:
            module.train()
        return _validation(trainer.global_step, _added_up(trainer, sums, module.device))

    def _share(self, rank: int, world_size: int) -> Iterator[tuple[Batch, bool]]:
        """A device's batches; as many for each, as parts of a sharded model work together."""
        mine = self._batches.validation(rank, world_size)
        num_batches = math.ceil(self._batches.num_items / self._batches.batch_size)
        for _ in range(math.ceil(num_batches / world_size)):
            batch = next(mine, None)
            yield (next(self._batches.in_order()), False) if batch is None else (batch, True)

    def _sums(self, trainer: pl.Trainer, batch: Batch) -> Tensor:
        labels = batch["labels"]
        labels = labels[labels != IGNORED]
        num_bytes = 0 if self._bytes_of_ids is None else int(self._bytes_of_ids[labels].sum())
        # Through the strategy, which gathers the parts of a sharded model.
        nats = trainer.strategy.test_step(trainer.strategy.batch_to_device(batch), 0)
        return torch.tensor([float(nats), len(labels), num_bytes], dtype=torch.float64)  # pyright: ignore[reportArgumentType]


def _added_up(trainer: pl.Trainer, sums: Tensor, device: torch.device) -> Tensor:
    if trainer.world_size == 1:
        return sums
    return trainer.strategy.reduce(sums.to(device), reduce_op="sum").cpu()


def _validation(step: int, sums: Tensor) -> Validation:
    nats, tokens, num_bytes = sums.tolist()
    bits = nats / math.log(2) / num_bytes if num_bytes else None
    return Validation(step, nats / max(tokens, 1), bits)
