"""`evaluate`: what is compared, and how answers are decoded."""

from typing import Annotated

from pydantic import Field

from wordmill.params.section import Section

Count = Annotated[int, Field(ge=1)]


class DecodingParams(Section):
    """How a model's distribution becomes text; a score's identity holds all of it."""

    max_new_tokens: Count
    num_beams: Count
    """1 is greedy."""
    no_repeat_ngram_size: Annotated[int, Field(ge=0)]
    """No n-gram of this many tokens twice in an answer; 0 is off."""


class EvaluateParams(Section):
    """The `evaluate` section."""

    max_pairs: Count
    """Held-out pairs to answer at most: those with the lowest ids, a random but fixed set."""
    batch_size: Count
    """Prompts decoded at once."""
    stride_tokens: Count
    """How far the scoring window moves over a document longer than the context."""
    ngram_order: Annotated[int, Field(ge=1, le=8)]
    """Order of the Kneser-Ney baseline."""
    bootstrap_samples: Annotated[int, Field(ge=100)]
    """Resamples behind each 95% interval."""
    decoding: DecodingParams
