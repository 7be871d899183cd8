"""The record of a version, what is found by it, and whether it still holds: without any server."""

import hashlib
import json
import shutil
import subprocess
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import SMALL_PARAMS
from safetensors.torch import save_file

from flows import git_state, lineage_find, lineage_record, lineage_store, lineage_verify
from flows.fresh_copy import bring, check_out
from flows.git_state import code_state, patch_bytes
from flows.lineage_files import md5_of
from flows.lineage_record import lineage
from flows.lineage_store import HASH_TAG
from flows.lineage_tree import tree
from flows.lineage_verify import verified
from flows.machine import software
from flows.reproduced import Then
from wordmill.errors import DataError, ParamsError
from wordmill.params.everything import Params
from wordmill.params.section import parse_params

CACHE = Path(".dvc/cache/files/md5")
LATIN = "caf\xe9 is written so\n".encode("latin-1")
DAG = """
stages:
  make:
    cmd: python -m stages.make
    deps: [data/raw, stages/make.py, wordmill]
    outs: [data/made]
"""


def git(*arguments):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def write(path, content):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def listed(folder):
    """DVC's listing of a folder, and its hash."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    entries = [{"md5": md5_of(f), "relpath": f.relative_to(folder).as_posix()} for f in files]
    listing = json.dumps(entries)
    return listing, hashlib.md5(listing.encode()).hexdigest() + ".dir"


def keep(folder):
    """Put a folder into DVC's cache."""
    listing, known = listed(folder)
    write(CACHE / known[:2] / known[2:], listing)
    for entry in json.loads(listing):
        source = Path(folder) / entry["relpath"]
        write(CACHE / entry["md5"][:2] / entry["md5"][2:], source.read_bytes())
    return known


SOFTWARE = software()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository with one stage that has run."""
    monkeypatch.chdir(tmp_path)
    for module in (lineage_record, lineage_verify):  # looked up once: it takes half a second
        monkeypatch.setattr(module, "software", lambda: deepcopy(SOFTWARE))
    write(".gitignore", "/data/*\n/.dvc/cache\n/.wordmill\n*.env\n")
    write("dvc.yaml", DAG)
    write(".dvc/config", "")
    write("stages/make.py", "print(1)\n")
    write("wordmill/core.py", "ONE = 1\n")
    write("wordmill/latin.py", LATIN)
    write("passwords.env", "secret=1\n")
    write("data/raw/a.txt", "some text\n")
    git("init", "-q")
    git("add", "-A")
    git("add", "-f", "passwords.env")
    git("commit", "-qm", "start")
    Path("data/made").mkdir()
    save_file({"w": torch.ones(2)}, "data/made/model.safetensors")
    write("data/made/training.csv", "step,loss\n1,2.0\n")
    ran()
    return tmp_path


def ran():
    """Write dvc.lock as a run of the stage now leaves it."""
    hashes = {path: listed(path)[1] for path in ("data/raw", "wordmill")}
    hashes["stages/make.py"] = md5_of(Path("stages/make.py"))
    deps = [{"path": path, "md5": known} for path, known in hashes.items()]
    outs = [{"path": "data/made", "md5": keep("data/made")}]
    locked = {"make": {"cmd": "python -m stages.make", "deps": deps, "outs": outs}}
    write("dvc.lock", json.dumps({"schema": "2.0", "stages": locked}))


def recorded(*, is_diff_kept=True, files=None):
    registry = {**SMALL_PARAMS["registry"], "is_diff_kept": is_diff_kept}
    values = {**SMALL_PARAMS, "registry": registry}
    return lineage(
        run_id="1" * 32,
        params=parse_params(Params, values, file=Path("params.yaml")),
        tags={"prefect.flow_run": "flow"},
        runs={"make": {"id": "2" * 32, "is_reused": True, "seconds": 1.0}},
        files=files or {},
    )


def test_a_record_is_plain_and_holds_what_ran(project):
    record = recorded()
    assert json.loads(json.dumps(record)) == record
    assert record["git"] == {
        "commit": git("rev-parse", "HEAD"),
        "branch": git("branch", "--show-current"),
        "is_dirty": False,
        "patch": None,
        "untracked": {},
    }
    made = record["stages"]["make"]
    assert record["folders"][made["deps"]["data/raw"]] == {"a.txt": md5_of(Path("data/raw/a.txt"))}
    assert set(record["folders"][made["outs"]["data/made"]]) == {
        "model.safetensors",
        "training.csv",
    }
    assert record["seeds"] == {"seed": 7, "evaluate.decoding.seed": 1}
    assert record["software"]["packages"]["torch"] == torch.__version__
    assert record["machine"]["threads"] == torch.get_num_threads()
    assert record["changed_since"] == []
    write("wordmill/core.py", "ONE = 2\n")
    assert recorded()["changed_since"] == ["wordmill"]


def test_a_patch_is_all_but_what_is_ignored(project):
    write("wordmill/core.py", "ONE = 'été'\n")
    write("passwords.env", "secret=2\n")
    write("wordmill/new.py", "NEW = 1\n")
    write("local.env", "secret=3\n")
    code = code_state(is_diff_kept=True)
    text = code["patch"]["text"]
    assert "été" in text
    assert "secret" not in text
    assert code["patch"]["left_out"] == ["passwords.env"]
    assert list(code["untracked"]) == ["wordmill/new.py"]
    assert hashlib.sha256(text.encode()).hexdigest() == code["patch"]["sha256"]


def test_a_patch_that_is_not_kept_says_why(project, monkeypatch):
    write("wordmill/core.py", "ONE = 2\n")
    patch = code_state(is_diff_kept=False)["patch"]
    assert (patch["text"], patch["why_not"]) == (None, "registry.is_diff_kept is false")
    monkeypatch.setattr(git_state, "_MOST_BYTES", 10)
    patch = code_state(is_diff_kept=True)["patch"]
    assert (patch["text"], patch["why_not"]) == (None, "it has more than 10 bytes")
    with pytest.raises(ParamsError, match="patch was not kept: it has more than 10 bytes"):
        check_out(recorded(), project.with_name("fresh"))


def test_commit_and_patch_give_the_code_again(project, tmp_path_factory):
    write("wordmill/core.py", "ONE = 2\n")
    write("wordmill/latin.py", LATIN + LATIN)  # a patch that is no UTF-8
    write("wordmill/zero.bin", bytes(range(256)))
    git("add", "-N", "wordmill/zero.bin")
    ran()
    record = json.loads(json.dumps(recorded()))
    assert patch_bytes(record["git"]["patch"]) is not None
    git("checkout", "-q", ".")
    fresh = check_out(record, tmp_path_factory.mktemp("fresh") / "copy")
    assert (fresh / "wordmill/core.py").read_text() == "ONE = 2\n"
    assert (fresh / "wordmill/latin.py").read_bytes() == LATIN + LATIN
    assert (fresh / "wordmill/zero.bin").read_bytes() == bytes(range(256))
    assert bring(record, fresh, cache=CACHE.resolve()) == ["data/raw/a.txt"]
    record["git"]["patch"]["text"] = record["git"]["patch"]["text"][:-4] + "AAA="
    with pytest.raises(ParamsError, match="SHA-256 differs"):
        check_out(record, tmp_path_factory.mktemp("fresh") / "copy")


def test_data_comes_by_its_hash_or_is_named(project, tmp_path_factory):
    write("wordmill/new.py", "NEW = 1\n")  # in no commit
    ran()
    record = recorded()

    def fresh():
        return check_out(record, tmp_path_factory.mktemp("fresh") / "copy")

    write("data/raw/a.txt", "other text\n")
    with pytest.raises(DataError, match=r"^data/raw/a.txt is another by now, and neither DVC's"):
        bring(record, fresh(), cache=CACHE)
    keep("data/raw")
    with pytest.raises(DataError, match=r"^data/raw/a.txt is another"):
        bring(record, fresh(), cache=CACHE)  # the other text is kept, not what was read
    md5 = hashlib.md5(b"some text\n").hexdigest()
    write(CACHE / md5[:2] / md5[2:], "some text\n")
    place = fresh()
    assert sorted(bring(record, place, cache=CACHE)) == ["data/raw/a.txt", "wordmill/new.py"]
    assert (place / "data/raw/a.txt").read_text() == "some text\n"
    write(CACHE / md5[:2] / md5[2:], "flipped\n")
    with pytest.raises(DataError, match=r"^data/raw/a.txt is another"):
        bring(record, fresh(), cache=CACHE)
    (CACHE / md5[:2] / md5[2:]).unlink()
    remote = tmp_path_factory.mktemp("remote")
    write(remote / "files/md5" / md5[:2] / md5[2:], "some text\n")
    write(".dvc/config", f"[core]\n    remote = far\n['remote \"far\"']\n    url = {remote}\n")
    place = fresh()
    bring(record, place, cache=CACHE)
    assert (place / "data/raw/a.txt").read_text() == "some text\n"
    write("data/raw/a.txt", "some text\n")
    Path("wordmill/new.py").unlink()
    with pytest.raises(DataError, match=r"^wordmill/new.py is not in its commit and patch as it"):
        bring(record, fresh(), cache=CACHE)


def test_data_outside_of_the_project_is_read_there_and_never_written(
    project, tmp_path_factory, monkeypatch
):
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(project, home / "project")
    monkeypatch.chdir(home / "project")
    write("../corpus/b.txt", "more text\n")
    write(home / "far/c.txt", "far text\n")
    for path in ("../corpus", str(home / "far")):
        keep(path)
        lock = json.loads(Path("dvc.lock").read_text())
        lock["stages"]["make"]["deps"].append({"path": path, "md5": listed(path)[1]})
        write("dvc.lock", json.dumps(lock))
    record = recorded()
    place = tmp_path_factory.mktemp("fresh") / "copy"
    fresh = check_out(record, place)
    assert bring(record, fresh, cache=CACHE.resolve()) == ["data/raw/a.txt"]
    assert (fresh / "../corpus/b.txt").read_text() == "more text\n"
    assert place in fresh.parents
    for file in (Path("../corpus/b.txt"), home / "far/c.txt"):
        before = file.read_text()
        write(file, "newer\n")
        with pytest.raises(DataError, match=f"{file} is another by now"):
            bring(record, check_out(record, place.with_name("other")), cache=CACHE.resolve())
        shutil.rmtree(place.with_name("other"))
        assert file.read_text() == "newer\n"
        write(file, before)


class FakeClient:
    """MLflow with all runs."""

    def get_run(self, run_id):
        return SimpleNamespace(info=SimpleNamespace(lifecycle_stage="active"))


@pytest.fixture
def held(project, monkeypatch, tmp_path_factory):
    """A version's record, and a way to verify it: lines that are not as recorded."""
    folder = tmp_path_factory.mktemp("version")
    write(folder / "artifacts/model/model.safetensors", "weights")
    write("wordmill/core.py", "ONE = 2\n")
    ran()
    digest = hashlib.sha256(b"weights").hexdigest()
    record = recorded(files={"artifacts/model/model.safetensors": digest})
    text = json.dumps(record).encode()
    version = SimpleNamespace(tags={HASH_TAG: hashlib.sha256(text).hexdigest()})

    @contextmanager
    def files(client, version):
        yield {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}

    monkeypatch.setattr(lineage_verify, "version_files", files)
    monkeypatch.setattr(lineage_verify, "copies", lambda *_: {"with the run": text})

    def told():
        checks = list(verified(FakeClient(), version, record, cache=CACHE))
        assert len(checks) > 6
        return [str(check) for check in checks if check.verdict != "as recorded"]

    return SimpleNamespace(told=told, version=version, folder=folder, record=record)


def test_all_is_as_recorded(held):
    assert held.told() == []


def test_a_flipped_bit_of_the_version_is_named(held):
    write(held.folder / "artifacts/model/model.safetensors", "weighus")
    (line,) = held.told()
    assert line.startswith("CHANGED")
    assert line.endswith("artifacts/model/model.safetensors has other bytes")
    write(held.folder / "artifacts/model/model.safetensors", "weights")
    write(held.folder / "code/more.py", "import os")
    assert held.told()[0].endswith("code/more.py is new")


def test_an_edited_record_is_told(held):
    held.version.tags[HASH_TAG] = "0" * 64
    assert held.told()[0].startswith("CHANGED        the record, its copy with the run")


def test_a_record_is_the_copy_that_was_recorded(monkeypatch):
    tags = {HASH_TAG: hashlib.sha256(b"{}").hexdigest()}
    version = SimpleNamespace(version="1", name="small", tags=tags)
    found = {"with the model": b'{"edited": 1}', "with the run": b"{}"}
    monkeypatch.setattr(lineage_store, "copies", lambda *_: found)
    assert lineage_store.record_of(FakeClient(), version) == {}
    found["with the run"] = None
    with pytest.raises(DataError, match=r"version 1 of small: no copy of its lineage.json is what"):
        lineage_store.record_of(FakeClient(), version)
    monkeypatch.setattr(lineage_verify, "copies", lambda *_: found)
    told = [str(one) for one in verified(FakeClient(), version, None, cache=CACHE)]
    assert [line.split()[0] for line in told] == ["CHANGED", "cannot"]
    found.clear()
    assert lineage_store.record_of(FakeClient(), version) is None


def test_the_cache_is_read_not_believed(held):
    md5 = md5_of(Path("data/made/training.csv"))
    kept = CACHE / md5[:2] / md5[2:]
    write(kept, "step,loss\n1,2.1\n")
    (line,) = held.told()
    assert line.startswith("CHANGED        data/made, which make made, in DVC's cache")
    assert line.endswith("training.csv has other bytes")
    kept.unlink()
    assert held.told()[0].endswith("training.csv not in it")
    assert held.told()[0].startswith("cannot be had")


def test_data_and_code_that_moved_on_are_told(held):
    write("data/raw/a.txt", "other\n")
    (line,) = held.told()
    assert line.endswith("data/raw, which was read: data/raw/a.txt has other bytes")
    md5 = hashlib.md5(b"some text\n").hexdigest()
    write(CACHE / md5[:2] / md5[2:], "some text\n")
    assert held.told() == []  # it is to be had as it was
    write("wordmill/core.py", "ONE = 3\n")
    assert held.told() == []  # the patch has what ran
    held.record["git"]["patch"] = None
    assert held.told()[0].endswith("wordmill/core.py has other bytes")
    held.record["git"]["commit"] = "0" * 40
    assert held.told()[0].startswith("cannot be had  git commit 000")


def test_what_the_patch_leaves_out_cannot_be_had(held):
    held.record["git"]["patch"]["left_out"] = ["passwords.env"]
    (line,) = held.told()
    assert line.startswith("cannot be had  all of the patch: passwords.env differed")


def test_a_source_that_moved_on_outside_is_told(held):
    held.record["params"]["ingest"]["sources"] = [{"kind": "python-docs"}]
    held.record["outside"] = {"python-docs": "CPython 3.0", "https://gone.example": "etag"}
    changed, lost = held.told()
    assert changed.startswith("CHANGED        the source python-docs: CPython 3.")
    assert changed.endswith("was CPython 3.0")
    assert lost == "cannot be had  the source https://gone.example: it was etag"


def test_a_package_that_moved_is_told(held):
    held.record["software"]["packages"]["torch"] = "1.0"
    (line,) = held.told()
    assert line.startswith("CHANGED")
    assert f"torch 1.0 is {torch.__version__}" in line


def test_a_tree_tells_of_everything(project):
    write("wordmill/core.py", "ONE = 2\n")
    text = tree(recorded(), version="3", aliases=["champion"])
    assert text.startswith("version 3 of small (champion), registered 20")
    for told in (git("rev-parse", "HEAD"), "the tree was changed", "patch ", "data/raw", "2" * 32):
        assert told in text
    assert "CPython 3" in text
    assert text.splitlines()[-1].startswith("└─") or text.splitlines()[-1].startswith("   ")


@pytest.fixture
def versions(project, monkeypatch):
    """Two versions, of which the second has a record."""
    record = recorded()
    commit, out = record["git"]["commit"], record["stages"]["make"]["outs"]["data/made"]
    found = [
        SimpleNamespace(version="1", name="small", run_id="a" * 32, tags={"git.commit": commit}),
        SimpleNamespace(
            version="2",
            name="small",
            run_id="1" * 32,
            tags={
                "git.commit": commit,
                "prefect.flow_run": FLOW,
                "dvc.make": out,
                "wordmill.weights": git_state.sha256_of(Path("data/made/model.safetensors")),
            },
        ),
    ]
    monkeypatch.setattr(lineage_find, "_all", lambda *_: found[::-1])

    def record_of(_, one):
        if one.version != "2":
            raise DataError("its lineage.json is broken")
        return record

    monkeypatch.setattr(lineage_find, "record_of", record_of)
    registry = SimpleNamespace(name="small", client=None, holder_of={"champion": "2"}.get)
    among = lineage_find.Versions(registry)
    return SimpleNamespace(find=among.find, commit=commit, out=out)


FLOW = "01234567-89ab-cdef-0123-456789abcdef"


def test_a_version_is_found_by_anything_that_it_is_known_by(versions):
    raw = md5_of(Path("data/raw/a.txt"))
    only_the_second = {
        "2": "version",
        "champion": "alias",
        "1" * 32: "MLflow run of the pipeline",
        "2" * 32: "MLflow run of make",
        FLOW: "Prefect flow run",
        versions.out: "what make made",
        versions.out.removesuffix(".dir"): "what make made",
        raw: "data/raw/a.txt, which make read",
        "./data/made": "model folder by its weights",
    }
    for asked, kind in only_the_second.items():
        found = versions.find(asked)
        assert (found.kind, [one.version for one in found.versions]) == (kind, ["2"]), asked
    for asked in (versions.commit, versions.commit[:8], "HEAD"):
        assert [one.version for one in versions.find(asked).versions] == ["2", "1"]
    assert [one.version for one in versions.find("1").versions] == ["1"]


@pytest.mark.parametrize("asked", ["7", "nobody", "3" * 32, "0" * 8 + FLOW[8:], "--help", "./none"])
def test_an_unknown_id_is_told_what_kinds_exist(versions, asked):
    with pytest.raises(ParamsError) as error:
        versions.find(asked)
    told = str(error.value)
    assert told.startswith(asked)
    assert len(told.splitlines()) == 1
    for kind in ("alias", "MLflow run", "Prefect flow run", "git commit", "DVC's hash", "folder"):
        assert kind in told


def test_a_stage_made_again_is_held_against_what_it_made(project, tmp_path_factory):
    record = recorded()
    fresh = tmp_path_factory.mktemp("fresh")
    write(fresh / "data/made/training.csv", "step,loss\n1,2.0\n")
    write(fresh / "data/made/cost.json", "{}")
    save_file({"w": torch.ones(2)}, fresh / "data/made/model.safetensors")
    then = Then(record, cache=CACHE, registered={})

    def told():
        return [str(one) for one in then.differences("make", fresh)]

    assert told() == ["data/made/cost.json: was not there then"]
    (fresh / "data/made/cost.json").unlink()
    assert told() == []
    write(fresh / "data/made/training.csv", "step,loss\n1,2.5\n")
    assert told() == ["data/made/training.csv: row 2 (loss 2.0 is 2.5)"]
    save_file({"w": torch.tensor([1.0, 1.5])}, fresh / "data/made/model.safetensors")
    assert told()[0] == "data/made/model.safetensors: tensor w, max |difference| 0.5"
    md5 = md5_of(Path("data/made/training.csv"))
    write(CACHE / md5[:2] / md5[2:], "flipped")
    assert "DVC's cache does not have what it was" in told()[1]
    (fresh / "data/made/training.csv").unlink()
    assert told()[1] == "data/made/training.csv: was not made again"


def test_nan_that_was_there_before_is_no_success(project, tmp_path_factory):
    write("data/made/training.csv", "step,loss\n1,nan\n")
    ran()
    then = Then(recorded(), cache=CACHE, registered={})
    assert [str(one) for one in then.differences("make", project)] == [
        "data/made/training.csv: NaN in row 2"
    ]
