"""Who becomes champion, what is written of it, and what a kill leaves: on a real MLflow store."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT
from stores import make_store, registered

from flows import retrain
from flows.budget import Budget, OutOfTimeError
from flows.champion_file import CHAMPION_FILE, LOG_FILE, disagreement
from flows.moving import ChangedError
from flows.parity import PARITY, check_version
from flows.promoting import (
    consider,
    history,
    is_decided,
    promote_version,
    reconcile_to,
    roll_back,
    settled,
)
from flows.promotion import promote, reconcile, settle
from flows.promotion_log import DisagreementError, PromotionLog
from flows.registry import CHALLENGER, CHAMPION, GATE_TAG, Registry, registry_alone
from flows.summary import Summary
from flows.version_files import LISTING, check_stored
from flows.workspace import BusyError
from wordmill.errors import DataError, ParamsError

STEPS = ["checked", "begun", "begun told", "moved", "freed", "written", "done", "done told"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("store") / "mlflow.db")


@pytest.fixture
def registry(store, tmp_path, monkeypatch):
    """A registry of three tested versions, in a project of its own."""
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    registry = Registry(MlflowClient(store, store), tmp_path.name)
    registry.create_if_absent()
    for number in (1, 2, 3):
        registered(registry, tmp_path / f"versions/{number}", score=number)
    return registry


@pytest.fixture(autouse=True)
def _files_alone(monkeypatch):
    """Versions here are files without a model; test_versions.py loads real ones."""
    monkeypatch.setitem(promote.__kwdefaults__, "check", check_stored)
    monkeypatch.setitem(reconcile.__kwdefaults__, "check", check_stored)


def promoted(registry, number, *, expected=None, reason="", verdict=None, **more):
    return promote(
        registry,
        number,
        expected=expected,
        reason=reason,
        by="tester",
        verdict=verdict,
        **more,
    )


def state(registry):
    """The champion of the registry, of the file, and of the log."""
    file = json.loads(CHAMPION_FILE.read_text())["version"] if CHAMPION_FILE.exists() else None
    done = PromotionLog(LOG_FILE).done()
    return (
        registry.holder_of(CHAMPION),
        file,
        done[-1].entry["to_version"] if done else None,
    )


def verdict_of(decision, *, challenger="2", champion="1"):
    finding = {"rule": "primary", "about": "summarize/rougeL", "decision": decision}
    finding |= {"said": "ROUGE-L 12.1 against 12.0", "figures": {"difference": 0.1}}
    return {
        "decision": decision,
        "challenger": challenger,
        "champion": champion,
        "sets": {"summarize": "abc"},
        "findings": [finding],
    }


def test_a_promotion_moves_the_alias_and_is_written_down(registry):
    registry.give(CHALLENGER, "1")
    first = promoted(registry, "1", reason="the first champion")
    assert state(registry) == ("1", "1", "1")
    assert registry.holder_of(CHALLENGER) is None
    second = promoted(registry, "2", expected="1", verdict=verdict_of("PROMOTE"))
    assert state(registry) == ("2", "2", "2")
    assert second["previous"] != first["sha256"]  # the first one's end stands between
    assert (second["from_version"], second["to_version"]) == ("1", "2")
    assert second["sets"] == {"summarize": "abc"}
    assert second["findings"][0]["figures"] == {"difference": 0.1}
    written = json.loads(CHAMPION_FILE.read_text())
    assert written["entry_sha256"] == second["sha256"]
    assert written["files"] == registry.version("2").tags["wordmill.files"]
    kinds = [json.loads(line)["kind"] for line in LOG_FILE.read_text().splitlines()]
    assert kinds == ["begun", "done"] * 2


def test_a_decision_against_another_champion_does_not_count(registry):
    promoted(registry, "1")
    promoted(registry, "2", expected="1")
    with pytest.raises(ChangedError, match="changed from 1 to 2 since; try again"):
        promoted(registry, "3", expected="1")
    with pytest.raises(ParamsError, match=r"version 2 of .* is champion already"):
        promoted(registry, "2", expected="2")
    assert state(registry) == ("2", "2", "2")


@pytest.mark.parametrize("decision", ["HOLD", "REJECT"])
def test_going_against_the_gate_needs_a_reason_and_is_logged(registry, decision):
    promoted(registry, "1")
    with pytest.raises(ParamsError, match=f"the gate says {decision} to version 2: ROUGE-L 12.1"):
        promoted(registry, "2", expected="1", verdict=verdict_of(decision), reason=" ")
    assert state(registry) == ("1", "1", "1")
    asked = []

    def judge(*versions):
        asked.append(versions)
        return verdict_of(decision)

    name = registry.name
    said = promote_version(name, "2", reason="it is faster", judge=judge)
    assert said == f"champion of {name}: version 2 (was 1), against the gate's {decision}"
    assert asked == [("2", "1")]
    assert f"{decision} (overridden)" in history(name, is_json=False, is_verified=False)
    entry = PromotionLog(LOG_FILE).done()[-1].entry
    assert (entry["decision"], entry["is_against_gate"]) == (decision, True)
    assert entry["reason"] == "it is faster"


def test_a_new_version_is_promoted_by_itself_only_as_the_first_or_by_the_gate(registry):
    def considered(number, judge=None):
        return consider(registry, number, judge=judge, by="retrain", check=check_stored)

    assert considered("1")["reason"] == "the first champion"
    assert considered("1") is None
    assert considered("2") is None
    assert considered("2", lambda *_: verdict_of("HOLD")) is None
    assert state(registry) == ("1", "1", "1")
    assert considered("2", lambda *_: verdict_of("PROMOTE"))["decision"] == "PROMOTE"
    assert state(registry) == ("2", "2", "2")


def test_rollback_goes_back_step_by_step_or_to_a_version(registry):
    name = registry.name
    promoted(registry, "1")
    promoted(registry, "2", expected="1")
    promoted(registry, "3", expected="2")
    assert roll_back(name, to=None, reason="").endswith("version 2 (was 3)")
    assert roll_back(name, to=None, reason="").endswith("version 1 (was 2)")
    with pytest.raises(ParamsError, match="no champion before version 1; name one"):
        roll_back(name, to=None, reason="")
    assert roll_back(name, to="3", reason="it was well").endswith("version 3 (was 1)")
    entry = PromotionLog(LOG_FILE).done()[-1].entry
    assert (entry["act"], entry["reason"]) == ("rollback", "it was well")
    with pytest.raises(ParamsError, match="has no version 9"):
        roll_back(name, to="9", reason="")
    assert "all agree" in history(name, is_json=False, is_verified=True)


def test_a_rollback_after_a_reconciliation_goes_to_the_champion_before(registry):
    promoted(registry, "1")
    promoted(registry, "2", expected="1")
    CHAMPION_FILE.unlink()
    reconcile_to(registry.name, "registry", reason="")
    assert roll_back(registry.name, to=None, reason="").endswith("version 1 (was 2)")


def test_neither_a_rollback_nor_a_reconciliation_is_a_way_around_the_gate(registry):
    name = registry.name
    promoted(registry, "1")
    with pytest.raises(
        ParamsError, match=r"version 2 of .* was never champion; `wordmill promote 2`"
    ):
        roll_back(name, to="2", reason=" ")
    with pytest.raises(ParamsError, match=r"nothing to reconcile: .* version 1 everywhere"):
        reconcile_to(name, "2", reason="")
    assert state(registry) == ("1", "1", "1")
    assert roll_back(name, to="2", reason="the gate's set is wrong").endswith("version 2 (was 1)")


def test_what_the_gate_lets_through_and_a_kill_stopped_is_not_settled(registry):
    promoted(registry, "1")
    assert not is_decided(registry, "2")
    registry.tag("2", GATE_TAG, "PROMOTE")
    assert not is_decided(registry, "2")
    promoted(registry, "2", expected="1", verdict=verdict_of("PROMOTE"))
    assert is_decided(registry, "2")
    roll_back(registry.name, to=None, reason="")
    assert is_decided(registry, "2")  # a person took it back
    registry.tag("3", GATE_TAG, "HOLD")
    assert is_decided(registry, "3")


def test_the_same_version_made_again_does_not_undo_a_rollback(registry, monkeypatch):
    promoted(registry, "1")
    registry.tag("2", GATE_TAG, "PROMOTE")
    promoted(registry, "2", expected="1", verdict=verdict_of("PROMOTE"))
    roll_back(registry.name, to=None, reason="")
    asked = []

    def judge(*_):
        asked.append("gate")
        return verdict_of("HOLD")

    for number in ("2", "3"):
        registry.tag(number, "made", number)
        monkeypatch.setattr(retrain, "version_tags", lambda made=number: {"made": made})
        monkeypatch.setattr(retrain, "gate_task", judge)
        summary = Summary(model=registry.name)
        retrain._take_to_registry(registry, summary, None, Budget(None), "run", {})
        assert summary.standing.version == number
        assert (summary.is_promoted, summary.is_judged) == (False, number == "3")
    assert asked == ["gate"]  # to version 3, of which nothing was said yet
    assert state(registry) == ("1", "1", "1")


def test_a_gate_that_the_budget_stopped_has_judged_nothing(registry, monkeypatch):
    promoted(registry, "1")

    def late(*_):
        raise OutOfTimeError("gate: stopped")

    monkeypatch.setattr(retrain, "version_tags", dict)
    monkeypatch.setattr(registry, "verified_version_of", lambda _: "2")
    monkeypatch.setattr(retrain, "gate_task", late)
    summary = Summary(model=registry.name)
    retrain._take_to_registry(registry, summary, None, Budget(0), "run", {})
    assert (summary.is_out_of_time, summary.is_judged) == (True, False)
    assert summary.held_because == "gate: stopped"
    assert not is_decided(registry, "2")


@pytest.mark.parametrize("said", ["HOLD", "REJECT"])
def test_a_first_version_that_was_not_let_through_is_settled(registry, said):
    assert not is_decided(registry, "1")
    registry.tag("1", GATE_TAG, "PROMOTE")
    assert not is_decided(registry, "1")
    registry.tag("1", GATE_TAG, said)
    assert is_decided(registry, "1")


def damaged(how, folder):
    weights = folder / "artifacts/model/model.safetensors"
    if how == "a flipped bit":
        data = bytearray(weights.read_bytes())
        data[500] ^= 4
        weights.write_bytes(data)
    elif how == "cut off":
        weights.write_bytes(weights.read_bytes()[:500])
    elif how == "a missing file":
        weights.unlink()
    elif how == "a file more":
        (folder / "artifacts/model/adapter.safetensors").write_bytes(b"1")
    elif how == "another list":
        listing = json.loads((folder / LISTING).read_text())
        (folder / LISTING).write_text(json.dumps(listing))
    elif how == "no list":
        (folder / LISTING).unlink()
    else:
        shutil.rmtree(folder)


DAMAGES = {
    "a flipped bit": "artifacts/model/model.safetensors has changed since",
    "cut off": "artifacts/model/model.safetensors has changed since",
    "a missing file": "artifacts/model/model.safetensors is missing since",
    "a file more": "artifacts/model/adapter.safetensors was added since",
    "another list": "files.json is not what it was",
    "no list": "files.json is missing",
    "no folder": "no folder is missing",
}


def test_a_damaged_version_never_becomes_champion(registry, tmp_path):
    promoted(registry, "1")
    lines = LOG_FILE.read_bytes()
    for how, said in DAMAGES.items():
        folder = tmp_path / how
        number = registered(registry, folder)
        damaged(how, folder)
        with pytest.raises(DataError, match=said):
            promoted(registry, number, expected="1", reason="I insist")
    with pytest.raises(DataError, match=said):
        promote_version(registry.name, number, reason="I insist")
    with pytest.raises(DataError, match=said):
        roll_back(registry.name, to=number, reason="I insist")
    registry.give(CHAMPION, "2")  # something to reconcile
    with pytest.raises(DataError, match=said):
        reconcile_to(registry.name, number, reason="I insist")
    registry.give(CHAMPION, "1")
    assert state(registry) == ("1", "1", "1")
    assert LOG_FILE.read_bytes() == lines


def test_a_version_that_does_not_load_never_becomes_champion(registry, tmp_path):
    folder = tmp_path / "versions/4"
    folder.mkdir(parents=True)
    (folder / PARITY).write_text(json.dumps({"rows": [], "answers": []}))
    number = registered(registry, folder)
    said = f"models:/{registry.name}/{number} does not answer: "
    with pytest.raises(DataError, match=said) as raised:
        promoted(registry, number, reason="I insist", check=check_version)
    assert "\n" not in str(raised.value)
    assert state(registry) == (None, None, None)


def test_a_version_whose_registration_was_killed_never_becomes_champion(registry, tmp_path):
    number = registered(registry, tmp_path / "versions/4", score=4, is_tested=False)
    assert registry.verified_version_of({"score": "4"}) is None
    assert registry.verified_version_of({"score": "3"}) == "3"
    for attempt in (
        lambda: promoted(registry, number, reason="I insist"),
        lambda: promote_version(registry.name, number, reason="I insist"),
        lambda: registry.give(CHAMPION, "1") or reconcile_to(registry.name, number, reason=""),
    ):
        with pytest.raises(ParamsError, match="did not answer as its stage's model did"):
            attempt()
    assert state(registry) == ("1", None, None)


def test_of_two_promotions_at_once_one_is_told_to_wait(registry):
    name = registry.name
    for attempt in (
        lambda: promoted(registry, "1"),
        lambda: promote_version(name, "1"),
        lambda: roll_back(name, to="1", reason=""),
        lambda: reconcile_to(name, "registry", reason=""),
        lambda: history(name, is_json=False, is_verified=True),
    ):
        with registry_alone(), pytest.raises(BusyError, match="another promotion is at work"):
            attempt()
    promoted(registry, "1")
    with registry_alone():  # who only looks need not wait
        assert "none -> 1" in history(name, is_json=False, is_verified=False)


class Elsewhere(Registry):
    """A registry in which another machine moves the alias at a moment."""

    def __init__(self, registry, *, reading, to):
        super().__init__(registry.client, registry.name)
        self.left, self.to = reading, to

    def holder_of(self, alias):
        if alias == CHAMPION:
            self.left -= 1
            if self.left == 0:
                self.give(CHAMPION, self.to)
        return super().holder_of(alias)


def test_an_alias_that_another_machine_moves_is_noticed_before_and_after(registry):
    promoted(registry, "1")
    reads = []

    class Counting(Registry):
        def holder_of(self, alias):
            reads.append(alias)
            return super().holder_of(alias)

    steps = {}
    promoted(
        Counting(registry.client, registry.name),
        "2",
        expected="1",
        step=lambda name: steps.setdefault(name, reads.count(CHAMPION)),
    )
    registry.give(CHAMPION, "1")
    reconcile_to(registry.name, "registry", reason="")
    before = Elsewhere(registry, reading=steps["begun"] + 1, to="3")
    with pytest.raises(ChangedError, match="changed from 1 to 3 since"):
        promoted(before, "2", expected="1")
    assert registry.holder_of(CHAMPION) == "3"
    with pytest.raises(DisagreementError, match=r"has version 3, .* version 1; `wordmill promote"):
        promoted(registry, "2", expected="3")
    reconcile_to(registry.name, "registry", reason="the other machine is right")
    after = Elsewhere(registry, reading=steps["moved"] + 1, to="1")
    with pytest.raises(DisagreementError, match="another machine moved the alias to 1"):
        promoted(after, "2", expected="3")
    reconcile_to(registry.name, "file", reason="this one is")
    assert state(registry) == ("3", "3", "3")
    assert PromotionLog(LOG_FILE).problems() == []


def test_registry_and_file_that_differ_stop_promotions_until_one_is_taken(registry):
    name = registry.name
    registry.give(CHAMPION, "1")
    with pytest.raises(DisagreementError, match=r"has version 1, and .*champion.json is missing"):
        promoted(registry, "2", expected="1")
    assert reconcile_to(name, "registry", reason="").endswith("version 1 (was 1)")
    promoted(registry, "2", expected="1")
    registry.give(CHAMPION, "3")
    for attempt in (
        lambda: promoted(registry, "1", expected="3"),
        lambda: roll_back(name, to=None, reason=""),
        lambda: history(name, is_json=False, is_verified=True),
    ):
        with pytest.raises(DisagreementError, match=r"registry has version 3, .* version 2; "):
            attempt()
    assert reconcile_to(name, "file", reason="moved by hand").endswith("version 2 (was 2)")
    assert state(registry) == ("2", "2", "2")
    said = reconcile_to(name, "file", reason="")
    assert said == f"nothing to reconcile: champion of {name} is version 2 everywhere"
    registry.give(CHAMPION, "3")
    assert reconcile_to(name, "1", reason="").endswith("version 1 (was 2)")
    assert state(registry) == ("1", "1", "1")
    entry = PromotionLog(LOG_FILE).done()[-1].entry
    assert "the registry has version 3" in entry["reason"]


def test_a_champion_that_log_and_file_do_not_tell_alike_is_noticed(registry):
    promoted(registry, "1")
    promoted(registry, "2", expected="1")
    file = json.loads(CHAMPION_FILE.read_text())
    CHAMPION_FILE.write_text(json.dumps({**file, "version": "3"}))
    registry.give(CHAMPION, "3")
    with pytest.raises(DisagreementError, match=r"champion.json is not what line 3 of"):
        history(registry.name, is_json=False, is_verified=True)
    registry.give(CHAMPION, "2")
    CHAMPION_FILE.write_text(json.dumps({**file, "files": "0" * 64}))
    with pytest.raises(DisagreementError, match=r"champion.json is not what line 3 of"):
        promoted(registry, "3", expected="2")


def test_a_note_of_the_registry_that_was_edited_is_told(registry):
    promoted(registry, "1")
    registry.head = "edited"
    with pytest.raises(DisagreementError, match="the registry knows of line edited of"):
        promoted(registry, "2", expected="1")


def test_the_history_is_told_where_there_is_only_git(registry, monkeypatch):
    promoted(registry, "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///none.db")
    assert "none -> 1" in history(registry.name, is_json=False, is_verified=False)
    with pytest.raises(ParamsError, match="has no versions yet"):
        history(registry.name, is_json=False, is_verified=True)


def test_files_of_another_registry_are_not_taken_for_this_one_s(registry):
    promoted(registry, "1")
    other = Registry(registry.client, f"{registry.name}-other")
    other.create_if_absent()
    with pytest.raises(DisagreementError, match=r"is of the model .* params.yaml names"):
        promoted(other, "1")
    with pytest.raises(ParamsError, match=r"champion.json names no version of"):
        reconcile_to(other.name, "file", reason="")
    assert reconcile_to(other.name, "registry", reason="").endswith("none (was none)")
    assert disagreement(other, PromotionLog(LOG_FILE)) is None


def test_a_log_that_lost_its_end_is_noticed(registry):
    promoted(registry, "1")
    promoted(registry, "2", expected="1")
    whole, file = LOG_FILE.read_bytes().splitlines(keepends=True), CHAMPION_FILE.read_bytes()
    LOG_FILE.write_bytes(b"".join(whole[:2]))
    with pytest.raises(DisagreementError, match=r"rests on line 3 of .* is missing"):
        promoted(registry, "3", expected="2")
    # The file and the alias go back with it: the registry still knows how long the log was.
    LOG_FILE.write_bytes(b"".join(whole))
    roll_back(registry.name, to="1", reason="")
    LOG_FILE.write_bytes(b"".join(whole[:2]))
    first = json.loads(whole[0])
    CHAMPION_FILE.write_text(
        json.dumps(
            {
                **json.loads(file),
                "version": "1",
                "files": first["files"],
                "entry": 1,
                "entry_sha256": first["sha256"],
            }
        )
    )
    with pytest.raises(DisagreementError, match="the registry knows of line 6 of"):
        history(registry.name, is_json=False, is_verified=True)
    reconcile_to(registry.name, "registry", reason="the end is lost")
    promoted(registry, "3", expected="1")


def test_an_edited_log_stops_everything_and_is_named(registry):
    promoted(registry, "1")
    LOG_FILE.write_text(LOG_FILE.read_text().replace("tester", "nobody"))
    for attempt in (
        lambda: history(registry.name, is_json=False, is_verified=True),
        lambda: promote_version(registry.name, "2"),
        lambda: reconcile_to(registry.name, "registry", reason=""),
    ):
        with pytest.raises(DataError, match=r"promotions.jsonl: line 1 was edited"):
            attempt()
    assert registry.holder_of(CHAMPION) == "1"


class KilledError(BaseException):
    """Ends a promotion as a kill does: nothing after it runs."""


def test_a_promotion_that_is_cut_off_is_completed_or_undone_by_the_next(registry):
    promoted(registry, "1")
    champion, other = "1", "2"
    for place, at in enumerate(STEPS):
        registry.give(CHALLENGER, other)
        seen = []
        with pytest.raises(KilledError):
            promoted(registry, other, expected=champion, step=killing(at, seen))
        assert seen == STEPS[: place + 1]
        has_moved = place >= STEPS.index("moved")
        left = settled(registry)
        if has_moved:
            champion, other = other, champion
        assert state(registry) == (champion, champion, champion)
        assert registry.holder_of(CHALLENGER) == (None if has_moved else other)
        is_half_done = at not in ("checked", "done", "done told")
        assert len(left) == is_half_done
        if is_half_done:
            told = "is completed" if has_moved else f"is undone, champion is version {champion}"
            assert told in left[0]
        assert settled(registry) == []
    assert "all agree" in history(registry.name, is_json=False, is_verified=True)


def killing(at, seen):
    def step(name):
        seen.append(name)
        if name == at:
            raise KilledError

    return step


def test_a_line_that_a_kill_cut_off_is_mended(registry):
    promoted(registry, "1")
    with pytest.raises(KilledError):
        promoted(registry, "2", expected="1", step=killing("done", []))
    whole = LOG_FILE.read_bytes()
    LOG_FILE.write_bytes(whole[:-20])
    with registry_alone():
        said = settle(registry)
    assert "half a line" in said[0]
    assert "is completed" in said[1]
    assert state(registry) == ("2", "2", "2")


def test_eight_processes_race_and_are_killed_and_the_best_is_champion(store, tmp_path):
    report = raced(tmp_path, races=1, seed=1)
    assert report["races"] == 1
    assert report["kills"] >= 1


@pytest.mark.soak
def test_a_hundred_races(tmp_path):
    report = raced(tmp_path, races=100, seed=2)
    assert report["races"] == 100
    assert set(STEPS) <= set(report["killed_at"])


def raced(folder, *, races, seed):
    """The report of tests/racing.py, which ends badly where a race does."""
    program = [sys.executable, str(ROOT / "tests/racing.py"), str(folder), str(races), str(seed)]
    done = subprocess.run(
        program,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])
