"""Score a registered version beside the champion, and say whether it may take its place.

No stage of the DAG: which version is champion is no file that DVC could watch. The flow says in
.wordmill/gate.json what is asked; the result is data/gate, which nothing else is made from.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, TypedDict

from stages.evaluation_files import ByTask, write_predictions
from stages.held_out import Sets, held_out, training_texts
from stages.stage import Stage, run
from wordmill.data.records import Pair, read_records
from wordmill.errors import DataError, ParamsError
from wordmill.evaluation.answering import labels_of
from wordmill.evaluation.comparison import FINAL, set_hash
from wordmill.files import write_json
from wordmill.gate.contest import Contender, Contest, Outcome
from wordmill.gate.evidence import CHAMPION, Evidence
from wordmill.gate.record import beside_champion
from wordmill.gate.rules import decision, findings, guarded_scores, primary_score
from wordmill.gate.verdict import Verdict
from wordmill.metrics.pairs import PRIMARY
from wordmill.metrics.significance import Difference
from wordmill.models.folder import load_model, load_tokenizer
from wordmill.params.evaluate import EvaluateParams
from wordmill.params.gate import GateParams
from wordmill.params.registry import RegistryParams
from wordmill.report.page import page
from wordmill.report.record import Record

ASKED = Path(".wordmill/gate.json")


class Version(TypedDict):
    """A registered version that is to be scored."""

    version: str
    folder: str
    """Of its model; empty of a champion that can't be had."""
    max_source_tokens: int


class Asked(TypedDict):
    """What the flow asks for."""

    challenger: Version
    champion: Version | None
    champion_error: str
    """Why the champion can't be had, if it can't."""
    evaluation: str
    """The folder that the evaluate stage wrote of the challenger."""
    seed_deviations: dict[str, float]
    """`KIND/METRIC` -> what another seed changes, where it was measured."""


def main(stage: Stage) -> str:
    """Write data/gate: the verdict, and the report with the champion in it."""
    asked: Asked = _json(ASKED)
    rules = stage.section("registry", RegistryParams).gate
    record: Record = _json(Path(asked["evaluation"]) / "scores.json")
    challenger = _contender(asked["challenger"], stage)
    params = stage.section("evaluate", EvaluateParams)
    sets = held_out(stage, params, challenger.tokenizer)
    primary = {kind: PRIMARY[kind] for kind in ("documents", *sets.tasks)}
    decides = primary_score(primary, rules)
    wanted = [decides, *guarded_scores(primary, rules)]
    outcome, differences, error = _scored(stage, asked, challenger, sets, params, wanted)
    scored: dict[str, Any] = {task: part.scores for task, part in outcome.tasks.items()}
    evidence = Evidence(
        scores={"documents": outcome.documents.scores, **scored},
        primary=primary,
        differences=differences,
        speeds=_speeds(outcome),
        num_bytes=_size(Path(asked["challenger"]["folder"])),
        bias=[one for one in record["bias"] if one["system"] == FINAL],
        memorization=[one for one in record["memorization"] if one["system"] == FINAL],
        seed_deviation=asked["seed_deviations"].get(decides),
        changed=_changed(record, sets, params),
        champion_error=error,
    )
    verdict = _verdict(asked, evidence, rules, sets)
    _write(stage, Path(asked["evaluation"]), record, sets, outcome, verdict)
    return told(verdict)


def told(verdict: Verdict) -> str:
    """The decision in a line, with what it hangs on."""
    findings = verdict["findings"]
    why = [one for one in findings if one["decision"] == verdict["decision"]]
    if verdict["decision"] == "PROMOTE":
        why = [one for one in why if one["rule"] == "primary"]
    reasons = "; ".join(f"{one['about']} {one['said']}" for one in why)
    return f"{verdict['decision']}: {reasons or 'there is no champion to beat'}"


def _scored(
    stage: Stage,
    asked: Asked,
    challenger: Contender,
    sets: Sets,
    params: EvaluateParams,
    wanted: list[str],
) -> tuple[Outcome, dict[str, Difference], str]:
    """The outcome, the wanted differences, and why the champion is not in them if it isn't."""
    contenders, error = {FINAL: challenger}, asked["champion_error"]
    labels = labels_of(read_records(stage.input("clean"), Pair, "train"))
    if asked["champion"] and not error:
        try:
            contenders = {CHAMPION: _contender(asked["champion"], stage), **contenders}
        except DataError as failed:
            error = str(failed)

    def held(contenders: dict[str, Contender]) -> tuple[Outcome, dict[str, Difference]]:
        contest = Contest(
            contenders,
            params=params,
            context_tokens=stage.value("model", "context_tokens"),
            seed=stage.seed,
            **stage.progress,
        )
        outcome = contest.outcome(
            sets.documents, sets.tasks, labels=labels, training_texts=training_texts(stage)
        )
        return outcome, contest.differences(outcome, wanted)

    try:
        outcome, differences = held(contenders)
    except ParamsError as failed:  # the decoding asks more than a model can say
        if CHAMPION not in contenders:
            raise
        error = str(failed)
        outcome, differences = held({FINAL: challenger})
    if differences.keys() != set(wanted) and CHAMPION in outcome.documents.scores:
        missing = next(name for name in wanted if name not in differences)
        there = ", ".join(f"{kind}/{PRIMARY[kind]}" for kind in ("documents", *sets.tasks))
        raise ParamsError(f"registry.gate.primary: {missing} is not scored; choose from {there}")
    return outcome, differences, error


def _contender(version: Version, stage: Stage) -> Contender:
    folder = Path(version["folder"])
    is_remote_code_run = stage.value("model", "pretrained").is_remote_code_run
    return Contender(
        load_model(folder, is_remote_code_run=is_remote_code_run),
        load_tokenizer(folder),
        version["max_source_tokens"],
    )


def _speeds(outcome: Outcome) -> dict[str, float]:
    """Tokens/s of each system over all tasks; of those that wrote any."""
    totals: dict[str, tuple[int, float]] = {}
    for systems in outcome.answers.values():
        for name, found in systems.items():
            tokens, seconds = totals.get(name, (0, 0.0))
            totals[name] = tokens + found.num_tokens, seconds + found.seconds
    return {name: tokens / seconds for name, (tokens, seconds) in totals.items() if tokens}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _set_hashes(sets: Sets) -> dict[str, str]:
    return {
        "documents": set_hash(document.id for document in sets.documents),
        **{task: set_hash(one.id for one in asked) for task, asked in sets.tasks.items()},
    }


def _changed(record: Record, sets: Sets, params: EvaluateParams) -> list[str]:
    """What is not as it was when the challenger was evaluated."""
    known = record["identity"]
    found = [
        f"the {kind} held out"
        for kind, hashed in _set_hashes(sets).items()
        if known.get(kind) != hashed
    ]
    return found + (["the decoding"] if known["decoding"] != params.decoding.model_dump() else [])


def _verdict(asked: Asked, evidence: Evidence, rules: GateParams, sets: Sets) -> Verdict:
    found = findings(evidence, rules)
    champion = asked["champion"]
    return {
        "decision": decision(found),
        "challenger": asked["challenger"]["version"],
        "champion": champion["version"] if champion else None,
        "sets": _set_hashes(sets),
        "evaluation": scores_digest(Path(asked["evaluation"])),
        "findings": found,
    }


def scores_digest(evaluation: Path) -> str:
    """SHA-256 of an evaluation's scores."""
    return hashlib.sha256((evaluation / "scores.json").read_bytes()).hexdigest()


def _write(
    stage: Stage, evaluation: Path, record: Record, sets: Sets, outcome: Outcome, verdict: Verdict
) -> None:
    answers: ByTask = {
        task: {name: found for name, found in systems.items() if name == CHAMPION}
        for task, systems in outcome.answers.items()
    }
    said = {
        (task, one.id): text
        for task, systems in answers.items()
        for found in systems.values()
        for one, text in zip(sets.tasks[task], found.texts, strict=True)
    }
    whole = beside_champion(record, outcome, said)
    with stage.output_folder() as folder:
        write_json(folder / "verdict.json", verdict)
        write_json(folder / "scores.json", whole)
        write_predictions(folder / "predictions.jsonl", sets, answers)
        html = page(whole, _json(evaluation / "surroundings.json"), gate=verdict)
        (folder / "report.html").write_text(html, encoding="utf-8")


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    run("gate", main, description=__doc__)
