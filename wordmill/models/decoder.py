"""A Llama-style decoder-only Transformer from scratch (https://arxiv.org/abs/2302.13971)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import LlamaConfig, LlamaForCausalLM

if TYPE_CHECKING:
    from wordmill.models.vocabulary import Vocabulary
    from wordmill.params.model import DecoderParams


def new_decoder(
    params: DecoderParams, vocabulary: Vocabulary, *, context_tokens: int, seed: int
) -> LlamaForCausalLM:
    """Make a decoder with random weights that `seed` decides.

    Args:
        params: the `model.decoder` section.
        vocabulary: of its tokenizer.
        context_tokens: the longest sequence, T.
        seed: of the weights.
    """
    config = LlamaConfig(
        vocab_size=vocabulary.size,
        hidden_size=params.hidden_size,
        intermediate_size=params.feed_forward_size,
        num_hidden_layers=params.num_layers,
        num_attention_heads=params.num_heads,
        num_key_value_heads=params.num_kv_heads,
        max_position_embeddings=context_tokens,
        tie_word_embeddings=params.is_embedding_tied,
        bos_token_id=vocabulary.end_id,
        eos_token_id=vocabulary.end_id,
        pad_token_id=vocabulary.pad_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)
