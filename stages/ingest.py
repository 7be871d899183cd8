"""Read every source into documents and pairs, split by content hash."""

from stages.inputs import code_key
from stages.stage import Stage, run
from wordmill.data.ingestion import Ingestion
from wordmill.files import replaced_file, write_json
from wordmill.params.ingest import IngestParams
from wordmill.progress import Progress


def main(stage: Stage) -> str:
    """Write data/ingest: documents, pairs, rows set aside, and a record of the sources.

    When each file was read is told in data/ingest.times.json, beside the folder: in it, a run
    over the same sources would not give the same bytes.
    """
    params = stage.section("ingest", IngestParams)
    with Progress("ingest", unit="record", **stage.progress) as progress:
        ingestion = Ingestion(
            params,
            code_key=code_key("ingest"),
            memory=stage.memory,
            kept_quarantine=stage.memory.with_suffix(".quarantine.jsonl"),
            progress=progress,
        )
        with stage.output_folder() as folder:
            ingestion.write(folder)
            report = ingestion.report()
            write_json(folder / "sources.json", report)
    with replaced_file(stage.output.with_suffix(".times.json")) as partial:
        write_json(partial, ingestion.times())
    ingestion.remember(stage.output)
    return _message(report["sources"], ingestion)


def _message(sources: list[dict[str, int]], ingestion: Ingestion) -> str:
    documents, pairs, bad = (
        sum(source[kind] for source in sources) for kind in ("documents", "pairs", "bad")
    )
    message = f"{documents:,} documents and {pairs:,} pairs from {len(sources)} source(s)"
    if bad:
        message += f", {bad:,} rows set aside"
    if ingestion.num_unchanged:
        message += f", {ingestion.num_unchanged:,} of {ingestion.num_parts:,} parts unchanged"
    return message


if __name__ == "__main__":
    run("ingest", main, description=__doc__)
