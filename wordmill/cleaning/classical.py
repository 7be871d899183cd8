"""What older systems did to text before they learnt from it, as options.

Each changes what a model learns to write: a Transformer with subwords needs none of it. They
stand here for comparison with the systems that did.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal

from wordmill.cleaning.stop_words import FUNCTION_WORDS
from wordmill.errors import ParamsError
from wordmill.params.clean import ClassicalParams

Segmentation = Literal["none", "words", "jieba"]

# A word as in `characters.py`: Han characters alone, letters and digits with their inner marks.
_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U00031fff"
_WORD = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+(?:['’._][^\W_{_HAN}]+)*|[^\w\s]|_")
_SPACES = re.compile(r"[^\S\n]+")


def preprocess(text: str, *, language: str, params: ClassicalParams) -> str:
    """Apply the options that are on: segmentation first, as the others need words."""
    if params.is_lower_cased:
        text = text.lower()
    if params.segmentation != "none" or params.are_stop_words_removed:
        segmentation = params.segmentation if params.segmentation != "none" else "words"
        lines = (words_of(line, language, segmentation) for line in text.split("\n"))
        left_out = FUNCTION_WORDS.get(language, frozenset())
        if not params.are_stop_words_removed:
            left_out = frozenset[str]()
        text = "\n".join(
            " ".join(word for word in line if word.lower() not in left_out) for line in lines
        )
    if params.is_punctuation_removed:
        text = "".join(" " if _is_punctuation(character) else character for character in text)
        text = _SPACES.sub(" ", text)
    return "\n".join(line.strip() for line in text.split("\n")).strip("\n")


def words_of(line: str, language: str, segmentation: Segmentation) -> list[str]:
    """The words of a line, punctuation marks as words of their own.

    Args:
        line: without line ends.
        language: ISO 639-1 code; jieba is for `zh` alone.
        segmentation: `words` takes Han characters one by one, `jieba` finds Chinese words.
    """
    if segmentation == "jieba" and language == "zh":
        return [word for word in _chinese_words(line) if not word.isspace()]
    return _WORD.findall(line)


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"


def _chinese_words(line: str) -> Iterator[str]:
    return _jieba().cut(line)


@lru_cache(maxsize=1)
def _jieba() -> Any:
    try:
        import jieba  # an extra: only this option needs it, and its dictionary takes 1 s
    except ModuleNotFoundError:
        raise ParamsError(
            "clean.classical.segmentation: jieba is not installed; run"
            " `pip install 'wordmill[chinese]'`, or choose 'words'"
        ) from None
    jieba.setLogLevel("WARNING")
    return jieba
