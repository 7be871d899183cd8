"""`clean`: what is repaired, masked, dropped and compared.

Every rule has a switch (`is_on`) and its thresholds; the thresholds of published rules are in
params.yaml, beside the paper that they come from.
"""

from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from wordmill.params.language import Language
from wordmill.params.section import Section

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Shares3 = Annotated[list[Share], Field(min_length=3, max_length=3)]
Shares6 = Annotated[list[Share], Field(min_length=6, max_length=6)]
MaskedKind = Literal["email", "phone", "ip", "card", "iban", "china_id", "us_ssn"]


class RepairParams(Section):
    """Unicode and markup."""

    unicode_form: Literal["NFC", "NFKC"]
    """NFC keeps what is written; NFKC also folds full-width and compatibility forms."""
    is_mojibake_undone: bool
    """Repair text that was decoded with the wrong encoding."""
    is_html_converted: bool
    """Turn texts that are HTML into plain text."""
    is_space_tidied: bool
    """Take out blank space at line ends, blank lines after the first, and line ends around."""


class BoilerplateParams(Section):
    """Lines that belong to a site and not to a text: C4's line rules."""

    is_on: bool
    needs_line_end: bool
    """Drop lines that do not end in terminal punctuation."""
    min_line_words: Count
    """Drop shorter lines; two Han characters are a word."""
    phrases: list[str]
    """Drop lines that hold one of them."""


class LengthParams(Section):
    """How long texts may be, in characters."""

    min_document_chars: Count
    max_document_chars: Count
    min_source_chars: Count
    max_source_chars: Count
    min_target_chars: Count
    max_target_chars: Count

    @model_validator(mode="after")
    def _in_order(self) -> "LengthParams":
        for what in ("document", "source", "target"):
            least, most = (getattr(self, f"{end}_{what}_chars") for end in ("min", "max"))
            if least > most:
                raise ValueError(
                    f"min_{what}_chars {least} is above max_{what}_chars {most}; nothing would stay"
                )
        return self


class LanguageParams(Section):
    """Language identification; sources may say their language instead."""

    keep: list[Language]
    """ISO 639-1 codes of the documents to keep; empty keeps all."""
    min_confidence: Share
    """What the model is less sure of is `und`."""


class GopherQualityParams(Section):
    """Document quality by Gopher (https://arxiv.org/abs/2112.11446, table A1)."""

    is_on: bool
    min_words: Count
    max_words: Count
    min_mean_word_chars: Annotated[float, Field(ge=0)]
    max_mean_word_chars: Annotated[float, Field(ge=0)]
    max_hashes_a_word: Share
    max_ellipses_a_word: Share
    max_bullet_lines: Share
    max_ellipsis_lines: Share
    min_alphabetic_words: Share
    min_stop_words: Count

    @model_validator(mode="after")
    def _in_order(self) -> "GopherQualityParams":
        if self.min_words > self.max_words:
            raise ValueError(f"min_words {self.min_words} is above max_words {self.max_words}")
        if self.min_mean_word_chars > self.max_mean_word_chars:
            raise ValueError("min_mean_word_chars is above max_mean_word_chars")
        return self


class GopherRepetitionParams(Section):
    """Repetition by Gopher (https://arxiv.org/abs/2112.11446, table A1)."""

    is_on: bool
    max_duplicate_paragraphs: Share
    max_duplicate_paragraph_chars: Share
    max_duplicate_lines: Share
    max_duplicate_line_chars: Share
    max_top_ngram_chars: Shares3
    """Share of characters in the most frequent run of 2, 3 and 4 words."""
    max_duplicate_ngram_chars: Shares6
    """Share of characters in repeated runs of 5 to 10 words."""


class C4Params(Section):
    """Page rules of C4 (https://arxiv.org/abs/1910.10683, section 2.2)."""

    is_on: bool
    min_sentences: Count
    is_brace_dropped: bool
    """Drop documents that hold a curly bracket: mostly code."""


class FineWebParams(Section):
    """FineWeb's own rules (https://arxiv.org/abs/2406.17557, section 3.6)."""

    is_on: bool
    min_line_ends: Share
    """Least share of lines that end in terminal punctuation."""
    short_line_chars: Count
    max_short_lines: Share
    max_duplicate_line_chars: Share
    max_newlines_a_word: Annotated[float, Field(ge=0)]


class QualityParams(Section):
    """Rules that a document must pass, in this order."""

    min_letters: Share
    """Least share of letters of any script among characters that are not space."""
    gopher_repetition: GopherRepetitionParams
    gopher: GopherQualityParams
    c4: C4Params
    fineweb: FineWebParams


class NearDuplicateParams(Section):
    """MinHash with bands (https://doi.org/10.1109/SEQUEN.1997.666900), then exact Jaccard."""

    is_on: bool
    min_jaccard: Annotated[float, Field(gt=0, le=1)]
    """Texts whose shingles overlap so much are one text."""
    ngram_words: Annotated[int, Field(ge=1)]
    """A shingle is a run of so many words."""
    num_bands: Annotated[int, Field(ge=1, le=256)]
    rows_a_band: Annotated[int, Field(ge=1, le=64)]


class ContaminationParams(Section):
    """Training records that share a run of words with held-out ones; always looked for."""

    ngram_words: Annotated[int, Field(ge=5)]
    """13 as for GPT-3 (https://arxiv.org/abs/2005.14165, appendix C)."""


class ClassicalParams(Section):
    """What older systems did to their text; changes what the model learns to write."""

    is_lower_cased: bool
    is_punctuation_removed: bool
    are_stop_words_removed: bool
    segmentation: Literal["none", "words", "jieba"]
    """Words divided by single spaces; `jieba` (an extra) finds Chinese words."""


def _in_lists(name: str) -> str:
    if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
        raise ValueError(f"got '{name}'; must lie in clean.lists, which DVC watches for changes")
    return name


ListFile = Annotated[str, Field(min_length=1), AfterValidator(_in_lists)]


class AugmentParams(Section):
    """Changed copies of training pairs (EDA, https://arxiv.org/abs/1901.11196)."""

    copies: Count
    """Changed copies of each training pair; 0 is off."""
    change_fraction: Share
    """Share of a source's words that each operation changes."""
    operations: Annotated[list[Literal["synonym", "insert", "delete", "swap"]], Field(min_length=1)]
    """One is drawn for each copy."""
    synonyms: ListFile | None
    """File in `lists`: a line a group of words that stand for one another."""

    @model_validator(mode="after")
    def _has_synonyms(self) -> "AugmentParams":
        if self.copies and self.synonyms is None and {"synonym", "insert"} & set(self.operations):
            raise ValueError(
                "the operations synonym and insert need a file of synonyms; name it under synonyms,"
                " or choose delete and swap"
            )
        return self


class CleanParams(Section):
    """The `clean` section."""

    engine: Literal["local", "ray"]
    """`local`: all cores of this machine; `ray`: a Ray cluster (an extra)."""
    lists: str
    """The folder of list files; DVC watches all of it."""
    repair: RepairParams
    boilerplate: BoilerplateParams
    classical: ClassicalParams
    mask: list[MaskedKind]
    """Personal data that gives way to a placeholder such as <EMAIL>."""
    length: LengthParams
    blocklist: ListFile | None
    """File in `lists`: records that hold one of its entries are dropped."""
    language: LanguageParams
    quality: QualityParams
    near_duplicates: NearDuplicateParams
    contamination: ContaminationParams
    augment: AugmentParams
