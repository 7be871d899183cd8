"""Where a result comes from: the commit, whether the tree was dirty, and DVC's hashes."""

import hashlib
import json
import subprocess
from pathlib import Path

from flows import dag

# What a run itself writes in the tree: it does not make the code another.
WRITTEN_BY_RUNS = ("dvc.lock", "registry")

_SCORED_BY = "evaluate"
_BESIDE = (Path("data/baselines"),)  # its folder tells of clocks too


def git_tags() -> dict[str, str]:
    """The commit and whether anything differs from it; «none» outside of git."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {"git.commit": "none", "git.dirty": "true"}
    left_out = [f":!{path}" for path in WRITTEN_BY_RUNS]
    changes = _git("status", "--porcelain", "--", ".", *left_out)
    return {"git.commit": commit, "git.dirty": str(bool(changes)).lower()}


def dvc_tags() -> dict[str, str]:
    """DVC's hash of every stage's output."""
    hashes = {stage: dag.output_hash(stage) for stage in dag.stages_in_order()}
    return {f"dvc.{stage}": found for stage, found in hashes.items() if found}


def version_tags() -> dict[str, str]:
    """What a version is known by: the model, what it was scored on and how.

    Not by what stages made: reports and costs tell of clocks, and the same work done again is no
    new version.
    """
    read = dag.input_hashes(_SCORED_BY)
    known = {path: found for path, found in read.items() if Path(path) not in _BESIDE}
    key = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    return {"wordmill.version": key[:32]}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (subprocess.CalledProcessError, FileNotFoundError):
        return None
    return done.stdout.strip()
