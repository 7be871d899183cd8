"""The data on one page that a person can read: what came in, what stayed, and why not the rest.

One HTML file without scripts or anything to fetch; bars are plain boxes. Everything shown comes
from the JSON that the stages wrote, and all text is escaped.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2

from wordmill.report.templates import environment

_TEMPLATE = "data_page.html"

Report = dict[str, Any]


def data_page(clean: Report, samples: dict[str, list[str]], tokens: Report, words: Report) -> str:
    """The page as HTML.

    Args:
        clean: counts of cleaning, data/clean/report.json.
        samples: excerpts by reason and by step, data/clean/samples.json.
        tokens: counts of tokenization, data/tokenize/report.json.
        words: lists of the tokenizer, data/tokenize/vocabulary.json.
    """
    kinds = {kind: clean[kind] for kind in ("documents", "pairs")}
    return _template().render(
        kinds=kinds,
        clean=clean,
        tokens=tokens,
        words=words,
        samples=samples,
        dropped=_dropped(kinds),
        read=sum(_total(kind, "read") for kind in kinds.values()),
        kept=sum(_total(kind, "kept") for kind in kinds.values()),
        splits=("train", "validation", "test"),
    )


def _total(kind: Report, what: str) -> int:
    return sum(kind[split][what] for split in ("train", "validation", "test"))


def _dropped(kinds: dict[str, Report]) -> list[tuple[str, int]]:
    """Reasons of all kinds and splits, the most frequent first."""
    counts: dict[str, int] = {}
    for kind in kinds.values():
        for split in ("train", "validation", "test"):
            for reason, count in kind[split]["dropped"].items():
                counts[reason] = counts.get(reason, 0) + count
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    return environment(Path(__file__).parent, share=_percent).get_template(_TEMPLATE)


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0
