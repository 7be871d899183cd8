"""Normalize, filter and deduplicate documents and pairs; every drop has a reason."""

import json

from stages.stage import Stage, run
from wordmill.data.cleaning import Cleaning, Dropped
from wordmill.data.records import write_records
from wordmill.files import write_json
from wordmill.params.clean import CleanParams
from wordmill.progress import Progress


def main(stage: Stage) -> str:
    """Write data/clean: the records kept, a report of counts, and a line for each drop."""
    params = stage.section("clean", CleanParams)
    source = stage.input("ingest")
    with (
        stage.output_folder() as folder,
        (folder / "dropped.jsonl").open("w", encoding="utf-8") as dropped,
        Progress("clean", unit="record", **stage.progress) as progress,
    ):

        def write_down(drop: Dropped) -> None:
            dropped.write(json.dumps(drop._asdict(), ensure_ascii=False) + "\n")

        cleaning = Cleaning(source, params, on_drop=write_down, progress=progress)
        write_records(folder, cleaning.records())
        report = cleaning.report()
        write_json(folder / "report.json", report)
    kept = {kind: sum(split["kept"] for split in report[kind].values()) for kind in report}
    read = {kind: sum(split["read"] for split in report[kind].values()) for kind in report}
    return ", ".join(f"kept {kept[kind]:,} of {read[kind]:,} {kind}" for kind in report)


if __name__ == "__main__":
    run("clean", main, description=__doc__)
