"""Which scores mean the same: the same examples, asked the same, and scored the same way."""

from dataclasses import dataclass
from typing import Any

from wordmill.comparing.result import Result
from wordmill.report.measures import measure

_FOLD = "ingest.fold"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Scores that may not be compared."""

    what: str
    """The kind, and the metric where it is one alone."""
    name: str
    """The result that is left out."""
    reason: str


def other_set(kind: str, base: Result, one: Result) -> str:
    """Why two results of a kind stand on different examples; empty where they do not."""
    mine, theirs = (r.record["identity"].get(kind) for r in (base, one))
    if mine != theirs and _is_other_fold(base, one):
        return (
            f"scored on another fold ({one.params[_FOLD]}) than {base.name} ({base.params[_FOLD]});"
            " folds meet in the mean over them"
        )
    if mine != theirs:
        return f"scored on other held-out examples ({theirs}) than {base.name} ({mine})"
    if (
        kind in base.answers
        and kind in one.answers
        and set(base.answers[kind]) != set(one.answers[kind])
    ):
        return f"the held-out records are those of {base.name}, but what is asked of them differs"
    return ""


def _is_other_fold(base: Result, one: Result) -> bool:
    """Whether two results are parts of one cross-validation."""
    mine, theirs = (r.params.get(_FOLD, "").partition(" of ") for r in (base, one))
    return mine[2] == theirs[2] != "" and mine[0] != theirs[0]


def comparable(
    kind: str, base: Result, one: Result, refusals: list[Refusal]
) -> dict[str, dict[str, Any]]:
    """The scores that are computed as those of the first result are.

    Args:
        kind: `documents` or a task, scored in both on the same examples.
        base: the first result.
        one: any result.
        refusals: takes what is left out.
    """
    found: dict[str, dict[str, Any]] = {}
    wanted = base.scores(kind)
    for metric, score in one.scores(kind).items():
        if metric not in wanted:
            continue
        mine, theirs = wanted[metric]["signature"], score["signature"]
        if mine == theirs and wanted[metric]["count"] == score["count"]:
            found[metric] = score
        else:
            reason = unlike(base.name, mine, theirs)
            refusals.append(
                Refusal(what=f"{kind} {measure(metric).name}", name=one.name, reason=reason)
            )
    return found


def unlike(base: str, mine: str, theirs: str) -> str:
    """Which parts of two signatures differ.

    Args:
        base: the name of the result whose signature is `mine`.
        mine: its signature.
        theirs: another one.
    """
    pairs = [
        (a, b) for a, b in zip(mine.split("|"), theirs.split("|"), strict=False) if a != b
    ] or [(mine, theirs)]
    told = ", ".join(f"{b} where {base} has {a}" for a, b in pairs)
    if all(a.startswith("tokenizer:") for a, _ in pairs):
        return f"counts another tokenizer's tokens ({told}); bits/byte compares any tokenizers"
    return f"computed otherwise: {told}"
