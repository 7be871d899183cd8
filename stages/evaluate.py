"""Score the models beside traditional baselines on held-out documents and pairs."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stages.held_out import Sets, held_out, systems, training_texts
from stages.probing import probed
from stages.stage import Stage, run
from stages.surroundings import surroundings
from stages.tracking import StageRun, stage_run
from wordmill.data.records import Pair, read_records
from wordmill.evaluation.answering import Answering, Answers, labels_of
from wordmill.evaluation.comparison import FINAL, Comparison, set_hash
from wordmill.files import write_json
from wordmill.metrics.pairs import PRIMARY
from wordmill.models.folder import Model, load_tokenizer
from wordmill.params.evaluate import EvaluateParams
from wordmill.report.markdown import report
from wordmill.report.page import page
from wordmill.report.record import Record, Scored
from wordmill.tokens.tokenizer import fingerprint

_PAIR_COLUMNS = ("id", "task", "source", "ask", "target")
_RECORD_VERSION = 2


def main(stage: Stage) -> str:
    """Write data/evaluate: the report, the scores, what they stand on, and predictions."""
    params = stage.section("evaluate", EvaluateParams)
    tokenizer = load_tokenizer(stage.input("finetune") / "model")
    sets, compared = held_out(stage, params, tokenizer), systems(stage, params, tokenizer)
    common: dict[str, Any] = {"tokenizer": tokenizer, "params": params, **stage.progress}
    comparison = Comparison(
        **common, context_tokens=stage.value("model", "context_tokens"), seed=stage.seed
    )
    with stage_run(stage, params.model_dump()) as tracked:
        documents = comparison.documents(sets.documents, sets.ids, compared.documents)
        answers = _answers(stage, sets, compared.pairs, common)
        texts: dict[str, Sequence[str]] = {name: found.texts for name, found in answers.items()}
        pairs = comparison.pairs(sets.pairs, sets.source_lengths, texts, training_texts(stage))
        record: Record = {
            "version": _RECORD_VERSION,
            "identity": {
                "documents": set_hash(document.id for document in sets.documents),
                "pairs": set_hash(pair.id for pair in sets.pairs),
                "tokenizer": fingerprint(tokenizer),
                "decoding": params.decoding.model_dump(),
                "context_tokens": stage.value("model", "context_tokens"),
                "stride_tokens": params.stride_tokens,
                "ngram_order": params.ngram_order,
            },
            "primary": {kind: PRIMARY[kind] for kind in ("documents", *pairs.scores)},
            "num_documents": len(sets.documents),
            "num_pairs": {task: _count(scores) for task, scores in pairs.scores.items()},
            "documents": documents.scores,
            "pairs": pairs.scores,
            "slices": [*documents.slices, *pairs.slices],
            "differences": [*documents.differences, *pairs.differences],
            "examples": pairs.examples,
            **probed(
                stage,
                sets,
                compared.pairs,
                texts,
                pairs.examples,
                params=params,
                tokenizer=tokenizer,
            ),
        }
        _write(stage, record, sets.pairs, answers, tracked)
    return _summary(record)


def _answers(
    stage: Stage, sets: Sets, models: dict[str, Model], common: dict[str, Any]
) -> dict[str, Answers]:
    folder = stage.input("clean")
    answering = Answering(
        sets.pairs,
        labels=labels_of(read_records(folder, Pair, "train")),
        max_source_tokens=stage.value("tokenize", "max_source_tokens"),
        **common,
    )
    return {
        "lead": answering.lead(),
        "retrieval": answering.retrieved(read_records(folder, Pair, "train")),
        **{name: answering.of_model(name, model) for name, model in models.items()},
    }


def _write(
    stage: Stage, record: Record, pairs: list[Pair], answers: dict[str, Answers], tracked: StageRun
) -> None:
    around = surroundings(
        stage,
        [
            {"system": name, "tokens": found.num_tokens, "seconds": found.seconds}
            for name, found in answers.items()
        ],
    )
    metrics = _values(record)
    with stage.output_folder() as folder:
        write_json(folder / "metrics.json", metrics)
        write_json(folder / "scores.json", record)
        write_json(folder / "surroundings.json", around)
        _write_predictions(folder / "predictions.jsonl", pairs, answers)
        (folder / "report.md").write_text(report(record), encoding="utf-8")
        (folder / "report.html").write_text(page(record, around), encoding="utf-8")
    tracked.log(dict(_flat(metrics)), step=0)
    for name in ("predictions.jsonl", "report.html"):
        tracked.keep(stage.output / name)
    tracked.made(stage.output)


def _write_predictions(path: Path, pairs: list[Pair], answers: dict[str, Answers]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for system, found in answers.items():
            for pair, text in zip(pairs, found.texts, strict=True):
                asked = {name: getattr(pair, name) for name in _PAIR_COLUMNS}
                row = {"system": system, **asked, "prediction": text}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _values(record: Record) -> dict[str, Any]:
    """The values alone, for tables of metrics: documents -> system -> metric, and each task."""
    return {
        kind: {
            system: {name: round(score["value"], 4) for name, score in found.items()}
            for system, found in scores.items()
        }
        for kind, scores in {"documents": record["documents"], **record["pairs"]}.items()
    }


def _flat(metrics: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for kind, systems_ in metrics.items():
        for system, found in systems_.items():
            for name, value in found.items():
                yield f"{kind}/{system}/{name}", value


def _count(scores: Scored) -> int:
    return next(iter(next(iter(scores.values())).values()))["count"]


def _summary(record: Record) -> str:
    """How the finetuned model does on each task."""
    parts = (
        f"{task}: {record['primary'][task]} {scores[FINAL][record['primary'][task]]['value']:.2f}"
        for task, scores in record["pairs"].items()
    )
    return f"finetuned, {'; '.join(parts)}"


if __name__ == "__main__":
    run("evaluate", main, description=__doc__)
