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

# Standard deviation of embeddings and output layers, times sqrt(D): the first logits then have
# half that of a normalized state. T5's own, made for Adafactor, is sqrt(D), with outputs divided
# by as much; with AdamW (150 steps at 1e-3, D = 96) it came to 6.49 nats, others from 0.2 to 1
# to 5.69 to 5.74.
_EMBEDDING_SCALE = 0.5


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
        is_t5 = params.style == "t5"
        model = _t5(params, ids) if is_t5 else _bart(params, ids, context_tokens=context_tokens)
        shared: Any = model.get_input_embeddings()
        nn.init.normal_(shared.weight, std=_EMBEDDING_SCALE * params.hidden_size**-0.5)
        if not params.is_embedding_tied:
            _untie(model)
        return model


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
    return T5ForConditionalGeneration(config)


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
        # BART's 0.02 suits D = 1024: after 250 steps at 1e-3 a model of D = 96 had 5.90 nats with
        # it, with this 5.46. At 5e-3 either may stay at how frequent tokens are.
        init_std=params.hidden_size**-0.5,
        scale_embedding=True,
        forced_eos_token_id=None,
    )
    return BartForConditionalGeneration(config)


def _untie(model: T5ForConditionalGeneration | BartForConditionalGeneration) -> None:
    """Give the output layer a matrix of its own; loading leaves apart what a folder keeps apart.

    The config can't say so: T5's is always tied, and BART's unties the encoder's and the decoder's
    embedding as well.
    """
    weight = torch.empty_like(model.lm_head.weight)
    nn.init.normal_(weight, std=_EMBEDDING_SCALE * weight.shape[1] ** -0.5)
    model.lm_head.weight = nn.Parameter(weight)
    del model.all_tied_weights_keys["lm_head.weight"]
