"""What votes say: a win rate with its interval, and how likely so one-sided a vote is by chance."""

import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

Choice = Literal["a", "b", "tie", "skip"]

_Z = 1.959963984540054  # of the middle 95% of a normal distribution


class Tally(NamedTuple):
    """Counted votes of a against b."""

    wins_a: int
    wins_b: int
    ties: int
    skips: int

    @property
    def num_votes(self) -> int:
        """Votes that count; skipped ones don't."""
        return self.wins_a + self.wins_b + self.ties

    @property
    def rate(self) -> float:
        """Win rate of a, 0 to 1: ties count half. 0.5 without votes."""
        return (self.wins_a + self.ties / 2) / self.num_votes if self.num_votes else 0.5

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of the rate by Wilson (1927, https://doi.org/10.1080/01621459.1927.10502953).

        Ties enter as half wins, which makes it a little wide where there are many.
        """
        return wilson(self.rate * self.num_votes, self.num_votes)

    @property
    def p(self) -> float:
        """Of the two-sided sign test; ties are left out of it."""
        return sign_test(self.wins_a, self.wins_b)


def tally(choices: Iterable[Choice]) -> Tally:
    """Count choices."""
    found = list(choices)
    return Tally(*(found.count(choice) for choice in ("a", "b", "tie", "skip")))


def wilson(wins: float, count: int) -> tuple[float, float]:
    """95% score interval of a share.

    Args:
        wins: 0 to `count`; halves are allowed.
        count: 0 gives the whole range.
    """
    if count == 0:
        return 0.0, 1.0
    share, square = wins / count, _Z * _Z / count
    middle = share + square / 2
    reach = math.sqrt(share * (1 - share) * square + square * square / 4)
    return max(0.0, (middle - reach) / (1 + square)), min(1.0, (middle + reach) / (1 + square))


def sign_test(wins: int, losses: int) -> float:
    """How likely wins and losses at least this uneven are where both are equally likely.

    Exact; 1 where there are none.
    """
    count = wins + losses
    tail = sum(math.comb(count, k) for k in range(min(wins, losses) + 1))
    return min(1.0, 2 * tail / 2**count)
