"""The DAG on a small corpus: dvc alone, no flow. What reruns when, and what a kill leaves."""

import json
from pathlib import Path

import grimp
import pytest
from conftest import ROOT, SMALL_PARAMS, run_in, write_params
from ruamel.yaml import YAML

from stages.inputs import dvc_hash

STAGES = ["ingest", "clean", "tokenize", "pretrain", "finetune", "baselines", "evaluate"]
DAG = YAML(typ="safe").load(ROOT / "dvc.yaml")


PAGES = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("wordmill/**/*.html")}


def covered(file: str, deps: list[str]) -> bool:
    return any(file == dep or Path(dep) in Path(file).parents for dep in deps)


@pytest.mark.parametrize("stage", STAGES)
def test_the_deps_of_a_stage_are_what_it_imports(stage):
    """DVC does not follow imports: what is left out would change a stage and not rerun it."""
    graph = grimp.build_graph("stages", "wordmill")
    modules = {f"stages.{stage}", *graph.find_upstream_modules(f"stages.{stage}")}
    modules |= {m.rpartition(".")[0] for m in modules if "." in m}  # packages run their __init__
    modules |= {m.rpartition(".")[0] for m in modules if "." in m}
    files = {_file_of(module) for module in modules}
    files |= {page.with_suffix(".html").as_posix() for page in map(Path, files)} & PAGES
    deps = DAG["stages"][stage]["deps"]
    code = [dep for dep in deps if dep.startswith(("stages", "wordmill"))]
    assert [file for file in sorted(files) if not covered(file, code)] == []
    assert [dep for dep in code if not any(covered(file, [dep]) for file in files)] == []


def _file_of(module: str) -> str:
    path = module.replace(".", "/")
    return f"{path}/__init__.py" if (ROOT / path).is_dir() else f"{path}.py"


@pytest.fixture(scope="module")
def project(make_project):
    """A project whose stages have all run once."""
    made = make_project("dag")
    done = run_in(made, "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def rerun_after(project: Path) -> list[str]:
    """The stages that DVC would run now, those after a changed one left out."""
    done = run_in(project, "dvc", "status", "--json")
    return [stage for stage in STAGES if stage in json.loads(done.stdout)]


def test_a_second_run_does_nothing(project):
    done = run_in(project, "dvc", "repro")
    assert done.stdout.count("didn't change, skipping") == len(STAGES)
    assert "Running stage" not in done.stdout


def test_the_outputs_are_there_and_say_what_they_are(project):
    data = project / "data"
    metrics = json.loads((data / "evaluate/metrics.json").read_text())
    assert set(metrics["documents"]) == {"unigram", "n-gram", "pretrained", "finetuned"}
    assert set(metrics["summarize"]) == {
        *("lead", "retrieval", "n-gram", "lstm", "pretrained", "finetuned")
    }
    assert set(metrics["write"]) == {"n-gram", "pretrained", "finetuned"}
    documents, pairs = metrics["documents"], metrics["summarize"]
    assert documents["pretrained"]["perplexity"] < documents["unigram"]["perplexity"]
    assert pairs["finetuned"]["rougeL"] > pairs["pretrained"]["rougeL"]
    with (data / "evaluate/predictions.jsonl").open() as lines:
        rows = [json.loads(line) for line in lines]
    asked = SMALL_PARAMS["evaluate"]
    assert len(rows) == 6 * asked["max_pairs"] + 3 * asked["max_drafts"]
    assert set(rows[0]) == {"system", "id", "task", "source", "ask", "target", "prediction"}
    assert "# Evaluation" in (data / "evaluate/report.md").read_text()
    assert "<html" in (data / "evaluate/report.html").read_text()
    record = json.loads((data / "evaluate/scores.json").read_text())
    assert record["surprises"]
    assert record["attentions"]
    assert {one["system"] for one in record["memorization"]} == {"pretrained", "finetuned"}
    assert {one["language"] for one in record["bias"]} == {"en"}
    around = json.loads((data / "evaluate/surroundings.json").read_text())
    assert [cost["stage"] for cost in around["training"]] == ["pretrain", "finetune", "baselines"]
    assert {curve["stage"] for curve in around["curves"]} >= {"pretrain", "finetune"}
    report = json.loads((data / "clean/report.json").read_text())
    assert report["documents"]["train"]["read"] > 200
    assert not list(project.rglob("*.partial"))
    assert not list((project / ".wordmill/scratch").glob("*/*"))


def test_metrics_params_and_plots_are_dvcs(project):
    metrics = json.loads(run_in(project, "dvc", "metrics", "show", "--json").stdout)
    assert "data/evaluate/metrics.json" in metrics[""]["data"]
    done = run_in(project, "dvc", "plots", "show", "--json")
    assert "data/pretrain/training.csv" in done.stdout, done.stderr
    assert run_in(project, "dvc", "params", "diff").returncode == 0


def test_our_hash_of_an_output_is_dvcs(project):
    locked = YAML(typ="safe").load(project / "dvc.lock")["stages"]
    for stage in ("pretrain", "evaluate"):
        assert dvc_hash(project / "data" / stage) == locked[stage]["outs"][0]["md5"]


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("ingest", "test_fraction", 0.2, ["ingest"]),
        ("clean", "min_document_chars", 11, ["clean"]),
        ("tokenize", "vocab_size", 410, ["tokenize"]),
        ("tokenize", "split_digits", True, ["tokenize"]),
        ("tokenize", "max_source_tokens", 30, ["tokenize", "evaluate"]),
        ("model", "kind", "lstm", ["pretrain"]),
        ("compute", "devices", 2, ["pretrain", "finetune", "baselines"]),
        ("pretrain", "attention", "document", ["pretrain"]),
        ("finetune", "pair_packing", "pack", ["finetune", "baselines"]),
        ("baselines", "lstm", {**SMALL_PARAMS["baselines"]["lstm"], "lr": 1e-3}, ["baselines"]),
        ("evaluate", "ngram_order", 2, ["evaluate"]),
        ("registry", "name", "other", []),
    ],
)
def test_a_param_reruns_its_own_stages_alone(project, section, key, value, expected):
    changed = {**SMALL_PARAMS, section: {**SMALL_PARAMS[section], key: value}}
    write_params(project, changed)
    try:
        assert rerun_after(project) == expected
    finally:
        write_params(project, SMALL_PARAMS)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("wordmill/metrics/score.py", ["evaluate"]),
        ("wordmill/training/module.py", ["pretrain", "finetune", "baselines"]),
        ("wordmill/tokens/learning.py", ["tokenize"]),
        ("wordmill/cleaning/cleaning.py", ["clean"]),
        ("wordmill/data/sql.py", ["ingest"]),
        ("stages/finetune.py", ["finetune"]),
        ("flows/retrain.py", []),
        ("data/raw/new.txt", ["ingest"]),
    ],
)
def test_a_changed_line_reruns_its_own_stages_alone(project, file, expected):
    path = project / file
    before = path.read_bytes() if path.exists() else None
    path.write_bytes((before or b"") + b"\n# a line\n")
    try:
        assert rerun_after(project) == expected
    finally:
        path.write_bytes(before) if before is not None else path.unlink()


def test_making_the_model_again_gives_the_same_bytes(project):
    def bytes_of_stages():
        data = project / "data"
        files = (f for stage in STAGES for f in (data / stage).rglob("*") if f.is_file())
        return {str(f): f.read_bytes() for f in files if f.name != "cost.json"}  # has a clock

    before = bytes_of_stages()
    done = run_in(project, "dvc", "repro", "--force", "pretrain")
    assert "Running stage 'pretrain'" in done.stdout
    after = bytes_of_stages()
    assert after == before


def test_ingest_reads_only_what_is_new(project):
    before = dvc_hash(project / "data/ingest")
    new = project / "data/raw/more.txt"
    new.write_text("nobody reads this file\n")  # but DVC runs the stage for it
    try:
        done = run_in(project, "dvc", "repro", "ingest")
        assert "2 of 2 parts unchanged" in done.stdout
        assert dvc_hash(project / "data/ingest") == before
        times = json.loads((project / "data/ingest.times.json").read_text())
        assert [entry["address"] for entry in times] == ["texts.jsonl", "pairs.jsonl"]
    finally:
        new.unlink()
        run_in(project, "dvc", "repro", "ingest")


def test_a_stage_runs_without_dvc(project):
    (project / "data/clean").rename(project / "data/clean-before")
    done = run_in(project, "python", "-m", "stages.clean")
    assert done.returncode == 0, done.stderr
    assert dvc_hash(project / "data/clean") == dvc_hash(project / "data/clean-before")
    assert "kept" in done.stdout


def test_help_says_what_a_stage_does(project):
    done = run_in(project, "python", "-m", "stages.clean", "--help")
    assert done.returncode == 0
    assert "filter and deduplicate" in done.stdout


def test_a_stage_without_its_input_says_how_to_make_it(make_project):
    done = run_in(make_project("bare"), "python", "-m", "stages.clean")
    assert done.returncode == 65
    assert done.stderr.strip() == (
        "clean: data/ingest: not there; run `dvc repro` or `python -m stages.ingest`"
    )


def bad_params(change) -> dict:
    params = json.loads(json.dumps(SMALL_PARAMS))
    change(params)
    return params


def set_source(**values):
    return lambda p: p["ingest"].update(sources=[values])


@pytest.mark.parametrize(
    ("change", "content", "status", "expected"),
    [
        (lambda p: p["finetune"].update(lrr=1), b"", 2, "finetune.lrr: unknown key"),
        (lambda p: p["model"].update(kind="rnn"), b"", 2, "model.kind: must be"),
        (lambda p: p["pretrain"].update(length="9"), b"", 2, "pretrain.length: got '9'"),
        (set_source(kind="files", path="no.jsonl"), b"", 65, "no such file"),
        (set_source(kind="files", path="x", format="jsonl"), b"", 65, "the source is empty"),
        (set_source(kind="files", path="x", format="jsonl"), b'{"text": "a"}\n{', 65, "x:2: not"),
        (set_source(kind="files", path="x", format="jsonl"), b'{"t": "a"}', 65, "no column 'text'"),
        (
            set_source(kind="files", path="x", format="csv", encoding="utf-8"),
            "text\nété\n".encode("latin-1"),
            65,
            "x:2: not utf-8",
        ),
    ],
)
def test_bad_input_is_one_clear_line(project, change, content, status, expected):
    write_params(project, bad_params(change))
    (project / "data/raw/x").write_bytes(content)
    before = dvc_hash(project / "data/ingest")
    try:
        done = run_in(project, "python", "-m", "stages.ingest")
    finally:
        write_params(project, SMALL_PARAMS)
        (project / "data/raw/x").unlink()
    assert done.returncode == status
    (line,) = done.stderr.strip().splitlines()
    assert expected in line
    assert dvc_hash(project / "data/ingest") == before
    assert not list(project.glob("data/.*partial"))


def test_two_of_the_same_stage_never_run_at_once(project):
    import fcntl

    with (project / ".wordmill/locks/clean").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run_in(project, "python", "-m", "stages.clean")
    assert done.returncode == 75
    assert "running already" in done.stderr
