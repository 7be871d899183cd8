"""Read every source into documents and pairs, split by content hash."""

import json
from pathlib import Path

from stages.stage import PARAMS, Stage, run
from wordmill.data.records import write_records
from wordmill.data.sources import Ingestion
from wordmill.params.everything import Params
from wordmill.params.section import parse_params, read_params
from wordmill.progress import Progress


def main(stage: Stage) -> str:
    """Write data/ingest. All of params.yaml is checked here, before anything long runs."""
    params = parse_params(Params, read_params(PARAMS), file=PARAMS).ingest
    with (
        stage.output_folder() as folder,
        Progress("ingest", unit="record", **stage.progress) as progress,
    ):
        ingestion = Ingestion(params, progress=progress)
        write_records(folder, ingestion.records())
        report = ingestion.report()
        _write_json(folder / "sources.json", report)
    documents, pairs = (
        sum(source.get(kind, 0) for source in report["sources"]) for kind in ("documents", "pairs")
    )
    return f"{documents:,} documents and {pairs:,} pairs from {len(params.sources)} source(s)"


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    run("ingest", main, description=__doc__)
