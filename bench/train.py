"""How fast does this project train, against a bare PyTorch loop and Hugging Face's Trainer?

    python bench/train.py [--model small|medium] [--steps 60] [--rounds 5]
    python bench/train.py --gpu [--rounds 5]

The same model, weights, tokens a step, schedule and precision in all three. The first round feeds
all of them the same batches and compares their losses step by step, with those of a bare loop of
another seed for scale; in the rounds after it, which are timed, each loads its data as it really
would. Systems take turns, forwards and backwards (A B C, C B A). Each run has a process of its
own, since Lightning, torch.compile and the Trainer change global settings and warm caches for one
another; the clock starts after the first steps, so that starting up and compiling do not count.

`small` is the project's default, 3 layers of 96, batches of 8 x 256, 4,096 tokens; `medium` has
4 layers of 192 and batches of 16 x 256. `--gpu` is of GPT-2's size: 124M parameters, 50,304
tokens, batches of 16 x 1,024, bf16, compiled; with model FLOPs utilization. Medians and ranges;
nothing else should run on the machine.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import tokens
import torch
from tables import table
from train_job import SYSTEMS, Job

from wordmill.params.section import read_params
from wordmill.tokens.learning import learn

HERE = Path(__file__).parent
OURS, BARE, TRAINER = SYSTEMS
MEGABYTES = 4
DEFAULT = read_params(HERE.parent / "params.yaml")["model"]["decoder"]
MEDIUM = {"num_layers": 4, "hidden_size": 192, "feed_forward_size": 512}
GPT2 = {
    "num_layers": 12,
    "hidden_size": 768,
    "num_heads": 12,
    "num_kv_heads": 12,
    "feed_forward_size": 2048,  # three matrices of this are GPT-2's two of 3072
}
SHAPES: dict[str, dict[str, Any]] = {
    "small": {"decoder": DEFAULT, "vocab_size": 4096, "block_tokens": 256, "batch_size": 8},
    "medium": {
        "decoder": DEFAULT | MEDIUM,
        "vocab_size": 4096,
        "block_tokens": 256,
        "batch_size": 16,
    },
    "gpt2": {
        "decoder": DEFAULT | GPT2,
        "vocab_size": 50304,
        "block_tokens": 1024,
        "batch_size": 16,
    },
}
LR = {"small": 5e-3, "medium": 2e-3, "gpt2": 6e-4}
H100_FLOPS = 989e12
"""16-bit operations a second without sparsity, by the maker's data sheet."""


def main() -> None:
    """Print two tables."""
    asked = arguments()
    if importlib.util.find_spec("accelerate") is None:
        sys.exit('Trainer needs accelerate: pip install -e ".[bench]"')
    with tempfile.TemporaryDirectory() as folder:
        job = made_job(asked, Path(folder))
        told = f"{asked.steps} steps, {asked.rounds} rounds, {asked.threads} threads"
        print(f"{asked.model} on {asked.device}, {told}, load {os.getloadavg()[0]:.1f}\n")
        print(table(curve_rows(job, Path(folder))), end="\n\n", flush=True)
        print(table(speed_rows(job, Path(folder), asked.rounds)))
        print(f"\nload {os.getloadavg()[0]:.1f}")


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", choices=SHAPES, default="small")
    parser.add_argument("--steps", type=int, default=60, help="a multiple of 10, 30 to 500")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--precision", choices=["32", "bf16"], default="32")
    parser.add_argument("--gpu", action="store_true", help="GPT-2's size on one GPU")
    asked = parser.parse_args()
    if asked.gpu:
        asked.model, asked.device, asked.compile, asked.precision = "gpt2", "cuda", True, "bf16"
    if asked.steps % 10 or not 30 <= asked.steps <= 500:
        parser.error(f"--steps {asked.steps}: it must be a multiple of 10, from 30 to 500")
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here")
    return asked


def made_job(asked: argparse.Namespace, folder: Path) -> Job:
    """The run that all systems do; the text is docstrings of the packages installed here."""
    shape = SHAPES[asked.model]
    ids = folder / "ids.bin"
    write_ids(ids, folder, min(shape["vocab_size"], 16384))
    return Job(
        system=OURS,
        ids=str(ids),
        **shape,
        steps=asked.steps,
        untimed_steps=20 if asked.device == "cuda" else 10,
        lr=LR[asked.model],
        seed=0,
        are_batches_given=False,
        device=asked.device,
        is_compiled=asked.compile,
        is_bf16=asked.precision == "bf16",
        num_threads=asked.threads,
    )


def write_ids(path: Path, folder: Path, vocab_size: int) -> None:
    """Learn a tokenizer and write the text's ids."""
    texts = tokens.corpus(MEGABYTES)
    params = tokens.PARAMS.model_copy(update={"vocab_size": vocab_size})
    tokenizer = learn(texts, params, context_tokens=tokens.NO_LIMIT)
    tokens.write_corpus(folder, texts)
    tokens.packed(folder, tokenizer).astype("uint16").tofile(path)


def curve_rows(job: Job, folder: Path) -> Iterator[list[str]]:
    """Losses of all on the same batches, against the bare loop's."""
    yield ["same batches", "last loss", "mean distance", "largest distance"]
    same = replace(job, are_batches_given=True)
    runs = {name: run(replace(same, system=name), folder)["losses"] for name in SYSTEMS}
    bare = replace(same, system=BARE, seed=1)
    runs[f"{BARE}, another seed"] = run(bare, folder)["losses"]
    apart = {name: distances(losses, runs[BARE]) for name, losses in runs.items()}
    for name, losses in runs.items():
        found = apart[name]
        told = ["", ""] if name == BARE else [f"{statistics.mean(found):.1e}", f"{max(found):.1e}"]
        yield [name, f"{losses[str(job.steps)]:.4f}", *told]
    noise = statistics.mean(apart[f"{BARE}, another seed"])
    for name in (OURS, TRAINER):
        verdict = "within" if max(apart[name]) < noise else "NOT within"
        yield [f"{name}: {verdict} seed noise", "", "", ""]


def distances(losses: dict[str, float], others: dict[str, float]) -> list[float]:
    """How far two curves are apart at each step."""
    return [abs(losses[step] - others[step]) for step in others]


def speed_rows(job: Job, folder: Path, rounds: int) -> Iterator[list[str]]:
    """Tokens a second of each, and how it compares with the bare loop."""
    head = ["system", "tokens/s", "range", "against bare", "ms a step", "CPU ms", "largest memory"]
    yield [*head, "MFU"] if job.device == "cuda" else head
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in SYSTEMS}
    for number in range(rounds):
        for name in list(SYSTEMS)[:: -1 if number % 2 else 1]:
            found[name].append(run(replace(job, system=name), folder))
    rates = {name: sorted(rate(job, one) for one in runs) for name, runs in found.items()}
    bare = statistics.median(rates[BARE])
    for name, ordered in rates.items():
        median = statistics.median(ordered)
        cpu = [one["cpu_seconds"] / one["steps"] for one in found[name]]
        row = [
            name,
            f"{median:,.0f}",
            f"{ordered[0]:,.0f} to {ordered[-1]:,.0f}",
            f"{median / bare:.2f}",
            f"{1000 * job.tokens_a_step / median:.0f}",
            f"{1000 * statistics.median(cpu):.0f}",
            f"{max(one['peak_bytes'] for one in found[name]) / 2**20:,.0f} MiB",
        ]
        mfu = flops_a_token(job, found[name][0]["num_parameters"]) * median / H100_FLOPS
        yield [*row, f"{mfu:.1%}"] if job.device == "cuda" else row


def rate(job: Job, found: dict[str, Any]) -> float:
    """Tokens a second of a run."""
    return job.tokens_a_step * found["steps"] / found["seconds"]


def flops_a_token(job: Job, num_parameters: int) -> float:
    """The formula of nanoGPT, 6 N + 12 L D T (https://arxiv.org/abs/2204.02311, appendix B)."""
    shape = job.decoder
    return 6 * num_parameters + 12 * shape["num_layers"] * shape["hidden_size"] * job.block_tokens


def run(job: Job, folder: Path) -> dict[str, Any]:
    """Train in a process of its own."""
    path = folder / "job.json"
    path.write_text(json.dumps(asdict(job)))
    command = [sys.executable, str(HERE / "train_job.py"), str(path)]
    # Its words go nowhere unless it fails; the figures are the last line.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{job.system} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
