"""The whole of it on a small corpus: flow, MLflow, registry, pages, failures."""

import hashlib
import json
import re
import signal
import socket
import subprocess

import pytest
from conftest import SMALL_PARAMS, environment, run_in, write_params
from running import processes_of, retrain, tracked, wait_for


@pytest.fixture(scope="module")
def project(make_project, prefect_home):
    return make_project("retrain")


@pytest.fixture(scope="module")
def first_run(project):
    done = retrain(project)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_the_first_run_makes_a_champion(project, first_run):
    out = first_run.stdout
    assert "models:/small/1, registered, champion" in out
    assert "Gate: PROMOTE, version 1, no champion to beat" in out
    assert "report       data/gate/report.html" in out
    for system in ("unigram", "n-gram", "lead", "pretrained", "finetuned"):
        assert f"| {system}" in out
    assert re.search(r"pretrain +ran because it has not run here before", out)
    assert "make ui" in out


@pytest.mark.slow
def test_the_runs_are_tracked_with_where_they_come_from(project, first_run):
    found = tracked(project)
    assert (found["champion"], found["versions"]) == ("1", ["1"])
    runs = {run["name"]: run for run in found["runs"]}
    assert {run["status"] for run in found["runs"]} == {"FINISHED"}
    (parent,) = (run for run in found["runs"] if "git.commit" in run["tags"])
    assert parent["tags"]["git.dirty"] == "false"
    assert parent["tags"]["dvc.finetune"].endswith(".dir")
    assert runs["pretrain"]["losses"] == list(range(1, 41))
    assert runs["pretrain"]["params"]["model.decoder.hidden_size"] == "16"
    assert runs["pretrain"]["tags"]["wordmill.output"] == parent["tags"]["dvc.pretrain"]
    for stage in ("pretrain", "finetune", "evaluate"):
        assert runs[stage]["tags"]["mlflow.parentRunId"] == parent["id"]
        assert parent["tags"][f"made.{stage}"] == runs[stage]["id"]
    assert "summarize/finetuned/rougeL" in runs["evaluate"]["metrics"]


@pytest.mark.slow
def test_the_champion_answers_as_the_stage_did(project, first_run):
    lines = (project / "data/evaluate/predictions.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["system"] == "finetuned"]
    command = ["python", "-m", "flows.cli", "generate", rows[0]["source"]]
    done = run_in(project, *command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == rows[0]["prediction"]
    engine = project / "wordmill/generation/answers.py"
    code = engine.read_text()
    newer = code.replace(".strip()", ".upper()")
    assert newer != code
    engine.write_text(newer)  # a version has its own
    assert run_in(project, *command).stdout == done.stdout
    engine.write_text(code)
    done = run_in(project, *command, "--model", "nobody")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


LINEAGES = """
import contextlib, io, json, sys
from flows import workspace
workspace.enter()
from flows.lineage_command import show_lineage
found = {}
for asked in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as told:
        show_lineage(asked, model="small", is_json=True, is_verified=False)
    found[asked] = json.loads(told.getvalue())
print(json.dumps(found))
"""


@pytest.mark.slow
def test_a_version_is_found_by_every_kind_of_id(project, first_run):
    runs = {run["name"]: run for run in tracked(project)["runs"]}
    (pipeline,) = (run for run in runs.values() if "git.commit" in run["tags"])
    kinds = {
        "1": "version",
        "champion": "alias",
        pipeline["id"]: "MLflow run of the pipeline",
        runs["finetune"]["id"]: "MLflow run of finetune",
        pipeline["tags"]["prefect.flow_run"]: "Prefect flow run",
        pipeline["tags"]["git.commit"]: "git commit",
        pipeline["tags"]["dvc.clean"]: "what clean made",
        "./data/finetune/model": "model folder by its weights",
    }
    done = run_in(project, "python", "-c", LINEAGES, json.dumps(list(kinds)))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {asked: one["kind"] for asked, one in found.items()} == kinds
    (record,) = {json.dumps(one["lineage"], sort_keys=True) for one in found.values()}
    record = json.loads(record)
    assert record["mlflow_run"] == pipeline["id"]
    assert record["runs"]["evaluate"]["id"] == runs["evaluate"]["id"]
    assert record["scores"]["identity"]["tokenizer"] == record["tokenizer"]
    assert [part["address"] for part in record["sources"]] == ["texts.jsonl", "pairs.jsonl"]
    tags = found["1"]["tags"]
    assert tags["wordmill.tokenizer"] == record["tokenizer"]
    assert tags["wordmill.weights"] == record["weights"]


@pytest.mark.slow
def test_a_flipped_bit_of_a_version_is_named(project, first_run):
    command = ["python", "-m", "flows.cli", "lineage", "champion", "--verify"]
    done = run_in(project, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 no longer match, 0 cannot be had" in done.stdout
    (weights,) = project.glob("mlartifacts/models/*/artifacts/artifacts/model/model.safetensors")
    before = weights.read_bytes()
    weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    done = run_in(project, *command)
    weights.write_bytes(before)
    assert done.returncode == 65
    (line,) = (line for line in done.stdout.splitlines() if "CHANGED" in line)
    assert line.endswith("artifacts/model/model.safetensors has other bytes")


@pytest.mark.slow
def test_a_second_run_finds_nothing_to_do(project, first_run):
    done = retrain(project)
    assert done.returncode == 0
    assert "nothing new" in done.stdout
    assert "Task run" not in done.stdout + done.stderr
    assert tracked(project)["versions"] == ["1"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.slow
def test_ui_serves_both_pages_and_flows_use_its_server(project, first_run):
    ports = [str(free_port()), str(free_port())]
    with (project / ".ui.log").open("w") as log:
        ui = subprocess.Popen(
            [
                "python",
                "-m",
                "flows.cli",
                "ui",
                "--mlflow-port",
                ports[0],
                "--prefect-port",
                ports[1],
            ],
            cwd=project,
            env=environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    wait_for(lambda: "Ctrl-C ends both" in (project / ".ui.log").read_text(), seconds=120)
    assert all(f"http://127.0.0.1:{port}" in (project / ".ui.log").read_text() for port in ports)
    taken = run_in(project, "python", "-m", "flows.cli", "ui", "--mlflow-port", ports[0])
    assert taken.returncode == 2
    assert f"port {ports[0]} is taken" in taken.stderr
    done = retrain(project)
    assert "nothing new" in done.stdout
    assert "temporary server" not in done.stdout + done.stderr
    ui.send_signal(signal.SIGINT)
    assert ui.wait(60) == 0
    wait_for(lambda: not processes_of(project), seconds=30)


@pytest.mark.slow
def test_a_version_is_stored_with_its_card_and_what_it_has_to_answer(project, first_run):
    (folder,) = {path.parent for path in project.glob("mlartifacts/models/*/artifacts/files.json")}
    assert (folder / "README.md").read_text().startswith("---\nlanguage:")
    parity = json.loads((folder / "parity.json").read_text())
    assert len(parity["rows"]) == len(parity["answers"]) == 8
    champion = json.loads((project / "registry/champion.json").read_text())
    assert champion["version"] == "1"
    assert champion["files"] == hashlib.sha256((folder / "files.json").read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_finetune_param_reruns_its_stages_and_makes_a_challenger(project, first_run):
    changed = {**SMALL_PARAMS, "finetune": {**SMALL_PARAMS["finetune"], "lr": 0.005}}
    write_params(project, changed)
    done = retrain(project)
    write_params(project, SMALL_PARAMS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"finetune +ran because finetune.lr went from 0.01 to 0.005", done.stdout)
    assert re.search(r"pretrain +reused.*made by run [0-9a-f]{32}", done.stdout)
    plan = done.stdout.partition("This run\n")[2].partition("\n\n")[0].splitlines()
    assert sorted(plan[-3:]) == [
        "  baselines  runs because finetune.lr went from 0.01 to 0.005",
        "  evaluate   runs after baselines, finetune, if what it reads changes",
        "  finetune   runs because finetune.lr went from 0.01 to 0.005",
    ]
    assert "models:/small/2, registered, challenger; champion is version 1" in done.stdout
    # It has learnt too little; a person may go against the gate.
    assert "Gate: REJECT, version 2 against the champion, version 1" in done.stdout
    refused = run_in(project, "python", "-m", "flows.cli", "promote", "2")
    assert (refused.returncode, "the gate says REJECT" in refused.stderr) == (2, True)
    done = run_in(project, "python", "-m", "flows.cli", "promote", "2", "--reason", "to see it")
    said = "champion of small: version 2 (was 1), against the gate's REJECT"
    assert done.stdout.splitlines()[-1] == said
    listings = list(project.glob("mlartifacts/models/*/artifacts/artifacts/model/config.json"))
    first = min(listings, key=lambda path: path.stat().st_mtime)
    whole = first.read_bytes()
    first.write_bytes(whole.replace(b"{", b"{ ", 1))
    done = run_in(project, "python", "-m", "flows.cli", "rollback")
    assert done.returncode == 65
    assert "version 1 of small: artifacts/model/config.json has changed since" in done.stderr
    first.write_bytes(whole)
    done = run_in(project, "python", "-m", "flows.cli", "rollback", "--reason", "it was better")
    assert done.stdout.strip() == "champion of small: version 1 (was 2)"
    assert tracked(project)["champion"] == "1"


@pytest.mark.slow
def test_a_failing_stage_says_why_and_registers_nothing(project, first_run):
    text = project / "data/raw/texts.jsonl"
    before = text.read_bytes()
    text.write_bytes(before + b"\n{broken\n")
    done = retrain(project)
    text.write_bytes(before)
    assert done.returncode == 65
    assert "ingest failed: texts.jsonl:301: not valid JSON" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    statuses = [run["status"] for run in tracked(project)["runs"]]
    assert statuses.count("FAILED") == 1
    assert "RUNNING" not in statuses


@pytest.mark.slow
def test_bad_params_are_told_before_anything_starts(project):
    write_params(project, {**SMALL_PARAMS, "seed": "x", "extra": 1})
    done = retrain(project)
    write_params(project, SMALL_PARAMS)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 2
