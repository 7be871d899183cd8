"""Train the tokenizer on cleaned training text and pack every split into token files."""

from stages.stage import Stage, run
from wordmill.files import write_json
from wordmill.params.tokenize import TokenizeParams
from wordmill.progress import Progress
from wordmill.tokens.packing import pack, train_tokenizer


def main(stage: Stage) -> str:
    """Write data/tokenize: tokenizer/, token files, and a report."""
    params = stage.section("tokenize", TokenizeParams)
    records = stage.input("clean")
    context_tokens = stage.value("model", "context_tokens")
    tokenizer = train_tokenizer(records, params, context_tokens=context_tokens)
    with (
        stage.output_folder() as folder,
        Progress("tokenize", unit="record", **stage.progress) as progress,
    ):
        tokenizer.save_pretrained(folder / "tokenizer")
        report = pack(records, folder, tokenizer, params, progress=progress)
        write_json(folder / "report.json", report)
    train = report["documents"]["train"]
    return (
        f"{report['vocab_size']:,} entries, {train['tokens']:,} training tokens"
        f" of {train['bytes_per_token']} bytes"
    )


if __name__ == "__main__":
    run("tokenize", main, description=__doc__)
