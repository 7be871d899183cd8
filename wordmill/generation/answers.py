"""What a model said, as tokens and as text; where an answer ends; what of it is settled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tokenizers.decoders import ByteLevel

from wordmill.tokens.tokenizer import is_backward, texts_of_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from transformers import PreTrainedTokenizerFast

    IsStopped = Callable[[list[int]], bool]
    """Whether a stop sequence stands in the text of these tokens."""

# A decoder that is not of bytes may join the last tokens with the next ("do", "n't").
_UNSETTLED_CHARS = 8
_HALF_CHARACTER = "\ufffd"


class Answer(NamedTuple):
    """One answer to a request."""

    text: str
    num_tokens: int
    """Tokens made, the end token left out."""
    is_ended: bool
    """Whether it ended by itself or by a stop sequence, not by `max_new_tokens`."""


@dataclass
class Said:
    """The tokens of an answer so far."""

    ids: list[int] = field(default_factory=list[int])
    is_ended: bool = False

    def take(self, tokens: Iterable[int], *, end_id: int, is_stopped: IsStopped) -> None:
        """Go on with these, up to the end token or the end of a stop sequence."""
        for token in tokens:
            if self.is_ended:
                return
            if token != end_id:
                self.ids.append(token)
            self.is_ended = token == end_id or is_stopped(self.ids)


class AnswerTexts:
    """Texts of answers.

    A backward model says the end of its answer first: the answer is what stands after the last
    stop sequence, and nothing of it is settled before it is whole.

    Args:
        tokenizer: the model's own.
        stop: an answer ends before the first of these that is said.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, stop: list[str]) -> None:
        self._tokenizer, self._stop = tokenizer, stop
        is_of_bytes = isinstance(tokenizer.backend_tokenizer.decoder, ByteLevel)
        self._is_backward = is_backward(tokenizer)
        self._num_unsettled = 0 if is_of_bytes else _UNSETTLED_CHARS

    def answer(self, said: Said) -> Answer:
        """What a reader gets."""
        return Answer(self.text(said.ids), len(said.ids), said.is_ended)

    def text(self, ids: list[int]) -> str:
        """The text that is said before a stop sequence, without space around it."""
        return self._before_stop(self._decoded(ids)).strip()

    def is_stopped(self, ids: list[int]) -> bool:
        """Whether a stop sequence stands in the text."""
        if not self._stop:
            return False
        text = self._decoded(ids)
        return any(stop in text for stop in self._stop)

    def settled(self, ids: list[int]) -> str:
        """What of the text no further token can change."""
        if self._is_backward:
            return ""
        text = self._decoded(ids).rstrip(_HALF_CHARACTER)
        text = self._before_stop(text[: max(0, len(text) - self._num_unsettled)])
        return text[: len(text) - self._num_stop_chars(text)].strip()

    def _decoded(self, ids: list[int]) -> str:
        return texts_of_ids(self._tokenizer, [ids])[0]

    def _before_stop(self, text: str) -> str:
        if self._is_backward:
            ends = [place + len(s) for s in self._stop if (place := text.rfind(s)) >= 0]
            return text[max(ends, default=0) :]
        places = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        return text[: min(places)] if places else text

    def _num_stop_chars(self, text: str) -> int:
        """Characters at the end that may begin a stop sequence."""
        return max(
            (
                size
                for stop in self._stop
                for size in range(1, min(len(stop), len(text) + 1))
                if text.endswith(stop[:size])
            ),
            default=0,
        )
