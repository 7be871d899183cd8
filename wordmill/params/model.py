"""`model`: the network's family and size; each family has its own keys, all of them given.

So one key, `kind`, changes the family, and nothing else has to.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from wordmill.params.section import Section

Count = Annotated[int, Field(ge=1)]
ModelKind = Literal["decoder", "encoder-decoder", "lstm", "ngram", "pretrained"]


class DecoderParams(Section):
    """`decoder`: a Llama-style decoder-only Transformer, from scratch."""

    num_layers: Count
    hidden_size: Count
    """D."""
    num_heads: Count
    num_kv_heads: Count
    """Heads that share keys and values; equal to num_heads for plain attention."""
    feed_forward_size: Count
    is_embedding_tied: bool
    """Whether the output layer is the embedding transposed."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "DecoderParams":
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError(
                f"hidden_size {self.hidden_size} must be a multiple of 2 x num_heads"
                f" {self.num_heads} (rotary embeddings turn pairs)"
            )
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_heads {self.num_heads} must be a multiple of num_kv_heads {self.num_kv_heads}"
            )
        return self


class EncoderDecoderParams(Section):
    """`encoder-decoder`: a Transformer encoder-decoder, from scratch."""

    style: Literal["t5", "bart"]
    """`t5`: relative positions, norms before each part; `bart`: learned positions, norms after."""
    num_encoder_layers: Count
    num_decoder_layers: Count
    hidden_size: Count
    """D."""
    num_heads: Count
    feed_forward_size: Count
    is_embedding_tied: bool
    """Whether the output layer is the embedding transposed."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "EncoderDecoderParams":
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} must be a multiple of num_heads {self.num_heads}"
            )
        if self.style == "t5" and self.num_decoder_layers > self.num_encoder_layers:
            # transformers sizes what a T5 keeps while it generates by its encoder, and then fails.
            raise ValueError(
                f"num_decoder_layers {self.num_decoder_layers} may not be above num_encoder_layers"
                f" {self.num_encoder_layers} in style t5; take bart, or more encoder layers"
            )
        return self


class LstmParams(Section):
    """`lstm`: an LSTM encoder-decoder with additive attention, from scratch."""

    embedding_size: Count
    """Of the embedding, which is the output layer transposed."""
    hidden_size: Count
    """Of the decoder; each direction of the encoder has half of it."""
    num_layers: Count
    """Of the encoder and of the decoder."""
    word_vectors: str | None
    """A file of word vectors (word2vec or GloVe text form) that the embedding starts from."""

    @model_validator(mode="after")
    def _halves(self) -> "LstmParams":
        if self.hidden_size % 2:
            raise ValueError(
                f"hidden_size {self.hidden_size} must be even: two directions share it"
            )
        return self


class NgramParams(Section):
    """`ngram`: an interpolated modified Kneser-Ney model."""

    order: Count
    """The longest n-gram."""


class CheckpointParams(Section):
    """`pretrained`: the checkpoint whose tokenizer `tokenize.checkpoint` names."""

    is_pretraining_continued: bool
    """Whether `pretrain` trains it further; else it takes the weights as they are."""
    is_remote_code_run: bool
    """Whether Python code that comes with the checkpoint may run here."""


class ModelParams(Section):
    """The `model` section."""

    kind: ModelKind
    context_tokens: Annotated[int, Field(ge=8)]
    """The longest sequence the model takes, T."""
    decoder: DecoderParams
    encoder_decoder: EncoderDecoderParams
    lstm: LstmParams
    ngram: NgramParams
    pretrained: CheckpointParams

    def in_use(self) -> dict[str, Any]:
        """What the kind reads, without the keys of the others."""
        group = self.kind.replace("-", "_")
        return self.model_dump(include={"kind", "context_tokens", group})
