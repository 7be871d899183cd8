"""From cleaned records to token files: the tokenizer, running text, prompts and targets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from wordmill.data.records import SPLITS, Document, Pair, Split, read_records
from wordmill.errors import DataError
from wordmill.params.tokenize import TokenizeParams
from wordmill.progress import Progress
from wordmill.tokens.prompts import Prompts, Request
from wordmill.tokens.store import TokenWriter, describe
from wordmill.tokens.tokenizer import batched, encode_batch, end_id, fingerprint, train_byte_bpe

_ROWS_A_BATCH = 1024


def train_tokenizer(
    records: Path, params: TokenizeParams, *, context_tokens: int
) -> PreTrainedTokenizerFast:
    """Train the tokenizer on cleaned training text, and on nothing held out.

    Raises:
        DataError: there is no training text.
    """
    return train_byte_bpe(
        _training_texts(records),
        vocab_size=params.vocab_size,
        min_frequency=params.min_frequency,
        context_tokens=context_tokens,
    )


def pack(
    records: Path,
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    params: TokenizeParams,
    *,
    progress: Progress,
) -> dict[str, Any]:
    """Write the token files of every split and return what they hold."""
    vocab_size = len(tokenizer)
    report: dict[str, Any] = {"vocab_size": vocab_size, "documents": {}, "pairs": {}}
    for split in SPLITS:
        with TokenWriter(folder, f"documents.{split}", vocab_size=vocab_size) as writer:
            num_bytes = _write_documents(writer, records, split, tokenizer, progress)
            report["documents"][split] = {
                "tokens": writer.num_tokens,
                "bytes_per_token": round(num_bytes / writer.num_tokens, 3),
            }
        with TokenWriter(folder, f"pairs.{split}", vocab_size=vocab_size) as writer:
            num_cut = _write_pairs(writer, records, split, tokenizer, params, progress)
            report["pairs"][split] = {"tokens": writer.num_tokens, "sources_cut": num_cut}
    describe(folder, vocab_size=vocab_size, tokenizer_fingerprint=fingerprint(tokenizer))
    return report


def _training_texts(records: Path) -> Iterator[str]:
    num_texts = 0
    for document in read_records(records, Document, "train"):
        num_texts += 1
        yield document.text
    for pair in read_records(records, Pair, "train"):
        num_texts += 1
        yield pair.source
        yield pair.target
    if num_texts == 0:
        raise DataError(f"{records}: no training text is left; data/clean/report.json says why")


def _write_documents(
    writer: TokenWriter,
    records: Path,
    split: Split,
    tokenizer: PreTrainedTokenizerFast,
    progress: Progress,
) -> int:
    end, num_bytes = end_id(tokenizer), 0
    writer.add([end])
    for batch in batched(read_records(records, Document, split), _ROWS_A_BATCH):
        texts = [document.text for document in batch]
        num_bytes += sum(len(text.encode()) for text in texts)
        for ids in encode_batch(tokenizer, texts):
            writer.add([*ids, end])
        progress.advance(len(batch))
    return num_bytes


def _write_pairs(
    writer: TokenWriter,
    records: Path,
    split: Split,
    tokenizer: PreTrainedTokenizerFast,
    params: TokenizeParams,
    progress: Progress,
) -> int:
    prompts = Prompts(tokenizer, max_source_tokens=params.max_source_tokens)
    for batch in batched(read_records(records, Pair, split), _ROWS_A_BATCH):
        sources = prompts.encode([Request(pair.task, pair.source) for pair in batch])
        targets = prompts.encode_targets(
            [pair.target for pair in batch], max_tokens=params.max_target_tokens
        )
        for source, target in zip(sources, targets, strict=True):
            writer.add_pair(source, target)
        progress.advance(len(batch))
    return prompts.num_cut
