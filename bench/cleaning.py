"""How fast is text cleaned, is the same kept, and does memory stay flat?

    python bench/cleaning.py --peer PYTHON [--megabytes 20] [--repeats 3]
    python bench/cleaning.py --memory [--megabytes 20]

PYTHON is that of an environment with datatrove (`pip install -r bench/peer_datatrove.txt`). Both
clean the corpus of bench/corpus.py on two cores in the same run, in turn, with equivalent steps:
Gopher's, FineWeb's and repetition rules, e-mail and IP masks, near duplicates by MinHash of
5-word shingles in 14 bands of 8. Which of two copies stays is chance in datatrove (it depends on
the number of tasks), so of kept ids those of near copies count as one.
`--memory` asks how the largest memory of the stage grows with ten times the corpus.
"""

import argparse
import json
import multiprocessing
import random
import re
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import corpus
import psutil
from tables import table

from wordmill.cleaning.cleaning import Cleaning
from wordmill.data.records import Document, RecordWriter, document, read_records
from wordmill.params.clean import CleanParams
from wordmill.params.section import read_params
from wordmill.progress import Progress

PARAMS = Path(__file__).parents[1] / "params.yaml"
SEED = 1


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer", help="python of an environment with datatrove")
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--corpus", type=Path, help="made before by bench/corpus.py")
    parser.add_argument("--memory", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = asked.corpus or made_corpus(folder, asked.megabytes)
        if asked.memory:
            print(table(memory_rows(folder, path)))
        else:
            print(table(speed_rows(folder, path, asked.peer, asked.repeats)))


def speed_rows(folder: Path, path: Path, peer: str | None, repeats: int) -> Iterator[list[str]]:
    """Documents a second of both, and what both keep."""
    yield ["what", "datatrove", "wordmill", "ratio"]
    corpus_rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    source = folder / "records"
    write(source, ((row["id"], row["text"]) for row in corpus_rows), times=1)
    theirs: list[dict[str, Any]] = []
    ours: list[tuple[float, float]] = []
    for _ in range(repeats):
        if peer:
            command = [peer, str(Path(__file__).with_name("peer_datatrove.py")), str(path)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            theirs.append(json.loads(done.stdout))
        ours.append(timed(source, folder / "kept"))
    count = len(corpus_rows)
    seconds = statistics.median(wall for wall, _ in ours)
    cpu = statistics.median(cpu for _, cpu in ours)
    if not theirs:
        yield ["documents a second", "", f"{count / seconds:,.0f}", ""]
        return
    their_seconds = statistics.median(one["seconds"] for one in theirs)
    their_cpu = statistics.median(one["cpu_seconds"] for one in theirs)
    rates = (f"{count / their_seconds:,.0f}", f"{count / seconds:,.0f}")
    yield ["documents a second", *rates, f"{their_seconds / seconds:.1f}"]
    yield ["CPU seconds", f"{their_cpu:.1f}", f"{cpu:.1f}", f"{their_cpu / cpu:.1f}"]
    metadata = (one.metadata for one in read_records(folder / "kept", Document, "train"))
    kept = [json.loads(known)["id"] for known in metadata]
    their_kept = theirs[-1]["kept_ids"]
    texts = {row["id"]: row["text"] for row in corpus_rows}
    family = families({one: texts[one] for one in {*kept, *their_kept}})
    ours_known, theirs_known = ({family[one] for one in ids} for ids in (kept, their_kept))
    jaccard = len(ours_known & theirs_known) / len(ours_known | theirs_known)
    yield ["kept", f"{len(their_kept):,}", f"{len(kept):,}", f"Jaccard {jaccard:.4f}"]


def families(texts: dict[str, str]) -> dict[str, str]:
    """For each id one of those whose text is nearly the same, by exact Jaccard, one by one.

    Which of a group of copies stays is chance in datatrove: it depends on the number of tasks.
    """
    shingles = {name: five_words(text) for name, text in texts.items()}
    holders: dict[str, list[str]] = {}
    family: dict[str, str] = {}
    for name in sorted(texts):
        shared = Counter(one for run in shingles[name] for one in holders.get(run, ()))
        alike = (one for one, n in shared.most_common(5) if is_alike(shingles, name, one, n))
        family[name] = family[found] if (found := next(alike, None)) else name
        for run in shingles[name]:
            holders.setdefault(run, []).append(name)
    return family


def is_alike(shingles: dict[str, set[str]], one: str, other: str, shared: int) -> bool:
    """Whether two texts share 60% of their shingles, of which they have `shared` in common."""
    return shared >= 0.6 * (len(shingles[one]) + len(shingles[other]) - shared)


def five_words(text: str) -> set[str]:
    """Runs of five words, case and punctuation left out."""
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[start : start + 5]) for start in range(max(1, len(words) - 4))}


def memory_rows(folder: Path, path: Path) -> Iterator[list[str]]:
    """Largest memory of all processes together, shared pages counted once."""
    yield ["corpus", "largest memory", "against the first"]
    lines = path.read_text("utf-8").splitlines()
    texts = [(row["id"], row["text"]) for row in map(json.loads, lines)]
    first = 0.0
    for times in (1, 10):
        source = folder / f"records{times}"
        write(source, texts, times=times)
        process = multiprocessing.get_context("spawn").Process(
            target=timed, args=(source, folder / "kept")
        )
        process.start()
        peak = 0.0
        while process.is_alive():
            peak = max(peak, memory_of(process.pid))
            time.sleep(0.05)
        first = first or peak
        size = times * sum(len(text.encode()) for _, text in texts) / 1e6
        yield [f"{size:.0f} MB", f"{peak / 2**20:.0f} MiB", f"{peak / first:.2f}"]


def memory_of(pid: int | None) -> float:
    """Bytes of a process and those it started, in proportion where pages are shared."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        return sum(one.memory_full_info().pss for one in family)
    except psutil.Error:  # one ended while it was looked at
        return 0.0


def timed(source: Path, out: Path) -> tuple[float, float]:
    """Clean a folder of records into another; wall and CPU seconds."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "work").mkdir(parents=True)
    before, started_at = cpu_seconds(), time.perf_counter()
    with RecordWriter(out) as writer:
        cleaning = Cleaning(
            source,
            out / "work",
            equivalent_params(),
            seed=SEED,
            on_drop=lambda _: None,
            progress=Progress("bench"),
        )
        cleaning.run(writer)
    return time.perf_counter() - started_at, cpu_seconds() - before


def cpu_seconds() -> float:
    """Of this process and of those it started that have ended."""
    times = psutil.Process().cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def equivalent_params() -> CleanParams:
    """The project's thresholds, with datatrove's steps on and all others off."""
    values = read_params(PARAMS)["clean"]
    values["repair"] |= {"is_mojibake_undone": False, "is_html_converted": False}
    values["mask"] = ["email", "ip"]
    values["length"] |= {"min_document_chars": 1, "max_document_chars": 10_000_000}
    values["quality"]["min_letters"] = 0.0
    for rules in ("gopher_repetition", "gopher", "fineweb"):
        values["quality"][rules]["is_on"] = True
    # 14 bands of 8 find texts of 0.72 and more; datatrove takes candidates for duplicates.
    values["near_duplicates"] |= {"num_bands": 14, "rows_a_band": 8, "min_jaccard": 0.6}
    return CleanParams.model_validate(values)


def write(folder: Path, texts: Iterator[tuple[str, str]] | list[Any], *, times: int) -> None:
    """Write records, all in the train split; each time after the first with other words."""
    folder.mkdir()
    texts = list(texts)
    with RecordWriter(folder) as writer:
        for time_around in range(times):
            for name, text in texts:
                changed = text if time_around == 0 else scrambled(text, time_around)
                made = document(changed, origin="bench", language="en", id=name)
                writer.add("train", made)


def scrambled(text: str, seed: int) -> str:
    """The text with a third of its words written backwards."""
    draw = random.Random(f"{seed}{len(text)}")
    return " ".join(word[::-1] if draw.random() < 0.33 else word for word in text.split(" "))


def made_corpus(folder: Path, megabytes: float) -> Path:
    """A corpus of the packages installed here."""
    path = folder / "corpus.jsonl"
    corpus.write(corpus.corpus(corpus.installed(), megabytes=megabytes, seed=SEED), path)
    return path


if __name__ == "__main__":
    main()
