"""Make the tokenizer from cleaned training text and pack every split into token files."""

import json
from typing import Any

from stages.stage import Stage, run
from wordmill.files import write_json
from wordmill.params.tokenize import TokenizeParams
from wordmill.progress import Progress
from wordmill.report.data_page import data_page
from wordmill.tokens.choosing import num_training_texts
from wordmill.tokens.making import make_tokenizer
from wordmill.tokens.packing import num_records, pack


def main(stage: Stage) -> str:
    """Write data/tokenize: tokenizer/, token files, their counts, and data.html for a reader."""
    params = stage.section("tokenize", TokenizeParams)
    records = stage.input("clean")
    context_tokens = stage.value("model", "context_tokens")
    total = num_training_texts(records)
    with Progress("learn", unit="text", total=total, **stage.progress) as progress:
        made = make_tokenizer(records, params, context_tokens=context_tokens, progress=progress)
    total = num_records(records)
    with (
        stage.output_folder() as folder,
        Progress("pack", unit="record", total=total, **stage.progress) as progress,
    ):
        made.tokenizer.save_pretrained(folder / "tokenizer")
        packed = pack(records, folder, made.tokenizer, params, progress=progress)
        report: dict[str, Any] = {"training_bytes": made.training_bytes, **packed.report}
        write_json(folder / "report.json", report)
        write_json(folder / "vocabulary.json", packed.vocabulary)
        counts, samples = (
            json.loads((records / f"{name}.json").read_text()) for name in ("report", "samples")
        )
        page = data_page(counts, samples, report, packed.vocabulary)
        (folder / "data.html").write_text(page, encoding="utf-8")
    train = report["documents"]["train"]
    return (
        f"{report['vocab_size']:,} entries, {train['tokens']:,} training tokens"
        f" of {train['bytes_per_token']} bytes"
    )


if __name__ == "__main__":
    run("tokenize", main, description=__doc__)
