"""Keys and values that stay where they are written.

transformers' own cache copies all of them at each step to make room for one more place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer


class RoomyLayer(DynamicLayer):
    """A layer's keys and values, with room for all places from the start.

    Args:
        num_places: the most that will be written.
    """

    def __init__(self, num_places: int) -> None:
        super().__init__()
        self._num_places = num_places
        self._room: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Write new places, (B, H, T, K); everything so far comes back."""
        if self._room is None:
            self.lazy_initialization(key_states, value_states)
            self._room = self._new_room(key_states), self._new_room(value_states)
            start = 0
        else:
            start = self.get_seq_length()
        num_new = key_states.shape[2]
        for room, states in zip(self._room, (key_states, value_states), strict=True):
            room.narrow(2, start, num_new).copy_(states)
        self._show(start + num_new)
        assert self.keys is not None
        assert self.values is not None
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Go on with these rows alone."""
        assert self._room is not None
        keys, values = self._room
        self._room = keys[indices], values[indices]
        self._show(self.get_seq_length())

    def _new_room(self, states: Tensor) -> Tensor:
        num_rows, num_heads, _, size = states.shape
        return torch.zeros(
            (num_rows, num_heads, self._num_places, size), dtype=states.dtype, device=states.device
        )

    def _show(self, num_places: int) -> None:
        assert self._room is not None
        self.keys, self.values = (room.narrow(2, 0, num_places) for room in self._room)
