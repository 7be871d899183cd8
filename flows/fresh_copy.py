"""A fresh folder with the code and the data that a version was made from, and nothing else.

The commit is cloned and the recorded patch applied. What stages read and git does not have is
brought by its hash: from the project's own files, from DVC's cache, or from its remote.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from flows.git_state import NO_COMMIT, git, patch_bytes, resolved
from flows.hashes import FOLDER
from flows.lineage_files import files_in, md5_of, outside_deps
from flows.lineage_record import Lineage
from wordmill.errors import DataError, ParamsError, WordmillError

# Of the run that is made again: nothing of it may stand for a new one.
_LOCK = "dvc.lock"
_CODE = ("stages", "wordmill")
# A path that leaves the project upwards may not leave the fresh folder: it lies that much deeper.
_DEEPER = "inside"
_MOST_NAMED = 5


def check_out(record: Lineage, place: Path) -> Path:
    """Clone the commit and apply the patch; returns the project's root in the clone.

    Args:
        record: of the version.
        place: a folder that is not there, or empty.

    Raises:
        ParamsError: the record or this repository does not have enough.
    """
    code = record["git"]
    commit, patch = code["commit"], code["patch"]
    if commit == NO_COMMIT:
        raise ParamsError("it was made outside of git: its code is not known")
    top, prefix = _line("rev-parse", "--show-toplevel"), _line("rev-parse", "--show-prefix")
    if resolved(commit) is None or top is None:
        raise ParamsError(f"this repository does not have its commit {commit}; `git fetch` may")
    text = _checked_patch(record)
    place = place.joinpath(*[_DEEPER] * _num_ups(record))
    place.parent.mkdir(parents=True, exist_ok=True)
    _done("clone", "--quiet", "--no-checkout", top, str(place))
    _done("checkout", "--quiet", "--detach", commit, at=place)
    if patch and text:
        _done("apply", "--whitespace=nowarn", "-", at=place, given=text)
    project = place / (prefix or "")
    (project / _LOCK).unlink(missing_ok=True)
    return project


def bring(record: Lineage, project: Path, *, cache: Path) -> list[str]:
    """Put what stages read and git does not have in its place; returns what was brought.

    Args:
        record: of the version.
        project: the root of the fresh copy.
        cache: the folder of objects of this project's DVC.

    Raises:
        DataError: it is not to be had as it was, or the code is not what ran.
    """
    read = outside_deps(record["stages"])
    _link_outside(read, project)
    wanted = dict(by_file(record, read))
    left = {path: md5 for path, md5 in wanted.items() if not _has(project / path, md5)}
    brought = _taken(left, project, cache)
    if gone := {path: md5 for path, md5 in left.items() if path not in brought}:
        _fetch(list(gone.values()))
        brought += _taken(gone, project, cache)
    if missing := [path for path in left if path not in brought]:
        raise DataError(_told(missing, left))
    _check_no_more(record, read, wanted, project)
    return brought


def outside_now(record: Lineage) -> dict[str, str]:
    """The state that sources which DVC can't see have now; what can't be told is left out."""
    from wordmill.data.sources import outside_fingerprints
    from wordmill.params.ingest import IngestParams
    from wordmill.params.section import parse_params

    try:
        file = Path("params.yaml")
        return outside_fingerprints(
            parse_params(IngestParams, record["params"]["ingest"], file=file)
        )
    except WordmillError:  # of a form that this wordmill does not read
        return {}


def by_file(record: Lineage, paths: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Each file below some paths and its MD5; a folder of which too little is known gives none.

    Args:
        record: of the version.
        paths: DVC's hash by path.
    """
    for path, known in paths.items():
        if not known.endswith(FOLDER):
            yield path, known
        for name, md5 in record["folders"].get(known, {}).items():
            yield f"{path}/{name}", md5


def is_code(path: str) -> bool:
    """Whether what a stage reads is its code."""
    return path.split("/")[0] in _CODE


def _checked_patch(record: Lineage) -> bytes | None:
    patch = record["git"]["patch"]
    if patch is None:
        return None
    if patch["left_out"]:
        raise ParamsError(
            f"its tree was changed in {_named(patch['left_out'])}, which .gitignore covers and the"
            " record leaves out"
        )
    text = patch_bytes(patch)
    if text is None:
        raise ParamsError(f"its tree was changed and the patch was not kept: {patch['why_not']}")
    if hashlib.sha256(text).hexdigest() != patch["sha256"]:
        raise ParamsError("the patch in its record is not what was recorded: its SHA-256 differs")
    return text


def _taken(wanted: dict[str, str], project: Path, cache: Path) -> list[str]:
    """Copy the files that are to be had here; returns those."""
    found: list[str] = []
    for path, md5 in wanted.items():
        for source in (Path(path), cache / md5[:2] / md5[2:]):
            if _has(source, md5) and not _is_outside(path):  # those are read where they are
                target = project / path
                target.unlink(missing_ok=True)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)
                found.append(path)
                break
    return found


def _fetch(hashes: list[str]) -> None:
    """Ask DVC's remote for objects; what it has not is seen afterwards."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo

    try:
        with Repo() as repo:
            if repo.config["remote"]:
                repo.cloud.pull([HashInfo("md5", md5) for md5 in hashes])
    except (DvcException, OSError):
        return


def _check_no_more(
    record: Lineage, read: dict[str, str], wanted: dict[str, str], project: Path
) -> None:
    """The folders hold what was read, and no file more."""
    for path, known in read.items():
        if known.endswith(FOLDER) and known not in record["folders"]:
            raise DataError(f"{path}: the record does not say which files it had")
        for name, _ in files_in(project / path, root=project):
            file = f"{path}/{name}" if name else path
            if file not in wanted:
                raise DataError(f"{file} was not there when it was made")


def _told(missing: list[str], wanted: dict[str, str]) -> str:
    first = missing[0]
    what = "is another" if Path(first).is_file() else "is gone"
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    if is_code(first):
        return f"{first}{more} is not in its commit and patch as it ran, nor in the tree now"
    return (
        f"{first}{more} {what} by now, and neither DVC's cache nor a remote has what was read"
        f" (MD5 {wanted[first]})"
    )


def _link_outside(read: dict[str, str], project: Path) -> None:
    """Let paths that leave the project upwards lead to the same data from the copy."""
    for path in read:
        there = Path(os.path.normpath(project / path))
        if ".." in Path(path).parts and not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            there.symlink_to(Path(path).resolve())


def _num_ups(record: Lineage) -> int:
    return max((Path(path).parts.count("..") for path in outside_deps(record["stages"])), default=0)


def _is_outside(path: str) -> bool:
    return Path(path).is_absolute() or ".." in Path(path).parts


def _has(file: Path, md5: str) -> bool:
    return file.is_file() and md5_of(file) == md5


def _line(*arguments: str) -> str | None:
    found = git(*arguments)
    return None if found is None else found.decode().strip()


def _done(*arguments: str, at: Path | None = None, given: bytes | None = None) -> None:
    if git(*arguments, at=at, given=given) is None:
        raise ParamsError(f"`git {arguments[0]}` fails for it")


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
