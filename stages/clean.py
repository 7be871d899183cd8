"""Repair, mask, filter and deduplicate documents and pairs; every drop has a reason."""

import json
import shutil

from stages.stage import Stage, run
from wordmill.cleaning.cleaning import Cleaning
from wordmill.cleaning.tally import Dropped
from wordmill.data.records import KINDS, SPLITS, RecordWriter, count_records, kind_name
from wordmill.files import write_json
from wordmill.params.clean import CleanParams
from wordmill.progress import Progress


def main(stage: Stage) -> str:
    """Write data/clean: the records kept, counts, samples, and a line for each drop."""
    params = stage.section("clean", CleanParams)
    source = stage.input("ingest")
    total = sum(count_records(source, kind, split) for kind in KINDS for split in SPLITS)
    with (
        stage.output_folder() as folder,
        (folder / "dropped.jsonl").open("w", encoding="utf-8") as dropped,
        Progress("clean", unit="record", total=total, **stage.progress) as progress,
        RecordWriter(folder) as writer,
    ):

        def write_down(drop: Dropped) -> None:
            dropped.write(json.dumps(drop._asdict(), ensure_ascii=False) + "\n")

        work = folder / "work"
        work.mkdir()
        cleaning = Cleaning(
            source, work, params, seed=stage.seed, on_drop=write_down, progress=progress
        )
        cleaning.run(writer)
        shutil.rmtree(work)
        report = cleaning.tally.report(json.loads((source / "sources.json").read_text()))
        write_json(folder / "report.json", report)
        write_json(folder / "samples.json", cleaning.tally.samples())
    return ", ".join(_kept(report, kind) for kind in map(kind_name, KINDS))


def _kept(report: dict[str, dict[str, dict[str, int]]], kind: str) -> str:
    read, kept = (sum(report[kind][split][what] for split in SPLITS) for what in ("read", "kept"))
    return f"kept {kept:,} of {read:,} {kind}"


if __name__ == "__main__":
    run("clean", main, description=__doc__)
