"""A small real project: the tracked files in a folder of their own, small params, small text."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from wordmill.params.decoding import DecodingParams
from wordmill.params.tokenize import TokenizeParams
from wordmill.tokens.learning import learn

ROOT = Path(__file__).parents[1]
PARAMS = YAML(typ="safe").load(ROOT / "params.yaml")

SMALL_PARAMS = {
    "seed": 7,
    "ingest": {
        "root": "data/raw",
        "max_bad_fraction": 0.0,
        "max_row_bytes": 1000000,
        "sources": [
            {
                "kind": "files",
                "path": "texts.jsonl",
                "columns": {"task": "write", "text": "text"},
            },
            {
                "kind": "files",
                "path": "pairs.jsonl",
                "columns": {"task": "summarize", "source": "body", "target": "title"},
            },
        ],
        "validation_fraction": 0.1,
        "test_fraction": 0.1,
        "fold": None,
    },
    "clean": {
        **PARAMS["clean"],
        "length": {
            "min_document_chars": 10,
            "max_document_chars": 10000,
            "min_source_chars": 10,
            "max_source_chars": 1000,
            "min_target_chars": 3,
            "max_target_chars": 100,
        },
    },
    "tokenize": {
        "kind": "byte-bpe",
        "checkpoint": None,
        "revision": None,
        "vocab_size": 400,
        "min_frequency": 2,
        "special_tokens": [],
        "split_digits": False,
        "max_training_bytes": 1000000,
        "direction": "forward",
        "max_source_tokens": 32,
        "max_target_tokens": 8,
    },
    "model": {
        "kind": "decoder",
        "context_tokens": 64,
        "decoder": {
            "num_layers": 1,
            "hidden_size": 16,
            "num_heads": 2,
            "num_kv_heads": 1,
            "feed_forward_size": 32,
            "is_embedding_tied": True,
        },
        "encoder_decoder": {
            "style": "t5",
            "num_encoder_layers": 1,
            "num_decoder_layers": 1,
            "hidden_size": 16,
            "num_heads": 2,
            "feed_forward_size": 32,
            "is_embedding_tied": True,
        },
        "lstm": {"embedding_size": 16, "hidden_size": 16, "num_layers": 1, "word_vectors": None},
        "ngram": {"order": 3},
        "pretrained": {"is_pretraining_continued": False, "is_remote_code_run": False},
    },
    "compute": {"accelerator": "auto", "devices": 1, "num_nodes": 1, "strategy": "auto"},
    "pretrain": {
        **PARAMS["pretrain"],
        "length": "40 steps",
        "batch_size": 4,
        "lr": 0.01,
        "warmup_steps": 4,
        "validation_every_steps": 20,
    },
    "evaluate": {
        "max_documents": 100,
        "max_pairs": 12,
        "max_drafts": 4,
        "batch_size": 8,
        "stride_tokens": 32,
        "ngram_order": 3,
        "bootstrap_samples": 100,
        "decoding": {**PARAMS["evaluate"]["decoding"], "max_new_tokens": 8},
        "probes": {
            "is_bias_probed": True,
            "memorization": {"num_documents": 4, "prefix_tokens": 8, "continuation_tokens": 8},
        },
    },
    "baselines": {
        "lstm": {
            "is_on": True,
            "sizes": {**PARAMS["model"]["lstm"], "embedding_size": 16, "hidden_size": 16},
            "length": "20 steps",
            "batch_size": 8,
            "lr": 5e-3,
            "warmup_steps": 2,
        }
    },
    "registry": {**PARAMS["registry"], "name": "small"},
}
SMALL_PARAMS["finetune"] = {
    **PARAMS["finetune"],
    "length": "60 steps",
    "batch_size": 4,
    "lr": 0.01,
    "warmup_steps": 4,
    "validation_every_steps": 20,
}


def decoding_params(**changes):
    """Greedy decoding, but for `changes`."""
    return DecodingParams(**{**SMALL_PARAMS["evaluate"]["decoding"], **changes})


def tokenize_params(**changes) -> TokenizeParams:
    return TokenizeParams(**{**SMALL_PARAMS["tokenize"], **changes})


def small_tokenizer(texts: list[str], **changes):
    return learn(texts, tokenize_params(**changes), context_tokens=64)


def params_of(section: str):
    """A section of the project's own params.yaml."""
    from wordmill.params.clean import CleanParams
    from wordmill.params.section import parse_params, read_params

    shapes = {"clean": CleanParams}
    values = read_params(ROOT / "params.yaml")[section]
    return parse_params(shapes[section], values, file=ROOT / "params.yaml")


def write_params(project: Path, params: dict) -> None:
    YAML().dump(params, project / "params.yaml")


def small_texts(count: int, *, seed: int) -> list[str]:
    """Sentences from a small grammar: enough order for a model to learn."""
    draw = random.Random(seed)
    who = ["the miller", "a farmer", "the baker", "our neighbour", "an old clerk"]
    does = ["grinds", "carries", "weighs", "sells", "counts"]
    what = ["the corn", "heavy sacks", "white flour", "fresh bread", "silver coins"]
    when = ["at dawn", "by the river", "before the rain", "every winter", "on market day"]
    kinds = (who, does, what, when)

    def sentence() -> str:
        return " ".join(draw.choice(kind) for kind in kinds).capitalize() + "."

    return [f"{sentence()} {sentence()} Note {i}." for i in range(count)]


_prefect_home: list[str] = []


def pytest_xdist_auto_num_workers() -> int | None:
    """One more than there are cores: the tests of flows often wait for a server."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:  # somebody has set it: xdist reads it
        return None
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory):
    """One home for the flows of a worker: a fresh one takes Prefect 10 s at each first start."""
    _prefect_home.append(str(tmp_path_factory.mktemp("prefect")))


@pytest.fixture(autouse=True, scope="session")
def _one_thread_a_worker():
    torch.set_num_threads(1)  # small models gain nothing from more, and workers share the cores


@pytest.fixture(autouse=True)
def _own_signals():
    """A command that a test calls sets handlers; left behind, they would end a later training."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {each: signal.getsignal(each) for each in signals}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.fixture(scope="session")
def make_project(tmp_path_factory):
    """Makes project folders: a commit of the tracked files with small params and text."""

    def make(name: str) -> Path:
        project = tmp_path_factory.mktemp(name)
        listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
        for file in files.stdout.splitlines():
            if (ROOT / file).is_file():
                (project / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / file, project / file)
        write_params(project, SMALL_PARAMS)
        raw = project / "data/raw"
        texts = [json.dumps({"text": text}) for text in small_texts(300, seed=1)]
        pairs = [
            json.dumps({"body": text, "title": "A note on " + " ".join(text.split()[:2])})
            for text in small_texts(200, seed=2)
        ]
        (raw / "texts.jsonl").write_text("\n".join(texts))
        (raw / "pairs.jsonl").write_text("\n".join(pairs))
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "small project"]):
            identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
            subprocess.run(["git", *identity, *command], cwd=project, check=True)
        return project

    return make


def environment(**extra: str) -> dict[str, str]:
    """The environment of a fresh shell with this Python first, and nothing tracked elsewhere."""
    ours = ("MLFLOW_", "PREFECT_", "WORDMILL_", "DVC_", "PYTEST_")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    # Folders of their own: another copy of the project may be installed in this environment.
    ours_again = {"PATH": path, "PYTHONPATH": ".", "OMP_NUM_THREADS": "1"}
    if _prefect_home:
        ours_again["PREFECT_HOME"] = _prefect_home[0]
    return {**clean, **ours_again, **extra}


def run_in(project: Path, *command: str, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=project, env=environment(**extra), capture_output=True, text=True, check=False
    )
