"""`clean`: what text must be like to be kept."""

from typing import Annotated, Literal

from pydantic import Field

from wordmill.params.section import Section

Chars = Annotated[int, Field(ge=0)]


class CleanParams(Section):
    """The `clean` section."""

    unicode_form: Literal["NFC", "NFKC"]
    """NFC keeps what is written; NFKC also folds full-width and compatibility forms."""
    min_document_chars: Chars
    max_document_chars: Chars
    min_letter_fraction: Annotated[float, Field(ge=0, le=1)]
    """Least share of letters (in any script) among a document's characters, spaces left out."""
    min_source_chars: Chars
    max_source_chars: Chars
    min_target_chars: Chars
    max_target_chars: Chars
