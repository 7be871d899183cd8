"""The `wordmill` command. Help and mistakes answer at once: heavy imports wait for work."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from flows import workspace
from flows.asking_options import (
    add_chat_options,
    add_generate_options,
    asked_of,
    check_generate,
    decoding_changes,
    out_file,
)
from flows.experiment_options import NUM_TRIALS, add_experiment_options, check_experiment
from flows.group import GRACE_SECONDS, exit_on_sigterm, group
from flows.servers import check_servers
from wordmill.errors import ParamsError, WordmillError

if TYPE_CHECKING:
    from wordmill.params.everything import Params

    Commands = argparse._SubParsersAction["_Parser"]


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
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_running(commands)
    _add_asking(commands)
    _add_judging(commands)
    _add_comparing(commands)
    _add_lineage(commands)
    return parser


def _add_running(commands: "Commands") -> None:
    retrain = commands.add_parser("retrain", help="run what changed and register what is new")
    retrain.add_argument("--force", action="store_true", help="run every stage all the same")
    retrain.add_argument("--hours", type=float, help="stop then, with a checkpoint kept")
    _add_keeping(retrain)
    retrain.set_defaults(command=_retrain)

    use = commands.add_parser("use", help="put a preset's values into params.yaml")
    use.add_argument("preset", type=Path, help="such as experiments/multi30k.yaml")
    use.add_argument("--data", type=Path, help="the folder that holds the preset's corpus")
    use.set_defaults(command=_use)

    ui = commands.add_parser("ui", help="serve the MLflow and Prefect pages until Ctrl-C")
    ui.add_argument("--mlflow-port", type=int, default=5000, help="(5000)")
    ui.add_argument("--prefect-port", type=int, default=4200, help="(4200)")
    ui.set_defaults(command=_ui)

    explain = commands.add_parser("explain", help="say what would run and why, and run nothing")
    explain.add_argument("stage", nargs="?", help="this one alone, with what runs before it")
    explain.add_argument("--json", action="store_true", help="for programs")
    explain.set_defaults(command=_explain)

    schedule = commands.add_parser("schedule", help="retrain again and again, until Ctrl-C")
    schedule.add_argument("cron", nargs="?", help='such as "0 3 * * *": at three every night')
    schedule.add_argument("--every", metavar="TIME", help="instead: such as 30m, 6h or 1d")
    schedule.add_argument("--timezone", default="UTC", help="such as Europe/Berlin (UTC)")
    schedule.add_argument("--hours", type=float, help="stop a run then, with a checkpoint kept")
    schedule.add_argument("--prefect-port", type=int, default=4200, help="of the page (4200)")
    _add_keeping(schedule)
    schedule.set_defaults(command=_schedule)


def _add_keeping(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--commit", action="store_true", help="commit dvc.lock and the promotions, nothing else"
    )
    command.add_argument(
        "--push", action="store_true", help="push the data to DVC's default remote"
    )


def _add_asking(commands: "Commands") -> None:
    generate = commands.add_parser("generate", help="ask a model for a text")
    add_generate_options(generate)
    generate.set_defaults(command=_generate)

    chat = commands.add_parser("chat", help="talk with a model until Ctrl-D")
    add_chat_options(chat)
    chat.set_defaults(command=_chat)

    promote = commands.add_parser("promote", help="make a registered version champion")
    promote.add_argument("version", nargs="?", type=int, help="its number, as the summary shows it")
    promote.add_argument("--reason", default="", help="why; needed to go against the gate")
    promote.add_argument(
        "--reconcile",
        metavar="WHICH",
        help="where registry and registry/champion.json differ: `registry`, `file` or a version",
    )
    promote.set_defaults(command=_promote)

    rollback = commands.add_parser("rollback", help="make the champion before champion again")
    rollback.add_argument("--to", type=int, metavar="VERSION", help="another version than that")
    rollback.add_argument("--reason", default="", help="why")
    rollback.set_defaults(command=_rollback)

    history = commands.add_parser("history", help="show which versions were champion, and why")
    history.add_argument("--json", action="store_true", help="for programs")
    history.add_argument("--verify", action="store_true", help="see that no line was changed")
    history.set_defaults(command=_history)


def _add_judging(commands: "Commands") -> None:
    judge = commands.add_parser("judge", help="choose between two systems' answers, without names")
    judge.add_argument("a", help="a system in data/evaluate/predictions.jsonl, or FILE:SYSTEM")
    judge.add_argument("b", help="the other")
    judge.add_argument("--samples", type=int, default=30, help="examples at most (30)")
    judge.add_argument("--seed", type=int, default=1, help="which examples, which side (1)")
    judge.add_argument("--port", type=int, default=8600, help="0 takes a free one (8600)")
    judge.add_argument("--name", default="", help="yours; each judge has votes of their own")
    judge.set_defaults(command=_judge)

    report = commands.add_parser(
        "report", help="write the last evaluation's page again, with votes"
    )
    report.add_argument(
        "--out", type=out_file, default=Path(".wordmill/report.html"), help="the file"
    )
    report.add_argument("--open", action="store_true", help="show it in a browser")
    report.set_defaults(command=_report)


def _add_comparing(commands: "Commands") -> None:
    experiment = commands.add_parser("experiment", help="run a grid of params, or search in them")
    add_experiment_options(experiment)
    experiment.set_defaults(command=_experiment)

    compare = commands.add_parser("compare", help="compare results, wherever they are kept")
    compare.add_argument(
        "names",
        nargs="+",
        metavar="RESULT",
        help="an experiment or grid, a git revision, an MLflow run, a version's number or alias,"
        " a folder, or `workspace`",
    )
    compare.add_argument("--out", type=out_file, help="a page to write, such as compare.html")
    compare.set_defaults(command=_compare)
    noise = commands.add_parser("seed-noise", help="what another seed changes, for the gate")
    noise.add_argument("grid", help="an experiment whose runs differ in the seed alone")
    noise.set_defaults(command=_seed_noise)


def _add_lineage(commands: "Commands") -> None:
    lineage = commands.add_parser("lineage", help="say where a version comes from")
    lineage.add_argument(
        "id",
        help="a version, an alias, an MLflow or Prefect run, a git commit, DVC's hash, or a folder",
    )
    lineage.add_argument("--json", action="store_true", help="for programs")
    lineage.add_argument("--verify", action="store_true", help="take every hash again")
    lineage.set_defaults(command=_lineage)

    reproduce = commands.add_parser("reproduce", help="make a version again and compare the two")
    reproduce.add_argument("version", help="its number, or anything that `lineage` takes")
    reproduce.add_argument("--keep", type=Path, metavar="FOLDER", help="where to make and leave it")
    reproduce.set_defaults(command=_reproduce)


def _retrain(arguments: argparse.Namespace) -> int:
    params = _checked_params()
    workspace.check_folders({"ingest.root": params.ingest.root, "clean.lists": params.clean.lists})
    _check_remote(arguments)
    if not arguments.force:
        from flows.nothing_new import is_said

        if is_said(is_committed=arguments.commit, is_pushed=arguments.push):
            return 0
    check_servers()
    # In a group of its own: Prefect's temporary server would outlive a flow that is killed.
    options = [f"--{name}" for name in ("force", "commit", "push") if getattr(arguments, name)]
    if arguments.hours is not None:
        options += ["--hours", str(_checked_hours(arguments.hours))]
    command = [sys.executable, "-m", "flows.retrain", *options]
    # The flow may need one grace to end its stage, and then some to say so.
    with group(command, environment=dict(os.environ), grace_seconds=2 * GRACE_SECONDS) as flow:
        status = flow.wait()
    return status if status >= 0 else 128 - status


def _use(arguments: argparse.Namespace) -> int:
    from flows.preset import use

    print(use(arguments.preset, params=workspace.PARAMS, data=arguments.data))
    return 0


def _generate(arguments: argparse.Namespace) -> int:
    check_generate(arguments)
    asked, changes = asked_of(arguments), decoding_changes(arguments)
    params = _checked_params()
    from flows.asking import ask, ask_file, check_changes

    check_changes(params, changes)
    model, num_sequences = arguments.model, arguments.sequences
    if arguments.file is not None:
        done = ask_file(
            params,
            model,
            file=arguments.file,
            out=arguments.out,
            defaults=asked,
            changes=changes,
            num_sequences=num_sequences,
        )
        print(done)
        return 0
    text = sys.stdin.read() if arguments.text == "-" else arguments.text
    if not text.strip():
        raise ParamsError("the text is empty; give one, or - to read standard input")
    row = {**asked, "source": text}
    ask(params, model, row, changes=changes, num_sequences=num_sequences)
    return 0


def _chat(arguments: argparse.Namespace) -> int:
    changes = decoding_changes(arguments)
    params = _checked_params()
    from flows.asking import check_changes
    from flows.chat import chat

    check_changes(params, changes)
    names = {"name": arguments.name, "model_name": arguments.model_name}
    chat(params, arguments.model, changes=changes, **names)
    return 0


def _promote(arguments: argparse.Namespace) -> int:
    version, which = arguments.version, arguments.reconcile
    if (version is None) == (which is None):
        raise ParamsError("give a version to promote, or --reconcile registry, file or a version")
    if which is not None and which not in ("registry", "file") and not which.isdecimal():
        raise ParamsError(f"--reconcile {which}: allowed: registry, file, or a version's number")
    params = _checked_params()
    name, reason = params.registry.name, arguments.reason
    from flows.gate import by_hand
    from flows.promoting import promote_version, reconcile_to

    if which is not None:
        print(reconcile_to(name, which, reason=reason))
    else:
        judge = by_hand(params)
        print(promote_version(name, str(version), reason=reason, judge=judge))
    return 0


def _rollback(arguments: argparse.Namespace) -> int:
    name = _checked_params().registry.name
    from flows.promoting import roll_back

    to = None if arguments.to is None else str(arguments.to)
    print(roll_back(name, to=to, reason=arguments.reason))
    return 0


def _history(arguments: argparse.Namespace) -> int:
    name = _checked_params().registry.name
    from flows.promoting import history

    print(history(name, is_json=arguments.json, is_verified=arguments.verify))
    return 0


def _judge(arguments: argparse.Namespace) -> int:
    from flows.judge import judge

    return judge(
        arguments.a,
        arguments.b,
        samples=arguments.samples,
        seed=arguments.seed,
        port=arguments.port,
        name=arguments.name,
    )


def _report(arguments: argparse.Namespace) -> int:
    from flows.report import report

    print(report(out=arguments.out, is_opened=arguments.open))
    return 0


def _ui(arguments: argparse.Namespace) -> int:
    from flows.ui import serve

    return serve(mlflow_port=arguments.mlflow_port, prefect_port=arguments.prefect_port)


def _explain(arguments: argparse.Namespace) -> int:
    from flows.explain import explain

    print(explain(arguments.stage, is_json=arguments.json))
    return 0


def _experiment(arguments: argparse.Namespace) -> int:
    check_experiment(arguments)
    if arguments.search is not None:
        from flows.search import search

        return search(
            arguments.asked,
            how=arguments.search,
            num_trials=NUM_TRIALS if arguments.trials is None else arguments.trials,
            goal=arguments.goal,
            is_pruned=not arguments.no_pruning,
            jobs=arguments.jobs,
            name=arguments.name,
            is_dry=arguments.dry_run,
        )
    from flows.experiment import experiment

    return experiment(
        arguments.asked,
        num_seeds=arguments.seeds,
        num_folds=arguments.folds,
        jobs=arguments.jobs,
        name=arguments.name,
        is_dry=arguments.dry_run,
    )


def _compare(arguments: argparse.Namespace) -> int:
    from flows.compare import compare

    print(compare(arguments.names, out=arguments.out))
    return 0


def _lineage(arguments: argparse.Namespace) -> int:
    params = _checked_params()
    from flows.lineage_command import show_lineage

    return show_lineage(
        arguments.id,
        model=params.registry.name,
        is_json=arguments.json,
        is_verified=arguments.verify,
    )


def _reproduce(arguments: argparse.Namespace) -> int:
    params = _checked_params()
    from flows.reproduce import reproduce

    return reproduce(arguments.version, model=params.registry.name, keep=arguments.keep)


def _schedule(arguments: argparse.Namespace) -> int:
    from flows.schedule import planned, serve

    if arguments.hours is not None:
        _checked_hours(arguments.hours)
    plan = planned(
        cron=arguments.cron,
        every=arguments.every,
        timezone=arguments.timezone,
        hours=arguments.hours,
        is_committed=arguments.commit,
        is_pushed=arguments.push,
    )
    _checked_params()
    _check_remote(arguments)
    check_servers()
    return serve(plan, prefect_port=arguments.prefect_port)


def _seed_noise(arguments: argparse.Namespace) -> int:
    from flows.seed_noise import seed_noise

    print(seed_noise(arguments.grid))
    return 0


def _check_remote(arguments: argparse.Namespace) -> None:
    if arguments.push:
        from flows.push import check_remote

        check_remote()


def _checked_hours(hours: float) -> float:
    if not 0 < hours < float("inf"):
        raise ParamsError(f"--hours is {hours:g}; it has to be more than 0, such as 2 or 0.5")
    return hours


def _checked_params() -> "Params":
    from wordmill.params.everything import Params
    from wordmill.params.section import parse_params, read_params

    return parse_params(Params, read_params(workspace.PARAMS), file=workspace.PARAMS)


if __name__ == "__main__":
    main()
