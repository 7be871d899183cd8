"""Sources read in a test: their results, their records, a whole ingest of them."""

from pathlib import Path

from pydantic import TypeAdapter

from wordmill.data.ingestion import Ingestion
from wordmill.data.quarantine import BadRow
from wordmill.data.records import KINDS, SPLITS, read_records
from wordmill.data.sources import parts_of
from wordmill.files import replaced_folder
from wordmill.params.ingest import IngestParams, Source
from wordmill.progress import Progress


def source(**values):
    return TypeAdapter(Source).validate_python({"kind": "files", **values})


def ingest_params(root, *sources, **values):
    given = {
        "root": str(root),
        "max_bad_fraction": 0.0,
        "max_row_bytes": 1_000_000,
        "validation_fraction": 0.2,
        "test_fraction": 0.2,
        "fold": None,
        **values,
    }
    return IngestParams(sources=[source(**values) for values in sources], **given)


def results(root, *, max_row_bytes=1_000_000, **values):
    """What each row of a source gives: its keyed records, or a bad row."""
    params = ingest_params(root, values, max_row_bytes=max_row_bytes)
    return [r for part in parts_of(params.sources[0], params) for r in part.results()]


def records(root, **values):
    found = results(root, **values)
    assert [bad for bad in found if isinstance(bad, BadRow)] == []
    return [record for keyed in found for _, record in keyed]


def texts(root, **values):
    return [record.text for record in records(root, **values)]


def bad_rows(root, **values):
    return [bad for bad in results(root, **values) if isinstance(bad, BadRow)]


def ingest(root, *sources, out="out", code_key="code", **values):
    """Read sources into `root.parent / out`, with a memory beside it; what was seen."""
    folder = Path(root).parent / out
    ingestion = Ingestion(
        ingest_params(root, *sources, **values),
        code_key=code_key,
        memory=folder.with_name(f"{out}.memory"),
        kept_quarantine=folder.with_name(f"{out}.quarantine.jsonl"),
        progress=Progress("test"),
    )
    with replaced_folder(folder) as partial:
        ingestion.write(partial)
    ingestion.remember(folder)
    return ingestion


def written(folder):
    """Every record in a folder with its split."""
    return [
        (split, record)
        for kind in KINDS
        for split in SPLITS
        for record in read_records(folder, kind, split)
    ]


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
