"""How a run stops early, in words and with the right status, on one device or several."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.utilities.exceptions import SIGTERMException

from wordmill.errors import TryAgainError
from wordmill.training.checkpoints import newest_checkpoint, step_of

if TYPE_CHECKING:
    from pathlib import Path

    import lightning.pytorch as pl

    from wordmill.training.monitor import Monitor

_LIGHTNING_INTERRUPTED = 1  # its exit status after Ctrl+C


@contextmanager
def stops_named(scratch: Path, steps: int) -> Generator[None]:
    """Name the ways in which a run inside the block stops before its last step.

    Lightning leaves with status 0 on SIGTERM, and DVC would take the stage for done.

    Args:
        scratch: where the run's checkpoints lie.
        steps: of the whole run.

    Raises:
        TryAgainError: SIGTERM came, or another process of the training is gone.
    """
    try:
        with warnings.catch_warnings():
            _silence_lightning()
            yield
    except SIGTERMException:
        newest = newest_checkpoint(scratch)
        raise TryAgainError(
            f"stopped by SIGTERM; run it again to go on after step"
            f" {step_of(newest) if newest else 0} of {steps}"
        ) from None
    except SystemExit as left:
        if left.code != _LIGHTNING_INTERRUPTED:  # a handler's of the program around this run
            raise
        raise KeyboardInterrupt from None
    except RuntimeError as error:
        if not _is_lost_process(error):
            raise
        raise TryAgainError(
            "another process of this training is gone; run it again to go on from the newest"
            f" checkpoint: {str(error).partition(chr(10))[0]}"
        ) from None


def _is_lost_process(error: RuntimeError) -> bool:
    """Whether devices that work together could not: gloo says so by a plain RuntimeError."""
    return isinstance(error, torch.distributed.DistError) or "gloo/transport" in str(error)


def leave_sigterm_to(monitor: Monitor, trainer: pl.Trainer) -> None:
    """Let the monitor, which asks all devices between two steps, decide when to stop.

    Lightning's handler broadcasts from wherever the signal finds it, and the other devices may be
    in another operation: of five runs of two processes that were told to stop, two hung for ever.
    It also asks all devices before each part of a step, and waits for the answer.
    """
    connector: Any = trainer._signal_connector  # pyright: ignore[reportPrivateUsage]
    connector._sigterm_notifier_fn = monitor.ask_to_stop
    epoch_loop: Any = trainer.fit_loop.epoch_loop
    epoch_loop._broadcast_sigterm_tensor = lambda: None


def _silence_lightning() -> None:
    """Drop advice that does not apply (batches come ready from a memory map) or is its own."""
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*IterableDataset.*__len__.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*deprecated.*")
