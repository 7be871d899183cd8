"""Read every source into documents and pairs, split by content hash."""

from stages.stage import Stage, run
from wordmill.data.records import write_records
from wordmill.data.sources import Ingestion
from wordmill.files import write_json
from wordmill.params.ingest import IngestParams
from wordmill.progress import Progress


def main(stage: Stage) -> str:
    """Write data/ingest: documents, pairs, and a record of the sources."""
    params = stage.section("ingest", IngestParams)
    with (
        stage.output_folder() as folder,
        Progress("ingest", unit="record", **stage.progress) as progress,
    ):
        ingestion = Ingestion(params, progress=progress)
        write_records(folder, ingestion.records())
        report = ingestion.report()
        write_json(folder / "sources.json", report)
    documents, pairs = (
        sum(source.get(kind, 0) for source in report["sources"]) for kind in ("documents", "pairs")
    )
    return f"{documents:,} documents and {pairs:,} pairs from {len(params.sources)} source(s)"


if __name__ == "__main__":
    run("ingest", main, description=__doc__)
