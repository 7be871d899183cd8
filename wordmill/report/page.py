"""The report of an evaluation: one HTML file that needs no network and no other file.

Every text in it came from data or from a model, so the template escapes all of them, data for the
script is JSON that can't end its element, and a content security policy allows the page's own
script alone. What a run does not have is left out.
"""

import base64
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from wordmill.report import reading, run_story
from wordmill.report.dag_chart import dag_chart
from wordmill.report.measures import MEASURES, SYSTEMS
from wordmill.report.record import Record
from wordmill.report.scoreboard import boards
from wordmill.report.surroundings import Surroundings
from wordmill.report.templates import environment
from wordmill.report.verdict import p_words, verdicts

if TYPE_CHECKING:
    from wordmill.gate.verdict import Verdict

_FOLDER = Path(__file__).parent


def page(record: Record, surroundings: Surroundings, *, gate: "Verdict | None" = None) -> str:
    """The report as HTML.

    Args:
        record: what was scored, scores.json.
        surroundings: where it comes from, what it cost, and how people voted.
        gate: what the gate said of the registered version, where it was asked.
    """
    script = _file("page.js")
    return _template().render(
        title=surroundings["title"] or "Evaluation",
        made_at=run_story.moment(surroundings["made_at"]),
        style=_file("page.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        verdicts=verdicts(record),
        gate=gate,
        facts=_facts(record, surroundings),
        **_scores(record),
        **_run(surroundings),
        identity=run_story.flat(dict(surroundings["identity"])),
        compared=run_story.flat(record["identity"]),
        systems=SYSTEMS,
        measures=MEASURES,
    )


def _scores(record: Record) -> dict[str, Any]:
    scored = boards(record)
    systems = [(row.name, row.says) for board in scored for row in board.table.rows]
    return {
        "boards": scored,
        "named_systems": list(dict.fromkeys(systems)),
        "samples": reading.samples(record),
        "heat_maps": reading.heat_maps(record["surprises"]),
        "gazes": reading.gazes(record["attentions"]),
        "bias": run_story.bias_rows(record["bias"]),
        "memorization": [(m, run_story.personal_words(m)) for m in record["memorization"]],
        "signatures": _signatures(record),
    }


def _run(around: Surroundings) -> dict[str, Any]:
    return {
        "dag": dag_chart(around["stages"]),
        "data": run_story.data(around),
        "curves": run_story.curve_charts(around["curves"]),
        "training": run_story.stage_costs(around["training"]),
        "generation": run_story.generation_costs(around["generation"]),
        "votes": run_story.vote_rows(around["votes"]),
        "params": {
            name: run_story.flat(section if isinstance(section, dict) else {name: section})
            for name, section in around["params"].items()
        },
    }


def _facts(record: Record, around: Surroundings) -> list[tuple[str, str]]:
    """A handful of figures to begin with."""
    facts = [("held-out documents", f"{record['num_documents']:,}")] if record["documents"] else []
    facts += [
        ("drafts" if task == "write" else f"{task} pairs", f"{count:,}")
        for task, count in record["num_pairs"].items()
    ]
    trained = around["tokens"].get("documents", {}).get("train", {}).get("tokens")
    if trained:
        facts.append(("training tokens", f"{trained:,}"))
    if seconds := sum(cost["seconds"] for cost in around["training"]):
        facts.append(("training time", run_story.duration(seconds)))
    return facts


def _signatures(record: Record) -> list[tuple[str, str]]:
    """Metric and signature, each once."""
    groups = [record["documents"], *record["pairs"].values()]
    found = [
        (metric, score["signature"])
        for group in groups
        for system in group.values()
        for metric, score in system.items()
    ]
    return list(dict.fromkeys(found))


@lru_cache(maxsize=4)
def _file(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    filters = {"minus": lambda words: words.replace("-", "−"), "p_words": p_words}
    return environment(_FOLDER, **filters).get_template("page.html")
