"""Results in git: only they, and one line where git does not take them."""

import subprocess
from pathlib import Path

import pytest

from flows import commit as module
from flows.commit import commit, has_changes
from wordmill.errors import OutputError, TryAgainError


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with changes of the user's, staged and not, and results of a first run."""
    project = tmp_path / "deep/project"
    project.mkdir(parents=True)
    monkeypatch.chdir(project)
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setattr(module, "_WAIT_SECONDS", 0.01)
    git("init", "-q", "-b", "main", str(tmp_path))
    git("config", "user.name", "test")
    git("config", "user.email", "test@example.org")
    for name in ("staged", "edited"):
        Path(name).write_text("1")
    git("add", "-A")
    git("commit", "-qm", "first")
    Path("staged").write_text("2")
    git("add", "staged")
    Path("edited").write_text("2")
    Path("new").write_text("1")
    Path("dvc.lock").write_text("1")
    return project


def others() -> list[str]:
    return [line for line in git("status", "--porcelain").splitlines() if "dvc.lock" not in line]


def test_only_the_results_are_committed(repository):
    before = others()
    assert "on main" in commit("Version 1\n\nscores")
    assert not has_changes()
    assert git("show", "--name-only", "--format=%s") == "Version 1\n\ndeep/project/dvc.lock"
    Path("dvc.lock").write_text("2")
    git("add", "dvc.lock")  # what is staged of it is older than what the run has made
    Path("dvc.lock").write_text("3")
    Path("registry").mkdir()
    Path("registry/log.jsonl").write_text("{}")
    said = commit("Version 2")
    assert (
        said == f"committed dvc.lock and registry as {git('rev-parse', '--short', 'HEAD')} on main"
    )
    assert git("show", "HEAD:./dvc.lock") == "3"
    assert git("show", "HEAD:./registry/log.jsonl") == "{}"
    assert others() == before
    assert commit("again") == "nothing to commit"


@pytest.mark.parametrize("is_known", [False, True])
def test_what_git_does_not_take_is_one_line_and_leaves_the_index(repository, is_known):
    if is_known:
        commit("Version 1")
        Path("dvc.lock").write_text("2")
    before = git("status", "--porcelain")

    def refused(wanted: str, kind=OutputError) -> None:
        with pytest.raises(kind) as caught:
            commit("x")
        assert wanted in str(caught.value)
        assert "\n" not in str(caught.value)
        assert git("status", "--porcelain") == before

    git("config", "user.useConfigOnly", "true")
    git("config", "--unset", "user.email")
    refused("git config user.email")
    git("config", "user.email", "test@example.org")

    top = Path(git("rev-parse", "--show-toplevel"))
    lock = top / ".git/index.lock"
    lock.touch()
    refused("another git command is at work", TryAgainError)
    lock.unlink()

    hook = top / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho long talk\necho no commits on Sundays >&2\nexit 1\n")
    hook.chmod(0o755)
    refused("no commits on Sundays")
    hook.unlink()

    git("checkout", "-q", "--detach")
    refused("HEAD is detached")
    git("checkout", "-q", "main")
    assert "on main" in commit("x")


def test_results_that_git_leaves_out_are_told(repository, tmp_path, monkeypatch):
    Path(".gitignore").write_text("dvc.lock\n")
    with pytest.raises(OutputError, match=r"dvc.lock is left out by .gitignore"):
        commit("x")
    monkeypatch.chdir("/")
    with pytest.raises(OutputError, match="no git repository"):
        commit("x")


def test_the_first_commit_of_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init", "-q", "-b", "main")
    git("config", "user.name", "test")
    git("config", "user.email", "test@example.org")
    Path("dvc.lock").write_text("1")
    Path("mine").write_text("1")
    assert "on main" in commit("Version 1")
    assert git("status", "--porcelain") == "?? mine"
