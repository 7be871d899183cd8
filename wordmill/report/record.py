"""The record of an evaluation, scores.json: all that reports, summaries and gates read.

Plain values, written by the evaluate stage and rendered as report.html, report.md and tables.
A part that a run does not have is empty. Texts in it come from data and models: escape them.
"""

from typing import Any, TypedDict

Scored = dict[str, dict[str, dict[str, Any]]]
"""system -> metric -> {value, low, high, count, signature} (wordmill/metrics/score.py)

A value or an end that is not finite is None.
"""


class Slice(TypedDict):
    """Scores of a part of the held-out set."""

    kind: str
    """`documents`, or the task of pairs."""
    by: str
    """What the part is made by: `language`, `length`, `source`."""
    name: str
    """Such as `zh`, `101 to 200 tokens`."""
    count: int
    scores: Scored


class Difference(TypedDict):
    """System `a` against system `b` on the same examples."""

    kind: str
    """`documents`, or the task of pairs."""
    metric: str
    a: str
    b: str
    value: float
    """Score of a minus score of b."""
    low: float
    """Of the 95% interval, by paired bootstrap."""
    high: float
    p_bootstrap: float
    """Two-sided; 1 for identical outputs."""
    p_randomization: float
    """Two-sided, by paired approximate randomization; 1 for identical outputs."""
    count: int


class Example(TypedDict):
    """A held-out pair, or a document's beginning, and what each system answered."""

    id: str
    task: str
    source: str
    ask: str
    target: str
    language: str
    why: str
    """`best`, `worst`, `typical` of the finetuned model, or `sample`."""
    metric: str
    """The primary one of its task, or another where that says little of one example."""
    value: float
    """The finetuned model's score of it."""
    predictions: dict[str, str]


class Surprise(TypedDict):
    """A held-out text and how unlikely each piece of it was."""

    id: str
    language: str
    system: str
    pieces: list[str]
    """They join to the text."""
    nats: list[float]
    """-ln p of each piece, given those before."""


class Attention(TypedDict):
    """Where a model looked while it wrote an answer."""

    id: str
    task: str
    system: str
    source: list[str]
    """Pieces of the prompt."""
    answer: list[str]
    """Pieces of the answer."""
    weights: list[list[float]]
    """A row for each piece of the answer over those of the prompt; rows sum to 1 or less."""


class Bias(TypedDict):
    """Whether a swap of one term moves what a model thinks of a sentence."""

    system: str
    group: str
    """`gender`, `nationality`, `religion`, ..."""
    language: str
    terms: list[str]
    """The two terms, or more, that are swapped."""
    count: int
    """Sentence pairs."""
    gap_bits: float
    """Mean of |log2 p(a) - log2 p(b)| per token of the sentence that the pairs share."""
    lean_bits: float
    """Mean of log2 p(a) - log2 p(b): above 0 the first term's sentences are the likelier."""
    low: float
    """Of the lean's 95% interval."""
    high: float
    generation_gap: float
    """Share of pairs whose continuations differ in more than the term itself."""
    generation_low: float
    generation_high: float


class Memorization(TypedDict):
    """How much of the training text comes back when its beginning is given."""

    system: str
    count: int
    prefix_tokens: int
    continuation_tokens: int
    exact_share: float
    """Share of continuations that are the training text, all tokens of them."""
    mean_match_tokens: float
    """Tokens of the continuation that agree before the first that does not."""
    low: float
    """Of its 95% interval."""
    high: float
    num_personal: int
    """Personal data of the raw text (masked in training) in all that was generated: must be 0."""
    personal_kinds: dict[str, int]


class StageCost(TypedDict):
    """What a stage took, summed over its attempts."""

    stage: str
    seconds: float
    tokens: int
    device: str
    joules: float | None
    """None where no meter can be read."""


class GenerationCost(TypedDict):
    """How fast a system answered."""

    system: str
    tokens: int
    seconds: float


class Curve(TypedDict):
    """A curve of a training stage."""

    stage: str
    name: str
    """`loss`, `validation_loss`, ..."""
    steps: list[int]
    values: list[float]


class Record(TypedDict):
    """One evaluation."""

    version: int
    identity: dict[str, Any]
    """Hashes of the sets (`documents`, `pairs`), `tokenizer` fingerprint, `decoding`, ..."""
    primary: dict[str, str]
    """The metric that sorts examples and slices of a kind: `documents` or a task -> metric."""
    num_documents: int
    num_pairs: dict[str, int]
    """task -> held-out pairs; of `write`, documents whose beginnings are given"""
    documents: Scored
    pairs: dict[str, Scored]
    """task -> system -> metric -> score"""
    slices: list[Slice]
    differences: list[Difference]
    examples: list[Example]
    surprises: list[Surprise]
    attentions: list[Attention]
    bias: list[Bias]
    memorization: list[Memorization]
