"""The peer of the cleaning benchmark: datatrove's rules, masking and MinHash on one corpus.

Runs in an environment that has datatrove 0.10 and spaCy, and nothing of wordmill. Defaults are
datatrove's own: 5-grams, 14 buckets of 8 hashes of 64 bits. Workers are forked from a process
that has everything imported and warm, and files are not compressed: `seconds` holds no start-up
that a long run would not pay too. Prints one JSON object; progress goes to stderr.
"""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

BUCKETS = 14
"""datatrove's default; its bucket step wants as many tasks."""


class Stage(NamedTuple):
    """A run of datatrove's executor: what it ran, for how long and what it counted."""

    name: str
    seconds: float
    steps: list[dict[str, Any]]


class Peer:
    """datatrove's pipelines over one working folder."""

    def __init__(self, folder: Path, *, tasks: int, language: str, with_reasons: bool) -> None:
        self.folder = folder
        self.tasks = tasks
        self.language = language
        self.with_reasons = with_reasons

    def run(self) -> Iterator[Stage]:
        """Clean, then deduplicate in datatrove's four steps; each yields what it took."""
        from datatrove.pipeline.dedup import minhash

        at = self.folder
        sign = minhash.MinhashDedupSignature(str(at / "signatures"), language=self.language)
        pair = minhash.MinhashDedupBuckets(str(at / "signatures"), str(at / "pairs"))
        cluster = minhash.MinhashDedupCluster(str(at / "pairs"), str(at / "remove"))
        drop = minhash.MinhashDedupFilter(str(at / "remove"))
        yield self._stage("rules", self.rules(), tasks=self.tasks)
        yield self._stage("signatures", [self._reader("passed"), sign], tasks=self.tasks)
        yield self._stage("pairs", [pair], tasks=BUCKETS)
        yield self._stage("clusters", [cluster], tasks=1)
        keep = [self._reader("passed"), drop, self._writer("kept")]
        yield self._stage("keep", keep, tasks=self.tasks)

    def rules(self) -> list[Any]:
        """The filters with their defaults, and masking.

        C4's rules are left out: they drop a document with a curly bracket and every line
        without a full stop, which leaves little of docstrings.
        """
        from datatrove.pipeline import filters
        from datatrove.pipeline.formatters import PIIFormatter

        kinds = {
            "repetition": filters.GopherRepetitionFilter,
            "quality": filters.GopherQualityFilter,
            "fineweb": filters.FineWebQualityFilter,
        }
        made = [
            kind(
                exclusion_writer=self._writer(f"dropped/{name}") if self.with_reasons else None,
                language=self.language,
            )
            for name, kind in kinds.items()
        ]
        return [self._reader("input"), *made, PIIFormatter(), self._writer("passed")]

    def _stage(self, name: str, steps: list[Any], *, tasks: int) -> Stage:
        from datatrove.executor import LocalPipelineExecutor

        logs = str(self.folder / "logs" / name)
        executor = LocalPipelineExecutor(
            steps, tasks=tasks, workers=self.tasks, logging_dir=logs, start_method="fork"
        )
        seconds, stats = _timed(executor.run)
        return Stage(name, seconds, json.loads(stats.to_json()))

    def _reader(self, name: str) -> Any:
        from datatrove.pipeline.readers import JsonlReader

        return JsonlReader(str(self.folder / name))

    def _writer(self, name: str) -> Any:
        from datatrove.pipeline.writers import JsonlWriter

        return JsonlWriter(str(self.folder / name), compression=None)


def split(path: Path, folder: Path, *, tasks: int) -> tuple[int, int]:
    """Deal a corpus into a file for every task, as datatrove gives whole files to its tasks.

    Returns:
        How many documents there are, and the bytes of their texts.
    """
    folder.mkdir(parents=True)
    lines = path.read_bytes().splitlines(keepends=True)  # of bytes: U+2028 ends a str's line too
    for task in range(tasks):
        (folder / f"{task:05d}.jsonl").write_bytes(b"".join(lines[task::tasks]))
    return len(lines), sum(len(json.loads(line)["text"].encode()) for line in lines)


def warm(language: str) -> None:
    """Import what the workers need and build the tokenizer before they are forked."""
    from datatrove.pipeline.dedup import minhash  # noqa: F401
    from datatrove.utils.text import split_into_words

    split_into_words("A first sentence builds the tokenizer.", language)


def measure(path: Path, *, tasks: int, language: str, with_reasons: bool) -> dict[str, Any]:
    """Run the peer on a corpus and say what it took and kept.

    Args:
        path: The corpus, JSON lines of `id` and `text`.
        tasks: Tasks and workers.
        language: datatrove's name of a language, `eng` for English.
        with_reasons: Also write each dropped document with its reason; costs time.
    """
    start_seconds, _ = _timed(lambda: warm(language))
    folder = Path(tempfile.mkdtemp(prefix="peer-datatrove-"))
    try:
        documents, size = split(path, folder / "input", tasks=tasks)
        peer = Peer(folder, tasks=tasks, language=language, with_reasons=with_reasons)
        before = os.times()
        stages = list(peer.run())
        after = os.times()
        dropped = _records(folder / "dropped")
        seconds = sum(stage.seconds for stage in stages)
        return {
            "documents": documents,
            "bytes": size,
            "tasks": tasks,
            "start_seconds": start_seconds,
            "seconds": seconds,
            "cpu_seconds": sum(after[:4]) - sum(before[:4]),
            "documents_per_second": documents / seconds,
            "megabytes_per_second": size / 1e6 / seconds,
            "stage_seconds": {stage.name: stage.seconds for stage in stages},
            "step_seconds": _step_seconds(stages),
            "dropped": _reasons(stages[0]),
            "dropped_ids": {one["id"]: one["metadata"]["filter_reason"] for one in dropped},
            "passed_ids": [one["id"] for one in _records(folder / "passed")],
            "kept_ids": [one["id"] for one in _records(folder / "kept")],
        }
    finally:
        shutil.rmtree(folder)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _step_seconds(stages: list[Stage]) -> dict[str, float]:
    """Time in each step, summed over the tasks; a step is named "KIND: PICTURE NAME".

    The first step that wants words pays for them; they are cached for the next.
    """
    return {
        f"{stage.name}: {step['name'].rsplit(': ', 1)[-1].split(' ', 1)[-1]}": float(
            step.get("time_stats", {}).get("total", 0)
        )
        for stage in stages
        for step in stage.steps
    }


def _reasons(rules: Stage) -> dict[str, int]:
    counts = [step["stats"] for step in rules.steps]
    return {
        name.removeprefix("dropped_"): value["total"] if isinstance(value, dict) else value
        for stats in counts
        for name, value in stats.items()
        if name.startswith("dropped_")
    }


def _records(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(folder.rglob("*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]


def main() -> None:
    """Measure once and print JSON."""
    parser = argparse.ArgumentParser(description="Clean a corpus with datatrove, timed.")
    parser.add_argument("path", type=Path, help="the corpus, .jsonl of id and text")
    parser.add_argument("--tasks", type=int, default=2)
    parser.add_argument("--language", default="eng")
    parser.add_argument("--reasons", action="store_true", help="say why each was dropped")
    asked = parser.parse_args()
    measured = measure(
        asked.path, tasks=asked.tasks, language=asked.language, with_reasons=asked.reasons
    )
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
