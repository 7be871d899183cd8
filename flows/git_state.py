"""The code as it stands: the commit, and the patch from it to the working tree.

What .gitignore covers is never in the patch: passwords are kept in such files. Files that git does
not know are named with their hashes, without their contents.
"""

import base64
import hashlib
import subprocess
from pathlib import Path
from typing import Literal, TypedDict

from flows.lineage import WRITTEN_BY_RUNS
from wordmill.files import sha256_of

NO_COMMIT = "none"

_MOST_BYTES = 1_000_000
_MOST_FILES = 2_000
# A person's settings of git may not decide what a patch looks like.
_PLAIN = ("--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv")
_PREFIXES = ("--no-renames", "--no-relative", "--src-prefix=a/", "--dst-prefix=b/")


class Patch(TypedDict):
    """The difference between the commit and the working tree, as `git apply` takes it."""

    sha256: str
    num_bytes: int
    encoding: Literal["utf-8", "base64"]
    text: str | None
    """None where it was not kept."""
    why_not: str
    left_out: list[str]
    """Files that differ and that .gitignore covers."""


class Code(TypedDict):
    """The commit, and what was not committed."""

    commit: str
    """`none` outside of git."""
    branch: str
    is_dirty: bool
    patch: Patch | None
    """None where nothing that git knows differs."""
    untracked: dict[str, str]
    """SHA-256 of files that git does not know, by path."""


def code_state(*, is_diff_kept: bool) -> Code:
    """What the working tree is made of.

    Args:
        is_diff_kept: whether the patch is kept, or its hash alone.
    """
    commit = git("rev-parse", "HEAD")
    if commit is None:
        nothing: dict[str, str] = {}
        return Code(commit=NO_COMMIT, branch="", is_dirty=True, patch=None, untracked=nothing)
    patch, untracked = _patch(is_diff_kept=is_diff_kept), _untracked()
    return Code(
        commit=commit.decode().strip(),
        branch=(git("rev-parse", "--abbrev-ref", "HEAD") or b"").decode().strip(),
        is_dirty=bool(patch or untracked),
        patch=patch,
        untracked=untracked,
    )


def patch_bytes(patch: Patch) -> bytes | None:
    """The patch as git made it, None where it was not kept."""
    text = patch["text"]
    if text is None:
        return None
    return base64.b64decode(text) if patch["encoding"] == "base64" else text.encode()


def git(*arguments: str, at: Path | None = None, given: bytes | None = None) -> bytes | None:
    """What a git command prints, None if it fails or there is no git.

    Args:
        arguments: of the command.
        at: the folder it runs in, this one by default.
        given: its standard input.
    """
    try:
        return subprocess.run(
            ["git", *arguments], cwd=at, input=given, capture_output=True, check=True
        ).stdout
    except (subprocess.CalledProcessError, FileNotFoundError):
        return None


def resolved(revision: str) -> str | None:
    """The commit that a branch, tag or shortened hash means, None if there is none."""
    found = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    return found.decode().strip() if found else None


def _patch(*, is_diff_kept: bool) -> Patch | None:
    ignored = _paths("--cached", "--ignored")
    found = git("diff", "HEAD", *_PLAIN, *_PREFIXES, "--", *_all_but(*ignored)) or b""
    left_out = [
        _readable(path) for path in ignored if git("diff", "HEAD", "--name-only", "--", path)
    ]
    if not found and not left_out:
        return None
    why_not = _why_not(found, is_diff_kept=is_diff_kept)
    encoding, text = _as_text(found)
    return Patch(
        sha256=hashlib.sha256(found).hexdigest(),
        num_bytes=len(found),
        encoding=encoding,
        text=None if why_not else text,
        why_not=why_not,
        left_out=left_out,
    )


def _why_not(patch: bytes, *, is_diff_kept: bool) -> str:
    if not is_diff_kept:
        return "registry.is_diff_kept is false"
    return f"it has more than {_MOST_BYTES:,} bytes" if len(patch) > _MOST_BYTES else ""


def _as_text(patch: bytes) -> tuple[Literal["utf-8", "base64"], str]:
    try:
        return "utf-8", patch.decode()
    except UnicodeDecodeError:  # a text of another encoding is in it
        return "base64", base64.b64encode(patch).decode()


def _untracked() -> dict[str, str]:
    paths = _paths("--others")
    files = [path for path in paths if Path(path).is_file()]
    return {_readable(path): _hash(Path(path)) for path in files[:_MOST_FILES]}


def _hash(file: Path) -> str:
    try:
        return sha256_of(file)
    except PermissionError:
        return "can't be read"


def _readable(path: str) -> str:
    """A path as a record may hold it: a name need not be UTF-8."""
    return path.encode(errors="surrogateescape").decode(errors="replace")


def _paths(*kinds: str) -> list[str]:
    """Files of some kinds, as `git ls-files` calls them."""
    listed = git("ls-files", *kinds, "--exclude-standard", "-z", "--", *_all_but()) or b""
    return [path for path in listed.decode(errors="surrogateescape").split("\0") if path]


def _all_but(*paths: str) -> list[str]:
    """This folder without some paths, and without what runs themselves write in it."""
    return [".", *(f":(exclude,literal){path}" for path in (*WRITTEN_BY_RUNS, *paths))]
