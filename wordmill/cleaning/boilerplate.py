"""Lines that stand on every page of a site and belong to none of its texts.

The line rules of C4 (https://arxiv.org/abs/1910.10683, section 2.2), each with its own switch.
"""

import re
from functools import lru_cache

from wordmill.params.clean import BoilerplateParams

# What a sentence may end with: C4's marks, then Chinese and Japanese ones.
_HAN = re.compile(r"[\u3400-\u9fff]")
LINE_ENDS = (".", "!", "?", '"', "'", "”", "’", "。", "！", "？", "」", "』", "…", "；")


def without_boilerplate(text: str, params: BoilerplateParams) -> str:
    """Take out the lines that the rules are against; blank lines stay."""
    kept = [line for line in text.split("\n") if not line.strip() or _is_text(line, params)]
    return "\n".join(kept).strip("\n")


def _is_text(line: str, params: BoilerplateParams) -> bool:
    if params.needs_line_end and not line.rstrip().endswith(LINE_ENDS):
        return False
    # Chinese writes no spaces: two characters are a word.
    if len(line.split()) + len(_HAN.findall(line)) // 2 < params.min_line_words:
        return False
    phrases = _phrases(tuple(params.phrases))
    return phrases is None or not phrases.search(line)


@lru_cache(maxsize=4)
def _phrases(phrases: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(re.escape, phrases)), re.IGNORECASE) if phrases else None
