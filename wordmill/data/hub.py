"""Data sets of the Hugging Face hub, streamed: nothing is kept on disk but what is ingested."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wordmill.data.parts import Part
from wordmill.data.rows import About, Result, RowMapping
from wordmill.errors import DataError, TryAgainError
from wordmill.params.ingest import HuggingFaceSource

_SECONDS_TO_ANSWER = 20


def parts(source: HuggingFaceSource, *, about: About, max_row_bytes: int) -> list[Part]:
    """The one part that a split of a data set makes.

    Args:
        source: which data set, configuration, revision and split.
        about: what all records have in common.
        max_row_bytes: a longer row is a bad one.
    """
    mapping = RowMapping(source.columns, about=about, max_row_bytes=max_row_bytes)
    name = f"{source.name} ({source.hub_split})"

    def results() -> Iterator[Result]:
        yield from mapping.results(enumerate(_rows(source), start=1), file=name)

    return [Part(name=name, results=results, identity=lambda: _commit(source))]


def _commit(source: HuggingFaceSource) -> str:
    """The commit that the revision stands for now; of a local folder, a hash of its files."""
    folder = Path(source.name)
    if folder.is_dir():
        digest = hashlib.blake2b(digest_size=16)
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
        return digest.hexdigest()
    from huggingface_hub import HfApi

    # From there: the hub's client was built on httpx, and is on httpx2 now.
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]

    try:
        info = HfApi().dataset_info(
            source.name, revision=source.revision, timeout=_SECONDS_TO_ANSWER
        )
    except (HTTPError, OSError, ValueError):
        return ""  # reading will tell what is wrong
    return info.sha or ""


def _rows(source: HuggingFaceSource) -> Iterator[dict[str, Any]]:
    # Here and not above: it takes 3 s, and most runs have no such source.
    import datasets
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]

    try:
        rows = datasets.load_dataset(
            source.name,
            source.config,
            split=source.hub_split,
            revision=source.revision,
            streaming=True,
        )
        for row in rows:
            yield dict(row)
    except (ConnectionError, TimeoutError, HTTPError) as error:
        raise TryAgainError(
            f"{source.name}: the hub does not answer: {_first_line(error)}"
        ) from None
    except (DatasetNotFoundError, FileNotFoundError, ValueError) as error:
        raise DataError(f"{source.name}: can't be loaded: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
