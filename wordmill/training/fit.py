"""One training path for every model: resumable at any step, the same weights every time.

The order of batches and the seed of every step are functions of the absolute step, so a run
that was killed and resumed ends with the weights of an undisturbed one, byte for byte (same
machine, same number of threads).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.utils.data import DataLoader, IterableDataset

from wordmill.errors import TryAgainError
from wordmill.progress import Progress, Show
from wordmill.tokens.batches import Batch, Batches
from wordmill.training.checkpoints import WholeCheckpointIO, newest_checkpoint, step_of
from wordmill.training.module import LanguageModelling
from wordmill.training.monitor import Curves, Monitor, Tracker

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from wordmill.params.training import TrainingParams

_CHECKPOINT_SECONDS = 20.0

log = logging.getLogger(__name__)


class _FromStep(IterableDataset[Batch]):
    def __init__(self, batches: Batches, *, start: int, stop: int) -> None:
        self._batches, self._start, self._stop = batches, start, stop

    def __iter__(self) -> Iterator[Batch]:
        return map(self._batches.at, range(self._start, self._stop))


class _InOrder(IterableDataset[Batch]):
    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Batch]:
        return self._batches.in_order()


def fit(
    model: PreTrainedModel,
    params: TrainingParams,
    *,
    train: Batches,
    validation: Batches,
    seed: int,
    scratch: Path,
    name: str,
    tracker: Tracker,
    show: Show,
    every_seconds: float,
    checkpoint_seconds: float = _CHECKPOINT_SECONDS,
) -> Curves:
    """Train `model` in place, from the newest checkpoint in `scratch` if there is one.

    Args:
        model: the model to train.
        params: the recipe.
        train: batches by step.
        validation: batches whose loss is reported and never trained on.
        seed: of dropout.
        scratch: where checkpoints lie; its contents must belong to this very recipe and data.
        name: of the run, for progress.
        tracker: takes metrics as training goes on.
        show: takes progress lines.
        every_seconds: time between two of them.
        checkpoint_seconds: time between two checkpoints.

    Returns:
        The curves from the first step on, also of a resumed run.

    Raises:
        DataError: the loss is NaN or infinite.
        TryAgainError: SIGTERM came; a checkpoint is written.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    checkpoint = newest_checkpoint(scratch)
    start = step_of(checkpoint) if checkpoint else 0
    if checkpoint:
        log.info("resuming after step %d of %d", start, params.steps)
    progress = Progress(
        name,
        show=show,
        total=params.steps,
        unit="step",
        every_seconds=every_seconds,
        start=start,
    )
    monitor = Monitor(
        steps=params.steps,
        validation_every_steps=_validation_every_steps(params),
        progress=progress,
        tracker=tracker,
        folder=scratch,
        checkpoint_seconds=checkpoint_seconds,
    )
    model.train()
    with progress, _stops_named(scratch, params):
        _trainer(params, monitor).fit(
            LanguageModelling(model, params, seed=seed),
            train_dataloaders=_loader(_FromStep(train, start=start, stop=params.steps)),
            val_dataloaders=_loader(_InOrder(validation)),
            ckpt_path=checkpoint,
            weights_only=True,
        )
    model.eval()
    return monitor.curves


@contextmanager
def _stops_named(scratch: Path, params: TrainingParams) -> Generator[None]:
    """Lightning leaves with status 0 on SIGTERM, and DVC would take the stage for done."""
    try:
        with warnings.catch_warnings():
            _silence_lightning()
            yield
    except SIGTERMException:
        newest = newest_checkpoint(scratch)
        raise TryAgainError(
            f"stopped by SIGTERM; run it again to go on after step"
            f" {step_of(newest) if newest else 0} of {params.steps}"
        ) from None
    except SystemExit:
        raise KeyboardInterrupt from None


def _trainer(params: TrainingParams, monitor: Monitor) -> pl.Trainer:
    return pl.Trainer(
        accelerator="auto",
        devices=1,
        precision=_precision(params),
        max_steps=params.steps,
        val_check_interval=_validation_every_steps(params),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        deterministic="warn",
        plugins=[WholeCheckpointIO()],
        callbacks=[monitor],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _validation_every_steps(params: TrainingParams) -> int:
    return min(params.validation_every_steps, params.steps)


def _precision(params: TrainingParams) -> Any:
    """bf16 only where the hardware has it: on a CPU without, it was 24 times slower."""
    if params.precision != "auto":
        return params.precision
    has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bf16-mixed" if has_bf16 else "32-true"


def _loader(dataset: IterableDataset[Batch]) -> DataLoader[Batch]:
    # A generator of its own: iterating a loader without one draws from the global generator.
    return DataLoader(dataset, batch_size=None, generator=torch.Generator())


def _silence_lightning() -> None:
    """Drop advice that does not apply (batches come ready from a memory map) or is its own."""
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*IterableDataset.*__len__.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated.*")
