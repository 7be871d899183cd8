"""The decode loop: a token of each row a step, keys and values kept.

A row that has ended is dropped as soon as half of the batch has, and costs its answer nothing
before. On a GPU the tokens are looked at only now and then, as a look waits for the device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wordmill.generation.answers import IsStopped, Said
    from wordmill.generation.choosing import Choice
    from wordmill.generation.steppers import Stepper

_GPU_STEPS_A_LOOK = 8


class Asked(NamedTuple):
    """A batch of prompts, and what to do with them."""

    prompts: list[list[int]]
    given: list[list[int]]
    """What stands before each answer in its own text: the prompt, or what a decoder starts from."""
    draws: Tensor | None
    """(B, steps), where tokens are drawn."""
    max_new_tokens: int
    end_id: int


class _Rows:
    """The rows that are still decoded: which answers they are, and what the choice looks at."""

    def __init__(self, asked: Asked, *, has_texts: bool, device: torch.device) -> None:
        self.numbers = list(range(len(asked.prompts)))
        self._draws = None if asked.draws is None else asked.draws.to(device)
        self._texts = None
        if has_texts:
            longest = max(map(len, asked.given))
            # The end token opens every text: before it, it changes nothing.
            rows = [[asked.end_id] * (longest - len(ids)) + ids for ids in asked.given]
            self._texts = torch.tensor(rows, device=device)  # (B, T)

    def texts(self) -> Tensor | None:
        return self._texts

    def draws(self, step: int) -> Tensor | None:
        return None if self._draws is None else self._draws[:, step]

    def add(self, tokens: Tensor) -> None:
        if self._texts is not None:
            self._texts = torch.cat([self._texts, tokens[:, None]], dim=1)

    def keep(self, rows: Tensor) -> None:
        self.numbers = [self.numbers[row] for row in rows.tolist()]
        self._texts = None if self._texts is None else self._texts[rows]
        self._draws = None if self._draws is None else self._draws[rows]


@torch.inference_mode()
def decode(
    stepper: Stepper,
    choice: Choice,
    asked: Asked,
    *,
    said: list[Said],
    is_stopped: IsStopped,
    is_paused: bool = False,
) -> Iterator[None]:
    """Decode a batch.

    Args:
        stepper: of the model.
        choice: takes or draws tokens.
        asked: the prompts.
        said: an empty answer for each prompt, which grows.
        is_stopped: looks for stop sequences.
        is_paused: whether to yield after each look at the tokens; each pause costs some 20 µs.

    Yields:
        None, after each look where it pauses, else never.
    """
    rows = _Rows(asked, has_texts=bool(choice.adjusting), device=stepper.device)
    logits = _begun(stepper, asked)
    steps_a_look = 1 if stepper.device.type == "cpu" else _GPU_STEPS_A_LOOK
    unseen: list[Tensor] = []
    for step in range(asked.max_new_tokens):
        tokens = choice(logits, rows.texts(), rows.draws(step))  # (B,)
        unseen.append(tokens)
        is_last = step + 1 == asked.max_new_tokens
        if len(unseen) == steps_a_look or is_last:
            seen = tokens[:, None] if len(unseen) == 1 else torch.stack(unseen, dim=1)
            for number, new in zip(rows.numbers, seen.tolist(), strict=True):
                said[number].take(new, end_id=asked.end_id, is_stopped=is_stopped)
            unseen = []
            if is_paused:
                yield
            live = [row for row, number in enumerate(rows.numbers) if not said[number].is_ended]
            if is_last or not live:
                return
            if 2 * len(live) <= len(rows.numbers):
                kept = torch.tensor(live, device=stepper.device)
                tokens = tokens[kept]
                rows.keep(kept)
                stepper.keep(kept)
        rows.add(tokens)
        logits = stepper.step(tokens)


def _begun(stepper: Stepper, asked: Asked) -> Tensor:
    """Logits of what follows each prompt, (B, V); equal prompts are read once."""
    places: dict[tuple[int, ...], int] = {}
    rows = [places.setdefault(tuple(ids), len(places)) for ids in asked.prompts]
    different = [list(ids) for ids in places]
    logits = stepper.begin(different, max_new_tokens=asked.max_new_tokens)
    if len(different) == len(rows):
        return logits
    chosen = torch.tensor(rows, device=stepper.device)
    stepper.keep(chosen)
    return logits[chosen]
