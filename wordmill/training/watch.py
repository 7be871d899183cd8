"""What is read off a run step by step: losses that must stay sane, speed, memory.

A GPU is asked for its numbers every few steps only: to ask each time would make it wait.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from wordmill.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

_WINDOW_STEPS = 50
_LEAST_STEPS = 20  # before that the loss falls too fast for its median to say anything
_MOST_NAMED = 5


class Tracker(Protocol):
    """Where metrics go."""

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Take metrics of a step."""

    def flush(self) -> None:
        """Send what was taken."""


class Read(NamedTuple):
    """A step and what it came to."""

    step: int
    loss: float
    gradient_norm: float


class Watch:
    """Reads losses and gradient norms off the device, and stops the run when they are not sane.

    Args:
        every_steps: steps between two readings.
        max_loss_rise: nats above the median of the last losses that stop the run.
        records_of: the ids of the records in a step's batch.
        newest: the newest checkpoint, for the message.
        reduced: adds a tensor up over all devices.
        is_scaled: whether a gradient scaler may skip a step of infinite gradients.
    """

    def __init__(
        self,
        *,
        every_steps: int,
        max_loss_rise: float | None,
        records_of: Callable[[int], list[str]],
        newest: Callable[[], Path | None],
        reduced: Callable[[Tensor], Tensor],
        is_scaled: bool,
    ) -> None:
        self._every_steps, self._max_loss_rise = every_steps, max_loss_rise
        self._records_of, self._newest = records_of, newest
        self._reduced, self._is_scaled = reduced, is_scaled
        self._waiting: list[tuple[int, Tensor, Tensor]] = []
        self.recent: deque[float] = deque(maxlen=_WINDOW_STEPS)

    def add(self, step: int, loss: Tensor, gradient_norm: Tensor) -> list[Read]:
        """Take a step; returns what was read, nothing between readings.

        Args:
            step: how many steps are done.
            loss: this device's share of the mean loss.
            gradient_norm: of the whole step.
        """
        self._waiting.append((step, loss, gradient_norm))
        return self.read() if len(self._waiting) >= self._every_steps else []

    def read(self) -> list[Read]:
        """Read what waits.

        Raises:
            DataError: a loss or gradient is not finite, or a loss rose too far.
        """
        if not self._waiting:
            return []
        steps, losses, norms = zip(*self._waiting, strict=True)
        self._waiting = []
        values = torch.stack([self._reduced(torch.stack(losses)), torch.stack(norms)]).tolist()
        found = list(map(Read, steps, *values))
        for read in found:
            self._judge(read)
        return found

    def _judge(self, read: Read) -> None:
        if not math.isfinite(read.loss):
            raise self._error(read.step, f"the loss is {read.loss}")
        if not math.isfinite(read.gradient_norm) and not self._is_scaled:
            raise self._error(read.step, f"the gradient norm is {read.gradient_norm}")
        if self._max_loss_rise is not None and len(self.recent) >= _LEAST_STEPS:
            median = statistics.median(self.recent)
            if read.loss > median + self._max_loss_rise:
                raise self._error(
                    read.step,
                    f"the loss is {read.loss:.3f}, the median of the {len(self.recent)} before"
                    f" it {median:.3f} (max_loss_rise {self._max_loss_rise:g})",
                )
        self.recent.append(read.loss)

    def _error(self, step: int, what: str) -> DataError:
        return DataError(
            f"step {step}: {what}; lower lr, raise warmup_steps or look at the records of its batch"
            f" ({_named(self._records_of(step - 1))}); last good checkpoint:"
            f" {self._newest() or 'none yet'} (of these very params: others start anew)"
        )


def _named(records: list[str]) -> str:
    if not records:
        return "not known"
    more = f" and {len(records) - _MOST_NAMED} more" if len(records) > _MOST_NAMED else ""
    return ", ".join(records[:_MOST_NAMED]) + more


class Pace:
    """Tokens a second, and the share of the device's peak that they are.

    Args:
        step_tokens: tokens trained on in a step, over all devices.
        flops_a_token: operations for a token.
        peak_flops: operations a second that all devices can do, None where that is not known.
    """

    def __init__(
        self, *, step_tokens: float, flops_a_token: float, peak_flops: float | None
    ) -> None:
        self._step_tokens, self._flops_a_token = step_tokens, flops_a_token
        self._peak_flops = peak_flops
        self.restart()

    def restart(self) -> None:
        """Leave out what was not training."""
        self._steps, self._since = 0, time.monotonic()

    def step(self) -> None:
        """Count a step."""
        self._steps += 1

    def metrics(self) -> dict[str, float]:
        """The speed since the last time it was asked for."""
        rate = self._steps * self._step_tokens / max(time.monotonic() - self._since, 1e-9)
        self.restart()
        found = {"tokens_per_second": rate}
        if self._peak_flops:
            found["model_flops_utilization"] = rate * self._flops_a_token / self._peak_flops
        return found
