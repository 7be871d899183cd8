"""A day in fast motion: all that befalls a schedule in months, in some minutes.

One project is served while data arrives, a file is poisoned, a stage and a flow are killed, runs
are cancelled, starts overlap and one is missed. At the end there is what should be, and no more.
"""

import fcntl
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import SMALL_PARAMS, environment, run_in, small_texts, write_params
from inboxes import mailbox, webhook
from running import processes_of, retrain, tracked, wait_for
from test_retrain import free_port

from flows.promotion_log import PromotionLog
from wordmill.models.folder import weights_digest

EVERY_SECONDS = 15
PATIENCE_SECONDS = 1800  # of a machine that others use too

texts, pairs = SMALL_PARAMS["ingest"]["sources"]
DAY = {
    **SMALL_PARAMS,
    "ingest": {**SMALL_PARAMS["ingest"], "sources": [{**texts, "path": "notes/*.jsonl"}, pairs]},
    "pretrain": {
        **SMALL_PARAMS["pretrain"],
        "length": "800 steps",
        "validation_every_steps": 400,
    },
    "finetune": {**SMALL_PARAMS["finetune"], "length": "20 steps"},
    "baselines": {"lstm": {**SMALL_PARAMS["baselines"]["lstm"], "is_on": False}},
}
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
POISON = "{broken\n"

# What a run of each end leaves in MLflow: one run of the pipeline, or none.
PIPELINE_RUN = {
    "Promoted": "FINISHED",
    "Held": "FINISHED",
    "Completed": "FINISHED",
    "Rejected": "FAILED",
    "Crashed": "KILLED",
    "Cancelled": "KILLED",
}


class Served:
    """A project whose schedule is served, as a person sees it."""

    def __init__(self, project: Path, **extra: str) -> None:
        self.project, self.extra = project, extra
        self.api = f"http://127.0.0.1:{free_port()}/api"
        self._begin()

    def _begin(self) -> None:
        port = self.api.split(":")[2].partition("/")[0]
        every = f"{EVERY_SECONDS}s"
        with (self.project / ".log").open("a") as log:
            self._process = subprocess.Popen(
                ["python", "-m", "flows.cli", "schedule", "--every", every, "--prefect-port", port],
                cwd=self.project,
                env=environment(
                    **self.extra, WORDMILL_RETRY_SECONDS="0.2", WORDMILL_PROGRESS_SECONDS="0.2"
                ),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(240) == 0
        wait_for(lambda: not processes_of(self.project), seconds=PATIENCE_SECONDS)

    def go_on(self) -> None:
        self._begin()
        wait_for(self._answers, seconds=PATIENCE_SECONDS)

    def _answers(self) -> bool:
        try:
            return bool(self.runs())
        except OSError:
            return False

    @property
    def log(self) -> str:
        return (self.project / ".log").read_text(errors="replace")

    def ask(self, path: str, body: dict) -> list | dict:
        request = urllib.request.Request(
            f"{self.api}/{path}",
            data=json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def runs(self) -> list[dict]:
        """All of them, the oldest first."""
        found: list[dict] = []
        asked = {"sort": "EXPECTED_START_TIME_ASC", "limit": 200}
        while page := self.ask("flow_runs/filter", {**asked, "offset": len(found)}):
            found += page
        return found

    def is_cancelled(self, run: dict) -> bool:
        """Whether Prefect does what the button on its page asks: it has not ended meanwhile."""
        wish = {"state": {"type": "CANCELLING", "name": "Cancelling"}, "force": True}
        told = self.ask(f"flow_runs/{run['id']}/set_state", wish)
        # A run that has no process is cancelled at once, which Prefect calls a rejected wish.
        return told["status"] == "ACCEPT" or told["state"]["type"] == "CANCELLED"

    def ends(self) -> Counter[str]:
        return Counter(run["state"]["name"] for run in self.runs())

    def wait_for_end(self, name: str, count: int = 1) -> None:
        wait_for(lambda: self.ends()[name] >= count, seconds=PATIENCE_SECONDS)

    def wait_for_decision(self, count: int) -> None:
        """Until the gate has decided so often."""
        wait_for(lambda: self.num_decisions() >= count, seconds=PATIENCE_SECONDS)

    def num_decisions(self) -> int:
        ends = self.ends()
        return ends["Promoted"] + ends["Held"]

    def wait_until_it_trains(self, times: int) -> None:
        """Until pretraining has begun so often, and has a checkpoint."""
        trains = "Task run 'pretrain' - pretrain runs because"
        wait_for(lambda: self.log.count(trains) == times, seconds=PATIENCE_SECONDS)
        begun_at = self.log.rindex(trains)
        steps = "··· pretrain: "
        wait_for(lambda: self.log[begun_at:].count(steps) > 5, seconds=PATIENCE_SECONDS)

    def process(self, words: str) -> int | None:
        found = processes_of(self.project).items()
        return next((pid for pid, line in found if words in line), None)

    def kill_stage(self) -> None:
        os.kill(self.process("stages.pretrain"), signal.SIGKILL)

    def kill_flow(self) -> None:
        """The flow that holds the project; others may be about to be skipped."""
        os.kill(int((self.project / ".wordmill/locks/flow").read_text()), signal.SIGKILL)
        wait_for(lambda: not self.process("stages."), seconds=PATIENCE_SECONDS)

    def cancel_what_works(self) -> None:
        at_work = next(run for run in self.runs() if run["state"]["name"] == "Running")
        assert self.is_cancelled(at_work)
        wait_for(lambda: not self.process("stages."), seconds=PATIENCE_SECONDS)

    def cancel_what_is_planned(self) -> None:
        def is_one_cancelled() -> bool:
            soon = (datetime.now(UTC) + timedelta(seconds=6)).isoformat()
            return any(
                self.is_cancelled(run)
                for run in self.runs()
                if run["state"]["name"] == "Scheduled" and run["expected_start_time"] > soon
            )

        wait_for(is_one_cancelled, seconds=PATIENCE_SECONDS)


def arrive(project: Path, name: str, *, seed: int) -> None:
    """New texts, written elsewhere and moved into the watched folder."""
    lines = [json.dumps({"text": text}) for text in small_texts(120, seed=seed)]
    place(project / "data/raw/notes" / name, "\n".join(lines))


def place(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    partial = path.parents[2] / path.name
    partial.write_text(text)
    partial.rename(path)


@pytest.fixture
def day(make_project, tmp_path):
    project = make_project("day")
    write_params(project, DAY)
    (project / "data/raw/texts.jsonl").unlink()
    arrive(project, "monday.jsonl", seed=1)
    with webhook() as hook, mailbox() as mail:
        served = Served(
            project, PREFECT_HOME=str(tmp_path), WORDMILL_NOTIFY=f"{hook.address} {mail.address}"
        )
        yield served, hook, mail
        for pid in processes_of(project):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
def test_a_day_in_fast_motion(day, make_project):
    served, hook, mail = day
    project = served.project

    # Morning: the first run. Its stage is killed, and a start by hand finds it at work.
    served.wait_until_it_trains(1)
    served.kill_stage()
    served.wait_until_it_trains(2)
    by_hand = retrain(project)
    assert by_hand.returncode == 75
    assert "another flow is at work" in by_hand.stderr
    served.wait_for_end("Promoted")

    # Data arrives. The flow is killed; the next start goes on, and a person cancels that one.
    served.wait_for_end("Nothing new")
    arrive(project, "tuesday.jsonl", seed=2)
    served.wait_until_it_trains(3)
    served.kill_flow()
    served.wait_for_end("Crashed")
    served.wait_until_it_trains(4)
    served.cancel_what_works()
    served.wait_for_end("Cancelled")
    served.wait_for_decision(2)
    champion = tracked(project)["champion"]

    # A poisoned file: the data is rejected, and the champion stays.
    place(project / "data/raw/notes/poisoned.jsonl", POISON)
    served.wait_for_end("Rejected")
    # Prefect calls a run cancelled whose process has not quite gone when it is stopped itself.
    wait_for(lambda: not served.process("prefect.engine"), seconds=PATIENCE_SECONDS)
    served.stop()
    assert tracked(project)["champion"] == champion

    # The machine is off while starts are due, the file is taken away: one start makes up for them.
    (project / "data/raw/notes/poisoned.jsonl").unlink()
    arrive(project, "wednesday.jsonl", seed=3)
    time.sleep(2.5 * EVERY_SECONDS)
    served.go_on()
    served.wait_for_decision(3)

    # A planned start is cancelled before its time: it never begins.
    cancelled = served.ends()["Cancelled"]
    served.cancel_what_is_planned()
    served.wait_for_end("Cancelled", cancelled + 1)
    served.wait_for_end("Nothing new", served.ends()["Nothing new"] + 1)
    runs = served.runs()
    served.stop()
    found = tracked(project)

    check_runs(runs, found, served)
    check_nothing_is_left(project)
    check_messages(runs, hook, mail)
    check_versions(project, runs, found)
    check_model(project, make_project("in-one-go"))


def check_runs(runs: list[dict], found: dict, served: Served) -> None:
    ended = [run for run in runs if run["state"]["type"] in FINAL]
    ends = Counter(run["state"]["name"] for run in ended)
    assert len(runs) - len(ended) <= 2  # the next start, and maybe one that has just begun
    assert ends["Crashed"] == 1
    assert ends["Promoted"] + ends["Held"] == 3
    assert ends["Promoted"] >= 1  # the first; of the others the gate is the judge
    # One at work, one that was planned, and maybe one as the machine was switched off.
    assert ends["Cancelled"] in (2, 3)
    assert ends["Rejected"] >= 1
    assert ends["Skipped"] >= 1
    assert set(ends) <= {*PIPELINE_RUN, "Nothing new", "Skipped"}

    # MLflow has a run for each that worked, in the state that fits, and no other.
    pipelines = {run["tags"]["prefect.flow_run"]: run for run in found["runs"] if is_pipeline(run)}
    assert len(pipelines) == sum(map(is_pipeline, found["runs"]))
    wanted = {
        run["id"]: PIPELINE_RUN[run["state"]["name"]]
        for run in ended
        if run["state"]["name"] in PIPELINE_RUN
        # One that was cancelled may not have got so far.
        and (run["state"]["name"] != "Cancelled" or run["id"] in pipelines)
    }
    assert {name: run["status"] for name, run in pipelines.items()} == wanted

    # Three states of the data: three trainings, each in one run however often it was killed.
    trained = [run for run in found["runs"] if run["name"] == "pretrain"]
    assert [run["status"] for run in trained] == ["FINISHED"] * 3
    for run in trained:
        assert run["losses"] == sorted(set(run["losses"]))
        assert run["losses"][-1] == 800
    assert {run["status"] for run in found["runs"]} <= {"FINISHED", "FAILED", "KILLED"}
    assert "Traceback" not in served.log
    assert "Repaired: MLflow runs of a killed flow were ended" in served.log
    assert "was missed: it comes now" in served.log


def is_pipeline(run: dict) -> bool:
    return "prefect.flow_run" in run["tags"] and "mlflow.parentRunId" not in run["tags"]


def check_nothing_is_left(project: Path) -> None:
    assert not processes_of(project)
    for lock in (project / ".wordmill/locks").iterdir():
        with lock.open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    busy = project / ".dvc/tmp/rwlock"
    assert not busy.exists() or not any(json.loads(busy.read_text()).values())
    assert not [*(project / "data").glob(".*.partial"), *(project / "data").glob(".*.replaced")]
    status = run_in(project, "dvc", "status")
    assert status.returncode == 0
    assert "up to date" in status.stdout


def check_messages(runs: list[dict], hook, mail) -> None:
    """Each end of the schedule's that is worth a message has reached both addresses."""
    titles = {
        "Promoted": "a new champion",
        "Held": "a new challenger",
        "Rejected": "data rejected",
        "Crashed": "retraining failed",
        "Skipped": "retraining skipped",
    }
    ends = Counter(run["state"]["name"] for run in runs if run["deployment_id"])
    for name, title in titles.items():
        assert sum(title in taken for taken in hook.taken) == ends[name], name
        assert sum(title in taken for taken in mail.taken) == ends[name], name


def check_versions(project: Path, runs: list[dict], found: dict) -> None:
    """A version for each state of the data, and a champion that the log knows."""
    assert len(found["versions"]) == 3
    ends = Counter(run["state"]["name"] for run in runs)
    done = PromotionLog(project / "registry/promotions.jsonl").done()
    assert len(done) == ends["Promoted"]
    assert done[-1].entry["to_version"] == found["champion"]
    verified = run_in(project, "python", "-m", "flows.cli", "history", "--verify")
    assert verified.returncode == 0, verified.stderr


def check_model(project: Path, fresh: Path) -> None:
    """The last model is the one that the final data gives in one go."""
    write_params(fresh, DAY)
    (fresh / "data/raw/texts.jsonl").unlink()
    for seed, name in enumerate(("monday", "tuesday", "wednesday"), start=1):
        arrive(fresh, f"{name}.jsonl", seed=seed)
    done = run_in(fresh, "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in ("pretrain", "finetune"):
        folder = f"data/{stage}/model"
        assert weights_digest(project / folder) == weights_digest(fresh / folder)
    predictions = "data/evaluate/predictions.jsonl"
    assert (project / predictions).read_bytes() == (fresh / predictions).read_bytes()
