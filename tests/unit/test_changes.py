"""The parts of the fast look: how it reads, what it doubts, how it puts a change."""

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, environment
from ruamel.yaml import YAML

from flows import hashes, outside
from flows.changes import Look
from flows.doubt import DoubtError
from flows.dvc_cache import Cache
from flows.dvc_stages import read_locked, read_stages
from flows.explain import explain
from flows.hashes import Hashes, Ignored
from flows.makers import makers_of
from flows.plan import Step, part_of, plan, told
from flows.reasons import changed_folder, changed_output, changed_params
from stages.inputs import dvc_hash
from wordmill.data import python_docs
from wordmill.errors import ParamsError

STAGE = {"cmd": "true", "deps": ["raw"], "outs": ["out"]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    (tmp_path / ".dvc").mkdir()
    return tmp_path


def write(path: str, text: str) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)
    return Path(path)


def write_yaml(path: str, value: object) -> None:
    YAML().dump(value, Path(path))


def write_dag(stage: dict, **top: object) -> None:
    write_yaml("dvc.yaml", {"stages": {"one": stage}, **top})


@pytest.fixture
def ran(folder):
    """A project of one stage as its run left it."""
    write("raw/a.txt", "a")
    write("raw/b.txt", "b")
    write("out/x.txt", "made")
    write_yaml("params.yaml", {"lr": 0.1, "deep": {"size": 3}})
    stage = {**STAGE, "params": ["lr", "deep.size"], "outs": [{"out": {"cache": False}}]}
    write_dag(stage)
    looked = Hashes()

    def entry(path: str) -> dict:
        return {"path": path, "hash": "md5", "md5": looked.of(path), "size": 1, "nfiles": 1}

    made = {
        "cmd": "true",
        "deps": [entry("raw")],
        "params": {"params.yaml": {"lr": 0.1, "deep.size": 3}},
        "outs": [entry("out")],
    }
    write_yaml("dvc.lock", {"schema": "2.0", "stages": {"one": made}})
    first = Look()
    assert first.reasons("one") == []
    first.save()
    return folder


def test_the_project_itself_is_read_without_doubt(monkeypatch):
    monkeypatch.chdir(ROOT)
    stages = read_stages(Look().params)
    assert stages["ingest"].deps[0] == "data/raw"  # ${ingest.root}
    assert stages["evaluate"].params["params.yaml"][0] == "clean.mask"
    assert list(Look().needs)[:2] == ["ingest", "clean"]
    assert Look().needs["evaluate"] == [
        *("baselines", "clean", "finetune", "ingest", "pretrain", "tokenize")
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"frozen": True},
        {"always_changed": True},
        {"wdir": "sub"},
        {"deps": ["../elsewhere"]},
        {"deps": ["/tmp"]},
        {"deps": ["s3://bucket/a"]},
        {"deps": ["raw/"]},
        {"deps": ["raw", "raw"]},
        {"deps": ["out"]},
        {"deps": ["${nowhere}"]},
        {"deps": ["${lr}"]},
        {"params": ["lr*"]},
        {"params": [{"x.json": ["a"]}]},
        {"params": [{"x.yaml": None}]},
        {"outs": [{"out": {"remote": "r"}}]},
        {"cmd": None},
        {"cmd": "echo \\${lr}"},
    ],
)
def test_what_only_dvc_can_read_is_left_to_it(folder, change):
    write_dag({**STAGE, **change})
    with pytest.raises(DoubtError):
        read_stages({"lr": 0.1})


@pytest.mark.parametrize(
    "lock",
    [
        "schema: '3.0'\nstages: {}",
        "stages: {}",
        "<<<<<<< HEAD\nschema: '2.0'",
        "schema: '2.0'\nstages: {one: {cmd: x, outs: [{path: o, md5: abc}]}}",
        "schema: '2.0'\nstages: {one: {cmd: x, outs: [{path: o, hash: md5, etag: abc}]}}",
        "schema: '2.0'\nstages: {one: {deps: []}}",
        "",
    ],
)
def test_a_lock_of_another_kind_is_left_to_dvc(folder, lock):
    write("dvc.lock", lock)
    with pytest.raises(DoubtError):
        read_locked()


@pytest.mark.parametrize("pattern", ["!x", "/x", "a/b", "**/x", "[ab]", "*", "x\\ y"])
def test_patterns_of_other_kinds_are_left_to_dvc(folder, pattern):
    write(".dvcignore", f"# a comment\n*.tmp\n{pattern}\n")
    with pytest.raises(DoubtError):
        Ignored()


def test_what_is_ignored(folder):
    write(".dvcignore", "__pycache__\n*.pyc\nbuild/\nx?.txt\n")
    ignored = Ignored()
    for path in ("a/__pycache__", "__pycache__/x.py", "b.pyc", "build/b", "x1.txt", ".git/x"):
        assert ignored.matches(path, is_folder=False), path
    assert not ignored.matches("build", is_folder=False)
    assert ignored.matches("build", is_folder=True)
    for path in ("pyc", "a.pyc.txt", "x.txt", "x12.txt"):
        assert not ignored.matches(path, is_folder=False), path


def test_a_folders_hash_is_dvcs(folder):
    write("raw/b/ü.txt", "1")
    write("raw/a.txt", "")
    (folder / "raw/empty").mkdir()
    assert Hashes().of("raw") == dvc_hash(folder / "raw")
    assert Hashes().of("raw/a.txt") == hashlib.md5(b"").hexdigest()
    assert Hashes().of("raw/none") is None
    assert Hashes().of("raw/a.txt/none") is None


@pytest.mark.parametrize("path", ["raw/link", "raw", "raw/pipe", "linked/a.txt"])
def test_links_and_devices_are_left_to_dvc(folder, path):
    write("raw/a.txt", "a")
    if path == "raw/pipe":
        os.mkfifo(path)
    elif path == "linked/a.txt":
        Path("linked").symlink_to("raw")
    else:
        Path("raw/link").symlink_to("a.txt")
    with pytest.raises(DoubtError):
        Hashes().of(path)


def test_rules_below_the_root_are_left_to_dvc(folder):
    write("data/raw/a.txt", "a")
    write("data/.dvcignore", "a.txt")
    with pytest.raises(DoubtError):
        Hashes().of("data/raw")


def test_an_old_file_is_hashed_once(folder, monkeypatch):
    monkeypatch.setattr(hashes, "_RACY_NS", -(10**12))
    write("raw/a.txt", "a")
    first = Hashes()
    found = first.of("raw")
    first.save(kept_folders=set())
    monkeypatch.setattr(Hashes, "_taken", lambda *_: pytest.fail("hashed again"))
    assert Hashes().of("raw") == found
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    write("raw/a.txt", "b")
    assert Hashes().of("raw") != found


def test_a_fresh_file_is_hashed_each_time(folder):
    write("raw/a.txt", "a")
    first = Hashes()
    first.of("raw")
    first.save(kept_folders=set())
    assert not (folder / ".wordmill/hashes/files.json").exists()


@pytest.mark.parametrize("memory", ["", "{", "[]", '{"version": 1}', '{"version": 0, "files": {}}'])
def test_a_broken_memory_is_no_memory(folder, memory):
    write(".wordmill/hashes/files.json", memory)
    write("raw/a.txt", "a")
    assert Hashes().of("raw/a.txt") == hashlib.md5(b"a").hexdigest()


def test_reasons_name_what_changed(ran):
    write("raw/c.txt", "c")
    write("raw/a.txt", "other")
    write("out/x.txt", "spoilt")
    write_yaml("params.yaml", {"lr": 0.2, "deep": {}})
    assert Look().reasons("one") == [
        "lr went from 0.1 to 0.2",
        "deep.size went from 3 to None",
        "data in raw: 1 file new, 1 changed: c.txt, a.txt",
        "output out is modified: 1 file changed: x.txt",
    ]


def test_touching_is_no_change(ran):
    os.utime("raw/a.txt")
    assert Look().reasons("one") == []
    write_yaml("params.yaml", {"unread": 1, "deep": {"size": 3.0}, "lr": 0.1})
    assert Look().reasons("one") == []


def test_what_is_gone_is_told(ran):
    Path("out/x.txt").unlink()
    Path("out").rmdir()
    Path("raw/a.txt").unlink()
    assert Look().reasons("one") == [
        "data in raw: 1 file gone: a.txt",
        "output out is missing",
    ]
    Path("dvc.lock").unlink()
    assert Look().reasons("one") == ["it has not run here before"]


def test_what_changed_since_the_first_run_is_named(ran):
    lock = Path("dvc.lock").read_text()
    Path("dvc.lock").unlink()
    for listing in Path(".wordmill/hashes").iterdir():
        listing.unlink()
    plan()  # the look before the first run
    write("dvc.lock", lock)
    write("raw/c.txt", "c")
    assert Look().reasons("one") == ["data in raw: 1 file new: c.txt"]


def test_an_object_that_is_not_in_the_cache_reruns_its_stage(ran):
    dag = YAML(typ="safe").load(Path("dvc.yaml"))
    dag["stages"]["one"]["outs"] = ["out"]
    write_yaml("dvc.yaml", dag)
    assert Look().reasons("one") == ["output out is not in DVC's cache"]


def test_the_cache_is_where_the_settings_say(folder):
    md5 = "ab" + "0" * 30
    kept = write(f"shared/files/md5/ab/{'0' * 30}", "x")
    write(".dvc/config", "[core]\n    analytics = false\n['remote \"s\"']\n    url = s3://b\n")
    assert not Cache().holds(md5)
    write(".dvc/config.local", "[cache]\n    dir = ../shared\n    type = hardlink\n")
    with pytest.raises(DoubtError):  # DVC would look into it
        Cache().holds(md5)
    kept.chmod(0o444)
    assert Cache().holds(md5)
    write(".dvc/config.local", "[feature]\n    x = y\n")
    with pytest.raises(DoubtError):
        Cache()


def test_changes_in_words():
    before, now = {"a": "1", "b": "1", "c": "1"}, {"b": "2", "c": "1", "d": "1", "e": "1"}
    assert (
        changed_folder("data/raw", before, now)
        == "data in data/raw: 2 files new, 1 changed, 1 gone: d, e, b, ..."
    )
    assert changed_folder("wordmill/models", {"a.py": "1"}, {"a.py": "2"}) == (
        "code in wordmill/models: 1 file changed: a.py"
    )
    assert changed_folder("wordmill/models", None, {}) == "code in wordmill/models has changed"
    assert changed_output("o", None, None) == "output o is modified"
    assert changed_params({}, {"a": None}, ["a"]) == ["a is another"]


STEPS = [
    Step("one", ["x is gone"], [], [], None),
    Step("aside", [], [], [], "r1"),
    Step("two", [], [], ["one"], None),
    Step("three", ["a", "b", "c", "d", "e"], ["asked to"], ["two"], None),
]


def test_the_plan_in_words():
    lines = [line.split() for line in told(STEPS).splitlines()]
    assert [" ".join(line) for line in lines] == [
        "one runs because x is gone",
        "aside reused: nothing changed; made by run r1",
        "two runs after one, if what it reads changes",
        "three runs because asked to; a; b; c; and 2 more",
    ]


def test_a_stage_alone_comes_with_those_before_it_that_run():
    assert [step.stage for step in part_of(STEPS, "two")] == ["one", "two"]
    assert [step.stage for step in part_of(STEPS, "aside")] == ["aside"]
    with pytest.raises(ParamsError, match=r"four: no such stage; dvc\.yaml has one, aside, two"):
        part_of(STEPS, "four")


def test_a_plan_runs_nothing_and_can_be_forced(ran):
    assert [step.reasons for step in plan()] == [[]]
    assert [step.reasons for step in plan(is_forced=True)] == [["asked to, with --force"]]
    assert "Nothing new" in explain(None, is_json=False)
    Path("raw/a.txt").unlink()
    (found,) = json.loads(explain("one", is_json=True))
    assert (found["verdict"], found["after"]) == ("run", [])
    assert found["why"] == ["data in raw: 1 file gone: a.txt"]


def test_another_python_is_told_without_reading_params(folder, monkeypatch):
    write("data/ingest/sources.json", json.dumps({"outside": {"python-docs": "CPython 3.0"}}))
    (line,) = outside.moved_on({"sources": [{"kind": "python-docs"}]})
    assert line == f"python-docs moved from CPython 3.0 to {python_docs.fingerprint()}"
    write("data/ingest/sources.json", json.dumps({"outside": {}}))
    assert outside.moved_on({"sources": "not looked at"}) == []


def test_the_maker_is_found_in_mlflows_tables(folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "wordmill")
    assert makers_of({"one": "h"}) == {}
    with sqlite3.connect(folder / "mlflow.db") as tables:
        tables.executescript(
            """
            CREATE TABLE experiments (experiment_id, name);
            CREATE TABLE runs (run_uuid, experiment_id, lifecycle_stage, start_time);
            CREATE TABLE tags (key, value, run_uuid);
            INSERT INTO experiments VALUES (1, 'wordmill'), (2, 'other');
            INSERT INTO runs VALUES ('a', 1, 'active', 1), ('b', 1, 'active', 2),
                ('c', 1, 'deleted', 3), ('d', 2, 'active', 4);
            INSERT INTO tags VALUES ('wordmill.output', 'h', 'a'), ('wordmill.output', 'h', 'b'),
                ('wordmill.output', 'h', 'c'), ('wordmill.output', 'h', 'd'),
                ('dvc.two', 'k', 'a'), ('dvc.two', 'k', 'b');
            """
        )
    tables.close()
    assert makers_of({"one": "h", "two": "k", "three": "n"}) == {"one": "b", "two": "a"}
    write("mlflow.db", "no database")
    assert makers_of({"one": "h"}) == {}


def test_explaining_imports_nothing_heavy():
    code = "import sys, flows.cli, flows.explain; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"dvc", "mlflow", "prefect", "pydantic", "torch", "numpy", "pyarrow"}
