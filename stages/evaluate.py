"""Score the models beside traditional baselines on held-out documents and pairs."""

import json
from pathlib import Path

from stages.stage import Stage, run
from stages.tracking import stage_run
from wordmill.data.records import Document, Pair, read_records
from wordmill.errors import DataError
from wordmill.files import write_json
from wordmill.metrics.evaluation import Comparison, plain_values
from wordmill.models.folder import load_model, load_tokenizer
from wordmill.params.evaluate import EvaluateParams
from wordmill.report.markdown import report
from wordmill.tokens.store import TokenFolder
from wordmill.tokens.tokenizer import fingerprint

_PAIR_COLUMNS = ("id", "task", "source", "ask", "target")


def main(stage: Stage) -> str:
    """Write data/evaluate: metrics.json, scores.json, predictions.jsonl and report.md."""
    params = stage.section("evaluate", EvaluateParams)
    comparison = _comparison(stage, params)
    with stage_run(stage, params.model_dump()) as tracked:
        documents = comparison.document_scores()
        predictions = comparison.predictions()
        pairs = comparison.pair_scores(predictions)
        record = comparison.record(documents, pairs, predictions)
        metrics = {"documents": plain_values(documents), "pairs": plain_values(pairs)}
        with stage.output_folder() as folder:
            write_json(folder / "metrics.json", metrics)
            write_json(folder / "scores.json", record)
            _write_predictions(folder / "predictions.jsonl", comparison.pairs, predictions)
            (folder / "report.md").write_text(report(record), encoding="utf-8")
        tracked.log(_flat(metrics), step=0)
        tracked.made(stage.output)
    finetuned = pairs["finetuned"]
    return f"finetuned ROUGE-L {finetuned['rougeL'].value:.2f}, BLEU {finetuned['bleu'].value:.2f}"


def _comparison(stage: Stage, params: EvaluateParams) -> Comparison:
    folders = {
        "pretrained": stage.input("pretrain") / "model",
        "finetuned": stage.input("finetune") / "model",
    }
    tokenizer = load_tokenizer(folders["finetuned"])
    tokens = TokenFolder(stage.input("tokenize"), tokenizer_fingerprint=fingerprint(tokenizer))
    records = stage.input("clean")
    documents = list(read_records(records, Document, "test"))
    pairs = sorted(read_records(records, Pair, "test"), key=lambda pair: pair.id)
    if not documents or not pairs:
        raise DataError(
            f"{records}: {len(documents)} documents and {len(pairs)} pairs are held out for the"
            " test; both are needed: raise ingest.test_fraction or give more data"
        )
    return Comparison(
        models={name: load_model(folder) for name, folder in folders.items()},
        tokenizer=tokenizer,
        training_ids=tokens.ids("documents.train"),
        documents=documents,
        pairs=pairs[: params.max_pairs],
        params=params,
        max_source_tokens=stage.value("tokenize", "max_source_tokens"),
        context_tokens=stage.value("model", "context_tokens"),
        seed=stage.seed,
        **stage.progress,
    )


def _write_predictions(path: Path, pairs: list[Pair], predictions: dict[str, list[str]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for system, texts in predictions.items():
            for pair, text in zip(pairs, texts, strict=True):
                asked = {name: getattr(pair, name) for name in _PAIR_COLUMNS}
                row = {"system": system, **asked, "prediction": text}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _flat(metrics: dict[str, dict[str, dict[str, float]]]) -> dict[str, float]:
    return {
        f"{kind}/{system}/{name}": value
        for kind, systems in metrics.items()
        for system, found in systems.items()
        for name, value in found.items()
    }


if __name__ == "__main__":
    run("evaluate", main, description=__doc__)
