"""What encoder-decoders learn from running text: spans given back, or the rest of a block."""

from collections import Counter

import numpy as np
import pytest
import torch

from wordmill.errors import DataError
from wordmill.params.training import DenoisingParams
from wordmill.tokens.batches import IGNORED
from wordmill.tokens.denoising import DenoisingBatches

START, PAD, END, FIRST_SENTINEL, FIRST_WORD = 0, 1, 2, 10, 200
SENTINELS = np.arange(FIRST_SENTINEL, FIRST_SENTINEL + 100)


def denoising(
    num_tokens=4000,
    *,
    block_tokens=40,
    batch_size=8,
    seed=0,
    sentinels=SENTINELS,
    corrupted_fraction=0.15,
    mean_span_tokens=3.0,
    continued_fraction=0.5,
):
    """Blocks whose every token is another one."""
    return DenoisingBatches(
        np.arange(FIRST_WORD, FIRST_WORD + num_tokens, dtype=np.uint16),
        block_tokens=block_tokens,
        batch_size=batch_size,
        seed=seed,
        params=DenoisingParams(
            corrupted_fraction=corrupted_fraction,
            mean_span_tokens=mean_span_tokens,
            continued_fraction=continued_fraction,
        ),
        sentinels=sentinels,
        start_id=START,
        pad_id=PAD,
        end_id=END,
    )


def rows_of(batches):
    """What is read and what is said, row by row, without padding."""
    for batch in batches:
        for read, is_read, said in zip(
            batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True
        ):
            yield read[is_read == 1].tolist(), said[said != IGNORED].tolist()


def is_sentinel(token):
    return FIRST_SENTINEL <= token < FIRST_SENTINEL + len(SENTINELS)


def spans_of(said):
    """The span that each sentinel stands for."""
    spans, current = {}, None
    for token in said[:-1]:
        if is_sentinel(token):
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    return spans


def restored(read, said):
    """The block that a row was made from."""
    if said[-1] != END:
        return read + said
    spans = spans_of(said)
    return [t for token in read for t in (spans[token] if is_sentinel(token) else [token])]


@pytest.mark.parametrize("continued", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("corrupted", "span"), [(0.15, 3.0), (0.5, 1.0), (0.9, 1.0), (0.01, 9.0)])
def test_putting_the_spans_back_gives_the_block(continued, corrupted, span):
    batches = denoising(
        corrupted_fraction=corrupted, mean_span_tokens=span, continued_fraction=continued
    )
    rows = list(rows_of(batches.in_order()))
    assert [restored(*row) for row in rows] == [
        list(range(start, start + 40)) for start in range(FIRST_WORD, FIRST_WORD + 4000, 40)
    ]
    assert all(max(len(read), len(said)) <= 40 for read, said in rows)
    assert all(read and said for read, said in rows)


def test_sentinels_come_in_order_and_stand_for_something():
    for read, said in rows_of(denoising(continued_fraction=0.0).in_order()):
        spans = spans_of(said)
        assert list(spans) == [token for token in read if is_sentinel(token)]
        assert list(spans) == SENTINELS[: len(spans)].tolist()
        assert all(spans.values())


@pytest.mark.parametrize(
    ("block_tokens", "fraction", "mean", "taken", "spans"),
    [(512, 0.15, 3.0, 77, 26), (512, 0.15, 1.0, 77, 77), (40, 0.5, 4.0, 20, 5), (8, 0.15, 3, 1, 1)],
)
def test_a_block_loses_so_many_tokens_in_so_many_spans(block_tokens, fraction, mean, taken, spans):
    batches = denoising(
        9000,
        block_tokens=block_tokens,
        corrupted_fraction=fraction,
        mean_span_tokens=mean,
        continued_fraction=0.0,
    )
    for read, said in rows_of(batches.in_order()):
        assert len(said) == taken + spans + 1
        assert len(read) == block_tokens - taken + spans


def test_never_more_spans_than_sentinels():
    few = denoising(
        6000,
        block_tokens=600,
        mean_span_tokens=1.0,
        continued_fraction=0.0,
        sentinels=SENTINELS[:7],
    )
    for _, said in rows_of(few.in_order()):
        spans = spans_of(said)
        assert len(spans) == 7
        assert sum(map(len, spans.values())) == 90


def test_every_way_to_part_a_block_is_as_likely():
    # 7 tokens kept in 3 spans: 15 ways; 5 taken: 6 ways.
    batches = denoising(
        60_000,
        block_tokens=12,
        corrupted_fraction=5 / 12,
        mean_span_tokens=5 / 3,
        continued_fraction=0.0,
    )
    kept, taken = Counter(), Counter()
    for read, said in rows_of(batches.in_order()):
        places = [i for i, token in enumerate(read) if is_sentinel(token)]
        kept[tuple(np.diff([-1, *places]) - 1)] += 1
        taken[tuple(map(len, spans_of(said).values()))] += 1
    for found, ways in ((kept, 15), (taken, 6)):
        assert len(found) == ways
        expected = 5000 / ways
        assert all(abs(n - expected) < 5 * expected**0.5 for n in found.values())


def test_so_many_blocks_are_cut_and_anywhere():
    batches = denoising(60_000, block_tokens=12, continued_fraction=0.3)
    firsts = [len(read) for read, said in rows_of(batches.in_order()) if said[-1] != END]
    assert abs(len(firsts) - 1500) < 5 * (5000 * 0.3 * 0.7) ** 0.5
    counts = Counter(firsts)
    assert sorted(counts) == list(range(1, 12))
    assert all(abs(n - len(firsts) / 11) < 5 * (len(firsts) / 11) ** 0.5 for n in counts.values())


def test_the_decoder_is_given_its_labels_one_place_later():
    batch = denoising().at(3)
    given, labels, mask = (batch[k] for k in ("decoder_input_ids", "labels", "attention_mask"))
    assert (given[:, 0] == START).all()
    is_said = labels[:, 1:] != IGNORED
    assert torch.equal(given[:, 1:][is_said], labels[:, :-1][is_said])
    assert (given[:, 1:][~is_said] == PAD).all()
    assert torch.equal(batch["input_ids"][mask == 0].unique(), torch.tensor([PAD]))
    assert set(mask.unique().tolist()) == {0, 1}
    assert (mask.diff(dim=1) <= 0).all()  # padding comes last
    assert ((labels == IGNORED).long().diff(dim=1) >= 0).all()
    assert mask.sum(dim=1).max() == mask.shape[1]
    assert (labels != IGNORED).sum(dim=1).max() == labels.shape[1]


def seen(batches, steps):
    return {tuple(restored(*row)): row for row in rows_of(batches.at(step) for step in steps)}


def test_every_token_is_seen_once_an_epoch():
    batches = denoising(4039, batch_size=7)
    blocks = [
        restored(*row) for row in rows_of(batches.at(step) for step in range(2 * 100 // 7 + 1))
    ]
    for epoch in (blocks[:100], blocks[100:200]):
        tokens = sorted(token for block in epoch for token in block)
        assert tokens == list(range(tokens[0], tokens[0] + 4000))


def test_a_batch_depends_on_seed_and_step_alone():
    straight = [denoising().at(step) for step in range(30)]
    for step in (29, 3, 15):
        assert all(
            torch.equal(found, straight[step][key]) for key, found in denoising().at(step).items()
        )
    assert not torch.equal(denoising(seed=1).at(0)["input_ids"], straight[0]["input_ids"])


def test_what_is_done_to_a_block_depends_on_its_visit_and_not_on_its_batch():
    one, other = denoising(batch_size=4), denoising(batch_size=10)
    first, second = seen(one, range(25)), seen(one, range(25, 50))
    assert seen(other, range(10)) == first
    assert seen(other, range(10, 20)) == second
    cut = [[len(row[0]) for row in epoch.values()] for epoch in (first, second)]
    assert cut[0] != cut[1]


def test_validation_is_the_same_every_time_and_the_same_in_parts():
    batches = denoising()
    whole = list(rows_of(batches.in_order()))
    batches.at(57)
    assert list(rows_of(batches.in_order())) == whole
    parts = [list(rows_of(batches.validation(part, 3))) for part in range(3)]
    assert sorted(row for part in parts for row in part) == sorted(whole)


def test_a_step_covers_the_blocks_that_it_read():
    batches = denoising()
    wanted = {(block[0] - FIRST_WORD, block[0] - FIRST_WORD + 40) for block in seen(batches, [5])}
    assert set(batches.records_of_step(5)) == wanted
    assert (batches.num_items, batches.mean_item_tokens) == (100, 40)


def test_too_little_text_is_one_line():
    with pytest.raises(DataError, match="has 39 tokens, less than one block of 40"):
        denoising(39)
