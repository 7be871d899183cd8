"""What a stage made again against what it made then: the same, or where it first differs."""

from dataclasses import dataclass
from pathlib import Path

from flows.hashes import FOLDER
from flows.lineage_files import files_in, md5_of, read_listing
from flows.lineage_record import Lineage
from wordmill.comparing.first_difference import first_difference, nan_in

# Files that tell of clocks and runs; what else they hold is in other files too.
_OF_THEIR_TIME = ("cost.json", "surroundings.json", "report.html")
_REGISTERED = "data/finetune/model/"
_IN_THE_VERSION = "artifacts/model/"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A file that is not what it was."""

    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


class Then:
    """What the stages of a version made.

    Args:
        record: of the version.
        cache: DVC's folder of objects.
        registered: the version's files, by path.
    """

    def __init__(self, record: Lineage, *, cache: Path, registered: dict[str, Path]) -> None:
        self._record, self._cache, self._registered = record, cache, registered

    def differences(self, stage: str, project: Path) -> list[Difference]:
        """Every file of a stage that is another in `project`, in the order of their names."""
        found: list[Difference] = []
        for out, known in self._record["stages"][stage]["outs"].items():
            then = self._files(out, known)
            if then is None:
                found.append(Difference(path=out, detail=f"which files {known} had is not known"))
                continue
            now = {_joined(out, name): file for name, file in files_in(project / out)}
            for path in sorted(then.keys() | now.keys()):
                detail = self._compared(path, then.get(path), now.get(path))
                found += [Difference(path=path, detail=detail)] if detail else []
        return found

    def _compared(self, path: str, md5: str | None, now: Path | None) -> str:
        if now is None:
            return "was not made again"
        if md5 is None:
            return "was not there then"
        if now.name in _OF_THEIR_TIME:
            return ""
        if told := self._against_version(path, now):
            return told
        if md5_of(now) == md5:
            return nan_in(now)
        then = self._cache / md5[:2] / md5[2:]
        if not then.is_file() or md5_of(then) != md5:
            return f"MD5 was {md5}, is {md5_of(now)}; DVC's cache does not have what it was"
        return first_difference(then, now)

    def _against_version(self, path: str, now: Path) -> str:
        """The registered model is a copy: it is held against the new one too."""
        if not path.startswith(_REGISTERED):
            return ""
        name = _IN_THE_VERSION + path.removeprefix(_REGISTERED)
        stored = self._registered.get(name)
        if stored is None:
            return f"the version has no {name}"
        told = first_difference(stored, now)
        return f"not as the version's {name}: {told}" if told else ""

    def _files(self, out: str, known: str) -> dict[str, str] | None:
        if not known.endswith(FOLDER):
            return {out: known}
        files = self._record["folders"].get(known)
        listing = self._cache / known[:2] / known[2:]
        if files is None and listing.is_file():
            files = read_listing(listing.read_bytes())
        return None if files is None else {_joined(out, name): md5 for name, md5 in files.items()}


def not_as_then(record: Lineage) -> list[str]:
    """What may move the last bits and is not as it was: packages, Python, processor.

    Threads are those of then, see flows/reproduce.py.
    """
    from flows.machine import machine, software

    then, now = record["machine"], machine()
    packages, python = software()["packages"], software()["python"]
    pairs: list[tuple[str, object, object]] = [
        ("Python", record["software"]["python"], python),
        ("system", then["system"], now["system"]),
        ("processor", then["cpu"], now["cpu"]),
        ("instructions", then["instructions"], now["instructions"]),
        ("GPUs", then["gpus"], now["gpus"]),
        ("driver", then["driver"], now["driver"]),
    ]
    pairs += [
        (name, known, packages.get(name, "gone"))
        for name, known in record["software"]["packages"].items()
    ]
    return [f"{what} was {was}, is {one}" for what, was, one in pairs if was != one]


def _joined(out: str, name: str) -> str:
    return f"{out}/{name}" if name else out
