"""From clean records to token files: running text, prompts and targets, on all cores.

Batches of records are encoded by threads and written in order; a few of them are in memory at
any time, so that memory does not grow with the data.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from transformers import PreTrainedTokenizerFast

from wordmill.data.records import (
    KINDS,
    SPLITS,
    Document,
    Kind,
    Pair,
    Split,
    count_records,
    read_records,
)
from wordmill.params.tokenize import TokenizeParams
from wordmill.progress import Progress
from wordmill.tokens.choosing import Batch, batches, num_weighted
from wordmill.tokens.encoding import Encoder
from wordmill.tokens.fast import best_encoder
from wordmill.tokens.prompts import PackedPairs, Prompts, Request
from wordmill.tokens.quality import Quality, num_bytes, ratio
from wordmill.tokens.rows import Rows
from wordmill.tokens.store import TokenWriter, describe
from wordmill.tokens.tokenizer import fingerprint, num_ids

_BATCHES_AHEAD = 2  # a thread; more would only be more in memory
_SAMPLE_TEXTS = 200

Item = TypeVar("Item")
Made = TypeVar("Made")


class Packed(NamedTuple):
    """What packing tells of its work."""

    report: dict[str, Any]
    """Numbers, for tables of metrics."""
    vocabulary: dict[str, Any]
    """Lists and words, for people."""


def pack(
    records: Path,
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    params: TokenizeParams,
    *,
    progress: Progress,
) -> Packed:
    """Write the token files of every split and say what they hold.

    Args:
        records: a folder of clean records.
        folder: where the token files go.
        tokenizer: what makes the ids.
        params: the `tokenize` section.
        progress: counts records.
    """
    encoder = best_encoder(tokenizer, _sample(records))
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        packer = _Packer(records, folder, tokenizer, params, encoder, threads, progress)
        report: dict[str, Any] = {
            "vocab_size": num_ids(tokenizer),
            "documents": {split: packer.documents(split) for split in SPLITS},
            "pairs": {split: packer.pairs(split) for split in SPLITS},
            **packer.quality.figures(),
        }
    describe(folder, vocab_size=num_ids(tokenizer), tokenizer_fingerprint=fingerprint(tokenizer))
    longest = packer.quality.longest_tokens()
    return Packed(report, {"encoder": encoder.name, "longest_tokens": longest})


def num_records(records: Path) -> int:
    """The records of every kind and split, for progress."""
    return sum(count_records(records, kind, split) for kind in KINDS for split in SPLITS)


class _Packer:
    """Writes the token files of one split after another."""

    def __init__(
        self,
        records: Path,
        folder: Path,
        tokenizer: PreTrainedTokenizerFast,
        params: TokenizeParams,
        encoder: Encoder,
        threads: ThreadPoolExecutor,
        progress: Progress,
    ) -> None:
        self._records, self._folder, self._params = records, folder, params
        self._encoder, self._threads, self._progress = encoder, threads, progress
        self._vocab_size = num_ids(tokenizer)
        self._prompts = Prompts(encoder, max_source_tokens=params.max_source_tokens)
        self.quality = Quality(tokenizer)

    def documents(self, split: Split) -> dict[str, float]:
        """Write the running text of a split: documents with end tokens around each."""
        total_bytes = 0
        with TokenWriter(self._folder, f"documents.{split}", vocab_size=self._vocab_size) as writer:
            writer.add(np.array([self._encoder.end_id], dtype=np.uint32))
            for batch, rows in self._made(self._document_rows, Document, split):
                texts = batch.table["text"]
                writer.add(rows.ids)
                writer.add_record_ids(batch.table["id"].to_pylist())
                self.quality.add(batch.table["language"], texts, rows.lengths)
                self.quality.add_ids(rows.ids)
                total_bytes += int(num_bytes(texts).sum())
            return {
                "tokens": writer.num_tokens,
                "bytes_per_token": ratio(total_bytes, writer.num_tokens),
                "weighted": num_weighted(self._records, Document, split),
            }

    def pairs(self, split: Split) -> dict[str, float]:
        """Write the prompts and targets of a split."""
        total_bytes = total_tokens = prompts_cut = targets_cut = 0
        with TokenWriter(self._folder, f"pairs.{split}", vocab_size=self._vocab_size) as writer:
            for batch, pairs in self._made(self._pair_rows, Pair, split):
                table, rows = batch.table, pairs.ids
                writer.add_pairs(
                    rows.ids, prompt_lengths=pairs.prompt_lengths, lengths=rows.lengths
                )
                writer.add_record_ids(table["id"].to_pylist())
                self.quality.add(table["language"], table["target"], pairs.target_text_lengths)
                self.quality.add_ids(rows.ids)
                for name in ("source", "ask", "target"):
                    total_bytes += int(num_bytes(table[name]).sum())
                total_tokens += int(pairs.text_lengths.sum())
                prompts_cut += pairs.num_prompts_cut
                targets_cut += pairs.num_targets_cut
            return {
                "tokens": writer.num_tokens,
                "bytes_per_token": ratio(total_bytes, total_tokens),
                "weighted": num_weighted(self._records, Pair, split),
                "prompts_cut": prompts_cut,
                "targets_cut": targets_cut,
            }

    def _made(
        self, function: Callable[[Batch], Made], kind: Kind, split: Split
    ) -> Iterator[tuple[Batch, Made]]:
        for batch, made in _in_order(self._threads, function, batches(self._records, kind, split)):
            yield batch, made
            self._progress.advance(0 if batch.round else len(batch.table))

    def _document_rows(self, batch: Batch) -> Rows:
        return self._encoder.encode(batch.table["text"].to_pylist())

    def _pair_rows(self, batch: Batch) -> PackedPairs:
        columns = (batch.table[name].to_pylist() for name in ("task", "source", "ask"))
        requests = [Request(*values) for values in zip(*columns, strict=True)]
        return self._prompts.with_targets(
            requests,
            batch.table["target"].to_pylist(),
            max_target_tokens=self._params.max_target_tokens,
        )


def _in_order(
    threads: ThreadPoolExecutor, function: Callable[[Item], Made], items: Iterable[Item]
) -> Iterator[tuple[Item, Made]]:
    """Each item with what the function makes of it, a few of them worked on at once."""
    waiting: deque[tuple[Item, Future[Made]]] = deque()
    for item in items:
        waiting.append((item, threads.submit(function, item)))
        if len(waiting) > (os.cpu_count() or 1) * _BATCHES_AHEAD:
            done, made = waiting.popleft()
            yield done, made.result()
    while waiting:
        done, made = waiting.popleft()
        yield done, made.result()


def _sample(records: Path) -> list[str]:
    documents = islice(read_records(records, Document, "train"), _SAMPLE_TEXTS)
    pairs = islice(read_records(records, Pair, "train"), _SAMPLE_TEXTS)
    return [*(document.text for document in documents), *(pair.source for pair in pairs)]
