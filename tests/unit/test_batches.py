import numpy as np
import pytest
import torch
from conftest import SMALL_PARAMS

from wordmill.errors import DataError
from wordmill.models.building import new_model
from wordmill.models.vocabulary import Vocabulary
from wordmill.params.model import ModelParams
from wordmill.tokens.batches import IGNORED, BlockBatches
from wordmill.tokens.pair_batches import PackedPairBatches, PairBatches, rows_of
from wordmill.tokens.seq2seq_batches import Seq2SeqPairBatches


def blocks(num_tokens=1001, *, batch_size=4, seed=0):
    ids = np.arange(num_tokens, dtype=np.uint16)
    return BlockBatches(ids, block_tokens=10, batch_size=batch_size, seed=seed)


def test_labels_are_the_next_tokens():
    batch = blocks().at(0)
    assert batch["input_ids"].shape == batch["labels"].shape == (4, 10)
    assert (batch["labels"] == batch["input_ids"] + 1).all()


@pytest.mark.parametrize("batch_size", [1, 4, 7, 300])
def test_every_block_is_seen_once_before_any_is_seen_again(batch_size):
    batches = blocks(batch_size=batch_size)
    firsts = [
        int(x) for s in range(900 // batch_size + 1) for x in batches.at(s)["input_ids"][:, 0]
    ]
    shifts = []
    for epoch in range(len(firsts) // 100):
        starts = sorted(firsts[epoch * 100 : epoch * 100 + 100])
        assert starts == [min(place, 990) for place in range(starts[0], starts[0] + 1000, 10)]
        shifts.append(starts[0])
    assert shifts[0] == 0
    assert len(set(shifts)) > 3  # the text is met in other pieces
    assert max(shifts) < 10


def test_a_batch_depends_on_seed_and_step_alone():
    straight = [blocks().at(step)["input_ids"] for step in range(60)]
    for step in (59, 3, 30):
        assert (blocks().at(step)["input_ids"] == straight[step]).all()
    assert not (blocks(seed=1).at(0)["input_ids"] == straight[0]).all()


def test_validation_sees_everything_once_in_order():
    firsts = [int(x) for batch in blocks(batch_size=7).in_order() for x in batch["input_ids"][:, 0]]
    assert firsts == list(range(0, 1000, 10))


def test_too_little_text_is_one_line():
    with pytest.raises(DataError, match="less than one block of 11"):
        blocks(10)


def pairs_data(lengths):
    ends = np.cumsum([prompt + target for prompt, target in lengths])
    starts = np.concatenate(([0], ends[:-1]))
    targets = starts + [prompt for prompt, _ in lengths]
    ids = np.arange(1, ends[-1] + 1, dtype=np.uint16)
    return ids, np.stack([starts, targets, ends], axis=1)


def pairs(lengths, *, batch_size=2, seed=0):
    ids, spans = pairs_data(lengths)
    return PairBatches(ids, spans, pad_id=0, batch_size=batch_size, seed=seed)


def test_the_loss_covers_the_target_alone():
    (batch,) = pairs([(3, 2), (1, 1)]).in_order()
    assert batch["input_ids"].tolist() == [[1, 2, 3, 4], [6, 0, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, IGNORED, 4, 5], [7, IGNORED, IGNORED, IGNORED]]


def test_every_pair_is_seen_once_an_epoch_and_like_lengths_together():
    lengths = [(1 + i % 50, 2) for i in range(64)]
    batches = pairs(lengths, batch_size=4)
    seen = [batches.at(step) for step in range(16)]
    starts = [int(x) for batch in seen for x in batch["input_ids"][:, 0]]
    assert len(set(starts)) == 64
    padding = sum(int((batch["input_ids"] == 0).sum()) for batch in seen)
    total = sum(batch["input_ids"].numel() for batch in seen)
    assert padding / total < 0.1


def test_a_pair_does_not_stand_beside_itself_where_there_are_few():
    found = pairs(
        [(2, 1), (2, 2), (3, 2), (4, 2)] * 5, batch_size=4
    )  # five batches: less than a whole pool
    for step in range(20):
        rows = found.records_of_step(step)
        assert len(set(rows)) == len(rows) == 4


def test_without_pairs_there_is_no_batch():
    with pytest.raises(DataError, match="no pair in this split"):
        PairBatches(np.empty(0, np.uint16), np.empty((0, 3), int), pad_id=0, batch_size=2, seed=0)


def text_with_ends(num_tokens=301, *, every=7):
    ids = np.random.default_rng(0).integers(1, 60, num_tokens).astype(np.uint16)
    ids[::every] = 0
    return ids


def test_positions_start_again_at_each_end_token():
    ids = np.array([5, 0, 6, 7, 0, 0, 8, 9, 9], dtype=np.uint16)
    batches = BlockBatches(ids, block_tokens=8, batch_size=1, seed=0, end_id=0)
    assert batches.at(0)["position_ids"].tolist() == [[0, 0, 1, 2, 0, 0, 1, 2]]


def test_positions_change_nothing_else_in_a_batch():
    ids = text_with_ends()
    plain, apart = (
        BlockBatches(ids, block_tokens=10, batch_size=4, seed=0, end_id=end).at(3)
        for end in (None, 0)
    )
    assert set(plain) == {"input_ids", "labels"}
    assert torch.equal(plain["input_ids"], apart["input_ids"])
    assert torch.equal(plain["labels"], apart["labels"])


@pytest.fixture(scope="module")
def model():
    shape = ModelParams(**SMALL_PARAMS["model"])
    return new_model(shape, Vocabulary(64, end_id=0, pad_id=1), seed=3).eval()


def logits(model, batch):
    with torch.no_grad():
        return model(
            input_ids=batch["input_ids"],
            position_ids=batch.get("position_ids"),
            use_cache=False,
        ).logits


def test_a_token_of_another_document_cannot_change_the_logits(model):
    for end, is_apart in ((0, True), (None, False)):
        ids = text_with_ends(41, every=10)
        batch = BlockBatches(ids, block_tokens=40, batch_size=1, seed=0, end_id=end).at(0)
        before = logits(model, batch)
        batch["input_ids"] = batch["input_ids"].clone()
        batch["input_ids"][0, 13] = 61  # of the second document: places 10 to 19
        after = logits(model, batch)
        assert torch.equal(before[0, :13], after[0, :13])
        assert not torch.equal(before[0, 13:20], after[0, 13:20])
        assert torch.equal(before[0, 20:], after[0, 20:]) == is_apart


def packed(lengths, *, batch_size=2, seed=0, row_tokens=16):
    ids, spans = pairs_data(lengths)
    return PackedPairBatches(
        ids, spans, pad_id=0, row_tokens=row_tokens, batch_size=batch_size, seed=seed
    )


def test_packed_pairs_are_whole_and_seen_once_an_epoch():
    draw = np.random.default_rng(1)
    lengths = [(int(p), int(t)) for p, t in draw.integers(1, 8, (50, 2))]
    batches = packed(lengths)
    ids, spans = pairs_data(lengths)
    wanted = sorted((ids[a : c - 1].tolist(), ids[b:c].tolist()) for a, b, c in spans)
    assert found_pairs(batches.in_order()) == wanted
    num_rows = sum(len(batch["input_ids"]) for batch in batches.in_order())
    one_a_step = packed(lengths, batch_size=1)
    assert found_pairs(one_a_step.at(step) for step in range(num_rows)) == wanted
    assert sum(p + t - 1 for p, t in lengths) / (num_rows * 16) > 0.9


def found_pairs(batches):
    """Inputs and targets of each pair, told apart by where positions start again."""
    found = []
    for batch in batches:
        for ids, labels, positions in zip(
            batch["input_ids"], batch["labels"], batch["position_ids"], strict=True
        ):
            used = ids != 0
            starts = [i for i in range(len(ids)) if used[i] and positions[i] == 0]
            for start, stop in zip(starts, [*starts[1:], int(used.sum())], strict=True):
                wanted = labels[start:stop]
                found.append((ids[start:stop].tolist(), wanted[wanted != IGNORED].tolist()))
    return sorted(found)


def test_packing_is_a_function_of_seed_and_lengths():
    lengths = [(1 + i % 7, 1 + i % 5) for i in range(40)]
    one, same, other = (packed(lengths, seed=seed).at(2)["input_ids"] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert one.shape != other.shape or not torch.equal(one, other)


def test_pairs_of_a_row_do_not_see_each_other(model):
    lengths = [(3, 2), (2, 4), (4, 3)]
    batch = packed(lengths, batch_size=1).at(0)
    assert batch["input_ids"].shape == (1, 15)
    together = logits(model, batch)
    starts = (batch["position_ids"][0] == 0).nonzero().flatten().tolist()
    for start, stop in zip(starts, [*starts[1:], 15], strict=True):
        alone = logits(model, {"input_ids": batch["input_ids"][:, start:stop]})
        torch.testing.assert_close(together[:, start:stop], alone)


def test_a_pair_longer_than_a_row_is_one_line():
    with pytest.raises(DataError, match="a pair takes 19 tokens, a row of the model 16"):
        packed([(10, 10)])


def test_a_sequence_goes_to_the_fullest_row_with_room():
    assert rows_of(np.array([6, 5, 4, 5, 10, 1]), 10).tolist() == [0, 1, 0, 1, 2, 3]
    assert rows_of(np.array([4, 7, 3, 2]), 10).tolist() == [0, 1, 1, 0]


def seq2seq(lengths, *, batch_size=2, seed=0):
    ids, spans = pairs_data(lengths)
    return Seq2SeqPairBatches(ids, spans, start_id=99, pad_id=0, batch_size=batch_size, seed=seed)


def test_the_encoder_reads_the_prompt_and_the_decoder_says_the_target():
    (batch,) = seq2seq([(3, 2), (1, 3)]).in_order()
    assert batch["input_ids"].tolist() == [[1, 2, 3], [6, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[4, 5, IGNORED], [7, 8, 9]]
    assert batch["decoder_input_ids"].tolist() == [[99, 4, 0], [99, 7, 8]]


def test_both_kinds_of_model_see_the_same_pairs_in_a_step():
    lengths = [(1 + i % 50, 2 + i % 3) for i in range(90)]
    for step in (0, 7, 40):
        one, other = (make(lengths, batch_size=4) for make in (pairs, seq2seq))
        assert one.records_of_step(step) == other.records_of_step(step)
        assert torch.equal(one.at(step)["input_ids"][:, 0], other.at(step)["input_ids"][:, 0])
    with pytest.raises(DataError, match="no pair in this split"):
        Seq2SeqPairBatches(
            np.empty(0, np.uint16),
            np.empty((0, 3), int),
            start_id=0,
            pad_id=0,
            batch_size=2,
            seed=0,
        )


LENGTHS = [(1 + i % 50, 2 + i % 3) for i in range(90)]
PACKABLE = [(1 + i % 9, 1 + i % 5) for i in range(90)]
OF_EVERY_KIND = {
    "blocks": lambda: blocks(batch_size=12),
    "pairs": lambda: pairs(LENGTHS, batch_size=12),
    "packed": lambda: packed(PACKABLE, batch_size=12),
    "seq2seq": lambda: seq2seq(LENGTHS, batch_size=12),
}


def rows(batches):
    """Every row as tuples of its tokens that are no padding."""
    return sorted(
        tuple(
            tuple(t for t in batch[key][i].tolist() if t not in (0, IGNORED))
            for key in ("input_ids", "labels")
        )
        for batch in batches
        for i in range(len(batch["input_ids"]))
    )


@pytest.mark.parametrize("kind", OF_EVERY_KIND)
@pytest.mark.parametrize("num_parts", [1, 3, 4, 12])
def test_the_parts_of_a_step_are_the_step(kind, num_parts):
    batches = OF_EVERY_KIND[kind]()
    for step in (0, 5):
        parts = batches.parts(step, num_parts)
        assert [len(part["input_ids"]) for part in parts] == [12 // num_parts] * num_parts
        assert rows(parts) == rows([batches.at(step)])


def test_parts_are_dealt_out_by_turns():
    first, second = blocks(batch_size=4).parts(0, 2)
    whole = blocks(batch_size=4).at(0)["input_ids"]
    assert torch.equal(first["input_ids"], whole[0::2])
    assert torch.equal(second["input_ids"], whole[1::2])


@pytest.mark.parametrize("kind", OF_EVERY_KIND)
@pytest.mark.parametrize("num_parts", [1, 2, 3, 40])
def test_validation_in_parts_is_all_of_it_batch_by_batch(kind, num_parts):
    batches = OF_EVERY_KIND[kind]()
    whole = list(batches.in_order())
    parts = [list(batches.validation(part, num_parts)) for part in range(num_parts)]
    for part, found in enumerate(parts):
        assert [rows([batch]) for batch in found] == [
            rows([batch]) for batch in whole[part::num_parts]
        ]
    assert sum(len(batch["input_ids"]) for batch in whole) == batches.num_items


@pytest.mark.parametrize(
    ("kind", "num_items", "mean"),
    [("blocks", 100, 10), ("pairs", 90, None), ("packed", None, None), ("seq2seq", 90, None)],
)
def test_items_and_their_tokens_are_counted(kind, num_items, mean):
    batches = OF_EVERY_KIND[kind]()
    whole = list(batches.in_order())
    if kind == "seq2seq":
        trained = sum(
            int(b["attention_mask"].sum() + (b["labels"] != IGNORED).sum()) for b in whole
        )
    else:
        trained = sum(int((b["input_ids"] != 0).sum()) for b in whole)
    # The first token of the blocks is 0, which elsewhere is padding.
    trained += kind == "blocks"
    assert batches.num_items == (num_items or sum(len(b["input_ids"]) for b in whole))
    assert batches.mean_item_tokens == pytest.approx(mean or trained / batches.num_items)
    assert batches.mean_item_tokens * batches.num_items == pytest.approx(trained)


@pytest.mark.parametrize("kind", OF_EVERY_KIND)
def test_a_step_knows_where_its_tokens_lie(kind):
    batches = OF_EVERY_KIND[kind]()
    ids = np.arange(1001) if kind == "blocks" else None
    lengths = PACKABLE if kind == "packed" else LENGTHS
    ids = pairs_data(lengths)[0] if ids is None else ids
    for step in (0, 3):
        batch = batches.at(step)
        read = {t for key in ("input_ids", "labels") for t in batch[key].unique().tolist()}
        told = {int(t) for a, b in batches.records_of_step(step) for t in ids[a:b]}
        assert told - {0} == read - {0, IGNORED}
