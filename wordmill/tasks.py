"""What each task looks like as text, for finetuning and generation alike.

A document (task `write`) is plain text, to be continued. A pair's prompt is its source, then
a cue that says what is wanted; the target follows after a space.
"""

from typing import Literal, get_args

PairTask = Literal["summarize", "translate", "answer", "dialogue", "classify"]
Task = Literal["write"] | PairTask
TASKS: tuple[Task, ...] = ("write", *get_args(PairTask))

CUES: dict[Task, str] = {
    "write": "",
    "summarize": "\n\nSummary:",
    "translate": "\n\nTranslation:",
    "answer": "\n\nAnswer:",
    "dialogue": "\n\nReply:",
    "classify": "\n\nLabel:",
}


def answer_text(target: str) -> str:
    """A target as it follows its cue."""
    return f" {target}"
