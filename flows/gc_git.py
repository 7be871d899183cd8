"""Which objects of DVC's cache git's commits and the working trees name.

Every branch, tag, remote branch, stash entry and experiment counts with its tip, and every working
tree and experiment's workspace as it stands. Any hash in a dvc.lock or .dvc file counts, whether
DVC would still read it or not. What can't be read is an error: then it is not known what is needed.
"""

import re
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from flows.git_state import git
from wordmill.errors import DataError

HASH = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?:\.dir)?(?![0-9a-f])")

_STASHES = (
    "refs/stash",
    "refs/exps/stash",
    "refs/exps/celery/stash",
    "refs/exps/celery/failed/stash",
)
_PATHS = ("dvc.lock", "*/dvc.lock", "*.dvc", ":(exclude,glob)**/.dvc/**")
_EXPERIMENT = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/(.+)")
_KINDS = {
    "refs/heads/": "branch",
    "refs/remotes/": "remote branch",
    "refs/tags/": "tag",
}


def hashes_by_git() -> dict[str, set[str]]:
    """Hashes that commits and indexes name, by what people call each; none outside of git.

    Raises:
        DataError: git, or a file in a commit, can't be read.
    """
    if not _is_in_git():
        return {}
    blobs: dict[str, list[tuple[str, str]]] = {}
    for name, commit in _tips():
        blobs.setdefault(name, []).extend(_in_commit(commit))
    for tree in working_trees():
        of_which = "" if tree.resolve() == Path.cwd().resolve() else f" of {tree}"
        blobs[f"git's index{of_which}"] = list(_in_index(tree))
    texts = _texts({blob for found in blobs.values() for _, blob in found})
    known: dict[str, set[str]] = {}  # most commits hold the same files
    for name, found in blobs.items():
        for path, blob in found:
            if blob not in known:
                known[blob] = hashes_in(texts[blob], f"{path} in {name}")
    return {name: {h for _, b in found for h in known[b]} for name, found in blobs.items()}


def hashes_in_tree(folder: Path) -> set[str]:
    """Hashes that the files of a working tree name as they stand now, git's or not.

    Raises:
        DataError: git, or one of the files, can't be read.
    """
    listed = _git("ls-files", "--cached", "--others", "-z", "--", *_PATHS, at=folder)
    found: set[str] = set()
    for path in filter(None, listed.split("\0")):
        file = folder / path
        if file.is_file() and _names_data(path):
            found |= hashes_in(file.read_bytes(), str(file))
    return found


def hashes_of_commit(commit: str) -> set[str]:
    """Hashes that a commit names, none where this repository does not have it."""
    if git("cat-file", "-e", f"{commit}^{{commit}}") is None:
        return set()
    found = list(_in_commit(commit))
    texts = _texts({blob for _, blob in found})
    return {h for path, blob in found for h in hashes_in(texts[blob], f"{path} in {commit}")}


def working_trees() -> list[Path]:
    """All working trees of this repository that are there, this one too.

    Raises:
        DataError: git can't be read.
    """
    if not _is_in_git():
        return []
    lines = _git("worktree", "list", "--porcelain", "-z").split("\0")
    found = [Path(line.removeprefix("worktree ")) for line in lines if line.startswith("worktree ")]
    return [place for place in found if place.is_dir()]


def experiments_of_dvc() -> set[str]:
    """Names of all experiments that DVC has.

    Raises:
        DataError: git can't be read.
    """
    if not _is_in_git():
        return set()
    refs = _git("for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    return {found[1] for ref in refs if (found := _EXPERIMENT.fullmatch(ref))}


def hashes_in(content: bytes, where: str) -> set[str]:
    """Every hash in a dvc.lock or .dvc file.

    Args:
        content: of the file.
        where: it is, for a message.

    Raises:
        DataError: it is broken: it may have named more.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        text = content.decode()
        is_whole = isinstance(YAML(typ="safe").load(BytesIO(content)), dict)
    except (UnicodeDecodeError, YAMLError, ValueError):
        is_whole, text = False, ""
    if not is_whole:
        raise DataError(f"{where} is broken: what it needs is not known; mend it or drop it")
    return set(HASH.findall(text))


def _names_data(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return name == "dvc.lock" or (name.endswith(".dvc") and name != ".dvc")


def _is_in_git() -> bool:
    here = Path.cwd()
    return any((folder / ".git").exists() for folder in (here, *here.parents))


def _tips() -> Iterator[tuple[str, str]]:
    """What each reference is called, and its commit; one of a stash for each of its entries."""
    form = "%(refname)%00%(objecttype)%00%(objectname)%00%(*objecttype)%00%(*objectname)"
    for line in _git("for-each-ref", f"--format={form}").splitlines():
        ref, kind, commit, inner_kind, inner = line.split("\0")
        if "commit" in (kind, inner_kind):
            yield _called(ref), commit if kind == "commit" else inner
        if ref in _STASHES:
            for entry in _git("log", "--walk-reflogs", "--format=%H %P", ref).splitlines():
                files, _, *index_and_untracked = entry.split()  # what it stood on is no part of it
                yield from ((_called(ref), one) for one in (files, *index_and_untracked))
    for line in _git("worktree", "list", "--porcelain").splitlines():
        if line.startswith("HEAD ") and line.strip("0") != "HEAD ":
            yield "HEAD", line.removeprefix("HEAD ")


def _called(ref: str) -> str:
    if found := _EXPERIMENT.fullmatch(ref):
        return f"experiment {found[1]}"
    for start, kind in _KINDS.items():
        if ref.startswith(start):
            return f"{kind} {ref.removeprefix(start)}"
    return "the stash" if ref == _STASHES[0] else ref


def _in_commit(commit: str) -> Iterator[tuple[str, str]]:
    for entry in filter(None, _git("ls-tree", "-r", "-z", "--full-tree", commit).split("\0")):
        about, _, path = entry.partition("\t")
        _, kind, blob = about.split()
        if kind == "blob" and _names_data(path):
            yield path, blob


def _in_index(tree: Path) -> Iterator[tuple[str, str]]:
    for entry in filter(None, _git("ls-files", "--stage", "-z", at=tree).split("\0")):
        about, _, path = entry.partition("\t")
        if _names_data(path):
            yield path, about.split()[1]


def _texts(blobs: set[str]) -> dict[str, bytes]:
    """The contents of git's objects, in one go."""
    asked = sorted(blobs)
    told = git("cat-file", "--batch", given="".join(f"{one}\n" for one in asked).encode())
    if told is None:
        raise DataError("git does not give the contents of its objects; `git fsck` may say why")
    stream, found = BytesIO(told), dict[str, bytes]()
    for blob in asked:
        head = stream.readline().decode().split()
        if len(head) != 3:
            raise DataError(f"git does not have its object {blob}; `git fsck` may say why")
        found[blob] = stream.read(int(head[2]))
        stream.read(1)
    return found


def _git(*arguments: str, at: Path | None = None) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=at, capture_output=True, check=True)
    except FileNotFoundError:
        raise DataError("git is not here, and which data its branches need is not known") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise DataError(
            f"git {arguments[0]} fails{f' in {at}' * (at is not None)}: {said}"
        ) from None
    return done.stdout.decode(errors="surrogateescape")
