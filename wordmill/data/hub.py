"""Data sets of the Hugging Face hub, streamed: nothing is kept on disk but what is ingested."""

from collections.abc import Iterator

from wordmill.data.files import Row, records_of
from wordmill.data.records import Document, Pair
from wordmill.errors import DataError, TryAgainError
from wordmill.params.ingest import HuggingFaceSource


def read(source: HuggingFaceSource) -> Iterator[tuple[str, Document | Pair]]:
    """Yield each record with the text that decides its split.

    Raises:
        DataError: there is no such data set, configuration or split, or a row can't be used.
        TryAgainError: the hub does not answer.
    """
    yield from records_of(_rows(source), source.columns, name=source.name)


def _rows(source: HuggingFaceSource) -> Iterator[Row]:
    # Here and not above: it takes 3 s, and most runs have no such source.
    import datasets
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        rows = datasets.load_dataset(
            source.name,
            source.config,
            split=source.split,
            revision=source.revision,
            streaming=True,
        )
        for number, row in enumerate(rows, start=1):
            yield f"{source.name} ({source.split}): row {number}", dict(row)
    except (ConnectionError, TimeoutError, HfHubHTTPError) as error:
        raise TryAgainError(
            f"{source.name}: the hub does not answer: {_first_line(error)}"
        ) from None
    except (DatasetNotFoundError, FileNotFoundError, ValueError) as error:
        raise DataError(f"{source.name}: can't be loaded: {_first_line(error)}") from None


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
