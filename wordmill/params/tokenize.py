"""`tokenize`: the tokenizer and how long a pair may be."""

from typing import Annotated, Literal

from pydantic import Field

from wordmill.params.section import Section


class TokenizeParams(Section):
    """The `tokenize` section."""

    kind: Literal["byte-bpe"]
    vocab_size: Annotated[int, Field(ge=300)]
    """Entries in all: 256 bytes, the special tokens and the merges."""
    min_frequency: Annotated[int, Field(ge=1)]
    """How often a pair of tokens must occur to be merged."""
    max_source_tokens: Annotated[int, Field(ge=1)]
    """A pair's source is cut here; the cue after it stays whole."""
    max_target_tokens: Annotated[int, Field(ge=1)]
    """A pair's target is cut here, the end token not counted."""
