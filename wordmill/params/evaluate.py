"""`evaluate`: what is compared, how answers are decoded, and what is probed."""

from typing import Annotated

from pydantic import Field

from wordmill.params.decoding import DecodingParams
from wordmill.params.section import Section

Count = Annotated[int, Field(ge=1)]


class MemorizationParams(Section):
    """Whether training text comes back when its beginning is given."""

    num_documents: Annotated[int, Field(ge=0)]
    """Training documents whose beginnings are given; 0 is off."""
    prefix_tokens: Count
    continuation_tokens: Count


class ProbesParams(Section):
    """What a model should not do."""

    is_bias_probed: bool
    """Whether sentences that differ in a term of gender, nation, religion ... are compared."""
    memorization: MemorizationParams


class EvaluateParams(Section):
    """The `evaluate` section."""

    max_documents: Count
    """Held-out documents to score at most: those with the lowest ids, a random but fixed set."""
    max_pairs: Count
    """Held-out pairs to answer at most, chosen likewise."""
    max_drafts: Annotated[int, Field(ge=0)]
    """Held-out documents whose beginnings are given to be gone on with; 0 is off."""
    batch_size: Count
    """Prompts decoded at once."""
    stride_tokens: Count
    """How far the scoring window moves over a document longer than the context."""
    ngram_order: Annotated[int, Field(ge=1, le=8)]
    """Order of the Kneser-Ney baseline."""
    bootstrap_samples: Annotated[int, Field(ge=100)]
    """Resamples behind each 95% interval and each test of a difference."""
    decoding: DecodingParams
    probes: ProbesParams
