"""Progress of long work: a bar on a terminal, a plain line now and then in a log.

The meter's text (share done, rate, time left) is tqdm's. Where a line goes is for the caller
to say: the library writes nowhere by itself.
"""

import time
from collections.abc import Callable
from types import TracebackType

from tqdm import tqdm

Show = Callable[[str], None]


def nowhere(_: str) -> None:
    """Show no progress."""


class Progress:
    """Counts units of work and shows a line every few seconds.

    Args:
        what: the work's name.
        show: takes the line to show.
        total: how many units there are, None where nobody knows.
        unit: what is counted.
        every_seconds: the least time between two lines.
        start: units done before (a resumed run); the rate leaves them out.
    """

    def __init__(
        self,
        what: str,
        *,
        show: Show = nowhere,
        total: int | None = None,
        unit: str = "row",
        every_seconds: float = 10.0,
        start: int = 0,
    ) -> None:
        self._what, self._show, self._unit = what, show, unit
        self._total, self._start = total, start
        self._every_seconds = every_seconds
        self._done = start
        self._started_at = self._shown_at = time.monotonic()
        self._shown = -1

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: TracebackType | object) -> None:
        if kind is None and self._shown != self._done:
            self._show_line("")

    def advance(self, units: int = 1, note: str = "") -> None:
        """Count `units` more as done."""
        self._done += units
        if time.monotonic() - self._shown_at >= self._every_seconds:
            self._show_line(note)

    def _show_line(self, note: str) -> None:
        self._shown_at, self._shown = time.monotonic(), self._done
        line = tqdm.format_meter(
            self._done,
            self._total or 0,
            self._shown_at - self._started_at,
            prefix=self._what,
            unit=f" {self._unit}",
            postfix=note,
            initial=self._start,
            ncols=100,
        )
        self._show(line)
