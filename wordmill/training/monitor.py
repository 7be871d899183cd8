"""What a run shows of itself: curves, metrics, progress; and when it must stop."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import SIGTERMException

from wordmill.errors import DataError
from wordmill.progress import Progress

if TYPE_CHECKING:
    from wordmill.training.module import LanguageModelling

# A curve of more points is no more telling and costs a row in every store it goes to.
_MAX_CURVE_POINTS = 500
_CHECKPOINT_NAME = "newest.ckpt"  # the writer puts step and hash in its place


class Tracker(Protocol):
    """Where metrics go."""

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Take metrics of a step."""

    def flush(self) -> None:
        """Send what was taken."""


class Curves:
    """Points of the training and validation curves, by step."""

    def __init__(self) -> None:
        self.training: list[tuple[int, float, float]] = []
        """step, loss, learning rate"""
        self.validation: list[tuple[int, float]] = []
        """step, loss"""

    def summary(self) -> str:
        """The last validation in words."""
        if not self.validation:
            return "not validated"
        loss = self.validation[-1][1]
        return f"validation loss {loss:.3f} (perplexity {math.exp(loss):.1f})"

    def write(self, folder: Path) -> None:
        """Write both as CSV. No times: these files are the same for every run of a recipe."""
        rows = [f"{step},{loss:.6f},{lr:.8f}" for step, loss, lr in self.training]
        (folder / "training.csv").write_text("\n".join(["step,loss,lr", *rows, ""]))
        points = [f"{step},{loss:.6f},{math.exp(loss):.4f}" for step, loss in self.validation]
        (folder / "validation.csv").write_text("\n".join(["step,loss,perplexity", *points, ""]))


class Monitor(pl.Callback):
    """Keeps the curves, reports metrics, stops on NaN, and writes checkpoints in time.

    Args:
        steps: of the whole run.
        validation_every_steps: steps between two validations.
        progress: counts steps.
        tracker: takes metrics; sent before each checkpoint, so that none is lost.
        folder: where checkpoints are written.
        checkpoint_seconds: time between two of them.
    """

    def __init__(
        self,
        *,
        steps: int,
        validation_every_steps: int,
        progress: Progress,
        tracker: Tracker,
        folder: Path,
        checkpoint_seconds: float,
    ) -> None:
        self.curves = Curves()
        self._progress, self._tracker = progress, tracker
        self._folder, self._checkpoint_seconds = folder, checkpoint_seconds
        self._validation_every_steps = validation_every_steps
        self._every_steps = max(1, steps // _MAX_CURVE_POINTS)
        self._saved_at, self._saved_step = time.monotonic(), 0
        self._step_started_at = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        self._step_started_at = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        step, loss = trainer.global_step, float(outputs["loss"])
        for name, value in (("loss", loss), ("gradient norm", pl_module.gradient_norm)):
            if not math.isfinite(value):  # before any checkpoint keeps what it did to the weights
                raise DataError(
                    f"step {step}: the {name} is {value}; lower lr, raise warmup_steps or look at"
                    " the data of that step"
                )
        seconds = time.monotonic() - self._step_started_at
        if step % self._every_steps == 0 or step == trainer.max_steps:
            self._record(step, loss, seconds, pl_module, batch["input_ids"].numel())
        self._progress.advance(note=f"loss {loss:.3f}")
        if step % self._validation_every_steps:
            self._save_if_due(trainer)  # else after the validation, which a resume would skip

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        step, loss = trainer.global_step, pl_module.validation_loss
        self.curves.validation.append((step, loss))
        self._tracker.log({"validation_loss": loss, "validation_perplexity": math.exp(loss)}, step)
        self._save_if_due(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Keep the last step where SIGTERM came after this step had asked whether to save."""
        step = trainer.global_step
        validated = self.curves.validation[-1][0] if self.curves.validation else 0
        # A resume would skip a validation that is due and not done.
        is_whole = step % self._validation_every_steps != 0 or step == validated
        if isinstance(exception, SIGTERMException) and step > self._saved_step and is_whole:
            self._save(trainer)

    def state_dict(self) -> dict[str, Any]:
        """The curves so far go into each checkpoint: a resumed run has them whole."""
        return {"training": self.curves.training, "validation": self.curves.validation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the curves where the checkpoint was written."""
        self.curves.training = list(state_dict["training"])
        self.curves.validation = list(state_dict["validation"])

    def _save_if_due(self, trainer: pl.Trainer) -> None:
        is_due = time.monotonic() - self._saved_at >= self._checkpoint_seconds
        if is_due or trainer.received_sigterm:
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        self._tracker.flush()
        trainer.save_checkpoint(self._folder / _CHECKPOINT_NAME)
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step

    def _record(
        self, step: int, loss: float, seconds: float, module: LanguageModelling, tokens: int
    ) -> None:
        lr = module.lr_at(step - 1)
        self.curves.training.append((step, loss, lr))
        metrics = {
            "loss": loss,
            "lr": lr,
            "gradient_norm": module.gradient_norm,
            "tokens_per_second": tokens / max(seconds, 1e-9),
        }
        self._tracker.log(metrics, step)
