"""What each command of `wordmill` does with its arguments, as an exit status.

Mistakes answer at once: heavy imports wait for work.
"""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from flows import workspace
from flows.asking_options import asked_of, check_generate, decoding_changes
from flows.experiment_options import NUM_TRIALS, check_experiment
from flows.group import status_of
from flows.servers import check_servers
from wordmill.errors import ParamsError

if TYPE_CHECKING:
    from wordmill.params.everything import Params


def retrain(arguments: argparse.Namespace) -> int:
    """Bring the model up to date."""
    hours = None if arguments.hours is None else _checked_hours(arguments.hours)
    params = _checked_params()
    workspace.check_folders({"ingest.root": params.ingest.root, "clean.lists": params.clean.lists})
    _check_remote(arguments)
    if not arguments.force:
        from flows.nothing_new import is_said

        if is_said(is_committed=arguments.commit, is_pushed=arguments.push):
            return 0
    workspace.check_room()
    check_servers()
    # In a group of its own: Prefect's temporary server would outlive a flow that is killed.
    options = [f"--{name}" for name in ("force", "commit", "push") if getattr(arguments, name)]
    if hours is not None:
        options += ["--hours", str(hours)]
    command = [sys.executable, "-m", "flows.retrain", *options]
    return status_of(command)


def use(arguments: argparse.Namespace) -> int:
    """Put a preset's values into params.yaml."""
    from flows.preset import use

    print(use(arguments.preset, params=workspace.PARAMS, data=arguments.data))
    return 0


def generate(arguments: argparse.Namespace) -> int:
    """Ask a model."""
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


def chat(arguments: argparse.Namespace) -> int:
    """Talk with a model."""
    changes = decoding_changes(arguments)
    params = _checked_params()
    from flows.asking import check_changes
    from flows.chat import chat

    check_changes(params, changes)
    names = {"name": arguments.name, "model_name": arguments.model_name}
    chat(params, arguments.model, changes=changes, **names)
    return 0


def batch(arguments: argparse.Namespace) -> int:
    """Answer a file, and go on with it where it was left."""
    asked, changes = asked_of(arguments), decoding_changes(arguments)
    params = _checked_params()
    from flows.batch_command import run_batch

    told: dict[str, Any] = {
        "source": str(arguments.file),
        "out": str(arguments.out),
        "model": arguments.model,
        **asked,  # task and ask
        "decoding": changes,
        "num_sequences": arguments.sequences,
        "is_restarted": arguments.restart,
    }
    return run_batch(params, told)


def promote(arguments: argparse.Namespace) -> int:
    """Make a version champion."""
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


def rollback(arguments: argparse.Namespace) -> int:
    """Make the champion before champion again."""
    name = _checked_params().registry.name
    from flows.promoting import roll_back

    to = None if arguments.to is None else str(arguments.to)
    print(roll_back(name, to=to, reason=arguments.reason))
    return 0


def history(arguments: argparse.Namespace) -> int:
    """Show who was champion."""
    name = _checked_params().registry.name
    from flows.promoting import history

    print(history(name, is_json=arguments.json, is_verified=arguments.verify))
    return 0


def judge(arguments: argparse.Namespace) -> int:
    """Let people choose."""
    from flows.judge import judge

    return judge(
        arguments.a,
        arguments.b,
        samples=arguments.samples,
        seed=arguments.seed,
        port=arguments.port,
        name=arguments.name,
    )


def report(arguments: argparse.Namespace) -> int:
    """Write the report."""
    from flows.report import report

    print(report(out=arguments.out, is_opened=arguments.open))
    return 0


def ui(arguments: argparse.Namespace) -> int:
    """Serve the pages of MLflow and Prefect."""
    from flows.ui import serve

    return serve(mlflow_port=arguments.mlflow_port, prefect_port=arguments.prefect_port)


def explain(arguments: argparse.Namespace) -> int:
    """Say what would run."""
    from flows.explain import explain

    print(explain(arguments.stage, is_json=arguments.json))
    return 0


def experiment(arguments: argparse.Namespace) -> int:
    """Run a grid, folds or a search."""
    check_experiment(arguments)
    workspace.check_room()
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


def compare(arguments: argparse.Namespace) -> int:
    """Show results side by side."""
    from flows.compare import compare

    print(compare(arguments.names, out=arguments.out))
    return 0


def lineage(arguments: argparse.Namespace) -> int:
    """Show where a version comes from."""
    params = _checked_params()
    from flows.lineage_command import show_lineage

    return show_lineage(
        arguments.id,
        model=params.registry.name,
        is_json=arguments.json,
        is_verified=arguments.verify,
    )


def reproduce(arguments: argparse.Namespace) -> int:
    """Make a version again."""
    params = _checked_params()
    from flows.reproduce import reproduce

    return reproduce(arguments.version, model=params.registry.name, keep=arguments.keep)


def schedule(arguments: argparse.Namespace) -> int:
    """Retrain again and again."""
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
    workspace.check_room()
    check_servers()
    return serve(plan, prefect_port=arguments.prefect_port)


def seed_noise(arguments: argparse.Namespace) -> int:
    """Measure what another seed changes."""
    from flows.seed_noise import seed_noise

    print(seed_noise(arguments.grid))
    return 0


def gc(arguments: argparse.Namespace) -> int:
    """Free what nothing needs."""
    days = arguments.keep_days
    if not 0 <= days < float("inf"):
        raise ParamsError(f"--keep-days is {days:g}; it has to be 0 or more, such as 7 or 0.5")
    from flows.gc import gc

    return gc(is_deleted=arguments.delete, keep_days=days, is_json=arguments.json)


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
