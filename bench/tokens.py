"""How fast is text made into token files, a tokenizer trained, and a batch loaded?

    python bench/tokens.py [--megabytes 60] [--repeats 3] [--memory]

The corpus is the docstrings of the packages installed here, repeated with a changed word where
they do not suffice. Each question is put to wordmill and to its peers in the same run, in turn;
the table has medians. Ids are checked to be the same. `--memory` asks instead how the largest
memory of packing grows with ten times the corpus, each in a process of its own.
"""

import argparse
import ast
import gc
import itertools
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tables import table

from wordmill.data.records import document, write_records
from wordmill.params.tokenize import TokenizeParams
from wordmill.progress import Progress
from wordmill.tokens.batches import BlockBatches
from wordmill.tokens.choosing import TrainingText
from wordmill.tokens.learning import learn
from wordmill.tokens.packing import pack
from wordmill.tokens.store import TokenFolder
from wordmill.tokens.tokenizer import END, PAD, end_id, fingerprint

BATCH, BLOCK = 64, 256
NO_LIMIT = 1 << 30  # else transformers warns of long texts
PARAMS = TokenizeParams(
    kind="byte-bpe",
    checkpoint=None,
    revision=None,
    vocab_size=16384,
    min_frequency=2,
    special_tokens=[],
    split_digits=False,
    max_training_bytes=20_000_000,
    direction="forward",
    max_source_tokens=192,
    max_target_tokens=40,
)
QUIET = Progress("bench")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--pack", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pack:
        learn_and_pack(arguments.pack)
        return
    with tempfile.TemporaryDirectory() as folder:
        if arguments.memory:
            print(table(memory_rows(Path(folder), arguments.megabytes)))
        else:
            print(table(speed_rows(Path(folder), arguments.megabytes, arguments.repeats)))


def speed_rows(folder: Path, megabytes: int, repeats: int) -> Iterator[list[str]]:
    """Each question with its answers."""
    yield ["what", "who", "median", "against wordmill"]
    texts = corpus(megabytes)
    write_corpus(folder, texts)
    size = sum(len(text.encode()) for text in texts) / 1e6
    yield [f"corpus: {len(texts):,} docstrings, {size:.0f} MB", "", "", ""]
    text = TrainingText(folder, max_bytes=PARAMS.max_training_bytes, progress=QUIET)
    training_texts = list(text)
    tokenizer = learn(text, PARAMS, context_tokens=NO_LIMIT)
    yield from rows(
        f"train a BPE of {PARAMS.vocab_size:,} on {text.num_bytes / 1e6:.0f} MB",
        {
            "wordmill": lambda: learn(text, PARAMS, context_tokens=NO_LIMIT),
            "tokenizers": lambda: bare_training(training_texts),
        },
        text.num_bytes / 1e6,
        "MB/s",
        repeats,
    )
    ids: dict[str, np.ndarray] = {}
    end = end_id(tokenizer)

    def keep(name: str, found: Any) -> None:
        if not isinstance(found, np.ndarray):
            found = np.fromiter(itertools.chain([end], *((*row, end) for row in found)), np.uint16)
        ids[name] = found

    yield from rows(
        "text to packed token files",
        {
            "wordmill": lambda: packed(folder, tokenizer),
            "tokenizers, encode_batch alone": lambda: encoded(tokenizer, texts),
            "datasets.map, batched": lambda: mapped(tokenizer, texts),
        },
        size,
        "MB/s",
        repeats,
        keep,
    )
    assert all(np.array_equal(ids["wordmill"], found) for found in ids.values())
    yield ["ids of all three", "", "identical", ""]
    steps = 200
    blocks = BlockBatches(ids["wordmill"], block_tokens=BLOCK, batch_size=BATCH, seed=0)
    counter = itertools.count()
    path = folder / "documents.train.bin"
    yield from rows(
        f"load batches of {BATCH} x {BLOCK}",
        {
            "wordmill": lambda: [blocks.at(next(counter)) for _ in range(steps)],
            "nanoGPT's get_batch": lambda: [get_batch(path) for _ in range(steps)],
        },
        steps * BATCH * BLOCK / 1e6,
        "M tokens/s",
        repeats,
    )


def memory_rows(folder: Path, megabytes: int) -> Iterator[list[str]]:
    """The largest memory of training and packing, once and with ten times the corpus."""
    yield ["corpus", "largest memory", "against the first"]
    texts, first = corpus(10 * megabytes), 0
    for size in (megabytes, 10 * megabytes):
        records = folder / str(size)
        write_corpus(records, cut(texts, size))
        command = [sys.executable, __file__, "--pack", str(records)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        peak = int(done.stdout)
        first = first or peak
        yield [f"{size} MB", f"{peak / 1024:.0f} MiB", f"{peak / first:.2f}"]


def learn_and_pack(folder: Path) -> None:
    """Do what the tokenize stage does and print the largest memory in KiB."""
    text = TrainingText(folder, max_bytes=PARAMS.max_training_bytes, progress=QUIET)
    packed(folder, learn(text, PARAMS, context_tokens=NO_LIMIT))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def rows(
    what: str,
    contenders: dict[str, Callable[[], Any]],
    amount: float,
    unit: str,
    repeats: int,
    keep: Callable[[str, Any], None] = lambda _, __: None,
) -> Iterator[list[str]]:
    """Time the contenders in turn; `keep` takes what they made, outside of the clock."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            gc.collect()
            started_at = time.perf_counter()
            made = run()
            seconds[name].append(time.perf_counter() - started_at)
            keep(name, made)
            del made
    rates = {name: amount / statistics.median(found) for name, found in seconds.items()}
    ours = rates["wordmill"]
    for name, rate in rates.items():
        ratio = "" if name == "wordmill" else f"wordmill is {ours / rate:.2f} times as fast"
        yield [what, name, f"{rate:.2f} {unit}", ratio]


def packed(folder: Path, tokenizer: Any) -> Any:
    """Wordmill: from Parquet to token files, the report included."""
    pack(folder, folder, tokenizer, PARAMS, progress=QUIET)
    tokens = TokenFolder(folder, tokenizer_fingerprint=fingerprint(tokenizer))
    return tokens.ids("documents.train")


def encoded(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """The tokenizer's own code on texts in memory, nothing written."""
    backend, found = tokenizer.backend_tokenizer, []
    for start in range(0, len(texts), 1024):
        batch = backend.encode_batch(texts[start : start + 1024], add_special_tokens=False)
        found += [encoding.ids for encoding in batch]
    return found


def mapped(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """What tutorials do."""
    import datasets

    datasets.disable_caching()
    datasets.disable_progress_bars()
    made = datasets.Dataset.from_dict({"text": texts}).map(
        lambda rows: {"ids": tokenizer(rows["text"], add_special_tokens=False)["input_ids"]},
        batched=True,
        remove_columns=["text"],
    )
    return made["ids"]


def bare_training(texts: list[str]) -> None:
    """The tokenizers library by itself."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=PARAMS.vocab_size,
        min_frequency=PARAMS.min_frequency,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)


def get_batch(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Random offsets, one slice each, as nanoGPT's train.py loads them."""
    data = np.memmap(path, dtype=np.uint16, mode="r")
    offsets = torch.randint(len(data) - BLOCK, (BATCH,))
    x = torch.stack([torch.from_numpy(data[i : i + BLOCK].astype(np.int64)) for i in offsets])
    y = torch.stack(
        [torch.from_numpy(data[i + 1 : i + 1 + BLOCK].astype(np.int64)) for i in offsets]
    )
    return x, y


def corpus(megabytes: int) -> list[str]:
    """Docstrings; where they do not suffice, again and again with a word more each time."""
    there = list(cut(docstrings(), megabytes))
    copies = (f"{text}\nCopy {copy}." for copy in itertools.count(1) for text in there)
    return list(cut(itertools.chain(there, copies), megabytes))


def cut(texts: Iterable[str], megabytes: int) -> Iterator[str]:
    """The first texts, of so many megabytes."""
    size = 0
    for text in texts:
        size += len(text.encode())
        if size > megabytes * 1_000_000:
            return
        yield text


def write_corpus(folder: Path, texts: Iterable[str]) -> None:
    """Write a folder of records, all in the train split."""
    folder.mkdir(exist_ok=True)
    made = (document(text, origin="bench", language="en") for text in texts)
    write_records(folder, (("train", record) for record in made))


def docstrings() -> Iterator[str]:
    """The docstrings of the packages installed here."""
    warnings.simplefilter("ignore", SyntaxWarning)
    for path in sorted(Path(sysconfig.get_path("purelib")).rglob("*.py")):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                found = ast.get_docstring(node)
                if found and len(found) >= 40:
                    yield found.encode("utf-8", "replace").decode()


if __name__ == "__main__":
    main()
