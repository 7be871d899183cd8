"""Work over the cores: in order, bounded, and one clear line when a worker is killed."""

import os
import signal

import pytest

from wordmill.errors import TryAgainError
from wordmill.workers import Workers, map_in_order


def squared(number):
    return number * number


def killed(number):
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_come_in_order():
    assert list(map_in_order(squared, range(50), num_workers=2)) == [n * n for n in range(50)]


def test_items_are_taken_as_fast_as_they_are_worked_on():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    with Workers(2) as workers:
        results = workers.map(squared, items())
        next(results)
        assert len(taken) < 10


def test_little_work_starts_no_process():
    with Workers(2) as workers:
        assert list(workers.map(squared, [3])) == [9]
        assert workers._pool is None


def test_a_worker_that_is_killed_is_one_clear_line():
    with Workers(2) as workers, pytest.raises(TryAgainError, match="ended from outside"):
        list(workers.map(killed, range(5)))
