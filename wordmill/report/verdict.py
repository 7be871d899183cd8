"""Who is best, by how much, and whether that may be chance: the sentences at the top of a report.

They name the winner whoever it is, the plainest baseline too, and claim no lead that a paired test
on the same examples does not support.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from wordmill.report.measures import BASELINES, OURS, measure, values_of
from wordmill.report.record import Difference, Record, Scored

ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one kind of held-out text says."""

    kind: str
    """`documents` or a task."""
    metric: str
    count: int
    winner: str
    """Empty where the first two can't be told apart."""
    headline: str
    detail: str
    """How sure that is, and where this run's model stands."""

    @property
    def is_ours(self) -> bool:
        """Whether this run's finetuned model has won."""
        return self.winner == OURS


def verdicts(record: Record) -> list[Verdict]:
    """A verdict on documents and on each task that has a primary metric and two systems."""
    kinds: list[tuple[str, int, Scored]] = [
        ("documents", record["num_documents"], record["documents"])
    ]
    kinds += [(task, record["num_pairs"].get(task, 0), s) for task, s in record["pairs"].items()]
    found = (_verdict(record, kind, count, scores) for kind, count, scores in kinds)
    return [verdict for verdict in found if verdict is not None]


def _verdict(record: Record, kind: str, count: int, scores: Scored) -> Verdict | None:
    metric = record["primary"].get(kind, "")
    how = measure(metric)
    ranked = [system for system, _ in _ranked(scores, metric)]
    if len(ranked) < 2 or how.better == "neither":
        return None
    first, second = ranked[0], ranked[1]
    value = {system: how.words(value) for system, value in values_of(scores, metric)}
    test = between(record["differences"], kind, metric, first, second)
    name = how.name[0].upper() + how.name[1:]
    lead = f"{name} {value[first]} against {value[second]} of {_the(second)}"
    is_level = scores[first][metric]["value"] == scores[second][metric]["value"]
    if is_level or (test is not None and test["p_randomization"] >= ALPHA):
        winner, headline = "", f"No clear winner: {_the(first)} and {_the(second)} are level"
        lead = f"{name} {value[first]} and {value[second]}"
    else:
        winner, headline = first, f"{_the(first, starts=True)} is best"
    detail = [f"{lead}{_sureness(test, metric)}."]
    if OURS in ranked[2:] or (second == OURS and winner):
        detail.append(_where_ours_is(record, kind, metric, ranked, value))
    return Verdict(
        kind=kind,
        metric=metric,
        count=count,
        winner=winner,
        headline=headline,
        detail=" ".join(detail),
    )


def between(
    differences: Iterable[Difference], kind: str, metric: str, a: str, b: str
) -> Difference | None:
    """The test of a against b, turned round if it was made of b against a."""
    for found in differences:
        if (found["kind"], found["metric"]) != (kind, metric):
            continue
        if (found["a"], found["b"]) == (a, b):
            return found
        if (found["a"], found["b"]) == (b, a):
            return _turned(found)
    return None


def _turned(found: Difference) -> Difference:
    around = found.copy()
    around["a"], around["b"] = found["b"], found["a"]
    around["value"] = -found["value"]
    around["low"], around["high"] = -found["high"], -found["low"]
    return around


def outcome(found: Difference) -> str:
    """What a difference says: the better system's name, or that there is no telling."""
    if found["p_randomization"] >= ALPHA or found["value"] == 0:
        return "no telling"
    better = measure(found["metric"]).better
    if better not in ("lower", "higher"):
        return "they differ"
    is_a = (found["value"] < 0) == (better == "lower")
    return f"{found['a'] if is_a else found['b']} is better"


def p_words(p: float) -> str:
    """A p-value as it is worth reading."""
    if p < 0.001:
        return "< 0.001"
    return "1" if p >= 0.9995 else f"{p:.3f}"


def _ranked(scores: Scored, metric: str) -> list[tuple[str, float]]:
    found = [(s, measure(metric).distance(v)) for s, v in values_of(scores, metric)]
    return sorted(found, key=lambda pair: pair[1])


def _sureness(test: Difference | None, metric: str) -> str:
    if test is None:
        return "; this difference was not tested"
    how = measure(metric)
    low, high = how.words(test["low"]), how.words(test["high"])
    p = p_words(test["p_randomization"])
    told = p if p.startswith("<") else f"= {p}"
    return f" (difference {_signed(how.words(test['value']))}, 95% {low} to {high}; p {told})"


def _signed(words: str) -> str:
    return words if words.startswith("−") else f"+{words}"


def _where_ours_is(
    record: Record, kind: str, metric: str, ranked: list[str], value: dict[str, str]
) -> str:
    place = ranked.index(OURS) + 1
    told = f"The {OURS} model is {_ordinal(place)} of {len(ranked)} with {value[OURS]}"
    after = ranked[place:]
    below = [
        system for system in after if system in BASELINES and _beats(record, kind, metric, system)
    ]
    return f"{told}, surely ahead of {_listed(below)}." if below else f"{told}."


def _beats(record: Record, kind: str, metric: str, system: str) -> bool:
    test = between(record["differences"], kind, metric, OURS, system)
    return test is not None and outcome(test) == f"{OURS} is better"


def _the(system: str, *, starts: bool = False) -> str:
    """A system's name as a sentence says it."""
    named = {
        "n-gram": "the n-gram model",
        "lead": "the lead sentence",
        "unigram": "the unigram model",
    }
    named |= {"lstm": "the LSTM", "champion": "the champion"}
    named |= {name: f"the {name} model" for name in ("pretrained", "finetuned")}
    words = named.get(system, system)
    return words[0].upper() + words[1:] if starts else words


def _listed(names: list[str]) -> str:
    told = [_the(name) for name in names]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


def _ordinal(place: int) -> str:
    return {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth"}.get(place, f"{place}th")
