"""A Llama-style decoder's step with nothing around it: the model's weights, fewer and larger calls.

A small model's step in transformers is Python and many small operations; this one has a third of
them. Query, key and value come from one product, gate and up from one, the norms' weights stand in
the products after them, keys and values are written where they stay. Same numbers up to rounding.
It copies the weights, so large models go without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaForCausalLM

from wordmill.generation.padding import Padded, left_padded

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_MAX_COPIED_PARAMETERS = 2**26
# Whose angles depend on the position alone, not on how long the text is.
_ROPE_TYPES = ("default", "linear", "llama3")


class _Layer(NamedTuple):
    """The weights of a layer, (in, out), each with those of the norm before it."""

    query_key_value: Tensor
    output: Tensor
    gate_up: Tensor
    down: Tensor


class _Cache(NamedTuple):
    """Keys and values of a layer, and how a step looks at them."""

    room: Tensor
    """(2, B, G, P, K)."""
    keys: Tensor
    """(B * G, K, P)."""
    values: Tensor
    """(B * G, P, K)."""


class LlamaStepper:
    """Goes on with a batch of texts, a token a step.

    Heads are H, those of keys and values G; P is the longest that a text can get.

    Args:
        model: for which `is_plain_llama` holds.
        pad_id: fills shorter prompts on the left.
    """

    def __init__(self, model: PreTrainedModel, *, pad_id: int) -> None:
        self._model: Any = model
        self._pad_id = pad_id
        config: Any = model.config
        heads, self._num_kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._num_heads: int = heads
        self._head_size: int = self._model.model.layers[0].self_attn.head_dim
        self._layers = [_weights(layer, self._head_size) for layer in self._model.model.layers]
        self._head = _after_norm(self._model.lm_head.weight, self._model.model.norm)
        self._eps = torch.full((1, 1), config.rms_norm_eps, device=self.device)
        is_value = torch.arange(heads + 2 * self._num_kv_heads) >= heads + self._num_kv_heads
        self._is_value = is_value[:, None].to(self.device)  # (H + 2 G, 1)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._model.device

    def begin(self, prompts: list[list[int]], *, max_new_tokens: int) -> Tensor:
        """Read the prompts; logits of what follows each, (B, V)."""
        padded = left_padded(prompts, pad_id=self._pad_id, device=self.device)
        num_rows, longest = padded.ids.shape
        size = longest + max_new_tokens  # P
        shape = (2, num_rows, self._num_kv_heads, size, self._head_size)
        self._cache = [_viewed(torch.zeros(shape, device=self.device)) for _ in self._layers]
        self._length = longest
        self._positions = padded.positions[:, -1]
        self._set_angles(size)
        return self._read(padded, self._masks(padded, size))

    def step(self, tokens: Tensor) -> Tensor:
        """Take a token of each row, (B,); logits of what follows, (B, V)."""
        self._positions = self._positions + 1
        self._length += 1
        angles = F.embedding(self._positions, self._step_angles)  # (B, 2 (H + 2 G) K)
        cosine, sine = angles.view(len(tokens), 2, -1, self._head_size).unbind(1)
        hidden = F.embedding(tokens, self._model.model.embed_tokens.weight)  # (B, D)
        for layer, cache in zip(self._layers, self._cache, strict=True):
            mixed = torch.mm(self._normed(hidden), layer.query_key_value)
            mixed = mixed.view(len(tokens), -1, self._head_size)  # (B, H + 2 G, K)
            turned = (mixed * cosine).addcmul_(mixed.roll(self._head_size // 2, -1), sine)
            hidden = torch.addmm(hidden, self._looked_up(turned, cache), layer.output)
            hidden = self._fed_forward(hidden, layer)
        return torch.mm(self._normed(hidden), self._head)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows, (B',), in this order."""
        self._positions = self._positions[rows]
        self._cache = [_viewed(cache.room.index_select(1, rows)) for cache in self._cache]
        if self._mask is not None:
            by_row = self._mask.unflatten(0, (-1, self._num_kv_heads))
            self._mask = by_row[rows].flatten(0, 1)

    def _set_angles(self, size: int) -> None:
        places = torch.arange(size, device=self.device)[None]  # (1, P)
        like = self._model.model.embed_tokens.weight
        cosine, sine = self._model.model.rotary_emb(like, places)  # (1, P, K) each
        half = self._head_size // 2
        # With halves swapped by one roll, the minus of a rotation is in the table.
        turned = torch.cat([-sine[0, :, :half], sine[0, :, half:]], dim=-1)
        self._angles = torch.cat([cosine[0], turned], dim=-1)  # (P, 2 K)
        # For a step by head, and none for values: all heads are turned, and stored, at once.
        angles = self._angles.view(size, 2, 1, -1)
        none = torch.tensor([1.0, 0.0], device=self.device).view(2, 1, 1)
        self._step_angles = torch.where(self._is_value, none, angles).flatten(1)

    def _masks(self, padded: Padded, size: int) -> Tensor | None:
        """What is added to the scores of the prompts, and in `_mask` to those of each step."""
        self._mask = None
        if padded.mask is None:
            return None
        # The lowest number, not -inf: padding attends to nothing else, and must not become NaN.
        lowest = torch.finfo(torch.float32).min
        num_rows, longest = padded.ids.shape
        mask = torch.zeros(num_rows, self._num_kv_heads, size, device=self.device)
        mask[..., :longest].masked_fill_(padded.mask[:, None] == 0, lowest)
        self._mask = mask.flatten(0, 1)[:, None]  # (B * G, 1, P)
        is_future = torch.ones(longest, longest, dtype=torch.bool, device=self.device).triu(1)
        before = mask[:, :1, None, :longest].expand(-1, -1, longest, -1)
        return before.masked_fill(is_future, lowest)  # (B, 1, T, T)

    def _read(self, padded: Padded, mask: Tensor | None) -> Tensor:
        num_rows, num_places = padded.ids.shape
        angles = self._angles[padded.positions][:, None]  # (B, 1, T, 2 K)
        hidden = self._model.model.embed_tokens(padded.ids).flatten(0, 1)  # (B * T, D)
        for layer, cache in zip(self._layers, self._cache, strict=True):
            mixed = self._normed(hidden) @ layer.query_key_value
            heads = mixed.view(num_rows, num_places, -1, self._head_size).transpose(1, 2)
            attended = self._attended(heads, cache, angles, mask)
            hidden = torch.addmm(hidden, attended, layer.output)
            hidden = self._fed_forward(hidden, layer)
        last = hidden.view(num_rows, num_places, -1)[:, -1]  # (B, D)
        return self._normed(last) @ self._head

    def _attended(
        self, mixed: Tensor, cache: _Cache, angles: Tensor, mask: Tensor | None
    ) -> Tensor:
        """Attention of the prompts, (B * T, H * K), of (B, H + 2 G, T, K)."""
        groups, size = self._num_kv_heads, self._head_size
        plain, values = mixed.split([self._num_heads + groups, groups], dim=1)
        cosine, sine = angles.split(size, dim=-1)
        turned = (plain * cosine).addcmul_(plain.roll(size // 2, -1), sine)
        queries, keys = turned.split([self._num_heads, groups], dim=1)
        num_places = mixed.shape[2]
        cache.room[0, :, :, :num_places] = keys
        cache.room[1, :, :, :num_places] = values
        found = F.scaled_dot_product_attention(
            queries,
            keys.repeat_interleave(self._num_heads // groups, dim=1),
            values.repeat_interleave(self._num_heads // groups, dim=1),
            attn_mask=mask,
            is_causal=mask is None,
            scale=1.0,
        )
        return found.transpose(1, 2).reshape(-1, self._num_heads * size)

    def _looked_up(self, turned: Tensor, cache: _Cache) -> Tensor:
        """Attention of one place, (B, H * K), of (B, H + 2 G, K).

        For one place plain products are twice as fast on a CPU as `scaled_dot_product_attention`.
        """
        groups, size = self._num_kv_heads, self._head_size
        queries, new = turned.split([self._num_heads, 2 * groups], dim=1)
        written = new.view(len(turned), 2, groups, size).transpose(0, 1)
        cache.room.select(3, self._length - 1).copy_(written)
        keys = cache.keys.narrow(2, 0, self._length)  # (B * G, K, t)
        values = cache.values.narrow(1, 0, self._length)  # (B * G, t, K)
        shared = queries.reshape(len(keys), -1, size)  # (B * G, H / G, K)
        if self._mask is None:
            scores = torch.bmm(shared, keys)
        else:
            scores = torch.baddbmm(self._mask.narrow(2, 0, self._length), shared, keys)
        return torch.bmm(scores.softmax(dim=-1), values).view(len(turned), -1)

    def _fed_forward(self, hidden: Tensor, layer: _Layer) -> Tensor:
        gate, up = torch.mm(self._normed(hidden), layer.gate_up).chunk(2, dim=-1)
        return torch.addmm(hidden, F.silu(gate).mul_(up), layer.down)

    def _normed(self, hidden: Tensor) -> Tensor:
        """Each row over its root mean square: on a CPU faster than `F.rms_norm`."""
        length = torch.linalg.vector_norm(hidden, dim=-1, keepdim=True)  # (B, 1)
        scale = torch.addcmul(self._eps, length, length, value=1 / hidden.shape[-1])
        return hidden * scale.rsqrt_()


def _viewed(room: Tensor) -> _Cache:
    keys, values = room.view(2, -1, *room.shape[3:]).unbind(0)  # (B * G, P, K) each
    return _Cache(room, keys.transpose(1, 2), values)


def is_plain_llama(model: PreTrainedModel) -> bool:
    """Whether `LlamaStepper` computes what the model computes, and its copies are small."""
    if type(model) is not LlamaForCausalLM or model.dtype != torch.float32:
        return False
    config: Any = model.config
    rope_type = (config.rope_parameters or {}).get("rope_type", "default")
    return (
        not (config.attention_bias or config.mlp_bias)
        and config.hidden_act == "silu"
        and rope_type in _ROPE_TYPES
        and model.num_parameters() <= _MAX_COPIED_PARAMETERS
    )


def _weights(layer: Any, head_size: int) -> _Layer:
    attention, feed_forward = layer.self_attn, layer.mlp
    queries = attention.q_proj.weight * head_size**-0.5  # as scores want them
    mixed = torch.cat([queries, attention.k_proj.weight, attention.v_proj.weight])
    opened = torch.cat([feed_forward.gate_proj.weight, feed_forward.up_proj.weight])
    return _Layer(
        _after_norm(mixed, layer.input_layernorm),
        attention.o_proj.weight.T.contiguous(),
        _after_norm(opened, layer.post_attention_layernorm),
        feed_forward.down_proj.weight.T.contiguous(),
    )


def _after_norm(weight: Tensor, norm: Any) -> Tensor:
    return (weight * norm.weight).T.contiguous()
