"""How a model's distribution becomes text."""

from typing import Annotated

from pydantic import Field, model_validator

from wordmill.params.section import Section


class DecodingParams(Section):
    """A score's identity holds all of it."""

    max_new_tokens: Annotated[int, Field(ge=1)]
    num_beams: Annotated[int, Field(ge=1)]
    """1 takes one token after another, the best or a drawn one."""
    length_penalty: float
    """A beam's score is its log-probability / length ** this: above 1 favours long answers."""
    temperature: Annotated[float, Field(ge=0)]
    """Logits are divided by it before a token is drawn; 0 takes the best token."""
    top_k: Annotated[int, Field(ge=0)]
    """Draw from this many best tokens; 0 is off."""
    top_p: Annotated[float, Field(gt=0, le=1)]
    """Draw from the fewest best tokens that together are this probable; 1 is off."""
    min_p: Annotated[float, Field(ge=0, lt=1)]
    """Draw from tokens at least this fraction as probable as the best; 0 is off."""
    repetition_penalty: Annotated[float, Field(gt=0)]
    """Logits of tokens that stand in the text already are made smaller by it; 1 is off."""
    no_repeat_ngram_size: Annotated[int, Field(ge=0)]
    """No n-gram of this many tokens twice in an answer; 0 is off."""
    stop: list[Annotated[str, Field(min_length=1)]]
    """An answer ends before the first of these."""
    seed: Annotated[int, Field(ge=0)]
    """Of what is drawn; each answer's draws follow from it and the prompt alone."""

    @property
    def is_sampled(self) -> bool:
        """Whether tokens are drawn."""
        return self.temperature > 0

    @model_validator(mode="after")
    def _check_way(self) -> "DecodingParams":
        if self.is_sampled and self.num_beams > 1:
            raise ValueError("beams are not drawn: set num_beams to 1 or temperature to 0")
        return self
