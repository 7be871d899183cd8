"""The `wordmill` command: its options and its exit status; flows/commands.py does the work."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from flows import commands, workspace
from flows.asking_options import (
    add_batch_options,
    add_chat_options,
    add_generate_options,
    out_file,
)
from flows.experiment_options import add_experiment_options
from flows.group import exit_on_sigterm
from wordmill.errors import ParamsError, WordmillError

if TYPE_CHECKING:
    Parsers = argparse._SubParsersAction["_Parser"]


def main() -> None:
    """Run a command and leave with its exit status."""
    exit_on_sigterm()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's & leaves it ignored
    try:
        arguments = _parser().parse_args()
        command: Callable[[argparse.Namespace], int] = arguments.command
        workspace.enter()
        sys.exit(command(arguments))
    except WordmillError as error:
        print(f"wordmill: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except BrokenPipeError:  # whoever read has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        print("\nwordmill: interrupted; what is done stays done", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything else does."""

    def error(self, message: str) -> NoReturn:
        raise ParamsError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="wordmill",
        description="Text in, text-generation models out: retrained, compared, promoted.",
    )
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_running(parsers)
    _add_asking(parsers)
    _add_judging(parsers)
    _add_comparing(parsers)
    _add_lineage(parsers)
    return parser


def _add_running(parsers: "Parsers") -> None:
    retrain = parsers.add_parser("retrain", help="run what changed and register what is new")
    retrain.add_argument("--force", action="store_true", help="run every stage all the same")
    retrain.add_argument("--hours", type=float, help="stop after so many, with a checkpoint kept")
    _add_keeping(retrain)
    retrain.set_defaults(command=commands.retrain)

    use = parsers.add_parser("use", help="put a preset's values into params.yaml")
    use.add_argument("preset", type=Path, help="such as experiments/multi30k.yaml")
    use.add_argument("--data", type=Path, help="the folder that holds the preset's corpus")
    use.set_defaults(command=commands.use)

    ui = parsers.add_parser("ui", help="serve the MLflow and Prefect pages until Ctrl-C")
    ui.add_argument("--mlflow-port", type=int, default=5000, help="of MLflow's page (5000)")
    ui.add_argument("--prefect-port", type=int, default=4200, help="of Prefect's page (4200)")
    ui.set_defaults(command=commands.ui)

    explain = parsers.add_parser("explain", help="say what would run and why, and run nothing")
    explain.add_argument(
        "stage", nargs="?", help="this one, and those before it that may make it run"
    )
    explain.add_argument("--json", action="store_true", help="for programs")
    explain.set_defaults(command=commands.explain)

    schedule = parsers.add_parser("schedule", help="retrain again and again, until Ctrl-C")
    schedule.add_argument("cron", nargs="?", help='such as "0 3 * * *": at three every night')
    schedule.add_argument("--every", metavar="TIME", help="instead of that: such as 30m, 6h or 1d")
    schedule.add_argument("--timezone", default="UTC", help="such as Europe/Berlin (UTC)")
    schedule.add_argument(
        "--hours", type=float, help="stop a run after so many, with a checkpoint kept"
    )
    schedule.add_argument("--prefect-port", type=int, default=4200, help="of the page (4200)")
    _add_keeping(schedule)
    schedule.set_defaults(command=commands.schedule)


def _add_keeping(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--commit", action="store_true", help="commit dvc.lock and registry/, nothing else"
    )
    command.add_argument(
        "--push", action="store_true", help="push the data to DVC's default remote"
    )


def _add_asking(parsers: "Parsers") -> None:
    generate = parsers.add_parser("generate", help="ask a model for a text")
    add_generate_options(generate)
    generate.set_defaults(command=commands.generate)

    batch = parsers.add_parser("batch", help="answer a file; the same command goes on with it")
    add_batch_options(batch)
    batch.set_defaults(command=commands.batch)

    chat = parsers.add_parser("chat", help="talk with a model until Ctrl-D")
    add_chat_options(chat)
    chat.set_defaults(command=commands.chat)

    promote = parsers.add_parser("promote", help="make a registered version champion")
    promote.add_argument("version", nargs="?", type=int, help="its number, as the summary shows it")
    promote.add_argument("--reason", default="", help="why; needed to go against the gate")
    promote.add_argument(
        "--reconcile",
        metavar="WHICH",
        help="where registry and registry/champion.json differ: `registry`, `file` or a version",
    )
    promote.set_defaults(command=commands.promote)

    rollback = parsers.add_parser("rollback", help="make the champion before champion again")
    rollback.add_argument("--to", type=int, metavar="VERSION", help="another version than that")
    rollback.add_argument(
        "--reason", default="", help="why; needed for a version that was never champion"
    )
    rollback.set_defaults(command=commands.rollback)

    history = parsers.add_parser("history", help="show which versions were champion, and why")
    history.add_argument("--json", action="store_true", help="for programs")
    history.add_argument("--verify", action="store_true", help="see that no line was changed")
    history.set_defaults(command=commands.history)


def _add_judging(parsers: "Parsers") -> None:
    judge = parsers.add_parser("judge", help="choose between two systems' answers, without names")
    judge.add_argument("a", help="a system in data/evaluate/predictions.jsonl, or FILE:SYSTEM")
    judge.add_argument("b", help="the other")
    judge.add_argument("--samples", type=int, default=30, help="examples at most (30)")
    judge.add_argument("--seed", type=int, default=1, help="which examples, which side (1)")
    judge.add_argument("--port", type=int, default=8600, help="0 takes a free one (8600)")
    judge.add_argument("--name", default="", help="yours; each judge has votes of their own")
    judge.set_defaults(command=commands.judge)

    report = parsers.add_parser("report", help="write the last evaluation's page again, with votes")
    report.add_argument(
        "--out",
        type=out_file,
        default=Path(".wordmill/report.html"),
        help="the file (.wordmill/report.html)",
    )
    report.add_argument("--open", action="store_true", help="show it in a browser")
    report.set_defaults(command=commands.report)


def _add_comparing(parsers: "Parsers") -> None:
    experiment = parsers.add_parser("experiment", help="run a grid of params, or search in them")
    add_experiment_options(experiment)
    experiment.set_defaults(command=commands.experiment)

    compare = parsers.add_parser("compare", help="compare results, wherever they are kept")
    compare.add_argument(
        "names",
        nargs="+",
        metavar="RESULT",
        help="an experiment or grid, a git revision, an MLflow run, a version's number or alias,"
        " a folder, or `workspace`; the others are compared with the first",
    )
    compare.add_argument("--out", type=out_file, help="a page to write, such as compare.html")
    compare.set_defaults(command=commands.compare)
    noise = parsers.add_parser("seed-noise", help="what another seed changes, for the gate")
    noise.add_argument("grid", help="a grid of seeds alone, three at least")
    noise.set_defaults(command=commands.seed_noise)


def _add_lineage(parsers: "Parsers") -> None:
    lineage = parsers.add_parser("lineage", help="say where a version comes from")
    lineage.add_argument(
        "id",
        help="a version, an alias, an MLflow or Prefect run, a git commit, DVC's hash, or a folder",
    )
    lineage.add_argument("--json", action="store_true", help="for programs")
    lineage.add_argument("--verify", action="store_true", help="take every hash again")
    lineage.set_defaults(command=commands.lineage)

    reproduce = parsers.add_parser("reproduce", help="make a version again and compare the two")
    reproduce.add_argument("version", help="its number, or anything that `lineage` takes")
    reproduce.add_argument("--keep", type=Path, metavar="FOLDER", help="where to make and leave it")
    reproduce.set_defaults(command=commands.reproduce)

    gc = parsers.add_parser("gc", help="say what nothing needs any more, and free it")
    gc.add_argument("--delete", action="store_true", help="free it; without, it is only shown")
    gc.add_argument(
        "--keep-days", type=float, default=1.0, metavar="N", help="keep what is younger (1)"
    )
    gc.add_argument("--json", action="store_true", help="for programs")
    gc.set_defaults(command=commands.gc)


if __name__ == "__main__":
    main()
