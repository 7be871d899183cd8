"""The command line of `generate`, `batch` and `chat`: options, and what they come to."""

import argparse
from pathlib import Path
from typing import Any

from wordmill.errors import ParamsError
from wordmill.languages import LANGUAGES, english_name
from wordmill.tasks import TASKS

# Each option that takes the place of a decoding value of the model's own.
_DECODING: dict[str, tuple[str, type, str]] = {
    "temperature": ("temperature", float, "above 0 tokens are drawn; 0 takes the best one"),
    "top-k": ("top_k", int, "draw from so many best tokens; 0 is off"),
    "top-p": ("top_p", float, "draw from the fewest tokens together so probable; 1 is off"),
    "min-p": ("min_p", float, "draw from tokens so probable as a share of the best; 0 is off"),
    "beams": ("num_beams", int, "follow so many best answers; 1 is off"),
    "length-penalty": ("length_penalty", float, "of beams: above 1 favours long answers"),
    "max-new-tokens": ("max_new_tokens", int, "the longest answer"),
    "no-repeat-ngram": ("no_repeat_ngram_size", int, "no n-gram of so many tokens twice; 0 is off"),
    "repetition-penalty": ("repetition_penalty", float, "above 1 repeats less; 1 is off"),
    "seed": ("seed", int, "of what is drawn"),
}

OPTIONS = {field: f"--{option}" for option, (field, _, _) in _DECODING.items()} | {"stop": "--stop"}
"""By the decoding value that an option takes the place of."""


def out_file(text: str) -> Path:
    """A file to write, of a command line: its folder has to be there."""
    path = Path(text)
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path}: is a folder; name a file in it")
    return path


def add_generate_options(parser: argparse.ArgumentParser) -> None:
    """Options of `wordmill generate`."""
    parser.add_argument("text", nargs="?", help="what the model is given; - reads standard input")
    parser.add_argument("--file", type=Path, help="JSON Lines with source, perhaps task and ask")
    parser.add_argument(
        "--out", type=out_file, help="the file that gets the rows with their answers"
    )
    _add_request_options(parser)


def add_batch_options(parser: argparse.ArgumentParser) -> None:
    """Options of `wordmill batch`."""
    parser.add_argument("file", type=Path, metavar="IN", help="JSON Lines, as --file of generate")
    parser.add_argument("out", type=Path, metavar="OUT", help="gets the rows with their answers")
    parser.add_argument(
        "--restart", action="store_true", help="begin anew, in the place of what is there"
    )
    _add_request_options(parser)


def _add_request_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", default="summarize", help=f"{', '.join(TASKS)} (summarize)")
    parser.add_argument(
        "--ask", default="", help="the question, the language, the labels, who speaks next"
    )
    parser.add_argument("--source", metavar="CODE", help="translate: from this language, as en")
    parser.add_argument("--target", metavar="CODE", help="translate: into this language, as de")
    parser.add_argument("--sequences", type=int, default=1, metavar="N", help="answers to each (1)")
    _add_model_options(parser)


def add_chat_options(parser: argparse.ArgumentParser) -> None:
    """Options of `wordmill chat`."""
    parser.add_argument("--as", dest="name", default="", metavar="NAME", help="who you are")
    parser.add_argument("--with", dest="model_name", default="", metavar="NAME", help="who answers")
    _add_model_options(parser)


def _add_model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        default="champion",
        help="an alias, a version or a folder, such as data/finetune/model (champion)",
    )
    decoding = parser.add_argument_group("decoding, where it is not to be the model's own")
    for option, (field, kind, text) in _DECODING.items():
        decoding.add_argument(f"--{option}", dest=field, type=kind, help=text)
    decoding.add_argument(
        "--stop", action="append", help="an answer ends before this text; may be given again"
    )


def decoding_changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """The decoding values that were given."""
    given = {field: getattr(arguments, field) for field in OPTIONS}
    return {field: value for field, value in given.items() if value is not None}


def asked_of(arguments: argparse.Namespace) -> dict[str, str]:
    """The task and what is asked, as the training pairs have it.

    Raises:
        ParamsError: there is no such task or language, or the options do not go together.
    """
    task, ask = arguments.task, arguments.ask
    check_task(task)
    codes = {"source": arguments.source, "target": arguments.target}
    given = {name: code for name, code in codes.items() if code is not None}
    for name, code in given.items():
        if task != "translate":
            raise ParamsError(f"--{name} is for --task translate; the task is {task}")
        if code not in LANGUAGES:
            raise ParamsError(f"--{name} {code}: no code of ISO 639-1, such as en, de, zh")
    if "target" in given:
        if ask:
            raise ParamsError("--ask and --target say the same of a translation; give one")
        ask = english_name(given["target"])
    return {"task": task, "ask": ask}


def check_task(task: str) -> None:
    """See that there is such a task.

    Raises:
        ParamsError: there is none.
    """
    if task not in TASKS:
        raise ParamsError(f"--task {task}: no such task; allowed: {', '.join(TASKS)}")


def check_sequences(number: int) -> None:
    """See that answers are asked for.

    Raises:
        ParamsError: none is.
    """
    if number < 1:
        raise ParamsError(f"--sequences {number}: must be 1 at least")


def check_generate(arguments: argparse.Namespace) -> None:
    """See that a text is given, or a file and another for the answers.

    Raises:
        ParamsError: they are not.
    """
    check_sequences(arguments.sequences)
    if (arguments.file is None) != (arguments.out is None):
        raise ParamsError("--file and --out go together: what is asked, and where answers go")
    if (arguments.text is None) == (arguments.file is None):
        raise ParamsError("give a text, or --file and --out")
