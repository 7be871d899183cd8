"""The fast verdicts held against DVC's, through random edits of a tiny project."""

import json
import logging
import os
import random
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, run_in
from dvc.exceptions import DvcException
from dvc.repo import Repo
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows import hashes
from flows.changes import Look
from flows.doubt import DoubtError
from flows.plan import plan

# DVC's own use of pygtrie is deprecated there.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")

NUM_EDITS = 150
DAG = {
    "stages": {
        "read": {
            "cmd": "mkdir -p out/read/deep && cat ${read.root}/*.jsonl > out/read/all.txt"
            " && cp code/read.py out/read/deep/code.txt && echo 1 > out/read/deep/x.txt",
            "deps": ["${read.root}", "code/read.py", "code/lib"],
            "params": ["read", "seed"],
            "outs": ["out/read"],
        },
        "count": {
            "cmd": "wc -c out/read/all.txt > out/count.txt && echo {} > out/count.json",
            "deps": ["out/read", "code/lib/a.py"],
            "params": ["count.size", {"other.yaml": ["deep.value"]}],
            "outs": ["out/count.txt"],
            "metrics": [{"out/count.json": {"cache": False}}],
        },
        "tell": {
            "cmd": "mkdir -p out/tell && cp out/count.txt out/tell/told.txt",
            "deps": ["out/count.txt", "out/read/deep", "code/lib"],
            "params": ["tell"],
            "outs": ["out/tell"],
        },
        "alone": {"cmd": ["echo a > out/alone.txt"], "params": ["seed"], "outs": ["out/alone.txt"]},
    }
}
PARAMS = {
    "seed": 1,
    "read": {"root": "raw", "rate": 3e-4, "names": ["a", "b"], "nothing": None},
    "count": {"size": 5},
    "tell": {"is_on": True, "text": "x"},
}
FILES = {
    "raw/a.jsonl": "{}\n",
    "raw/b.jsonl": "{1}\n",
    "raw/sub/c.jsonl": "{2}\n",
    "raw/draft.tmp": "ignored",
    "code/read.py": "print(1)\n",
    "code/lib/a.py": "a = 1\n",
    "code/lib/b.py": "b = 1\n",
    "code/lib/__pycache__/b.pyc": "x",
    ".dvcignore": "# left out\n__pycache__\n*.tmp\n",
}


def write_yaml(path: str, value: object) -> None:
    YAML().dump(value, Path(path))


def read_yaml(path: str):
    return YAML(typ="safe").load(Path(path))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project whose stages have run."""
    folder = tmp_path_factory.mktemp("fuzz")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("out").mkdir()
        write_yaml("dvc.yaml", DAG)
        write_yaml("params.yaml", PARAMS)
        write_yaml("other.yaml", {"deep": {"value": 1.5}, "unread": 1})
        Repo.init(no_scm=True).close()
        with Repo() as repo:
            repo.reproduce()
    return folder


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A copy of it to edit, and what stands in it."""
    monkeypatch.setattr(logging.getLogger("dvc"), "level", logging.CRITICAL)
    # Edits follow each other faster than two seconds; a tick of the clock is 4 to 10 ms.
    monkeypatch.setattr(hashes, "_RACY_NS", 30_000_000)
    shutil.copytree(made, tmp_path / "p", symlinks=True)
    monkeypatch.chdir(tmp_path / "p")
    return tmp_path / "p"


def ours() -> set[str] | None:
    """The stages that would run, None where DVC is to be asked."""
    try:
        look = Look()
        found = {stage for stage in look.needs if look.reasons(stage)}
    except DoubtError:
        return None
    look.save()
    return found


def dvcs() -> set[str] | None:
    """The stages that DVC would run, None where it refuses."""
    try:
        with Repo() as repo:
            return set(repo.status())
    except DvcException:
        return None


class Edits:
    """Random edits, drawn from one seed."""

    def __init__(self, seed: int, made: Path) -> None:
        self.draw, self.made = random.Random(seed), made
        self.kinds = [
            *(self.param, self.param, self.touch, self.same_size, self.add, self.remove),
            *(self.rename, self.spoil_output, self.lose_output, self.command, self.deps),
            *(self.lock_value, self.break_lock, self.lose_from_cache, self.restore, self.restore),
            *(self.ignore, self.retype, self.odd_key, self.link, self.put_back, self.put_back),
            *(self.other_param, self.empty_folder, self.swap),
        ]

    def any(self) -> str:
        kind = self.draw.choice(self.kinds)
        try:
            kind()
        except (OSError, LookupError, TypeError, ValueError, AttributeError, YAMLError):
            self.restore()  # an earlier edit took away what this one needs
        return kind.__name__

    def file(self, *folders: str) -> Path:
        found = [
            p
            for name in folders or ("raw", "code", "out")
            for p in sorted(Path(name).rglob("*"))
            if p.is_file()
        ]
        return self.draw.choice(found)

    def param(self) -> None:
        params = read_yaml("params.yaml")
        section = self.draw.choice(["read", "count", "tell"])
        key = self.draw.choice(sorted(params[section]))
        if key == "root":
            params[section][key] = self.draw.choice(["raw", "code/lib", "nowhere", "raw/sub"])
        else:
            params[section][key] = self.draw.choice([1, 1.0, True, None, "1", [1], {"k": 1}, 3e-4])
        write_yaml("params.yaml", params)

    def other_param(self) -> None:
        value = self.draw.choice([{"value": 1.5}, {"value": 2}, {}, [1], None])
        write_yaml("other.yaml", {"deep": value, "unread": self.draw.random()})

    def odd_key(self) -> None:
        params = read_yaml("params.yaml")
        params["count"][self.draw.choice(["*", "size2", 3, "a.b"])] = 1
        write_yaml("params.yaml", params)

    def retype(self) -> None:
        params = read_yaml("params.yaml")
        params.pop(self.draw.choice(sorted(params)))
        write_yaml("params.yaml", params)

    def touch(self) -> None:
        self.file().touch()

    def same_size(self) -> None:
        path = self.file()
        text = path.read_bytes()
        at = self.draw.randrange(len(text))
        path.chmod(0o644)
        path.write_bytes(text[:at] + bytes([(text[at] + 1) % 256]) + text[at + 1 :])

    def add(self) -> None:
        folder = self.draw.choice(["raw", "raw/sub", "raw/new/deep", "code/lib", "out/read", "out"])
        Path(folder).mkdir(parents=True, exist_ok=True)
        name = self.draw.choice(["z.jsonl", "y.tmp", "é n.txt", "Z", "__pycache__"])
        (Path(folder) / name).write_text(str(self.draw.random()))

    def remove(self) -> None:
        self.file("raw", "code").unlink()

    def rename(self) -> None:
        path = self.file("raw", "code", "out/read")
        path.rename(path.with_name(f"r{path.name}"))

    def swap(self) -> None:
        one, two = self.file("raw", "code/lib"), self.file("raw", "code/lib")
        first, second = one.read_bytes(), two.read_bytes()
        one.write_bytes(second)
        two.write_bytes(first)

    def empty_folder(self) -> None:
        Path("raw/nothing/in/it").mkdir(parents=True)

    def spoil_output(self) -> None:
        path = self.file("out")
        path.write_text("spoilt")

    def lose_output(self) -> None:
        path = Path(self.draw.choice(["out/read", "out/count.txt", "out/tell", "out/read/deep"]))
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def command(self) -> None:
        self.change_stage(lambda stage: stage.update(cmd=self.draw.choice(["true", ["echo 2"]])))

    def deps(self) -> None:
        def change(stage: dict) -> None:
            kind = self.draw.randrange(6)
            if kind == 0:
                stage["deps"].pop()
            elif kind == 1:
                stage["deps"].append(self.draw.choice(["code/read.py", "raw/a.jsonl", "none.py"]))
            elif kind == 2:
                stage["params"] = ["seed"]
            elif kind == 3:
                stage["outs"].append(self.draw.choice(["out/new.txt", {"o.txt": {"cache": False}}]))
            elif kind == 4:
                stage["desc"] = "what it is for"
            else:
                stage[self.draw.choice(["frozen", "always_changed"])] = True

        self.change_stage(change)

    def change_stage(self, change) -> None:
        dag = read_yaml("dvc.yaml")
        change(dag["stages"][self.draw.choice(sorted(dag["stages"]))])
        write_yaml("dvc.yaml", dag)

    def lock_value(self) -> None:
        lock = read_yaml("dvc.lock")
        name = self.draw.choice(sorted(lock["stages"]))
        stage = lock["stages"][name]
        kind = self.draw.randrange(5)
        if kind == 0:
            del lock["stages"][name]
        elif kind == 1:
            stage["outs"][0]["md5"] = "0" * 32
        elif kind == 2:
            del stage["deps"][0]
        elif kind == 3:
            stage["params"]["params.yaml"].popitem()
        else:
            lock["schema"] = "3.0"
        write_yaml("dvc.lock", lock)

    def break_lock(self) -> None:
        path, text = Path("dvc.lock"), Path("dvc.lock").read_text()
        path.write_text(self.draw.choice(["", "<<<<<<< HEAD\n" + text, text[: len(text) // 2]]))

    def lose_from_cache(self) -> None:
        path = self.file(".dvc/cache/files")
        if self.draw.random() < 0.3:
            path.chmod(0o644)
        else:
            path.unlink()

    def ignore(self) -> None:
        line = self.draw.choice(["*.jsonl", "b.*", "sub/", "!a.jsonl", "/raw/a.jsonl", "out", "?"])
        with Path(".dvcignore").open("a") as file:
            file.write(f"{line}\n")

    def link(self) -> None:
        Path("raw/link.jsonl").symlink_to("a.jsonl")

    def put_back(self) -> None:
        """One file as it was, with another inode and the old clock."""
        path = self.file()
        path.unlink()
        shutil.copy2(self.made / path, path)

    def restore(self) -> None:
        for name in ("raw", "code", "out", ".dvc/cache"):
            shutil.rmtree(name, ignore_errors=True)
            shutil.copytree(self.made / name, name)
        for name in ("dvc.yaml", "dvc.lock", "params.yaml", "other.yaml", ".dvcignore"):
            shutil.copy2(self.made / name, name)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_the_verdicts_are_dvcs_through_random_edits(project, made, seed):
    edits = Edits(seed, made)
    assert ours() == dvcs() == set()
    told: list[str] = []
    num_doubts = num_changed = 0
    for i in range(NUM_EDITS):
        told.append(edits.any())
        if i % 7 == 6:  # edits pile up for a while only
            edits.restore()
            told.append("restore")
        found = ours()
        if found is None:
            num_doubts += 1
            continue
        assert found == dvcs(), f"after {told[-8:]}"
        num_changed += bool(found)
    assert num_changed > NUM_EDITS / 5
    assert num_doubts < NUM_EDITS / 2
    print(f"{NUM_EDITS} edits, {num_doubts} left to DVC, {num_changed} with a stage to run")


def test_a_file_of_the_last_seconds_is_not_remembered(project, monkeypatch):
    monkeypatch.setattr(hashes, "_RACY_NS", 2_000_000_000)
    path = Path("raw/a.jsonl")
    old = Path("raw/b.jsonl").stat().st_mtime_ns - 10_000_000_000
    os.utime(path, ns=(old, old))  # its mtime is old, its ctime is of now
    first = hashes.Hashes()
    before = first.of("raw/a.jsonl")
    first.save(kept_folders=set())
    path.write_text("[]\n")
    os.utime(path, ns=(old, old))
    assert hashes.Hashes().of("raw/a.jsonl") != before


def explained(project: Path, *arguments: str):
    command = ["python", "-m", "flows.cli", "explain", *arguments]
    return run_in(project, *command, PYTHONPATH=str(ROOT))


def test_explain_says_what_would_run_and_runs_nothing(project):
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")}
    assert explained(project).stdout.startswith("Nothing new")
    Path("raw/b.jsonl").write_text("other")
    Path("raw/new.jsonl").write_text("new")
    Path("code/lib/b.py").write_text("b = 2")
    write_yaml("params.yaml", {**PARAMS, "tell": {"is_on": False, "text": "x"}})
    done = explained(project)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "Would run: read, tell; and 1 after that."
    assert sorted(lines[1:]) == [
        "  alone  reused: nothing changed",
        "  count  runs after read, if what it reads changes",
        "  read   runs because data in raw: 1 file new, 1 changed: new.jsonl, b.jsonl;"
        " data in code/lib: 1 file changed: b.py",
        "  tell   runs because tell.is_on went from True to False;"
        " data in code/lib: 1 file changed: b.py",
    ]
    told = json.loads(explained(project, "count", "--json").stdout)
    assert [(step["stage"], step["verdict"]) for step in told] == [
        ("read", "run"),
        ("count", "after"),
    ]
    assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*")} == before


def test_an_unknown_stage_is_told_in_a_line(project):
    done = explained(project, "reed")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("wordmill: reed: no such stage; dvc.yaml has ")
    assert all(stage in line for stage in DAG["stages"])


def test_in_doubt_dvc_is_asked(project):
    dag = read_yaml("dvc.yaml")
    dag["stages"]["tell"]["frozen"] = True  # its inputs no longer count
    write_yaml("dvc.yaml", dag)
    Path("code/lib/a.py").write_text("a = 2")
    assert ours() is None
    found = {step.stage: step.why for step in plan()}
    assert found == {
        "alone": [],
        "read": ["code/lib is modified"],
        "count": ["code/lib/a.py is modified"],
        "tell": [],
    }
