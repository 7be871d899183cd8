"""Results belong to git: dvc.lock and the log of promotions, and nothing else, in one commit.

The user's other changes stay as they are, in the folder and in the index. What git does not allow
is one line; nothing of a run depends on it.
"""

import os
import subprocess
import time
from pathlib import Path

from wordmill.errors import OutputError, TryAgainError

_RESULTS = ("dvc.lock", "registry")
_TRIES, _WAIT_SECONDS = 4, 1.0
_TIMEOUT_SECONDS = 300  # hooks may test things
_LITERAL = "--literal-pathspecs"  # the names of new files may look like patterns
_SETTINGS = {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}


def commit(message: str) -> str:
    """Commit the results that differ from HEAD; returns a line that says what was done.

    Raises:
        OutputError: git does not take it; the line says why and what to do.
        TryAgainError: another git command holds its lock.
    """
    paths = [path for path in _RESULTS if Path(path).exists()]
    if not has_changes():
        return "nothing to commit"
    _check()
    new = _git("ls-files", "--others", "--exclude-standard", "-z", "--", *paths).split("\0")
    new = [path for path in new if path]
    try:
        if new:
            _git(_LITERAL, "add", "--intent-to-add", "--", *new)
        _git("commit", "--quiet", "--only", "--message", message, "--", *paths)
    except (OutputError, TryAgainError):
        if new:
            _run(_LITERAL, "rm", "--cached", "--quiet", "--ignore-unmatch", "--", *new)
        raise
    branch = _git("symbolic-ref", "--short", "HEAD")
    return f"committed {' and '.join(paths)} as {_git('rev-parse', '--short', 'HEAD')} on {branch}"


def has_changes() -> bool:
    """Whether the results differ from HEAD.

    Raises:
        OutputError: there is no repository, or git leaves the results out.
        TryAgainError: another git command holds its lock.
    """
    paths = [path for path in _RESULTS if Path(path).exists()]
    if _run("rev-parse", "--is-inside-work-tree").returncode != 0:
        raise OutputError("this folder is in no git repository; `git init` makes one")
    if ignored := _run("check-ignore", "--", *paths).stdout.split():
        raise OutputError(f"{ignored[0]} is left out by .gitignore; take it off that list")
    return bool(paths and _git("status", "--porcelain", "--untracked-files=all", "--", *paths))


def _check() -> None:
    if _run("symbolic-ref", "--quiet", "HEAD").returncode != 0:
        raise OutputError("HEAD is detached, a commit would be on no branch; `git switch BRANCH`")
    for who in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
        if _run("var", who).returncode != 0:
            raise OutputError(
                "git does not know whose commit it is; `git config user.name NAME` and"
                " `git config user.email ADDRESS`"
            )


def _git(*arguments: str) -> str:
    done = _run(*arguments)
    for _ in range(_TRIES - 1):
        if not _is_locked(done):
            break
        time.sleep(_WAIT_SECONDS)
        done = _run(*arguments)
    if done.returncode == 0:
        return done.stdout.strip()
    if _is_locked(done):
        raise TryAgainError(f"another git command is at work, or was killed: {_said(done)}")
    raise OutputError(f"git {next(word for word in arguments if word[0] != '-')}: {_said(done)}")


def _is_locked(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode != 0 and (".lock': File exists" in done.stderr)


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """Git's reason in one line: its own words, or the last of a hook's."""
    lines = [line.strip() for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    named = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (named or lines or [f"it left with status {done.returncode}"])[-1]


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["git", *arguments],
            env={**os.environ, **_SETTINGS},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT_SECONDS,
        )
    except FileNotFoundError:
        raise OutputError("git is not installed") from None
    except subprocess.TimeoutExpired:
        raise OutputError(f"git {arguments[0]} took over {_TIMEOUT_SECONDS} s") from None
