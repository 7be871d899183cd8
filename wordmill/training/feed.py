"""Parts of steps in their order: what each device takes, made ahead of the GPU that wants it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch.utils.data import DataLoader, IterableDataset

from wordmill.errors import ParamsError
from wordmill.tokens.batches import IGNORED
from wordmill.training.module import Part

if TYPE_CHECKING:
    from wordmill.params.compute import ComputeParams
    from wordmill.params.training import TrainingParams
    from wordmill.tokens.batches import Batches

_PARTS_AHEAD = 8


class Feed(IterableDataset[Part]):
    """The parts of one device, from a step on.

    Args:
        batches: by step.
        start: the first step.
        stop: the step after the last.
        accumulate: parts of a step that a device takes.
        rank: of this device.
        world_size: devices in all.
    """

    def __init__(
        self,
        batches: Batches,
        *,
        start: int,
        stop: int,
        accumulate: int,
        rank: int,
        world_size: int,
    ) -> None:
        self._batches, self._start, self._stop = batches, start, stop
        self._num_parts = accumulate * world_size
        self._mine = range(rank, self._num_parts, world_size)

    def __iter__(self) -> Iterator[Part]:
        for step in range(self._start, self._stop):
            # All of them: how many labels the step has decides what each of its tokens counts.
            parts = self._batches.parts(step, self._num_parts)
            num_labels = sum(int((part["labels"] != IGNORED).sum()) for part in parts)
            for number in self._mine:
                yield Part(parts[number], step, number, max(num_labels, 1))

    def loader(self, *, is_on_gpu: bool) -> DataLoader[Part]:
        """A loader of ready parts; for a GPU, made by a process beside it."""
        # A generator of its own: iterating a loader without one draws from the global generator.
        own = torch.Generator()
        if not is_on_gpu:
            return DataLoader(self, batch_size=None, generator=own)
        return DataLoader(
            self,
            batch_size=None,
            generator=own,
            num_workers=1,
            multiprocessing_context="fork",  # others would send it a copy of the mapped files
            prefetch_factor=_PARTS_AHEAD,
            pin_memory=True,
            worker_init_fn=_outlive_sigterm,
        )


def _outlive_sigterm(_: int) -> None:
    """Sent to the group, it is for the trainer, which saves itself and then ends this process."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def check_parts(params: TrainingParams, compute: ComputeParams) -> None:
    """See that a step can be dealt out evenly.

    Raises:
        ParamsError: it can't.
    """
    devices = compute.devices * compute.num_nodes
    num_parts = devices * params.accumulate_batches
    if params.batch_size % num_parts:
        raise ParamsError(
            f"batch_size {params.batch_size} must be a multiple of {num_parts}: {devices} devices"
            f" times accumulate_batches {params.accumulate_batches}"
        )
