"""A new model of any family that trains by gradient."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wordmill.models.decoder import new_decoder
from wordmill.models.encoder_decoder import new_encoder_decoder
from wordmill.models.lstm import LstmForConditionalGeneration, new_lstm
from wordmill.models.vocabulary import Vocabulary
from wordmill.models.word_vectors import start_from_word_vectors

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from wordmill.params.model import LstmParams, ModelParams


def new_model(
    params: ModelParams,
    vocabulary: Vocabulary,
    *,
    seed: int,
    tokenizer: PreTrainedTokenizerFast | None = None,
) -> PreTrainedModel:
    """Make a model with random weights that `seed` decides.

    Args:
        params: the `model` section.
        vocabulary: of its tokenizer.
        seed: of the weights.
        tokenizer: of the model; needed where its embedding starts from word vectors.

    Raises:
        ParamsError: the word vectors have another size than the embedding.
        DataError: the word vectors can't be read.
    """
    context_tokens = params.context_tokens
    match params.kind:
        case "decoder":
            return new_decoder(params.decoder, vocabulary, context_tokens=context_tokens, seed=seed)
        case "encoder-decoder":
            return new_encoder_decoder(
                params.encoder_decoder, vocabulary, context_tokens=context_tokens, seed=seed
            )
        case "lstm":
            return new_lstm_with_vectors(params.lstm, vocabulary, seed=seed, tokenizer=tokenizer)
        case "ngram" | "pretrained":
            raise ValueError(f"a model of kind {params.kind} has no random weights to start from")


def new_lstm_with_vectors(
    params: LstmParams,
    vocabulary: Vocabulary,
    *,
    seed: int,
    tokenizer: PreTrainedTokenizerFast | None,
) -> LstmForConditionalGeneration:
    """Make an LSTM whose embedding starts from the word vectors that `params` name, if any.

    Raises:
        ParamsError: the word vectors have another size than the embedding.
        DataError: the word vectors can't be read.
    """
    model = new_lstm(params, vocabulary, seed=seed)
    if params.word_vectors is not None:
        assert tokenizer is not None  # whoever makes a model from params has it
        start_from_word_vectors(
            model.get_input_embeddings().weight, Path(params.word_vectors), tokenizer
        )
    return model
