"""Score a registered version beside the champion, and say whether it may take its place.

No stage of the DAG: which version is champion is no file that DVC could watch. The flow says in
.wordmill/gate.json what is asked; the result is data/gate, which nothing else is made from.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

from stages.evaluation_files import ByTask, write_predictions
from stages.held_out import Sets, held_out, training_texts
from stages.stage import Stage, run
from wordmill.data.records import Pair, read_records
from wordmill.errors import ParamsError
from wordmill.evaluation.answering import labels_of
from wordmill.evaluation.comparison import FINAL, set_hash
from wordmill.files import sha256_of, size_of
from wordmill.gate.contest import Contender, Contest, Outcome, UnfitError, blaming
from wordmill.gate.evidence import CHAMPION, Evidence, from_record
from wordmill.gate.record import beside_champion, write_verdict
from wordmill.gate.rules import decision, findings, guarded_scores, primary_score
from wordmill.gate.verdict import Verdict
from wordmill.metrics.pairs import PRIMARY
from wordmill.metrics.significance import Difference
from wordmill.models.folder import load_model, load_tokenizer
from wordmill.params.evaluate import EvaluateParams
from wordmill.params.gate import GateParams
from wordmill.params.registry import RegistryParams
from wordmill.report.record import Record, Scored

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
    champion: Version
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
    params = stage.section("evaluate", EvaluateParams)
    record: Record = _json(Path(asked["evaluation"]) / "scores.json")
    challenger = _contender(asked["challenger"], stage)
    sets = held_out(stage, params, challenger.tokenizer)
    outcome, differences, error = _scored(stage, asked, challenger, sets, params, rules)
    num_bytes = size_of(Path(asked["challenger"]["folder"]))
    evidence = from_record(record, num_bytes=num_bytes, champion_error=error)
    evidence = replace(evidence, changed=_changed(record, sets, params))
    if outcome is not None:
        scores: dict[str, Scored] = {task: part.scores for task, part in outcome.tasks.items()}
        evidence = replace(
            evidence,
            scores={"documents": outcome.documents.scores, **scores},
            primary=_primary(sets),
            differences=differences,
            speeds=_speeds(outcome),
            seed_deviation=asked["seed_deviations"].get(primary_score(_primary(sets), rules)),
        )
    verdict = _verdict(asked, evidence, rules, sets)
    _write(stage, Path(asked["evaluation"]), record, sets, outcome, verdict)
    return told(verdict)


def told(verdict: Verdict) -> str:
    """The decision in a line, with what it hangs on."""
    why = [one for one in verdict["findings"] if one["decision"] == verdict["decision"]]
    if verdict["decision"] == "PROMOTE":
        why = [one for one in why if one["rule"] == "primary"]
    reasons = "; ".join(f"{one['about']} {one['said']}" for one in why)
    return f"{verdict['decision']}: {reasons}"


def _scored(
    stage: Stage,
    asked: Asked,
    challenger: Contender,
    sets: Sets,
    params: EvaluateParams,
    rules: GateParams,
) -> tuple[Outcome | None, dict[str, Difference], str]:
    """The outcome and the differences that rules ask for; or why there is none."""
    if asked["champion_error"]:
        return None, {}, asked["champion_error"]
    try:
        with blaming(CHAMPION):
            champion = _contender(asked["champion"], stage)
        contest = Contest(
            {CHAMPION: champion, FINAL: challenger},
            params=params,
            context_tokens=stage.value("model", "context_tokens"),
            seed=stage.seed,
            **stage.progress,
        )
        outcome = contest.outcome(
            sets.documents,
            sets.tasks,
            labels=labels_of(read_records(stage.input("clean"), Pair, "train")),
            training_texts=training_texts(stage),
        )
    except UnfitError as error:
        if error.system != CHAMPION:
            raise
        return None, {}, str(error)
    primary = _primary(sets)
    wanted = [primary_score(primary, rules), *guarded_scores(primary, rules)]
    differences = contest.differences(outcome, wanted)
    if missing := [name for name in wanted if name not in differences]:
        there = ", ".join(f"{kind}/{metric}" for kind, metric in primary.items())
        raise ParamsError(f"registry.gate.primary: {missing[0]} is not scored; such as {there} is")
    return outcome, differences, ""


def _primary(sets: Sets) -> dict[str, str]:
    return {kind: PRIMARY[kind] for kind in ("documents", *sets.tasks)}


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


def _set_hashes(sets: Sets) -> dict[str, str]:
    return {
        "documents": set_hash(document.id for document in sets.documents),
        **{task: set_hash(one.id for one in asked) for task, asked in sets.tasks.items()},
    }


def _changed(record: Record, sets: Sets, params: EvaluateParams) -> list[str]:
    """What is not as it was when the challenger was evaluated."""
    known, hashes = record["identity"], _set_hashes(sets)
    kinds = dict.fromkeys([*record["primary"], *hashes])
    found = [f"the {kind} held out" for kind in kinds if known.get(kind) != hashes.get(kind)]
    return found + (["the decoding"] if known["decoding"] != params.decoding.model_dump() else [])


def _verdict(asked: Asked, evidence: Evidence, rules: GateParams, sets: Sets) -> Verdict:
    found = findings(evidence, rules)
    return {
        "decision": decision(found),
        "challenger": asked["challenger"]["version"],
        "champion": asked["champion"]["version"],
        "sets": _set_hashes(sets),
        "evaluation": sha256_of(Path(asked["evaluation"]) / "scores.json"),
        "findings": found,
    }


def _write(
    stage: Stage,
    evaluation: Path,
    record: Record,
    sets: Sets,
    outcome: Outcome | None,
    verdict: Verdict,
) -> None:
    answers: ByTask = {
        task: {CHAMPION: systems[CHAMPION]}
        for task, systems in (outcome.answers.items() if outcome else ())
    }
    said = {
        (task, one.id): text
        for task, systems in answers.items()
        for one, text in zip(sets.tasks[task], systems[CHAMPION].texts, strict=True)
    }
    whole = beside_champion(record, outcome, said) if outcome else record
    with stage.output_folder() as folder:
        write_verdict(folder, verdict, whole, _json(evaluation / "surroundings.json"))
        write_predictions(folder / "predictions.jsonl", sets, answers)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    run("gate", main, description=__doc__)
