"""All that is needed, and by whose word: branches, working trees, versions and experiments.

Each source of references is read whole or counts as unknown; where one is unknown, nothing that it
may need is freed.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows import gc_git
from flows.experiment_record import Remembered, recall
from flows.experiment_space import EXPERIMENTS
from flows.gc_runs import hashes_of_run, runs_of_version
from flows.gc_store import Store, read_store, record_text
from wordmill.errors import DataError, WordmillError

_GRID_RUN = "mlflow-run"
_OF_DVC = Path(".dvc/tmp/exps")  # workspaces that DVC makes for experiments of its own


@dataclass(kw_only=True)
class Needed:
    """What has to stay."""

    hashes: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """DVC's, by who names them."""
    runs: dict[str, str] = field(default_factory=dict[str, str])
    """MLflow's, with who names each."""
    grids: set[str] = field(default_factory=set[str])
    """Runs of the grids and experiments of this folder."""
    experiments: list[Remembered] = field(default_factory=list[Remembered])
    """All that are remembered here."""
    alive: set[str] = field(default_factory=set[str])
    """Names of experiments that DVC has, or that can go on."""
    store: Store = field(default_factory=Store)
    errors: dict[str, WordmillError] = field(default_factory=dict[str, WordmillError])
    """Why a source is not known, by its name."""

    @property
    def error(self) -> WordmillError | None:
        """Why not all is known."""
        return next(iter(self.errors.values()), None)

    def by(self, who: str, hashes: set[str]) -> None:
        """Add what somebody names."""
        if hashes:
            self.hashes.setdefault(who, set()).update(hashes)

    def all_hashes(self) -> set[str]:
        """Whoever names them."""
        return {one for found in self.hashes.values() for one in found}


def read_needed() -> Needed:
    """Read all sources; each that can't be read leaves its error."""
    needed = Needed()
    for name, source in _SOURCES.items():
        try:
            source(needed)
        except WordmillError as error:
            needed.errors[name] = error
    return needed


def is_unfinished(one: Remembered) -> bool:
    """Whether the same command would go on with an experiment."""
    return one.status in ("begun", "failed")


def workspaces() -> list[Path]:
    """The workspaces that experiments have now."""
    return sorted(git.parent for git in EXPERIMENTS.glob("*/[!.]*/.git"))


def _by_git(needed: Needed) -> None:
    for who, hashes in gc_git.hashes_by_git().items():
        needed.by(who, hashes)
    for tree in gc_git.working_trees():
        is_here = tree.resolve() in (Path.cwd().resolve(), *Path.cwd().resolve().parents)
        needed.by("workspace" if is_here else f"working tree {tree}", gc_git.hashes_in_tree(tree))
    for place in workspaces():
        needed.by(f"workspace of {place.parent.name}", gc_git.hashes_in_tree(place))
    for file in _OF_DVC.rglob("dvc.lock"):
        needed.by("`dvc exp run`", gc_git.hashes_in(file.read_bytes(), str(file)))
    needed.by("workspace", _by_dvc())
    needed.alive |= gc_git.experiments_of_dvc()


def _by_dvc() -> set[str]:
    """What the workspace names, as DVC itself reads it."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            files = {_file_of(stage) for stage in repo.index.stages}
            entries: list[Any] = [*repo.index.outs, *repo.index.deps]
            found = {str(one.hash_info.value) for one in entries if one.hash_info}
    except DvcException as error:
        raise DataError(f"DVC can't read this project: {error}") from None
    for file in (one for one in files if one.is_file()):
        found |= gc_git.hashes_in(file.read_bytes(), str(file))
    return found


def _file_of(stage: Any) -> Path:
    path = Path(stage.path)
    return path if path.suffix == ".dvc" else path.with_name("dvc.lock")


def _by_experiments(needed: Needed) -> None:
    for file in sorted(EXPERIMENTS.rglob("*.experiment.json")):
        try:
            one = recall(file)
        except (ValueError, TypeError, KeyError, IndexError):
            raise DataError(f"{file} is broken: what its experiment needs is not known") from None
        if one is None:
            continue
        needed.experiments.append(one)
        if one.run_id:
            needed.grids.add(one.run_id)
        if is_unfinished(one):
            needed.alive.add(one.name)
            told = json.dumps([one.outputs, one.evaluation])
            needed.by(f"unfinished experiment {one.name}", set(gc_git.HASH.findall(told)))
    needed.grids |= {file.read_text().strip() for file in EXPERIMENTS.glob(f"*/{_GRID_RUN}")}


def _by_store(needed: Needed) -> None:
    needed.store = store = read_store()
    for version in store.versions:
        who = store.called(version)
        tags = {value for name, value in version.tags.items() if name.startswith("dvc.")}
        runs = runs_of_version(version)
        if text := record_text(store, version):
            record = json.loads(text)
            tags |= set(gc_git.HASH.findall(text))
            runs |= {record["mlflow_run"], *(one["id"] for one in record["runs"].values())}
        elif commit := version.tags.get("git.commit"):
            tags |= gc_git.hashes_of_commit(commit)
        needed.by(who, tags)
        for run_id in runs:
            needed.runs.setdefault(run_id, who)
    _by_experiment_runs(needed)
    for run_id, who in _with_linked(needed).items():
        needed.by(who, hashes_of_run(store.runs[run_id]))


def _by_experiment_runs(needed: Needed) -> None:
    runs = needed.store.runs.values()
    alive = {
        run.info.run_id: name
        for run in runs
        if (name := run.data.tags.get("wordmill.experiment")) in needed.alive
    }
    unfinished = {one.name for one in needed.experiments if is_unfinished(one)}
    for run in runs:
        parent = run.data.tags.get("mlflow.parentRunId", "")
        if name := alive.get(run.info.run_id):
            needed.runs.setdefault(run.info.run_id, f"experiment {name}")
        elif alive.get(parent) in unfinished:
            needed.runs.setdefault(run.info.run_id, f"unfinished experiment {alive[parent]}")


def _with_linked(needed: Needed) -> dict[str, str]:
    runs = needed.store.runs
    found = {run_id: who for run_id, who in needed.runs.items() if run_id in runs}
    for run_id, who in list(found.items()):
        for name, value in runs[run_id].data.tags.items():
            if name.startswith(("made.", "reused.")) and value in runs:
                found.setdefault(value, who)
    return found


_SOURCES = {"git": _by_git, "experiments": _by_experiments, "store": _by_store}
