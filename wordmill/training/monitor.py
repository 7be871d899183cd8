"""What happens after each step: read it, validate, keep the best, write checkpoints, stop.

A checkpoint holds all that a step left: whoever takes it up is where that run was. Where one
was written before the validation that its step is due for, that comes first.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
from lightning.pytorch.utilities.exceptions import SIGTERMException

from wordmill.training.checkpoints import save_best
from wordmill.training.curves import Curves, Validation
from wordmill.training.hardware import memory_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from wordmill.params.training import TrainingParams
    from wordmill.progress import Progress
    from wordmill.training.module import LanguageModelling
    from wordmill.training.validation import Validator
    from wordmill.training.watch import Pace, Read, Tracker, Watch

# A curve of more points is no more telling and costs a row in every store it goes to.
_MAX_CURVE_POINTS = 500
# A large model takes seconds to write: so many times as long it is trained before the next time.
_LEAST_TRAINING_A_WRITE = 50
_CHECKPOINT_NAME = "newest.ckpt"  # the writer puts step and hash in its place

log = logging.getLogger(__name__)


class Monitor(pl.Callback):
    """Keeps the curves, reports, validates, and writes checkpoints in time.

    Args:
        params: the recipe.
        steps: of the whole run.
        watch: reads the steps.
        pace: counts tokens.
        validator: computes the validation loss.
        progress: counts steps.
        tracker: takes metrics; sent before each checkpoint, so that none is lost.
        folder: where checkpoints are written.
        on_saved: is told the step of each checkpoint that was written, on the first device.
        checkpoint_seconds: least time between two of them; 0 writes one after each step.
    """

    def __init__(
        self,
        params: TrainingParams,
        *,
        steps: int,
        watch: Watch,
        pace: Pace,
        validator: Validator,
        progress: Progress,
        tracker: Tracker,
        folder: Path,
        on_saved: Callable[[int], None],
        checkpoint_seconds: float,
    ) -> None:
        self.curves = Curves()
        self._params, self._steps = params, steps
        self._watch, self._pace, self._validator = watch, pace, validator
        self._progress, self._tracker = progress, tracker
        self._folder, self._checkpoint_seconds = folder, checkpoint_seconds
        self._on_saved = on_saved
        self._write_seconds = 0.0
        self._record_steps = max(1, steps // _MAX_CURVE_POINTS)
        self._saved_at = time.monotonic()
        self._done_step = self._saved_step = 0
        self._is_asked_to_stop = False

    def ask_to_stop(self, *_: object) -> None:
        """Stop after this step: a signal handler, where there are several devices."""
        self._is_asked_to_stop = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._done_step = self._saved_step = trainer.global_step
        self._pace.restart()
        if trainer.global_step:
            self._validate_if_due(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._done_step:
            return  # a part of a step; the others follow
        self._done_step = trainer.global_step
        self._pace.step()
        found = self._watch.add(self._done_step, pl_module.loss, pl_module.gradient_norm)
        self._record(found, pl_module)
        self._progress.advance(note=self._note())
        self._validate_if_due(trainer, pl_module)
        self._save_if_due(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._record(self._watch.read(), pl_module)

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        """Keep the last step where SIGTERM came after it had asked whether to save."""
        # What comes after the last step has no step to come before it.
        is_whole = self._steps > trainer.global_step == self._done_step > self._saved_step
        # Of several devices, the others may be at another step.
        if isinstance(exception, SIGTERMException) and is_whole and trainer.world_size == 1:
            self._save(trainer)

    def state_dict(self) -> dict[str, Any]:
        """The curves so far go into each checkpoint: a resumed run has them whole."""
        return {**self.curves.state(), "recent": list(self._watch.recent)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the curves where the checkpoint was written."""
        self.curves.load_state(state_dict)
        self._watch.recent.extend(state_dict["recent"])

    def _validate_if_due(self, trainer: pl.Trainer, module: LanguageModelling) -> None:
        step = trainer.global_step
        is_due = step % self._params.validation_every_steps == 0 or step == self._steps
        if is_due and not self.curves.validated(step):
            self._record(self._watch.read(), module)  # before anything is kept of it
            found = self._validator.validate(trainer, module)
            if found is None:  # the next run validates first
                raise SIGTERMException
            self.curves.validation.append(found)
            self._report(found)
            if self.curves.best is found and self._params.keeps == "best":
                self._keep(trainer, step)
            self._pace.restart()
        patience = self._params.patience_validations
        if patience is not None and self.curves.num_since_best() >= patience:
            trainer.should_stop = True

    def _keep(self, trainer: pl.Trainer, step: int) -> None:
        weights = trainer.strategy.lightning_module_state_dict()  # whole, on all devices' part
        if trainer.is_global_zero:
            save_best(self._folder, step, weights)
        self._save(trainer)  # which names the best: older ones may go now

    def _save_if_due(self, trainer: pl.Trainer) -> None:
        is_told = trainer.received_sigterm or self._is_asked_to_stop
        is_due = time.monotonic() - self._saved_at >= self._pause_seconds()
        if not self._any(trainer, is_told or is_due):
            return
        self._save(trainer)
        if self._any(trainer, is_told):
            raise SIGTERMException

    def _save(self, trainer: pl.Trainer) -> None:
        self._record(self._watch.read(), trainer.lightning_module)
        self._tracker.flush()
        began_at = time.monotonic()
        trainer.save_checkpoint(self._folder / _CHECKPOINT_NAME)
        if trainer.is_global_zero:
            self._on_saved(trainer.global_step)
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
        self._write_seconds = self._saved_at - began_at

    def _pause_seconds(self) -> float:
        if self._checkpoint_seconds == 0:
            return 0.0
        return max(self._checkpoint_seconds, self._write_seconds * _LEAST_TRAINING_A_WRITE)

    def _record(self, found: list[Read], module: Any) -> None:
        kept = [at for at in found if at.step % self._record_steps == 0 or at.step == self._steps]
        for read in kept:
            lr = module.lr_at(read.step - 1)
            self.curves.training.append((read.step, read.loss, lr))
            is_last = read is kept[-1]  # speed is of all of them together
            metrics = {"loss": read.loss, "lr": lr, "gradient_norm": read.gradient_norm}
            speed = self._speed(module) if is_last else {}
            self._tracker.log({**metrics, **speed}, read.step)

    def _speed(self, module: Any) -> dict[str, float]:
        is_on_gpu = module.device.type == "cuda"
        return {**self._pace.metrics(), "memory_gb": memory_bytes(is_on_gpu=is_on_gpu) / 1e9}

    def _report(self, found: Validation) -> None:
        metrics = {"validation_loss": found.loss, "validation_perplexity": found.perplexity}
        if found.bits_per_byte is not None:
            metrics["validation_bits_per_byte"] = found.bits_per_byte
        self._tracker.log(metrics, found.step)
        log.info("step %d of %d: %s", found.step, self._steps, found.words())

    def _note(self) -> str:
        return f"loss {self._watch.recent[-1]:.3f}" if self._watch.recent else ""

    def _any(self, trainer: pl.Trainer, mine: bool) -> bool:
        """Whether it is so on any device; one that acts alone would wait for the others."""
        if trainer.world_size == 1:
            return mine
        return trainer.strategy.reduce_boolean_decision(mine, all=False)
