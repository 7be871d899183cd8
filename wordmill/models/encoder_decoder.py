"""Transformer encoder-decoders from scratch, in the style of T5 or of BART.

https://arxiv.org/abs/1910.10683 and https://arxiv.org/abs/1910.13461. Both begin an answer with
the end token, and know NUM_SENTINELS tokens that no text makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from wordmill.errors import DataError
from wordmill.tokens.sentinels import NUM_SENTINELS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from wordmill.models.vocabulary import Vocabulary
    from wordmill.params.model import EncoderDecoderParams

# T5's own is 1, made for Adafactor, with outputs divided by sqrt(D). With AdamW that falls slowly.
_EMBEDDING_STD = 0.02


def new_encoder_decoder(
    params: EncoderDecoderParams, vocabulary: Vocabulary, *, context_tokens: int, seed: int
) -> PreTrainedModel:
    """Make an encoder-decoder with random weights that `seed` decides.

    Args:
        params: the `model.encoder_decoder` section.
        vocabulary: of its tokenizer; the model has the sentinels as well.
        context_tokens: the longest source and the longest target, T.
        seed: of the weights.
    """
    ids = {
        "vocab_size": vocabulary.size + NUM_SENTINELS,
        "pad_token_id": vocabulary.pad_id,
        "bos_token_id": vocabulary.end_id,
        "eos_token_id": vocabulary.end_id,
        "decoder_start_token_id": vocabulary.end_id,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if params.style == "t5":
            return _t5(params, ids)
        return _bart(params, ids, context_tokens=context_tokens)


def decoder_start_id(model: PreTrainedModel) -> int:
    """The token that the decoder of an encoder-decoder is given first.

    Raises:
        DataError: the model does not say.
    """
    for config in (model.generation_config, model.config):
        found = getattr(config, "decoder_start_token_id", None)
        if found is not None:
            return int(found)
    raise DataError(
        "the encoder-decoder has no decoder_start_token_id in its generation_config.json or"
        " config.json; take another checkpoint"
    )


def _t5(params: EncoderDecoderParams, ids: dict[str, Any]) -> T5ForConditionalGeneration:
    config = T5Config(
        **ids,
        d_model=params.hidden_size,
        d_kv=params.hidden_size // params.num_heads,
        d_ff=params.feed_forward_size,
        num_layers=params.num_encoder_layers,
        num_decoder_layers=params.num_decoder_layers,
        num_heads=params.num_heads,
        dropout_rate=0.0,
    )
    config.scale_decoder_outputs = False
    model = T5ForConditionalGeneration(config)
    if not params.is_embedding_tied:
        # T5Config ties always; loading leaves apart what a folder keeps apart.
        model.lm_head.weight = nn.Parameter(torch.empty_like(model.shared.weight))
        del model.all_tied_weights_keys["lm_head.weight"]
        nn.init.normal_(model.lm_head.weight, std=_EMBEDDING_STD)
    nn.init.normal_(model.shared.weight, std=_EMBEDDING_STD)
    return model


def _bart(
    params: EncoderDecoderParams, ids: dict[str, Any], *, context_tokens: int
) -> BartForConditionalGeneration:
    config = BartConfig(
        **ids,
        d_model=params.hidden_size,
        encoder_layers=params.num_encoder_layers,
        decoder_layers=params.num_decoder_layers,
        encoder_attention_heads=params.num_heads,
        decoder_attention_heads=params.num_heads,
        encoder_ffn_dim=params.feed_forward_size,
        decoder_ffn_dim=params.feed_forward_size,
        max_position_embeddings=context_tokens,
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        init_std=_EMBEDDING_STD,
        tie_word_embeddings=params.is_embedding_tied,
        forced_eos_token_id=None,
    )
    return BartForConditionalGeneration(config)
