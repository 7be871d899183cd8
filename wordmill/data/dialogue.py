"""The turns of a dialogue, however they are written: a list, objects, or a turn a line."""

import re
from typing import Any, NamedTuple

from wordmill.data.paths import Column, checked_text
from wordmill.data.quarantine import UnusableRowError

# `Ann: Hello`, `#Person1#: Hi`, `小明：你好`; a speaker is short, and no sentence.
_SPEAKER = re.compile(
    r"(?P<speaker>[^\s:：!?。！？][^:：!?。！？\n]{0,39})\s?[:：]\s*(?P<text>.*)", re.DOTALL
)


class Turn(NamedTuple):
    """What one says at once; the speaker is empty where nobody is named."""

    speaker: str
    text: str

    def __str__(self) -> str:
        return f"{self.speaker}: {self.text}" if self.speaker else self.text


def turns_of(value: Any, *, name: str, speaker: Column, text: Column) -> list[Turn]:
    """The turns that a column holds.

    Args:
        value: what stands in the column.
        name: of the column, for messages.
        speaker: where the turns are objects, who speaks.
        text: where the turns are objects, what is said.

    Raises:
        UnusableRowError: they are neither texts nor such objects.
    """
    if isinstance(value, str):
        return _from_lines(checked_text(value, name).splitlines())
    if not isinstance(value, list):
        raise UnusableRowError(
            "not_text", f"column '{name}' must hold turns, a list or a text; got {value!r:.60}"
        )
    if all(isinstance(turn, str) for turn in value):
        return _from_texts([checked_text(turn, name) for turn in value])
    for turn in value:
        if not isinstance(turn, dict):
            raise UnusableRowError("not_text", f"column '{name}' holds a turn {turn!r:.60}")
    return [Turn(speaker.text(turn), text.text(turn)) for turn in value]


def _from_texts(texts: list[str]) -> list[Turn]:
    matches = [_SPEAKER.fullmatch(text) for text in texts]
    named = [Turn(match["speaker"].strip(), match["text"]) for match in matches if match]
    return named if len(named) == len(texts) else [Turn("", text) for text in texts]


def _from_lines(lines: list[str]) -> list[Turn]:
    lines = [line.strip() for line in lines if not line.isspace() and line]
    if not lines or not _SPEAKER.fullmatch(lines[0]):
        return [Turn("", line) for line in lines]
    turns: list[Turn] = []
    for line in lines:
        if match := _SPEAKER.fullmatch(line):
            turns.append(Turn(match["speaker"].strip(), match["text"]))
        else:  # the turn before goes on
            turns[-1] = Turn(turns[-1].speaker, f"{turns[-1].text}\n{line}")
    return turns
