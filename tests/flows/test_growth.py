"""Everything by address: PostgreSQL under MLflow and Prefect, S3 for files, a worker elsewhere."""

import json
import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from conftest import SMALL_PARAMS, environment, run_in, write_params
from growing import free_port, postgres_server, running_server, s3_server
from running import processes_of, tracked, wait_for

WORDMILL = ("python", "-m", "flows.cli")
GPU = "0"


@pytest.fixture(scope="module")
def postgres():
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'wordmill[postgres]'")
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    for package in ("moto", "boto3", "s3fs", "dvc_s3"):
        pytest.importorskip(package, reason=f"needs {package}: pip install 'wordmill[soak]'")
    with s3_server(tmp_path_factory.mktemp("s3")) as leads_to_it:
        yield leads_to_it


@pytest.fixture(scope="module")
def bucket(s3):
    """A bucket, as boto3 gives it."""
    import boto3

    keys = {
        "endpoint_url": s3["AWS_ENDPOINT_URL"],
        "aws_access_key_id": s3["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": s3["AWS_SECRET_ACCESS_KEY"],
        "region_name": s3["AWS_DEFAULT_REGION"],
    }
    place = {"LocationConstraint": s3["AWS_DEFAULT_REGION"]}
    made = boto3.resource("s3", **keys).Bucket("wordmill")
    made.create(CreateBucketConfiguration=place)
    return made


@pytest.fixture(scope="module")
def addresses(postgres, s3):
    """The whole difference between one machine and many."""
    return {
        **s3,
        "MLFLOW_TRACKING_URI": postgres.url("psycopg", "mlflow"),
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": "s3://wordmill/mlflow",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": postgres.url("asyncpg", "prefect"),
    }


def objects_in(bucket, prefix: str) -> list[str]:
    return [found.key for found in bucket.objects.filter(Prefix=prefix)]


def git(project: Path, *command: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *command], cwd=project, check=True)


@pytest.fixture(scope="module")
def grown(make_project, bucket, addresses):
    """A project that has retrained with a source on S3 and all else by address."""
    project = make_project("grown")
    texts, pairs = SMALL_PARAMS["ingest"]["sources"]
    bucket.upload_file(str(project / "data/raw/texts.jsonl"), "raw/texts.jsonl")
    (project / "data/raw/texts.jsonl").unlink()
    sources = [{**texts, "path": "s3://wordmill/raw/*.jsonl"}, pairs]
    write_params(
        project, {**SMALL_PARAMS, "ingest": {**SMALL_PARAMS["ingest"], "sources": sources}}
    )
    done = run_in(project, "dvc", "remote", "add", "--default", "store", "s3://wordmill/dvc")
    assert done.returncode == 0, done.stderr
    git(project, "commit", "-qam", "texts and data on S3")
    done = run_in(project, *WORDMILL, "retrain", **addresses)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "models:/small/1, registered, champion" in done.stdout
    return project


@pytest.mark.soak
def test_runs_versions_and_flows_lie_in_postgresql(grown, postgres, bucket, addresses):
    runs = postgres.ask("mlflow", "select name, status from runs where lifecycle_stage='active'")
    stages = [(name, "FINISHED") for name in ("pretrain", "finetune", "baselines", "evaluate")]
    assert set(stages) < set(runs)
    assert len(runs) == 5
    alias = postgres.ask("mlflow", "select name, alias, version from registered_model_aliases")
    assert alias == [("small", "champion", 1)]
    assert postgres.ask("prefect", "select state_name from flow_run") == [("Promoted",)]
    assert ("pretrain",) in postgres.ask("prefect", "select name from task_run")
    workspaces = postgres.ask(
        "mlflow", "select distinct value from tags where key='wordmill.workspace'"
    )
    assert workspaces == [(f"{os.uname().nodename}:{grown}",)]

    # Nothing of it in the project: the artifacts are in the bucket.
    assert not [name for name in ("mlflow.db", "mlruns", "mlartifacts") if (grown / name).exists()]
    kept = objects_in(bucket, "mlflow/")
    assert any(name.endswith("/artifacts/MLmodel") for name in kept)
    assert any(name.endswith("model.safetensors") for name in kept)

    (asked, *_) = _predictions(grown)
    done = run_in(grown, *WORDMILL, "generate", asked["source"], "--model", "champion", **addresses)
    assert done.stdout.strip() == asked["prediction"], done.stderr
    done = run_in(grown, *WORDMILL, "compare", "champion", "workspace", **addresses)
    assert done.returncode == 0, done.stderr
    assert "champion (version 1)" in done.stdout


def _predictions(project: Path) -> list[dict]:
    lines = (project / "data/evaluate/predictions.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["system"] == "finetuned"]


@pytest.mark.soak
def test_data_goes_to_s3_and_comes_back(grown, bucket, addresses):
    done = run_in(grown, "dvc", "push", **addresses)
    assert done.returncode == 0, done.stderr
    assert objects_in(bucket, "dvc/files/md5/")
    before = (grown / "data/finetune/model/model.safetensors").read_bytes()
    shutil.rmtree(grown / ".dvc/cache")
    for made in ("ingest", "clean", "tokenize", "pretrain", "finetune", "baselines", "evaluate"):
        shutil.rmtree(grown / "data" / made)
    done = run_in(grown, "dvc", "pull", **addresses)
    assert done.returncode == 0, done.stderr
    assert (grown / "data/finetune/model/model.safetensors").read_bytes() == before
    done = run_in(grown, *WORDMILL, "retrain", **addresses)
    assert "nothing new" in done.stdout, done.stdout + done.stderr


@pytest.mark.soak
def test_a_source_on_s3_is_watched(grown, bucket, addresses):
    told = json.loads((grown / "data/ingest/sources.json").read_text())["outside"]
    assert list(told) == ["s3://wordmill/raw/*.jsonl"]
    bucket.put_object(Key="raw/more.jsonl", Body=b'{"text": "The miller counts his sacks."}\n')
    done = run_in(grown, *WORDMILL, "explain", "ingest", **addresses)
    assert "s3://wordmill/raw/*.jsonl moved from" in done.stdout, done.stdout + done.stderr
    bucket.Object("raw/more.jsonl").delete()
    away = {**addresses, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}"}
    done = run_in(grown, *WORDMILL, "explain", "ingest", **away)
    assert "Traceback" not in done.stdout + done.stderr
    shutil.rmtree(grown / "data/ingest")
    done = run_in(grown, "python", "-m", "stages.ingest", **away)
    assert done.returncode == 75, done.stderr
    assert "s3://wordmill/raw/*.jsonl: the server does not answer" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert run_in(grown, "dvc", "checkout", "data/ingest").returncode == 0


@pytest.fixture
def servers(grown, addresses, postgres, tmp_path):
    """MLflow and Prefect as servers on another machine; yields what leads there."""
    mlflow, prefect = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    options = ["--backend-store-uri", postgres.url("psycopg", "served")]
    options += ["--artifacts-destination", "s3://wordmill/served", "--workers", "1"]
    home = {"PREFECT_HOME": str(tmp_path / "prefect")}
    with ExitStack() as running:
        for name, address, arguments, page in (
            ("mlflow", mlflow, ["server", *options], "/health"),
            ("prefect", prefect, ["server", "start"], "/api/health"),
        ):
            command = ["python", "-m", name, *arguments, "--port", address.rpartition(":")[2]]
            asked = f"{address}{page}"
            running.enter_context(
                running_server(command, tmp_path, asked=asked, **{**addresses, **home})
            )
        yield {"MLFLOW_TRACKING_URI": mlflow, "PREFECT_API_URL": f"{prefect}/api", **home}


@pytest.mark.soak
def test_a_worker_elsewhere_runs_what_was_deployed_here(grown, servers, s3, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    git(grown, "add", "-A")
    git(grown, "commit", "-qm", "a run")
    subprocess.run(["git", "clone", "-q", grown, elsewhere], check=True)
    shutil.rmtree(elsewhere / "registry")  # of another store: the servers know of no champion yet
    shutil.copy(grown / "data/raw/pairs.jsonl", elsewhere / "data/raw")
    done = run_in(elsewhere, "dvc", "pull", **s3)
    assert done.returncode == 0, done.stderr
    params = (elsewhere / "params.yaml").read_text()
    (elsewhere / "params.yaml").write_text(params.replace("max_pairs: 12", "max_pairs: 11"))

    # Here: no file of the project, nor where it lies there, is part of the deployment.
    pool = ["prefect", "work-pool", "create", "wordmill", "--type", "process"]
    deploy = ["prefect", "--no-prompt", "deploy", "-n", "every-6-hours"]
    run = ["prefect", "deployment", "run", "retrain/every-6-hours"]
    gpu = ["--job-variable", json.dumps({"env": {"CUDA_VISIBLE_DEVICES": GPU}})]
    for command in (pool, [*deploy, *gpu], run):
        done = run_in(grown, *command, **servers)
        assert done.returncode == 0, done.stdout + done.stderr

    # There: a worker with addresses and a folder, and no GPU named.
    there = {**servers, **s3, "WORDMILL_PROJECT": str(elsewhere)}
    (tmp_path / "log").touch()
    with (tmp_path / "log").open("w") as log:
        worker = subprocess.Popen(
            ["prefect", "worker", "start", "--pool", "wordmill"],
            cwd=tmp_path,
            env=environment(**there, PYTHONPATH=str(elsewhere)),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        found = wait_for(lambda: _environment_of(elsewhere, "stages.evaluate"), seconds=600)
        assert found["CUDA_VISIBLE_DEVICES"] == GPU
        assert found["MLFLOW_TRACKING_URI"] == servers["MLFLOW_TRACKING_URI"]
        wait_for(lambda: "Finished in state" in _last(tmp_path / "log"), seconds=600)
    finally:
        worker.terminate()
        worker.wait(60)
    assert "Promoted('ran evaluate; models:/small/1" in (tmp_path / "log").read_text()
    wait_for(lambda: not processes_of(elsewhere), seconds=60)
    there = tracked(elsewhere, **servers)
    assert there["champion"] == "1"
    assert {run["name"] for run in there["runs"]} > {"evaluate"}


def _last(log: Path) -> str:
    return "".join(line for line in log.read_text().splitlines() if "Flow run" in line)


def _environment_of(project: Path, words: str) -> dict[str, str] | None:
    """The environment of a process that works in a project."""
    for pid, command in processes_of(project).items():
        if words in command:
            try:
                raw = Path(f"/proc/{pid}/environ").read_bytes().decode()
            except OSError:  # it has ended
                continue
            return dict(pair.split("=", 1) for pair in raw.split("\0") if "=" in pair)
    return None
