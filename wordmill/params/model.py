"""`model`: the network's family and size."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wordmill.params.section import Section

Count = Annotated[int, Field(ge=1)]


class ModelParams(Section):
    """The `model` section."""

    kind: Literal["decoder"]
    """`decoder`: a Llama-style decoder-only Transformer, from scratch."""
    context_tokens: Annotated[int, Field(ge=8)]
    """The longest sequence the model takes, T."""
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
    def _heads_divide(self) -> "ModelParams":
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
