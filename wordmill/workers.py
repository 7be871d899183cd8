"""Work spread over the cores, in order, with a bounded amount of it in memory.

Workers are processes that end with the one that started them. Nothing is started for work
that fits one batch: a start costs about a second.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import TypeVar

from wordmill.errors import TryAgainError

_SECONDS_BETWEEN_LOOKS = 0.5
_BATCHES_AHEAD = 2  # a worker; more would only be more in memory

Item = TypeVar("Item")
Made = TypeVar("Made")


def map_in_order(
    function: Callable[[Item], Made], items: Iterable[Item], *, num_workers: int | None = None
) -> Iterator[Made]:
    """Yield `function(item)` for each item, in order, on all cores; see `Workers.map`."""
    with Workers(num_workers) as workers:
        yield from workers.map(function, items)


class Workers:
    """A pool of processes that is started when it is first needed.

    Args:
        num_workers: processes; None is one a core, 1 works in this process.
    """

    def __init__(self, num_workers: int | None = None) -> None:
        self._num_workers = num_workers or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
        """Yield `function(item)` for each item, in order.

        Args:
            function: can be pickled, and so can what it takes and makes.
            items: taken only as fast as they are worked on.

        Raises:
            TryAgainError: a worker was ended from outside.
        """
        remaining = iter(items)
        first = list(islice(remaining, 2))
        if len(first) < 2 or self._num_workers == 1:
            yield from map(function, chain(first, remaining))
            return
        pool = self._pool = self._pool or _started(self._num_workers)
        waiting: deque[Future[Made]] = deque()
        try:
            for item in chain(first, remaining):
                waiting.append(pool.submit(function, item))
                if len(waiting) > self._num_workers * _BATCHES_AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise TryAgainError(
                "a worker process was ended from outside, perhaps for lack of memory; run again"
            ) from None


def _started(num_workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        num_workers,
        mp_context=multiprocessing.get_context("spawn"),  # a fork would copy locked locks
        initializer=_end_with,
        initargs=(os.getpid(),),
    )


def _end_with(parent: int) -> None:
    """In a worker: end when the parent is gone; a pool's workers would wait for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends the pool

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
