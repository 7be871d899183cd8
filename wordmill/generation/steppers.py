"""Models as the decode loop wants them: read B prompts, then take a token of each row at a time.

`new_stepper` decides, here alone, which models the loop serves; the others are left to
transformers' `generate`. A row's answer does not depend on the rows beside it.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, EncoderDecoderCache

from wordmill.generation.cache import RoomyLayer
from wordmill.generation.llama import LlamaStepper, is_plain_llama
from wordmill.generation.ngram import NgramStepper
from wordmill.generation.padding import left_padded, right_padded
from wordmill.models.encoder_decoder import decoder_start_id
from wordmill.models.lstm import DecoderState, LstmForConditionalGeneration
from wordmill.models.ngram_model import NgramModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from wordmill.models.folder import Model


class Stepper(Protocol):
    """A model in the middle of B texts."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def begin(self, prompts: list[list[int]], *, max_new_tokens: int) -> Tensor:
        """Read the prompts; logits of what follows each, (B, V)."""
        ...

    def step(self, tokens: Tensor) -> Tensor:
        """Take a token of each row, (B,); logits of what follows, (B, V)."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows, (B',), in this order; a row may come more than once."""
        ...


def new_stepper(model: Model, *, pad_id: int) -> Stepper | None:
    """What steps with the model, None where only `generate` can."""
    if isinstance(model, NgramModel):
        return NgramStepper(model)
    if is_plain_llama(model):
        return LlamaStepper(model, pad_id=pad_id)
    if isinstance(model, LstmForConditionalGeneration):
        return EncoderDecoderStepper(model, pad_id=pad_id)
    # Code that came with a checkpoint may use its cache, or positions, in ways of its own.
    if not type(model).__module__.startswith("transformers.") or not _has_plain_cache(model):
        return None
    if model.config.is_encoder_decoder:
        return EncoderDecoderStepper(model, pad_id=pad_id)
    if takes(model, "position_ids", "attention_mask", "past_key_values"):
        return CausalStepper(model, pad_id=pad_id)
    return None


def takes(model: PreTrainedModel, *names: str) -> bool:
    """Whether the model's forward has these arguments."""
    return set(names) <= set(inspect.signature(model.forward).parameters)


class CausalStepper:
    """A causal model of transformers; prompts are padded on the left."""

    def __init__(self, model: PreTrainedModel, *, pad_id: int) -> None:
        self._model: Any = model
        self._pad_id = pad_id
        self._num_layers = _num_layers(model)
        self._at_first = {"logits_to_keep": 1} if takes(model, "logits_to_keep") else {}

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._model.device

    def begin(self, prompts: list[list[int]], *, max_new_tokens: int) -> Tensor:
        """Read the prompts; logits of what follows each, (B, V)."""
        padded = left_padded(prompts, pad_id=self._pad_id, device=self.device)
        num_rows, self._length = padded.ids.shape
        self._cache = _roomy_cache(self._num_layers, self._length + max_new_tokens)
        self._positions = padded.positions[:, -1:]
        self._mask = None
        if padded.mask is not None:
            to_come = padded.mask.new_ones(num_rows, max_new_tokens)
            self._mask = torch.cat([padded.mask, to_come], dim=1)
        return self._logits(padded.ids, padded.positions, **self._at_first)

    def step(self, tokens: Tensor) -> Tensor:
        """Take a token of each row, (B,); logits of what follows, (B, V)."""
        self._length += 1
        self._positions = self._positions + 1
        return self._logits(tokens[:, None], self._positions)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows, (B',), in this order."""
        self._cache.batch_select_indices(rows)
        self._positions = self._positions[rows]
        self._mask = None if self._mask is None else self._mask[rows]

    def _logits(self, ids: Tensor, positions: Tensor, **more: Any) -> Tensor:
        output = self._model(
            input_ids=ids,
            attention_mask=None if self._mask is None else self._mask[:, : self._length],
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            **more,
        )
        return output.logits[:, -1]


class EncoderDecoderStepper:
    """A model whose encoder reads the prompt, padded on the right, and whose decoder answers."""

    def __init__(self, model: PreTrainedModel, *, pad_id: int) -> None:
        self._model: Any = model
        self._pad_id = pad_id
        self._start_id = decoder_start_id(model)
        is_lstm = isinstance(model, LstmForConditionalGeneration)
        self._num_layers = None if is_lstm else _num_layers(model)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._model.device

    def begin(self, prompts: list[list[int]], *, max_new_tokens: int) -> Tensor:
        """Read the prompts; logits of what the decoder says first, (B, V)."""
        padded = right_padded(prompts, pad_id=self._pad_id, device=self.device)
        self._mask = padded.mask
        self._memory = self._model.get_encoder()(input_ids=padded.ids, attention_mask=padded.mask)
        self._state: Any = None
        if self._num_layers is not None:
            said = _roomy_cache(self._num_layers, 1 + max_new_tokens)
            self._state = EncoderDecoderCache(said, DynamicCache())
        return self.step(torch.full((len(prompts),), self._start_id, device=self.device))

    def step(self, tokens: Tensor) -> Tensor:
        """Take a token of each row, (B,); logits of what follows, (B, V)."""
        output = self._model(
            encoder_outputs=self._memory,
            attention_mask=self._mask,
            decoder_input_ids=tokens[:, None],
            past_key_values=self._state,
            use_cache=True,
        )
        self._state = output.past_key_values
        return output.logits[:, -1]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows, (B',), in this order."""
        self._memory.last_hidden_state = self._memory.last_hidden_state[rows]
        self._mask = None if self._mask is None else self._mask[rows]
        if isinstance(self._state, DecoderState):
            hidden, cell, keys = self._state
            self._state = DecoderState(hidden[:, rows], cell[:, rows], keys[rows])
        else:
            self._state.batch_select_indices(rows)


def _roomy_cache(num_layers: int, num_places: int) -> DynamicCache:
    cache = DynamicCache()
    layers: list[Any] = [RoomyLayer(num_places) for _ in range(num_layers)]
    cache.layers = layers
    return cache


def _num_layers(model: PreTrainedModel) -> int:
    return len(DynamicCache(config=model.config.get_text_config(decoder=True)).layers)


def _has_plain_cache(model: PreTrainedModel) -> bool:
    """Whether every layer attends to all that went before, and keeps no other state."""
    made: Any = model
    if made._is_stateful or not made._supports_default_dynamic_cache():
        return False
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    return bool(cache.layers) and all(type(layer) is DynamicLayer for layer in cache.layers)
