"""A dialogue in the terminal, with one model that is loaded once."""

import importlib
import sys
from typing import Any

from flows.answerer import Answerer, answerer
from flows.asking import show_stream, warn_of_tasks, with_changes
from flows.located import located
from wordmill.data.dialogue import Turn
from wordmill.errors import ParamsError
from wordmill.params.everything import Params


def chat(
    params: Params, which: str, *, name: str, model_name: str, changes: dict[str, Any]
) -> None:
    """Talk until the input ends or Ctrl-C.

    Args:
        params: of the project.
        which: a version number, an alias or a folder.
        name: who the person speaks as in the prompt; empty where the turns of the training
            pairs name nobody.
        model_name: who the model speaks as; given with `name` or not at all.
        changes: decoding values that take the place of the model's own.

    Raises:
        ParamsError: one name is given without the other, or there is no such model.
        WordmillError: the model can't answer.
    """
    if bool(name) != bool(model_name):
        raise ParamsError("--as and --with go together: who you are, and who answers")
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    with answerer() as asked, located(which, params) as model:
        warn_of_tasks(model, ["dialogue"])
        asked.load(with_changes(model, changes))
        if is_terminal:
            importlib.import_module("readline")  # lines can be edited
            print(f"{model.name}; an empty line is ignored, Ctrl-D ends")
        try:
            _talk(asked, name, model_name, prompt=f"{name or 'you'}> " if is_terminal else "")
        except KeyboardInterrupt:
            print()


def _talk(asked: Answerer, name: str, model_name: str, *, prompt: str) -> None:
    turns: list[Turn] = []
    while (said := _line(prompt)) is not None:
        if not said.strip():
            continue
        turns.append(Turn(name, said.strip()))
        # A dialogue's pairs are made so (wordmill/data/rows.py): the prompt keeps its end.
        source = "\n".join(map(str, turns))
        answer = show_stream(asked, {"task": "dialogue", "source": source, "ask": model_name})
        turns.append(Turn(model_name, answer.strip()))


def _line(prompt: str) -> str | None:
    try:
        return input(prompt)
    except EOFError:
        if prompt:
            print()
        return None
