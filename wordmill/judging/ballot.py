"""Which answers are shown, in which order and on which side: from the seed alone.

The same seed gives the same ballot, so that judging can be taken up again; a longer one begins
with the shorter one. Which system stands on the left follows from seed and example.
"""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from wordmill.errors import DataError
from wordmill.judging.answers import Answers, Asked


class Duel(NamedTuple):
    """One example with the two answers to it."""

    asked: Asked
    """As the first system has it."""
    answer_a: str
    answer_b: str
    is_a_left: bool


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """Everything one judge is shown."""

    a: Answers
    b: Answers
    duels: list[Duel]
    num_alike: int
    """Examples that both systems answer alike: they are not shown."""
    num_common: int
    """Examples that both systems have answered."""

    @property
    def hash(self) -> str:
        """Of the compared answers; a against b and b against a are one comparison."""
        return _hash("|".join(sorted((self.a.hash, self.b.hash))))[:16]


def ballot(a: Answers, b: Answers, *, samples: int, seed: int) -> Ballot:
    """Draw examples that the two answer differently.

    Args:
        a: one system's answers.
        b: the other's, to the same sources.
        samples: how many at most.
        seed: of the draw and of the sides.

    Raises:
        DataError: the two have no example in common, or answer all of them alike.
    """
    common = [key for key, row in a.rows.items() if key in b.rows and _is_same(row, b.rows[key])]
    if not common:
        raise DataError(
            f"{a.system} and {b.system} have no example in common:"
            " compare predictions on one test set"
        )
    unlike = [key for key in common if _words(a, key) != _words(b, key)]
    if not unlike:
        raise DataError(
            f"{a.system} and {b.system} answer all {len(common)} examples alike: nothing to judge"
        )
    drawn = sorted(unlike, key=lambda key: _hash(f"{seed}|order|{key}"))[:samples]
    first, second = sorted((a, b), key=lambda answers: answers.hash)
    duels = [
        Duel(
            asked=first.rows[key],
            answer_a=first.rows[key].prediction,
            answer_b=second.rows[key].prediction,
            is_a_left=int(_hash(f"{seed}|side|{key}"), 16) % 2 == 0,
        )
        for key in drawn
    ]
    return Ballot(
        a=first, b=second, duels=duels, num_alike=len(common) - len(unlike), num_common=len(common)
    )


def _is_same(one: Asked, other: Asked) -> bool:
    return (one.task, one.source, one.ask) == (other.task, other.source, other.ask)


def _words(answers: Answers, key: str) -> list[str]:
    return answers.rows[key].prediction.split()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
