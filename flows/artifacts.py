"""What a run leaves on its page in Prefect: what ran and why, the scores, where things are.

A page of Markdown, under one key for each model, so that Prefect shows the newest and keeps those
before it. A page that can't be left is a warning: the run stands without it.
"""

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.dvc_cache import Cache
from flows.report import with_champion
from wordmill.gate.verdict import gate_lines
from wordmill.report.markdown import score_table
from wordmill.report.measures import OURS, main_metrics, measure

if TYPE_CHECKING:
    from flows.pipeline import Outcome
    from flows.summary import Summary

_SCORES = Path("data/evaluate/scores.json")
_NOT_IN_KEYS = re.compile(r"[^a-z0-9]+")
_MARKUP = re.compile(r"([|`*_<\[\]])")

log = logging.getLogger("prefect.wordmill")


def leave(summary: "Summary") -> None:
    """Leave the page of a run, from inside of its flow."""
    _leave(summary.model, lambda: "\n\n".join(_page(summary)))


def leave_note(model: str, *, headline: str, rest: str) -> None:
    """Leave the page of a run that had nothing to do, from inside of its flow."""
    _leave(model, lambda: f"# {headline}\n\n```\n{rest}\n```\n")


def _leave(model: str, page: Callable[[], str]) -> None:
    from prefect.artifacts import create_markdown_artifact

    try:
        key = _NOT_IN_KEYS.sub("-", f"retrain-{model}".lower()).strip("-")
        create_markdown_artifact(page(), key=key, description=f"The last retraining of {model}")
    except Exception as error:  # noqa: BLE001  a run does not fail for want of its page
        log.warning("no page of this run in Prefect: %s: %s", type(error).__name__, error)


def _page(summary: "Summary") -> Iterator[str]:
    yield f"# {_plain(summary.headline)}"
    yield from summary.repaired
    if summary.outcomes:
        rows = [["stage", "what became of it", "why", "took", "MLflow run"]]
        rows += [_row(outcome, summary.makers) for outcome in summary.outcomes]
        yield f"## What ran, in {summary.seconds:.0f} s\n\n{_table(rows)}"
    if summary.standing and summary.failed is None and summary.stopped is None:
        record: dict[str, Any] = json.loads(_SCORES.read_text(encoding="utf-8"))
        yield from _against_champion(summary, record)
        if verdict := with_champion()[1]:
            yield f"## Gate\n\n```\n{gate_lines(verdict)}\n```"
        yield from _scores(record)
    yield f"## Where it is\n\n{_places(summary)}"


def _row(outcome: "Outcome", makers: "dict[str, str | None]") -> list[str]:
    why = _plain("; ".join(outcome.why)) or "nothing changed"
    run = outcome.run_id or makers.get(outcome.stage)
    became = f"{outcome.verdict}: {_plain(outcome.message)}"
    return [outcome.stage, became, why, f"{outcome.seconds:.0f} s", _run(run) if run else ""]


def _against_champion(summary: "Summary", record: dict[str, Any]) -> Iterator[str]:
    """Main scores beside the champion's; of another set or other settings they are no contest."""
    assert summary.standing is not None
    mine, champion = summary.standing.version, summary.standing.champion
    if summary.is_promoted:  # it beat the one before, if there was one
        verdict = with_champion()[1]
        champion = verdict["champion"] if verdict else None
    if champion is None or champion == mine:
        return
    what = "the champion before" if summary.is_promoted else "champion"
    yield "## Against the champion"
    theirs = _scores_of(summary.model, champion)
    if theirs is None:
        yield f"The scores of version {champion} are no longer in DVC's cache."
        return
    rows = [["", "metric", f"version {mine}", f"{what}, version {champion}", "held-out set"]]
    yield _table([*rows, *_compared(record, theirs)])


def _compared(mine: dict[str, Any], theirs: dict[str, Any]) -> Iterator[list[str]]:
    for kind, metric in mine["primary"].items():
        found = [value_of(record, kind, metric) for record in (mine, theirs)]
        is_same = mine["identity"].get(kind) == theirs["identity"].get(kind)
        is_alike = all(
            mine["identity"].get(name) == theirs["identity"].get(name)
            for name in ("decoding", "context_tokens", "stride_tokens")
        )
        told = "the same" if is_same and is_alike else "another" if is_alike else "other settings"
        how = measure(metric)
        shown = ["–" if value is None else how.words(value) for value in found]
        yield [kind, how.title, *shown, told]


def _scores(record: dict[str, Any]) -> Iterator[str]:
    yield "## Scores, with 95% intervals"
    for kind, scores in {"documents": record["documents"], **record["pairs"]}.items():
        columns = main_metrics(kind, scores, primary=record["primary"].get(kind))
        yield f"{_plain(kind)}:"
        yield score_table(scores, with_intervals=True, metrics=columns)


def value_of(record: dict[str, Any], kind: str, metric: str) -> float | None:
    """The finetuned model's score, None where it has none."""
    systems = record["documents"] if kind == "documents" else record["pairs"].get(kind, {})
    return systems.get(OURS, {}).get(metric, {}).get("value")


def _scores_of(model: str, version: str) -> dict[str, Any] | None:
    """What a version's evaluation wrote, from DVC's cache; None where it is not there."""
    from mlflow import MlflowClient

    made = MlflowClient().get_model_version(model, version).tags.get("dvc.evaluate")
    return Cache().json_in(made, _SCORES.name) if made else None


def _places(summary: "Summary") -> str:
    lines = [f"- report: `{Path.cwd() / _SCORES.with_name('report.html')}`"]
    if run := summary.pipeline_run or (summary.standing and summary.standing.run_id):
        lines.append(f"- MLflow run: {_run(run)}")
    if made := summary.standing:
        champion = f"; champion is version {made.champion}" if made.champion else ""
        lines.append(f"- version: `models:/{summary.model}/{made.version}` {made.alias}{champion}")
    return "\n".join(lines)


def _run(run_id: str) -> str:
    """A run, as a link where MLflow has pages."""
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not address.startswith("http"):
        return f"`{run_id}`"
    from mlflow import MlflowClient

    experiment = MlflowClient().get_run(run_id).info.experiment_id
    return f"[{run_id}]({address.rstrip('/')}/#/experiments/{experiment}/runs/{run_id})"


def _table(rows: list[list[str]]) -> str:
    head, *body = rows
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Text of data and errors, with nothing of it markup."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
