"""`wordmill gc`: it frees what nothing names, all of it, and never what something names."""

import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from dvc_objects.db import ObjectDB
from freeing import CACHE, OUTS, World, at, cached, git, with_artifacts
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from flows.gc import gc
from flows.gc_alone import alone, nothing_freed
from flows.lineage_verify import _cache as verified_in_cache
from flows.located_result import _cache, _from_cache, _located
from flows.workspace import BusyError, only_flow

MOST_GCS = 40


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A version of what was never committed, and much that nobody needs. It is left as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("world"))
        yield littered(World(1, patch))


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A place for a world that a test may change."""
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def littered(world: World) -> World:
    world.result()
    world.version(is_told=False)
    world.killed_registering()
    world.experiment_done()
    world.experiment_done()
    world.drop_experiment()
    world.branch()
    world.result()
    world.commit()
    git("checkout", "-q", "main")
    world.drop_branch()
    world.holders["workspace"] = world.holders["branch main"]
    return world


def freed(**options) -> int:
    return gc(is_deleted=True, keep_days=0, is_json=False, **options)


def check_whole(world: World) -> None:
    """Everything that is needed is there and can be used."""
    from dvc.repo import Repo

    for number, record in world.records.items():
        for check in verified_in_cache(record, CACHE):
            assert check.verdict == "as recorded", (number, str(check))
        model = world.model_of(number)
        assert {record["mlflow_run"], model} <= with_artifacts()
    for who, made in world.holders.items():
        kind, _, name = who.partition(" ")
        if kind == "experiment":
            (found,) = _located(name)
            with _from_cache(_cache(), found) as folder:
                assert json.loads((folder / "scores.json").read_text())["of"] == "scores.json"
        elif kind in ("branch", "tag"):
            git("checkout", "-q", "-f", name)
            shutil.rmtree("data/evaluate", ignore_errors=True)
            with Repo() as repo:
                repo.checkout(force=True)
            for stage, known in made.items():
                for entry in json.loads(at(known).read_text()):
                    assert (Path(OUTS[stage]) / entry["relpath"]).is_file()


def check_only(world: World) -> None:
    """Nothing is there but what is needed."""
    assert cached() == world.needed()
    needed, there = world.needed_runs(), with_artifacts()
    for number, record in world.records.items():
        needed |= {record["mlflow_run"], world.model_of(number)}
    assert needed <= there
    named = {known for made in world.holders.values() for known in made.values()}
    assert all(_is_of_named_pipeline(world, run, named) for run in there - needed)
    assert not there & set(world.left_behind)


def _is_of_named_pipeline(world: World, run: str, named: set[str]) -> bool:
    """Whether it is the pipeline's run of a result that is still named: that stays, too."""
    if run.startswith("m-"):
        return False
    tags = world.client.get_run(run).data.tags
    made = {value for name, value in tags.items() if name.startswith("dvc.")}
    return bool(made) and made <= named


def test_what_is_left_is_what_is_needed(fresh):
    world = World(2, fresh)
    world.at_random(15)
    assert freed() == 0
    check_only(world)
    check_whole(world)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 130))
def test_what_is_left_is_what_is_needed_at_length(fresh, seed):
    world = World(seed, fresh)
    for _ in range(3):
        world.at_random(15)
        freed()
        check_only(world)
    check_whole(world)


def test_a_dry_run_frees_nothing_and_says_it_all(world, capsys):
    before = cached(), with_artifacts()
    assert gc(is_deleted=False, keep_days=0, is_json=False) == 0
    assert (cached(), with_artifacts()) == before
    said = capsys.readouterr().out
    assert said.startswith("Would free ")
    assert "no version has it: its registering was cut off" in said
    assert "branch main" in said
    assert "version 1 of small" in said
    assert said.endswith("`wordmill gc --delete --keep-days 0` frees it.\n")
    gc(is_deleted=False, keep_days=0, is_json=True)
    found = json.loads(capsys.readouterr().out)
    assert not found["is_freed"]
    objects = next(part for part in found["parts"] if part["kind"] == "DVC's cache")
    assert sum(one["num"] for one in objects["loose"]) == len(cached() - world.needed())
    num_bytes = sum(at(one).stat().st_size for one in cached() - world.needed())
    assert objects["bytes"] == num_bytes


def test_what_is_young_stays_with_its_files(world, capsys):
    before = cached(), with_artifacts()
    assert gc(is_deleted=True, keep_days=1, is_json=False) == 0
    assert (cached(), with_artifacts()) == before
    assert "that nobody needs are young, see --keep-days" in capsys.readouterr().out


def test_an_end_at_any_moment_leaves_what_is_needed(fresh, capsys):
    world = littered(World(3, fresh))
    run = next(iter(set(world.made_by.values()) - world.needed_runs()))
    world.client.log_metric(run, "loss", 1.5)
    left = 0

    def cut_off(act):
        def acting(*arguments):
            nonlocal left
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
            return act(*arguments)

        return acting

    for owner, name in ((ObjectDB, "delete"), (LocalArtifactRepository, "delete_artifacts")):
        fresh.setattr(owner, name, cut_off(getattr(owner, name)))
    for num_cut in range(MOST_GCS):  # noqa: B007 - how often it was
        left = 5
        try:
            freed()
            break
        except KeyboardInterrupt:
            assert world.needed() <= cached()
            assert world.needed_runs() <= with_artifacts()
    assert 2 < num_cut < MOST_GCS - 1
    check_only(world)
    check_whole(world)
    assert freed() == 0
    assert capsys.readouterr().out.endswith("Nothing to free.\n")
    found = world.client.get_run(run).data
    assert found.metrics == {"loss": 1.5}
    assert "no version, experiment or dvc.lock names it" in found.tags["wordmill.freed"]


def in_a_branch(world):
    """A branch whose dvc.lock was merged badly."""
    blob = git("hash-object", "-w", "--stdin", given="stages:\n<<<<<<< ours\n")
    tree = git("mktree", given=f"100644 blob {blob}\tdvc.lock\n")
    return {".git/refs/heads/broken": git("commit-tree", tree, "-m", "broken")}


def in_the_workspace(world):
    return {"dvc.lock": ""}


def in_the_champion_file(world):
    champion = {"model": "small", "version": "7", "run_id": "1", "files": "", "entry": 1}
    return {"registry/champion.json": json.dumps({**champion, "entry_sha256": ""})}


def in_a_record(world):
    return {str(file): "{}" for file in Path("mlartifacts").rglob("lineage.json")}


def in_a_listing(world):
    return {str(at(world.holders["version 1"]["finetune"])): "[]"}


def in_an_experiment(world):
    return {str(next(Path(".wordmill/experiments").rglob("*.experiment.json"))): "{"}


def in_the_settings(world):
    return {".dvc/config": "[cache]\n    shared = group\n"}


def in_git(world):
    return {".git/HEAD": "nonsense"}


@contextmanager
def written(files):
    """Files with other contents, for as long as the block."""
    before = {name: Path(name).read_bytes() if Path(name).exists() else None for name in files}
    for name, text in files.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).unlink(missing_ok=True)
        Path(name).write_text(text)
    yield
    for name, content in before.items():
        Path(name).unlink()
        if content is not None:
            Path(name).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (in_a_branch, "dvc.lock in branch broken is broken: what it needs is not known"),
        (in_the_workspace, "dvc.lock is broken"),
        (in_the_champion_file, "names version 7 of small, which the store"),
        (in_a_record, "version 1 of small: its lineage record is gone or damaged"),
        (in_a_listing, "in DVC's cache is damaged: which files it needs is not known"),
        (in_an_experiment, "is broken: what its experiment needs is not known"),
        (in_the_settings, "cache.shared is group, and what others there need is not known"),
        (in_git, "git for-each-ref fails"),
    ],
)
def test_where_a_reference_cant_be_read_nothing_goes(world, monkeypatch, capsys, damage, words):
    for owner, name in ((ObjectDB, "delete"), (LocalArtifactRepository, "delete_artifacts")):
        is_left_alone = owner is ObjectDB or damage not in (in_a_listing, in_the_settings)
        monkeypatch.setattr(owner, name, fails if is_left_alone else lambda *_: None)
    with written(damage(world)):
        before = cached()
        assert freed() == 65
        assert cached() == before
    said = [line for line in capsys.readouterr().out.splitlines() if words in line]
    assert said
    assert all(line.startswith("Not freed, ") for line in said)


def test_where_mlflow_is_away_nothing_goes(world, monkeypatch, capsys):
    monkeypatch.setattr(ObjectDB, "delete", fails)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert freed() == 75
    assert "Not freed, DVC's cache: MLflow does not answer at http" in capsys.readouterr().out


def fails(*_):
    raise AssertionError("something is deleted")


def test_it_is_done_alone(world):
    before = cached()
    with only_flow(), pytest.raises(BusyError, match="another flow is at work"):
        freed()
    with nothing_freed(), nothing_freed(), pytest.raises(BusyError, match="experiment is at work"):
        freed()
    with alone(), pytest.raises(BusyError, match="`wordmill gc` is at work"), nothing_freed():
        pass
    assert cached() == before
