"""A small project in a moment, whose results are random files, and what in it is needed by whom."""

import hashlib
import json
import os
import random
import subprocess
import tempfile
from pathlib import Path

from stores import make_store

from flows.experiment_record import Remembered, remember
from flows.experiment_space import EXPERIMENTS
from flows.lineage_store import HASH_TAG
from flows.tracking import workspace_tag

CACHE = Path(".dvc/cache/files/md5")
OUTS = {"finetune": "data/finetune", "evaluate": "data/evaluate"}
DAG = {
    "stages": {
        "finetune": {"cmd": "false", "deps": ["data/raw"], "outs": ["data/finetune"]},
        "evaluate": {"cmd": "false", "deps": ["data/finetune"], "outs": ["data/evaluate"]},
    }
}
IGNORED = "/data/\n/.dvc/cache\n/.dvc/tmp\n/.wordmill\n/mlflow.db\n/mlartifacts\n"


def git(*arguments, given=None):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], input=given, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


class World:
    """A project at the current folder; `holders` says what each word needs, for as long as it does.

    Args:
        seed: of all that is drawn.
    """

    def __init__(self, seed: int, monkeypatch) -> None:
        self.draw = random.Random(seed)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", make_store(Path.cwd() / "mlflow.db"))
        monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(Path.cwd() / ".dvc/tmp/site"))
        monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "wordmill")
        from mlflow import MlflowClient

        self.client = MlflowClient()
        place = (Path.cwd() / "mlartifacts").as_uri()
        self.experiment = self.client.create_experiment("wordmill", artifact_location=place)
        self.client.create_registered_model("small")
        self.holders: dict[str, dict[str, str]] = {}
        """Word -> stage -> DVC's hash of what it made."""
        self.records: dict[str, dict] = {}
        self.made_by: dict[str, str] = {}
        """DVC's hash -> run that has artifacts."""
        self.left_behind: list[str] = []
        """Logged models that no version has."""
        self.count = 0
        for name, text in (
            *((".gitignore", IGNORED), (".dvc/config", ""), ("dvc.yaml", json.dumps(DAG))),
            ("params.yaml", "registry: {name: small}\n"),
        ):
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_text(text)
        Path("data/raw").mkdir(parents=True)
        Path("data/raw/a.txt").write_text("text")
        git("init", "-q", "-b", "main")
        self.result()
        self.commit()

    def result(self) -> dict[str, str]:
        """Let the stages make something; some files are those of other results."""
        made = {}
        self.count += 1
        for stage, place in OUTS.items():
            Path(place).mkdir(parents=True, exist_ok=True)
            for name in ("scores.json", "predictions.jsonl", "surroundings.json"):
                text = json.dumps({"drawn": self.draw.randrange(6), "of": name})
                (Path(place) / name).write_text(text)
            (Path(place) / "own").write_text(f"{stage} {self.count}")
            made[stage] = keep(Path(place))
            self._stage_run(stage, made[stage])
        deps = [{"path": "data/raw", "md5": "0" * 32 + ".dir", "hash": "md5"}]
        stages = {
            stage: {
                "cmd": "false",
                "deps": deps,
                "outs": [{"path": OUTS[stage], "hash": "md5", "md5": known}],
            }
            for stage, known in made.items()
        }
        Path("dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": stages}))
        self.holders["workspace"] = made
        return made

    def commit(self) -> None:
        git("add", "-A")
        git("commit", "-qm", "work", "--allow-empty")
        git("update-ref", "-d", "ORIG_HEAD")
        branch = git("branch", "--show-current")
        self.holders[f"branch {branch}"] = self.holders["workspace"]

    def branch(self) -> None:
        self.commit()
        self.count += 1
        git("checkout", "-q", "-b", f"b{self.count}")
        self.holders[f"branch b{self.count}"] = self.holders["workspace"]

    def back(self) -> None:
        """Go to a branch; what was not committed is lost."""
        name = self.draw.choice([b for b in self.holders if b.startswith("branch")])
        git("checkout", "-q", "-f", name.removeprefix("branch "))
        self.holders["workspace"] = self.holders[name]

    def drop_branch(self) -> None:
        here = git("branch", "--show-current")
        others = [b for b in self.holders if b.startswith("branch") and b != f"branch {here}"]
        if others:
            name = self.draw.choice(others)
            git("branch", "-D", name.removeprefix("branch "))
            del self.holders[name]

    def tag(self) -> None:
        self.commit()
        self.count += 1
        git("tag", "-am", "a tag", f"t{self.count}")
        self.holders[f"tag t{self.count}"] = self.holders["workspace"]

    def stash(self) -> None:
        self.result()
        git("stash")
        self.holders[f"stash {self.count}"] = self.holders["workspace"]
        self.holders["workspace"] = self.holders[f"branch {git('branch', '--show-current')}"]
        self.holders[f"stash {self.count}, its index"] = self.holders["workspace"]

    def version(self, *, is_told: bool | None = None) -> None:
        """Register what lies in the workspace, committed or not.

        Args:
            is_told: its runs and tags name the data too, not the record alone; None draws.
        """
        made = self.holders["workspace"]
        is_told = self.draw.random() < 0.3 if is_told is None else is_told
        told = made if is_told else {}
        run_id, model_id = self._pipeline_run(told), self._model()
        record = {
            "mlflow_run": run_id,
            "runs": {s: {"id": self.made_by[known]} for s, known in told.items()},
            "stages": {s: {"deps": {}, "outs": {OUTS[s]: known}} for s, known in made.items()},
            "folders": {},
        }
        text = json.dumps(record)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "lineage.json"
            file.write_text(text)
            self.client.log_artifact(run_id, str(file))
            self.client.log_model_artifact(model_id, str(file))
        tags = {f"dvc.{stage}": known for stage, known in told.items()}
        tags[HASH_TAG] = hashlib.sha256(text.encode()).hexdigest()
        made_version = self.client.create_model_version(
            "small", f"models:/{model_id}", run_id=run_id, tags=tags, model_id=model_id
        )
        number = str(made_version.version)
        self.holders[f"version {number}"] = made
        self.records[number] = record

    def drop_version(self) -> None:
        if self.records:
            number = self.draw.choice(sorted(self.records))
            self.left_behind.append(self.model_of(number))
            self.client.delete_model_version("small", number)
            del self.records[number], self.holders[f"version {number}"]

    def killed_registering(self) -> None:
        self.result()
        self._pipeline_run(self.holders["workspace"])
        self.left_behind.append(self._model())

    def experiment_done(self) -> None:
        before = self.holders["workspace"], Path("dvc.lock").read_text()
        made = self.result()
        name = f"trial-{self.count:06x}"
        git("add", "-A")
        commit = git("commit-tree", git("write-tree"), "-p", "HEAD", "-m", "experiment")
        head = git("rev-parse", "HEAD")
        git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", commit)
        tags = {
            "wordmill.experiment": name,
            **{f"made.{s}": self.made_by[k] for s, k in made.items()},
        }
        run_id = self.client.create_run(self.experiment, tags=tags).info.run_id
        self.client.set_terminated(run_id)
        self._remember(name, "done", {}, run_id)
        self.holders[f"experiment {name}"] = made
        self.holders["workspace"] = before[0]
        Path("dvc.lock").write_text(before[1])
        git("reset", "-q")

    def drop_experiment(self) -> None:
        names = [one for one in self.holders if one.startswith("experiment")]
        if names:
            name = self.draw.choice(names)
            for ref in git("for-each-ref", "--format=%(refname)", "refs/exps").splitlines():
                if ref.endswith(name.removeprefix("experiment ")):
                    git("update-ref", "-d", ref)
            del self.holders[name]

    def experiment_stopped(self) -> None:
        """One that has made the first stage's output and can go on."""
        before = self.holders["workspace"], Path("dvc.lock").read_text()
        made = self.result()
        name = f"trial-{self.count:06x}"
        self._remember(name, "begun", {"finetune": made["finetune"]}, None)
        self.holders[f"unfinished {name}"] = {"finetune": made["finetune"]}
        self.holders["workspace"] = before[0]
        Path("dvc.lock").write_text(before[1])

    def at_random(self, steps: int) -> None:
        acts = [
            *(self.result, self.result, self.commit, self.branch, self.back, self.drop_branch),
            *(self.tag, self.stash, self.version, self.version, self.drop_version),
            *(self.killed_registering, self.experiment_done, self.drop_experiment),
            self.experiment_stopped,
        ]
        for _ in range(steps):
            self.draw.choice(acts)()

    def model_of(self, number: str) -> str:
        """The logged model of a version."""
        return self.client.get_model_version("small", number).source.removeprefix("models:/")

    def needed(self) -> set[str]:
        """Every object that somebody needs."""
        listings = {known for made in self.holders.values() for known in made.values()}
        files = (json.loads(at(one).read_text()) for one in listings)
        return listings | {entry["md5"] for listing in files for entry in listing}

    def needed_runs(self) -> set[str]:
        """Stage runs whose artifacts somebody needs."""
        listings = {known for made in self.holders.values() for known in made.values()}
        return {run for known, run in self.made_by.items() if known in listings}

    def _stage_run(self, stage: str, known: str) -> None:
        if known in self.made_by:
            return
        tags = {"wordmill.stage": stage, "wordmill.output": known}
        self.made_by[known] = self._run({**tags, "wordmill.workspace": workspace_tag()})

    def _pipeline_run(self, made: dict[str, str]) -> str:
        tags = {f"dvc.{stage}": known for stage, known in made.items()}
        tags |= {f"made.{stage}": self.made_by[known] for stage, known in made.items()}
        return self._run({**tags, "wordmill.workspace": workspace_tag()})

    def _run(self, tags: dict[str, str]) -> str:
        self.last_run = self.client.create_run(self.experiment, tags=tags).info.run_id
        self.client.log_text(self.last_run, "a page", "report.html")
        self.client.set_terminated(self.last_run)
        return self.last_run

    def _model(self) -> str:
        made = self.client.create_logged_model(
            self.experiment, name="model", source_run_id=self.last_run
        )
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "weights").write_bytes(os.urandom(100))
            self.client.log_model_artifacts(made.model_id, folder)
        self.client.finalize_logged_model(made.model_id, "READY")
        return made.model_id

    def _remember(self, name, status, outputs, run_id) -> None:
        key = name.removeprefix("trial-")
        one = Remembered(name=name, grid="trial", key=key, changes={}, status=status)
        one.outputs, one.run_id = outputs, run_id
        (EXPERIMENTS / "trial").mkdir(parents=True, exist_ok=True)
        remember(EXPERIMENTS / "trial" / f"{key}.experiment.json", one)


def keep(folder: Path) -> str:
    """Put a folder into DVC's cache; its hash."""
    entries = []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        md5 = hashlib.md5(file.read_bytes()).hexdigest()
        put(md5, file.read_bytes())
        entries.append({"md5": md5, "relpath": file.relative_to(folder).as_posix()})
    listing = json.dumps(entries)
    known = hashlib.md5(listing.encode()).hexdigest() + ".dir"
    put(known, listing.encode())
    return known


def at(known: str) -> Path:
    return CACHE / known[:2] / known[2:]


def put(known: str, content: bytes) -> None:
    if not at(known).exists():
        at(known).parent.mkdir(parents=True, exist_ok=True)
        at(known).write_bytes(content)
        at(known).chmod(0o444)


def cached() -> set[str]:
    """Every object in the cache."""
    return {file.parent.name + file.name for file in CACHE.glob("*/*")}


def with_artifacts() -> set[str]:
    """Runs and logged models that have artifacts."""
    folders = [
        *Path("mlartifacts").glob("*/artifacts"),
        *Path("mlartifacts/models").glob("*/artifacts"),
    ]
    return {one.parent.name for one in folders if any(one.rglob("*"))}
