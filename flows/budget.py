"""How long a retraining may take, and what is left of it.

When the time is over the stage at work gets SIGTERM, on which training writes a checkpoint, and
no further stage starts. That is no failure: the next start goes on from there.
"""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from flows.group import Child, end, pass_sigterm_on
from wordmill.errors import TryAgainError


class OutOfTimeError(TryAgainError):
    """The time was over before it was done; the next start goes on."""


# A checkpoint of a large model takes its time, and nothing hurries here.
_GRACE_SECONDS = 300.0


@dataclass(frozen=True)
class Budget:
    """Hours from now; None has no end."""

    hours: float | None
    _started_at: float = field(default_factory=time.monotonic)

    @property
    def seconds_left(self) -> float | None:
        """Until it is over, not below 0; None where there is no end."""
        if self.hours is None:
            return None
        return max(0.0, self.hours * 3600 - (time.monotonic() - self._started_at))

    @property
    def is_over(self) -> bool:
        """Whether nothing is left."""
        return self.seconds_left == 0.0

    def __str__(self) -> str:
        return "no budget" if self.hours is None else f"its budget of {self.hours:g} h"

    @contextmanager
    def over(self, child: Child, *, grace_seconds: float = _GRACE_SECONDS) -> Generator[None]:
        """End the child when time is over: gently, and for good when it does not listen."""
        if self.seconds_left is None:
            yield
            return
        is_done = threading.Event()

        def watch() -> None:
            if is_done.wait(self.seconds_left):
                return
            pass_sigterm_on(child)
            if not is_done.wait(grace_seconds):
                end(child)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            is_done.set()
