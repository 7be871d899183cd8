"""A Llama-style decoder-only Transformer from scratch (https://arxiv.org/abs/2302.13971)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import LlamaConfig, LlamaForCausalLM

if TYPE_CHECKING:
    from wordmill.params.model import ModelParams


def new_decoder(
    params: ModelParams, *, vocab_size: int, end_id: int, pad_id: int, seed: int
) -> LlamaForCausalLM:
    """Make a decoder with random weights that `seed` decides.

    Args:
        params: the `model` section.
        vocab_size: V.
        end_id: opens and closes every sequence.
        pad_id: fills the ends of shorter sequences.
        seed: of the weights.
    """
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=params.hidden_size,
        intermediate_size=params.feed_forward_size,
        num_hidden_layers=params.num_layers,
        num_attention_heads=params.num_heads,
        num_key_value_heads=params.num_kv_heads,
        max_position_embeddings=params.context_tokens,
        tie_word_embeddings=params.is_embedding_tied,
        bos_token_id=end_id,
        eos_token_id=end_id,
        pad_token_id=pad_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)
