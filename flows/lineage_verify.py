"""Whether what a record names is still what it was: every hash is taken again.

A line for each thing: it is as recorded, it is another by now, or it cannot be had here. Files are
read and compared; nothing is believed because of its name, clock or protection.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from flows.fresh_copy import by_file, check_out, is_code, outside_now
from flows.git_state import patch_bytes, resolved
from flows.hashes import FOLDER
from flows.lineage_files import md5_of, outside_deps, read_listing
from flows.lineage_record import Lineage
from flows.lineage_store import HASH_TAG, copies, version_files
from flows.machine import software
from wordmill.errors import DataError, ParamsError
from wordmill.files import sha256_of

Verdict = Literal["as recorded", "CHANGED", "cannot be had"]

_MOST_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.verdict:14} {self.what}{': ' * bool(self.detail)}{self.detail}"


def verified(
    client: MlflowClient, version: ModelVersion, record: Lineage | None, *, cache: Path
) -> Iterator[Check]:
    """Look at everything, one check after the other.

    Args:
        client: of MLflow.
        version: the version.
        record: of it; None where no copy is sound, and there is nothing to hold the rest against.
        cache: DVC's folder of objects.
    """
    yield from _record(client, version)
    if record is None:
        return
    yield from _files(client, version, record)
    yield from _cache(record, cache)
    yield from _code(record)
    yield from _sources(record, cache)
    yield from _packages(record)
    yield from _runs(client, record)


def _record(client: MlflowClient, version: ModelVersion) -> Iterator[Check]:
    wanted = version.tags.get(HASH_TAG)
    for where, text in copies(client, version).items():
        what = f"the record, its copy {where}"
        if text is None:
            yield Check(what=what, verdict="cannot be had", detail="it is not there")
        else:
            found = hashlib.sha256(text).hexdigest()
            yield _same(what, found, wanted or "")


def _files(client: MlflowClient, version: ModelVersion, record: Lineage) -> Iterator[Check]:
    what = f"the version's {len(record['files'])} files"
    try:
        with version_files(client, version) as files:
            found = {path: sha256_of(file) for path, file in files.items()}
    except (DataError, MlflowException, OSError) as error:
        yield Check(what=what, verdict="cannot be had", detail=str(error).partition("\n")[0])
        return
    if not found:
        yield Check(what=what, verdict="cannot be had", detail="its folder is gone")
        return
    yield from _each(what, record["files"], found.get, extra=found.keys() - record["files"])


def _cache(record: Lineage, cache: Path) -> Iterator[Check]:
    for stage, made in record["stages"].items():
        for path, known in made["outs"].items():
            yield from _output(f"{path}, which {stage} made, in DVC's cache", known, record, cache)


def _output(what: str, known: str, record: Lineage, cache: Path) -> Iterator[Check]:
    entry = _object(cache, known)
    if not entry.is_file():
        yield Check(what=what, verdict="cannot be had", detail=f"{known} is not in it")
        return
    if md5_of(entry) != known.removesuffix(FOLDER):
        yield Check(what=what, verdict="CHANGED", detail=f"{known} has other bytes")
        return
    if not known.endswith(FOLDER):
        yield Check(what=what, verdict="as recorded")
        return
    files = record["folders"].get(known) or read_listing(entry.read_bytes())
    gone = [name for name, md5 in files.items() if not _object(cache, md5).is_file()]
    there = {name: md5 for name, md5 in files.items() if name not in gone}
    yield from _each(what, there, lambda name: md5_of(_object(cache, there[name])))
    if gone:
        yield Check(what=what, verdict="cannot be had", detail=f"{_named(gone)} not in it")


def _code(record: Lineage) -> Iterator[Check]:
    code = record["git"]
    what = f"git commit {code['commit']}"
    if resolved(code["commit"]) is None:
        yield Check(what=what, verdict="cannot be had", detail="this repository does not have it")
        return
    yield Check(what=what, verdict="as recorded")
    if patch := code["patch"]:
        text = patch_bytes(patch)
        if text is None:
            yield Check(what="the patch", verdict="cannot be had", detail=patch["why_not"])
            return
        yield _same("the patch", hashlib.sha256(text).hexdigest(), patch["sha256"])
        if patch["left_out"]:
            detail = f"{_named(patch['left_out'])} differed and is covered by .gitignore"
            yield Check(what="all of the patch", verdict="cannot be had", detail=detail)
            return
    with tempfile.TemporaryDirectory(prefix="wordmill-") as folder:
        yield from _code_that_ran(record, Path(folder) / "code")


def _code_that_ran(record: Lineage, place: Path) -> Iterator[Check]:
    what = "the code that ran, made again from commit and patch"
    try:
        project = check_out(record, place)
    except ParamsError as error:
        yield Check(what=what, verdict="CHANGED", detail=str(error))
        return
    read = {path: known for path, known in outside_deps(record["stages"]).items() if is_code(path)}
    wanted = dict(by_file(record, read))
    untracked = [path for path in wanted if path in record["git"]["untracked"]]
    for path in untracked:  # these are in no commit: the tree may still have them
        wanted[path] = record["git"]["untracked"][path]

    def now(path: str) -> str | None:
        if path in untracked:
            return sha256_of(Path(path)) if Path(path).is_file() else None
        return md5_of(project / path) if (project / path).is_file() else None

    yield from _each(what, wanted, now)


def _sources(record: Lineage, cache: Path) -> Iterator[Check]:
    read = outside_deps(record["stages"])
    for path, known in ((p, k) for p, k in read.items() if not is_code(p)):
        what = f"{path}, which was read"
        wanted = dict(by_file(record, {path: known}))
        if not wanted:
            detail = "which files it had is not in the record"
            yield Check(what=what, verdict="cannot be had", detail=detail)
            continue
        found = {name: md5_of(Path(name)) for name in wanted if Path(name).is_file()}
        moved = [name for name, md5 in wanted.items() if found.get(name) != md5]
        kept = [name for name in moved if _is_kept(cache, wanted[name])]
        here = {name: md5 for name, md5 in wanted.items() if name not in kept}
        yield from _each(what, here, found.get)
        if kept:
            detail = f"{_named(kept)} moved on here, DVC's cache has what was read"
            yield Check(what=what, verdict="as recorded", detail=detail)
    now = outside_now(record) if record["outside"] else {}
    for name, state in record["outside"].items():
        yield _same(f"the source {name}", now.get(name), state)


def _packages(record: Lineage) -> Iterator[Check]:
    then, now = record["software"], software()
    yield _same("Python", now["python"], then["python"])
    what = f"{len(then['packages'])} packages"
    moved = [
        f"{name} {known} is {now['packages'].get(name, 'gone')}"
        for name, known in then["packages"].items()
        if now["packages"].get(name) != known
    ]
    yield Check(what=what, verdict="CHANGED" if moved else "as recorded", detail=_named(moved))


def _runs(client: MlflowClient, record: Lineage) -> Iterator[Check]:
    runs = {"the pipeline": record["mlflow_run"]}
    runs |= {stage: run["id"] for stage, run in record["runs"].items()}
    for what, run_id in runs.items():
        try:
            is_there = client.get_run(run_id).info.lifecycle_stage == "active"
        except MlflowException:
            is_there = False
        verdict: Verdict = "as recorded" if is_there else "cannot be had"
        yield Check(what=f"MLflow run of {what}", verdict=verdict, detail=run_id)


def _same(what: str, found: str | None, wanted: str) -> Check:
    if found is None:
        return Check(what=what, verdict="cannot be had", detail=f"it was {wanted}")
    if found != wanted:
        return Check(what=what, verdict="CHANGED", detail=f"{found}, was {wanted or 'not told'}")
    return Check(what=what, verdict="as recorded")


def _each(
    what: str,
    wanted: dict[str, str],
    hash_now: Callable[[str], str | None],
    *,
    extra: set[str] | None = None,
) -> Iterator[Check]:
    """A line for what changed, one for what is gone, and one if all is as it was."""
    found = {path: hash_now(path) for path in wanted}
    gone = [path for path, known in found.items() if known is None]
    moved = [path for path, known in found.items() if known not in (None, wanted[path])]
    for names, how in (
        (moved, "has other bytes"),
        (gone, "is gone"),
        (sorted(extra or ()), "is new"),
    ):
        if names:
            yield Check(what=what, verdict="CHANGED", detail=f"{_named(names)} {how}")
    if not (moved or gone or extra):
        yield Check(what=what, verdict="as recorded")


def _is_kept(cache: Path, md5: str) -> bool:
    kept = _object(cache, md5)
    return kept.is_file() and md5_of(kept) == md5


def _object(cache: Path, known: str) -> Path:
    return cache / known[:2] / known[2:]


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
