"""Pairs for encoder-decoders: the encoder reads the prompt, the decoder says the target.

The decoder is given a start token and the target without its last token; its labels are the
target with its end token, so that the first place already has a loss.
"""

import numpy as np
import torch

from wordmill.tokens.batches import IGNORED, Batch, Items
from wordmill.tokens.pooled_batches import PooledPairBatches, check_pairs
from wordmill.tokens.rows import Ints, places
from wordmill.tokens.store import Ids


class Seq2SeqPairBatches(PooledPairBatches):
    """Prompts with their targets, of like length together, right-padded.

    Args:
        ids: the flat ids of a pair file, shape (tokens,).
        spans: where each pair lies, shape (pairs, 3).
        start_id: what a decoder starts from.
        pad_id: fills the ends of shorter sequences.

    Raises:
        DataError: there is no pair.
    """

    def __init__(
        self, ids: Ids, spans: Ints, *, start_id: int, pad_id: int, batch_size: int, seed: int
    ) -> None:
        check_pairs(spans)
        self._ids = np.asarray(ids)
        self._start_id, self._pad_id = start_id, pad_id
        mean = float((spans[:, 2] - spans[:, 0]).mean())
        super().__init__(spans, batch_size=batch_size, seed=seed, mean_item_tokens=mean)

    def _make(self, items: Items) -> Batch:
        start, target, stop = self._spans[items.numbers].T
        prompt = _padded(self._ids, start, target - start, fill=self._pad_id)  # (B, T)
        labels = _padded(self._ids, target, stop - target, fill=IGNORED)  # (B, U)
        is_read = np.arange(prompt.shape[1]) < (target - start)[:, None]
        return seq2seq_batch(prompt, is_read, labels, start_id=self._start_id, pad_id=self._pad_id)


def seq2seq_batch(
    input_ids: Ints, is_read: np.ndarray, labels: Ints, *, start_id: int, pad_id: int
) -> Batch:
    """A batch of an encoder-decoder from what its encoder reads and its decoder says.

    Args:
        input_ids: shape (B, T), padded on the right.
        is_read: where they are no padding, shape (B, T).
        labels: shape (B, U), IGNORED where padded.
        start_id: what a decoder starts from.
        pad_id: what it is given after the end of a shorter text.
    """
    before = np.concatenate((np.full((len(labels), 1), start_id), labels[:, :-1]), axis=1)
    given = np.where(labels == IGNORED, pad_id, before)
    return {
        "input_ids": torch.from_numpy(input_ids),
        "attention_mask": torch.from_numpy(is_read.astype(np.int64)),
        "decoder_input_ids": torch.from_numpy(given),
        "labels": torch.from_numpy(labels),
    }


def _padded(ids: Ids, starts: Ints, lengths: Ints, *, fill: int) -> Ints:
    """Row i is ids[starts[i] : starts[i] + lengths[i]], filled up to the longest."""
    width = int(lengths.max())
    rows = np.full((len(starts), width), fill, dtype=np.int64)
    write = places(np.arange(len(starts)) * width, lengths)
    rows.ravel()[write] = ids[places(starts, lengths)]
    return rows
