"""What each task looks like as text, for finetuning and generation alike.

A document (task `write`) is plain text, to be continued. A pair's prompt is its source, then
a cue that says what is wanted, then the target after a space. What is asked (`ask`) differs by
task: the question, the language to translate into, who speaks next, the labels to choose from.
"""

from collections.abc import Collection
from typing import Literal, NamedTuple, get_args

PairTask = Literal["summarize", "translate", "answer", "dialogue", "classify"]
Task = Literal["write"] | PairTask
TASKS: tuple[Task, ...] = ("write", *get_args(PairTask))


def deciding_task(tasks: Collection[str]) -> PairTask | None:
    """The task whose score decides where nothing else is asked: the first of `PairTask`.

    Args:
        tasks: those that there are; None of them may be one of pairs.
    """
    return next((task for task in get_args(PairTask) if task in tasks), None)


class Cue(NamedTuple):
    """What stands between a source and its target: `before`, what is asked, `after`."""

    before: str
    after: str


_PLAIN: dict[Task, Cue] = {
    "write": Cue("", ""),
    "summarize": Cue("", "\n\nSummary:"),
    "translate": Cue("", "\n\nTranslation:"),
    "answer": Cue("", "\n\nAnswer:"),
    "dialogue": Cue("", "\n\nReply:"),
    "classify": Cue("", "\n\nLabel:"),
}
_ASKING: dict[Task, Cue] = {
    "translate": Cue("\n\nTranslation into ", ":"),
    "answer": Cue("\n\nQuestion: ", "\nAnswer:"),
    "dialogue": Cue("\n", ":"),
    "classify": Cue("\n\nOne of ", "\nLabel:"),
}

KEEPS_END: frozenset[Task] = frozenset({"dialogue"})
"""Tasks whose sources are cut at the start: what was said last matters most."""


def cue(task: Task, *, is_asking: bool) -> Cue:
    """The cue of a task, with or without room for what is asked."""
    return _ASKING.get(task, _PLAIN[task]) if is_asking else _PLAIN[task]


def answer_text(target: str) -> str:
    """A target as it follows its cue."""
    return f" {target}"
