"""`tokenize`: the tokenizer and how long a pair may be."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wordmill.params.section import Section

Count = Annotated[int, Field(ge=1)]
# The bars keep it apart from text: no kind of tokenizer can make such a token from words.
SpecialToken = Annotated[str, Field(pattern=r"^<\|[a-z0-9_]+\|>$")]

_OWN_TOKENS = ("<|endoftext|>", "<|pad|>", "<|unk|>")
_LEAST_ENTRIES = {"byte-bpe": 300, "unigram": 300, "word": 8, "char": 8}


class TokenizeParams(Section):
    """The `tokenize` section."""

    kind: Literal["byte-bpe", "unigram", "word", "char", "checkpoint"]
    """All but `checkpoint` are trained here; see wordmill/tokens/learning.py."""
    checkpoint: str | None
    """Kind `checkpoint`: a folder or a name on the hub; else null."""
    revision: str | None
    """Of a checkpoint on the hub, a commit or tag; null takes the newest."""
    vocab_size: Count
    """Entries in all, special tokens included; not read for a checkpoint."""
    min_frequency: Count
    """How often a pair of tokens (byte-bpe), a word or a character must occur to become an
    entry; not read for unigram and for a checkpoint."""
    special_tokens: list[SpecialToken]
    """More special tokens, like `<|name|>`; in a text they are plain text all the same."""
    split_digits: bool
    """Whether each digit is a token of its own."""
    max_training_bytes: Count
    """The tokenizer learns from at most so much text, chosen evenly: its memory is bounded."""
    direction: Literal["forward", "backward"]
    """`backward`: the ids of a text in reverse order, for a model that writes from the end."""
    max_source_tokens: Count
    """A pair's source and what is asked of it are cut here; the cue stays whole."""
    max_target_tokens: Count
    """A pair's target is cut here, the end token not counted."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> "TokenizeParams":
        if problems := [*self._checkpoint_problems(), *self._vocabulary_problems()]:
            raise ValueError("; ".join(problems))
        return self

    def _checkpoint_problems(self) -> list[str]:
        problems: list[str] = []
        if self.kind == "checkpoint":
            if not self.checkpoint:
                problems.append("kind checkpoint needs checkpoint: a folder or a name on the hub")
            if self.split_digits:
                problems.append("split_digits must be false: a checkpoint splits as it was trained")
        elif self.checkpoint is not None or self.revision is not None:
            problems.append(f"checkpoint and revision must be null for kind {self.kind}")
        return problems

    def _vocabulary_problems(self) -> list[str]:
        problems: list[str] = []
        least = _LEAST_ENTRIES.get(self.kind, 0) + len(self.special_tokens)
        if self.kind != "checkpoint" and self.vocab_size < least:
            problems.append(
                f"vocab_size {self.vocab_size} must be at least {least} for kind {self.kind} with"
                f" {len(self.special_tokens)} special tokens of yours"
            )
        if len(set(self.special_tokens)) < len(self.special_tokens):
            problems.append("special_tokens: one is given twice")
        if taken := [token for token in self.special_tokens if token in _OWN_TOKENS]:
            problems.append(f"special_tokens: {', '.join(taken)} is there already")
        return problems
