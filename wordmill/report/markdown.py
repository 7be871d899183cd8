"""The scores as Markdown tables: for report.md, the terminal and the model card."""

from typing import Any

Scores = dict[str, dict[str, dict[str, Any]]]
"""system -> metric -> score"""

_MAX_EXAMPLE_CHARS = 240
_LOWER_IS_BETTER = {"perplexity", "bits_per_byte"}
_TITLES = {
    "perplexity": "perplexity ↓",
    "bits_per_byte": "bits/byte ↓",
    "bleu": "BLEU ↑",
    "chrf": "chrF ↑",
    "rouge1": "ROUGE-1 ↑",
    "rouge2": "ROUGE-2 ↑",
    "rougeL": "ROUGE-L ↑",
}


def score_table(scores: Scores, *, with_intervals: bool) -> str:
    """Systems down, metrics across; the best of each column is bold."""
    metrics = list(next(iter(scores.values())))
    best = {metric: _best(scores, metric) for metric in metrics}
    rows = [["system", *(_TITLES.get(metric, metric) for metric in metrics)]]
    for system, found in scores.items():
        cells = [_cell(found[m], is_best=best[m] == system, ends=with_intervals) for m in metrics]
        rows.append([system, *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(metrics) + 1)]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def report(record: dict[str, Any]) -> str:
    """The evaluation as one Markdown page.

    Args:
        record: what the evaluate stage writes as scores.json.
    """
    documents, pairs = record["documents"], record["pairs"]
    parts = [
        "# Evaluation",
        f"## Held-out documents ({record['num_documents']})",
        "How well each system predicts text it has not seen. All score the same tokens.",
        score_table(documents, with_intervals=True),
        f"## Held-out pairs ({record['num_pairs']})",
        "How much of the wanted text stands in what each system wrote.",
        score_table(pairs, with_intervals=True),
        "Values are followed by 95% bootstrap intervals; bold is the best of a column,"
        " traditional baselines included.",
        "## Examples",
        *(_example(example) for example in record["examples"]),
        "## Signatures",
        "\n".join(f"- `{signature}`" for signature in _signatures(documents, pairs)),
    ]
    return "\n\n".join(parts) + "\n"


def _best(scores: Scores, metric: str) -> str:
    choose = min if metric in _LOWER_IS_BETTER else max
    return choose(scores, key=lambda system: scores[system][metric]["value"])


def _cell(score: dict[str, Any], *, is_best: bool, ends: bool) -> str:
    value = f"{score['value']:.2f}"
    value = f"**{value}**" if is_best else value
    return f"{value} ({score['low']:.2f} to {score['high']:.2f})" if ends else value


def _example(example: dict[str, Any]) -> str:
    lines = [f"> {_one_line(example['source'])}", "", f"- wanted: {_one_line(example['target'])}"]
    lines += [f"- {system}: {_one_line(p)}" for system, p in example["predictions"].items()]
    return "\n".join(lines)


def _one_line(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _MAX_EXAMPLE_CHARS else flat[:_MAX_EXAMPLE_CHARS] + "…"


def _signatures(*groups: Scores) -> list[str]:
    found = (
        s["signature"] for group in groups for system in group.values() for s in system.values()
    )
    return list(dict.fromkeys(found))
