"""How a run went, as a page tells it: its identity, its data, its curves, its cost, its judges."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from markupsafe import Markup

from wordmill.report.charts import Axis, Line, Whisker, bar, lines, whisker
from wordmill.report.record import Bias, Curve, GenerationCost, Memorization, StageCost
from wordmill.report.surroundings import Surroundings

_SPLITS = ("train", "validation", "test")
_LOSSES = {"loss": "training", "validation_loss": "validation"}
_JOULES_PER_WH = 3600.0


@dataclass(frozen=True, kw_only=True)
class Data:
    """What came in, what stayed and why the rest went."""

    read: int
    kept: int
    kinds: list[tuple[str, int, int, int | None, Markup]]
    """Kind, read, kept, training tokens, and a bar."""
    dropped: list[tuple[str, int, Markup]]
    languages: list[tuple[str, int, Markup]]
    masked: list[tuple[str, int]]
    tokens: list[tuple[str, str]]


class Chart(NamedTuple):
    """Curves of one stage over one axis."""

    title: str
    legend: list[tuple[str, str, str]]
    """Style, name, last value."""
    drawn: Markup


class Spent(NamedTuple):
    """A row of the cost table."""

    name: str
    seconds: str
    tokens: str
    speed: str
    device: str
    energy: str
    drawn: Markup


def moment(text: str) -> str:
    """An ISO time for people; what is none stays as it is."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return text
    if found.tzinfo is None:
        return f"{found:%Y-%m-%d %H:%M}"
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def flat(values: dict[str, Any], *, before: str = "") -> list[tuple[str, str]]:
    """Nested settings as dotted names and words."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += flat(value, before=f"{before}{name}.")
        elif value is not None and value not in ("", []):
            rows.append((f"{before}{name}", _plain(value)))
    return rows


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def data(around: Surroundings) -> Data | None:
    """The data report in short; None where there is none."""
    clean, tokens = around["clean"], around["tokens"]
    kinds = {kind: clean[kind] for kind in ("documents", "pairs") if kind in clean}
    sums = {kind: [_sum(found, what) for what in ("read", "kept")] for kind, found in kinds.items()}
    if not any(read for read, _ in sums.values()):
        return None
    read, kept = (sum(column) for column in zip(*sums.values(), strict=True))
    return Data(
        read=read,
        kept=kept,
        kinds=[
            (kind, r, k, _training_tokens(tokens, kind), bar(k / r, label=f"{k:,} of {r:,} kept"))
            for kind, (r, k) in sums.items()
            if r
        ],
        dropped=_barred(_reasons(kinds)),
        languages=_barred({n or "und": v["kept"] for n, v in clean.get("languages", {}).items()}),
        masked=sorted(clean.get("masked", {}).items(), key=lambda item: -item[1]),
        tokens=_token_facts(tokens),
    )


def _sum(kind: dict[str, Any], what: str) -> int:
    return sum(kind[split][what] for split in _SPLITS if split in kind)


def _reasons(kinds: dict[str, dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for kind in kinds.values():
        for split in _SPLITS:
            for reason, count in kind.get(split, {}).get("dropped", {}).items():
                counts[reason] = counts.get(reason, 0) + count
    return counts


def _barred(counts: dict[str, int]) -> list[tuple[str, int, Markup]]:
    """Names by count, the largest first, each with a bar as a share of the largest."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    most = max(counts.values(), default=1) or 1
    return [(name.replace("_", " "), n, bar(n / most, label=f"{n:,}")) for name, n in ordered]


def _training_tokens(tokens: dict[str, Any], kind: str) -> int | None:
    return tokens.get(kind, {}).get("train", {}).get("tokens")


def _token_facts(tokens: dict[str, Any]) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if "vocab_size" in tokens:
        facts.append(("vocabulary", f"{tokens['vocab_size']:,}"))
    train = tokens.get("documents", {}).get("train", {})
    if "bytes_per_token" in train:
        facts.append(("bytes a token", f"{train['bytes_per_token']:.2f}"))
    if "unknown_rate" in tokens:
        facts.append(("unknown tokens", f"{100 * tokens['unknown_rate']:.3g}%"))
    return facts


def curve_charts(curves: list[Curve]) -> list[Chart]:
    """Training and validation loss of a stage in one chart; any other curve in one of its own."""
    groups: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        name = "loss" if curve["name"] in _LOSSES else curve["name"].replace("_", " ")
        if curve["steps"] and curve["values"]:
            groups.setdefault((curve["stage"], name), []).append(curve)
    return [_chart(stage, name, found) for (stage, name), found in groups.items()]


def _chart(stage: str, name: str, curves: list[Curve]) -> Chart:
    drawn: list[Line] = []
    legend: list[tuple[str, str, str]] = []
    for curve in sorted(curves, key=lambda c: c["name"] != "loss"):
        title = _LOSSES.get(curve["name"], curve["name"].replace("_", " "))
        style = "quiet" if curve["name"] == "loss" else "loud"
        points = list(zip(curve["steps"], curve["values"], strict=False))
        drawn.append(Line(title, style, [(float(s), v) for s, v in points], len(points) <= 60))
        legend.append((style, title, _last(curve["values"])))
    label = f"{stage}: {name} over {max(s for c in curves for s in c['steps']):,} steps"
    return Chart(f"{stage} · {name}", legend, lines(drawn, label=label))


def _last(values: list[float]) -> str:
    finite = [value for value in values if math.isfinite(value)]
    return f"{finite[-1]:.4g}" if finite else "not a number"


def stage_costs(costs: list[StageCost]) -> list[Spent]:
    """What each stage took."""
    longest = max((cost["seconds"] for cost in costs), default=0.0) or 1.0
    return [
        Spent(
            cost["stage"],
            duration(cost["seconds"]),
            f"{cost['tokens']:,}" if cost["tokens"] else "",
            _speed(cost["tokens"], cost["seconds"]),
            cost["device"],
            _energy(cost["joules"]),
            bar(cost["seconds"] / longest, label=duration(cost["seconds"])),
        )
        for cost in costs
    ]


def generation_costs(costs: list[GenerationCost]) -> list[Spent]:
    """How fast each system answered, as a bar of its speed."""
    speeds = [c["tokens"] / c["seconds"] if c["seconds"] > 0 else 0.0 for c in costs]
    fastest = max(speeds, default=0.0) or 1.0
    return [
        Spent(
            cost["system"],
            duration(cost["seconds"]),
            f"{cost['tokens']:,}",
            _speed(cost["tokens"], cost["seconds"]),
            "",
            "",
            bar(speed / fastest, label=f"{speed:,.0f} tokens/s"),
        )
        for cost, speed in zip(costs, speeds, strict=True)
    ]


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def _speed(tokens: int, seconds: float) -> str:
    return f"{tokens / seconds:,.0f}" if tokens and seconds > 0 else ""


def _energy(joules: float | None) -> str:
    if joules is None:
        return ""
    return f"{joules / _JOULES_PER_WH:,.1f} Wh" if joules >= 360 else f"{joules:,.0f} J"


def bias_rows(found: list[Bias]) -> list[tuple[Bias, Markup, str]]:
    """Each probe with its lean drawn around zero, and what that says."""
    reach = max((max(abs(b["low"]), abs(b["high"])) for b in found), default=0.0) or 1.0
    on = Axis(-1.06 * reach, 1.06 * reach, False)
    rows: list[tuple[Bias, Markup, str]] = []
    for bias in found:
        lean = Whisker(bias["lean_bits"], bias["low"], bias["high"])
        label = f"lean {bias['lean_bits']:+.3f} bits, 95% {bias['low']:.3f} to {bias['high']:.3f}"
        drawn = whisker(lean, on, label=label, has_middle=True)
        rows.append((bias, drawn, _lean(bias)))
    return rows


def _lean(bias: Bias) -> str:
    if bias["low"] <= 0 <= bias["high"]:
        return "no clear lean"
    first, *rest = bias["terms"] or ["the first term", "the others"]
    side = first if bias["lean_bits"] > 0 else " / ".join(rest)
    return f"leans to “{side}”"


def personal_words(found: Memorization) -> str:
    """What came back of masked personal data."""
    if not found["num_personal"]:
        return "none came back"
    kinds = ", ".join(f"{kind} {count}" for kind, count in found["personal_kinds"].items())
    return f"{found['num_personal']:,} came back" + (f" ({kinds})" if kinds else "")


def vote_rows(votes: list[dict[str, Any]]) -> list[tuple[dict[str, Any], Markup]]:
    """Win rates with their intervals, drawn from 0 to 1."""
    on = Axis(0.0, 1.0, False)
    rows: list[tuple[dict[str, Any], Markup]] = []
    for vote in votes:
        drawn = Whisker(vote["rate"], vote["low"], vote["high"])
        label = f"win rate of {vote['a']} {100 * vote['rate']:.0f}%"
        rows.append((vote, whisker(drawn, on, label=label, has_middle=True)))
    return rows
