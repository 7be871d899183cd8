"""Workspaces of experiments: the project as it stands, and what makes an experiment another."""

import os
import subprocess

import pytest

from flows.experiment_record import Remembered
from flows.experiment_space import EXPERIMENTS, make_workspace, snapshot
from flows.experiment_table import dry_table, table
from flows.grid import Combination
from wordmill.errors import ParamsError

VALUES = {"ingest": {"root": "data/raw"}, "clean": {"lists": "data/lists"}, "length": "7 steps"}
PLAIN = Combination(changes={}, values=VALUES)


def git(*command: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    done = subprocess.run(["git", *identity, *command], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Files that are committed, changed, deleted, new and ignored."""
    root = tmp_path / "project"
    for file in ("wordmill/a.py", "wordmill/gone.py", "README.md", "data/lists/x", ".dvc/config"):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(f"{file} as committed\n")
    (root / ".gitignore").write_text("/data/raw/\n/.wordmill/\n")
    (root / ".dvc/.gitignore").write_text("/config.local\n")
    monkeypatch.chdir(root)
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "one")
    (root / "wordmill/a.py").write_text("changed\n")
    (root / "wordmill/gone.py").unlink()
    (root / "wordmill/new.py").write_text("new\n")
    (root / "data/raw/deep").mkdir(parents=True)
    (root / "data/raw/deep/texts.jsonl").write_text("{}\n")
    return root


def test_a_workspace_is_the_project_as_it_stands(project):
    status = git("status", "--porcelain")
    taken = snapshot([VALUES])
    place = EXPERIMENTS / "grid" / "key"
    make_workspace(place, PLAIN, taken, cache=project / "cache")
    assert (place / "wordmill/a.py").read_text() == "changed\n"
    assert (place / "wordmill/new.py").read_text() == "new\n"
    assert not (place / "wordmill/gone.py").exists()
    assert (place / "README.md").read_text() == "README.md as committed\n"
    assert (place / "data/raw/deep/texts.jsonl").samefile(project / "data/raw/deep/texts.jsonl")
    assert git("-C", str(place), "rev-parse", "HEAD") == git("rev-parse", "HEAD")
    assert f"dir = {project}/cache" in (place / ".dvc/config.local").read_text()
    assert not list(place.parent.glob(".*.partial"))
    assert git("status", "--porcelain") == status  # the project's own index is as it was


def test_remotes_that_git_does_not_know_are_kept(project):
    (project / ".dvc/config.local").write_text("['remote \"near\"']\n    accessKey = A%B\n")
    place = EXPERIMENTS / "grid" / "key"
    make_workspace(place, PLAIN, snapshot([VALUES]), cache=project / "cache")
    written = (place / ".dvc/config.local").read_text()
    assert "['remote \"near\"']" in written
    assert "accessKey = A%B" in written


def test_what_decides_a_result_makes_it_another(project):
    first = snapshot([VALUES]).key
    (project / "README.md").write_text("nobody reads it in a stage\n")
    assert snapshot([VALUES]).key == first
    git("add", "-A")
    git("commit", "-qm", "two")
    assert snapshot([VALUES]).key == first  # a commit of the same is the same
    (project / "wordmill/a.py").write_text("changed again\n")
    second = snapshot([VALUES]).key
    assert second != first
    raw = project / "data/raw/deep/texts.jsonl"
    os.utime(raw, ns=(1, 1))
    assert snapshot([VALUES]).key not in (first, second)


def test_data_beside_the_project_is_found_from_a_workspace(project):
    outside = project.parent / "corpora"
    outside.mkdir()
    (outside / "x").write_text("x")
    values = {"ingest": {"root": "../corpora"}}
    place = EXPERIMENTS / "grid" / "key"
    one = Combination(changes={}, values=values)
    make_workspace(place, one, snapshot([values]), cache=project / "cache")
    assert (place / "../corpora/x").read_text() == "x"


def test_the_project_itself_is_no_data(project):
    assert snapshot([{"ingest": {"root": "./"}, "long": "/".join("x" * 5000)}]).links == {}


def test_no_commit_to_stand_on_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(ParamsError, match="stands on a commit, and there is none") as caught:
        snapshot([VALUES])
    assert len(str(caught.value).splitlines()) == 1


def test_a_project_below_its_repository_is_refused(project, monkeypatch):
    monkeypatch.chdir(project / "wordmill")
    with pytest.raises(ParamsError, match="at the root of its git repository"):
        snapshot([VALUES])


def test_columns_stand_under_each_other():
    assert table([["a", "bb"], ["ccc", ""]]) == "a    bb\n---  --\nccc"


def test_a_dry_run_counts_what_differs():
    keys = [{"ingest": "1", "train": "2"}, {"ingest": "1", "train": "3"}]
    asked = [Remembered(name=f"g-{i}", grid="g", key="", changes={"seed": i}) for i in range(2)]
    told = dry_table("g", asked, keys)
    assert "2 experiments of 2 stages, 4 runs of a stage, of which 3 at most are made" in told
    assert "\ng-1         1     to do\n" in told
    assert "\ntrain   2\n" in told
