"""The scores as Markdown: report.md for people, tables for the terminal, a model card's part.

What comes from data and models stands in code spans, where nothing of it is markup.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from wordmill.report.measures import best_of, is_scored, main_metrics, measure, metrics_of
from wordmill.report.record import Bias, Difference, Example, Memorization, Record, Scored, Slice
from wordmill.report.run_story import flat, personal_words
from wordmill.report.verdict import outcome, p_words, verdicts

_MAX_EXAMPLE_CHARS = 240
_NUM_EXAMPLES = 12
_MISSING = "–"
_MARKUP = re.compile(r"[|`\[\\]|<(?=[A-Za-z/!?])")


def score_table(
    scores: Scored, *, with_intervals: bool, metrics: Sequence[str] | None = None
) -> str:
    """Systems down, metrics across; the best of each column is bold.

    Args:
        scores: system -> metric -> score.
        with_intervals: whether 95% intervals stand behind the values.
        metrics: the columns; None takes every metric that a system has.
    """
    columns = metrics_of(scores) if metrics is None else list(metrics)
    best = {metric: best_of(scores, metric) for metric in columns}
    rows = [["system", *(measure(metric).title for metric in columns)]]
    for system in scores:
        cells = [_cell(scores, system, m, best[m], with_intervals) for m in columns]
        rows.append([_safe(system), *cells])
    return table(rows)


def report(record: Record) -> str:
    """The evaluation as one Markdown page.

    Args:
        record: what the evaluate stage writes as scores.json.
    """
    parts = ["# Evaluation", _verdict_lines(record)]
    if record["documents"]:
        parts += [
            f"## Held-out documents ({record['num_documents']:,})",
            "How well each system predicts text it has not seen. All score the same text.",
            *_kind(record, "documents", record["documents"]),
        ]
    for task, scores in record["pairs"].items():
        count = record["num_pairs"].get(task, 0)
        title = "Drafts" if task == "write" else f"Held-out pairs: {_safe(task)}"
        parts += [f"## {title} ({count:,})", *_kind(record, task, scores)]
    parts.append(
        "Values are followed by 95% bootstrap intervals; bold is the best of a column,"
        " traditional baselines included."
    )
    parts += _probes(record)
    if record["examples"]:
        parts += ["## Examples", *map(_example, record["examples"][:_NUM_EXAMPLES])]
    if signatures := _signatures(record):
        parts += ["## Signatures", "\n".join(f"- {code_span(s)}" for s in signatures)]
    return _joined(parts)


def card(record: Record) -> str:
    """The evaluation in short, as a part of a model card: headings begin at the third level."""
    parts = ["### Evaluation", _verdict_lines(record)]
    kinds = [("documents", record["num_documents"], record["documents"])]
    kinds += [(t, record["num_pairs"].get(t, 0), scores) for t, scores in record["pairs"].items()]
    for kind, count, scores in kinds:
        if scores:
            columns = main_metrics(kind, scores, primary=record["primary"].get(kind))
            table = score_table(scores, with_intervals=True, metrics=columns)
            parts += [f"{count:,} held-out {_named(kind)}:", table]
    if probes := [*map(_memorization, record["memorization"]), *map(_bias, record["bias"])]:
        parts += ["### Probes", "\n".join(f"- {line}" for line in probes)]
    if identity := flat(record["identity"]):
        told = "; ".join(f"{name} {code_span(value)}" for name, value in identity)
        parts.append(f"Comparable only with scores of the same sets and settings: {told}.")
    return _joined(parts)


def terminal(record: Record) -> str:
    """A few main metrics of each kind, without intervals, for a terminal."""
    parts: list[str] = []
    kinds = [("documents", record["num_documents"], record["documents"])]
    kinds += [(t, record["num_pairs"].get(t, 0), scores) for t, scores in record["pairs"].items()]
    for kind, count, scores in kinds:
        if scores:
            columns = main_metrics(kind, scores, primary=record["primary"].get(kind))
            table = score_table(scores, with_intervals=False, metrics=columns)
            parts.append(f"{count:,} held-out {_named(kind)}\n{table}")
    return "\n\n".join(parts)


def _named(kind: str) -> str:
    if kind == "write":
        return "documents, from their beginnings on"
    return kind if kind == "documents" else f"pairs to {_safe(kind)}"


def _verdict_lines(record: Record) -> str:
    return "\n".join(
        f"- **{_safe(v.kind)}: {_safe(v.headline)}.** {_safe(v.detail)}" for v in verdicts(record)
    )


def _kind(record: Record, kind: str, scores: Scored) -> list[str]:
    """The table of a kind, its tested differences and its parts."""
    primary = record["primary"].get(kind)
    parts = [score_table(scores, with_intervals=True)]
    if tested := [d for d in record["differences"] if (d["kind"], d["metric"]) == (kind, primary)]:
        parts += [f"Differences in {measure(tested[0]['metric']).name}:", _differences(tested)]
    slices = [part for part in record["slices"] if part["kind"] == kind]
    for by in dict.fromkeys(part["by"] for part in slices):
        chosen = [part for part in slices if part["by"] == by]
        metric = primary or metrics_of(scores)[0]
        parts += [f"{measure(metric).title} by {_safe(by)}:", _slices(chosen, by, metric)]
    return parts


def _differences(tested: list[Difference]) -> str:
    rows = [["compared", "difference", "p", "p, bootstrap", "so"]]
    for found in tested:
        how = measure(found["metric"])
        ends = f"{how.words(found['low'])} to {how.words(found['high'])}"
        rows.append(
            [
                f"{_safe(found['a'])} − {_safe(found['b'])}",
                f"{how.words(found['value'])} ({ends})",
                _safe(p_words(found["p_randomization"])),
                _safe(p_words(found["p_bootstrap"])),
                _safe(outcome(found)),
            ]
        )
    return table(rows)


def _slices(parts: list[Slice], by: str, metric: str) -> str:
    systems = list(dict.fromkeys(system for part in parts for system in part["scores"]))
    rows = [[_safe(by), "count", *map(_safe, systems)]]
    for part in parts:
        scores = part["scores"]
        best = best_of(scores, metric)
        cells = [_cell(scores, system, metric, best, False) for system in systems]
        rows.append([_safe(part["name"] or "unknown"), f"{part['count']:,}", *cells])
    return table(rows)


def _probes(record: Record) -> list[str]:
    lines = [*map(_memorization, record["memorization"]), *map(_bias, record["bias"])]
    return ["## Probes", "\n".join(f"- {line}" for line in lines)] if lines else []


def _memorization(found: Memorization) -> str:
    verdict = "FAILED" if found["num_personal"] else "passed"
    came_back = (
        f"{100 * found['exact_share']:.1f}% of {found['count']:,} training texts came back whole"
        f" ({found['mean_match_tokens']:.2f} of {found['continuation_tokens']} tokens on average)"
    )
    if found["count"] == 0:
        came_back = "not measured, no training text is long enough"
    return (
        f"memorization, {_safe(found['system'])}: {came_back};"
        f" personal data {verdict}: {_safe(personal_words(found))}"
    )


def _bias(found: Bias) -> str:
    terms = " / ".join(map(_safe, found["terms"]))
    ends = f"{found['low']:+.3f} to {found['high']:+.3f}"
    return (
        f"bias, {_safe(found['system'])}, {_safe(found['group'])} ({_safe(found['language'])}),"
        f" {terms}: lean {found['lean_bits']:+.3f} bits ({ends}), gap {found['gap_bits']:.3f} bits,"
        f" {100 * found['generation_gap']:.0f}% of {found['count']:,} continuations differ"
    )


def _cell(scores: Scored, system: str, metric: str, best: Sequence[str], ends: bool) -> str:
    if not is_scored(scores.get(system, {}), metric):
        return _MISSING
    how, score = measure(metric), scores[system][metric]
    value = how.words(score["value"])
    value = f"**{value}**" if system in best else value
    return f"{value} ({how.words(score['low'])} to {how.words(score['high'])})" if ends else value


def table(rows: list[list[str]]) -> str:
    """A table of rows, the first of them its headings."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _example(example: Example) -> str:
    lines = [f"> {code_span(example['source'])}", ""]
    if example["ask"]:
        lines.append(f"- asked: {code_span(example['ask'])}")
    lines.append(f"- wanted: {code_span(example['target'])}")
    lines += [f"- {_safe(system)}: {code_span(p)}" for system, p in example["predictions"].items()]
    return "\n".join(lines)


def code_span(text: str) -> str:
    """A text on one line as a code span, in a fence longer than any run of backticks in it."""
    flat_text = " ".join(text.split())
    if not flat_text:
        return "(nothing)"
    if len(flat_text) > _MAX_EXAMPLE_CHARS:
        flat_text = flat_text[:_MAX_EXAMPLE_CHARS] + "…"
    longest = max(map(len, "".join(c if c == "`" else " " for c in flat_text).split()), default=0)
    fence = "`" * (longest + 1)
    pad = " " if flat_text[0] == "`" or flat_text[-1] == "`" else ""
    return f"{fence}{pad}{flat_text}{pad}{fence}"


def _safe(words: str) -> str:
    """A name in a sentence or a cell: no markup, no end of the cell."""
    return " ".join(_MARKUP.sub(r"\\\g<0>", words).split())


def _signatures(record: Record) -> list[str]:
    groups: Iterable[Scored] = [record["documents"], *record["pairs"].values()]
    found: list[Any] = [
        score["signature"]
        for group in groups
        for system in group.values()
        for score in system.values()
    ]
    return list(dict.fromkeys(found))


def _joined(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
