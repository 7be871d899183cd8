"""The curves of a run, as its folder and its checkpoints keep them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple


class Validation(NamedTuple):
    """One validation."""

    step: int
    loss: float
    """Nats a token."""
    bits_per_byte: float | None
    """None where tokens stand for no text of their own."""

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        return math.exp(min(self.loss, _MAX_EXPONENT))

    def words(self) -> str:
        """For people."""
        found = f"validation loss {self.loss:.3f} (perplexity {self.perplexity:.1f}"
        bits = "" if self.bits_per_byte is None else f", {self.bits_per_byte:.3f} bits/byte"
        return f"{found}{bits})"


_MAX_EXPONENT = 700.0  # the largest double is exp(709)


class Curves:
    """Points of the training and validation curves, by step."""

    def __init__(self) -> None:
        self.training: list[tuple[int, float, float]] = []
        """step, loss, learning rate"""
        self.validation: list[Validation] = []

    @property
    def best(self) -> Validation | None:
        """The first validation of the lowest loss."""
        return min(self.validation, key=lambda found: found.loss, default=None)

    def validated(self, step: int) -> bool:
        """Whether step `step` was validated."""
        return bool(self.validation) and self.validation[-1].step == step

    def num_since_best(self) -> int:
        """Validations after the best one."""
        best = self.best
        return len(self.validation) - 1 - self.validation.index(best) if best else 0

    def write(self, folder: Path) -> None:
        """Write both as CSV. No times: these files are the same for every run of a recipe."""
        rows = [f"{step},{loss:.6f},{lr:.8f}" for step, loss, lr in self.training]
        _write_lines(folder / "training.csv", "step,loss,lr", rows)
        rows = [
            f"{at.step},{at.loss:.6f},{at.perplexity:.4f},"
            + ("" if at.bits_per_byte is None else f"{at.bits_per_byte:.6f}")
            for at in self.validation
        ]
        _write_lines(folder / "validation.csv", "step,loss,perplexity,bits_per_byte", rows)

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return {"training": self.training, "validation": [tuple(at) for at in self.validation]}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
        self.training = [tuple(at) for at in state["training"]]
        self.validation = [Validation(*at) for at in state["validation"]]


def _write_lines(path: Path, head: str, rows: list[str]) -> None:
    path.write_text("\n".join([head, *rows, ""]))
