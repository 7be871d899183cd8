import numpy as np
import pytest
from conftest import SMALL_PARAMS, small_texts

from wordmill.data.records import document, pair, write_records
from wordmill.errors import DataError, ParamsError
from wordmill.params.tokenize import TokenizeParams
from wordmill.progress import Progress
from wordmill.tasks import CUES, TASKS
from wordmill.tokens.batches import IGNORED, BlockBatches, PairBatches
from wordmill.tokens.packing import pack, train_tokenizer
from wordmill.tokens.prompts import Prompts, Request, request
from wordmill.tokens.store import TokenFolder, TokenWriter, describe, ids_type
from wordmill.tokens.tokenizer import END, encode_batch, end_id, fingerprint, train_byte_bpe

TEXTS = small_texts(200, seed=3)


@pytest.fixture(scope="module")
def tokenizer():
    return train_byte_bpe(TEXTS, vocab_size=400, min_frequency=2, context_tokens=64)


@pytest.mark.parametrize(
    "text", ["The miller.", "  two  spaces\n\ttab", "中文，标点。", "é🙂\x00", "", END]
)
def test_every_text_comes_back_from_its_ids(tokenizer, text):
    (ids,) = encode_batch(tokenizer, [text])
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


def test_training_twice_gives_the_same_tokenizer(tokenizer):
    again = train_byte_bpe(TEXTS, vocab_size=400, min_frequency=2, context_tokens=64)
    assert fingerprint(again) == fingerprint(tokenizer)
    other = train_byte_bpe(TEXTS, vocab_size=300, min_frequency=2, context_tokens=64)
    assert fingerprint(other) != fingerprint(tokenizer)


def test_a_saved_tokenizer_is_the_same(tokenizer, tmp_path):
    from wordmill.models.folder import load_tokenizer

    tokenizer.save_pretrained(tmp_path)
    assert fingerprint(load_tokenizer(tmp_path)) == fingerprint(tokenizer)
    with pytest.raises(DataError, match="tokenizer can't be loaded"):
        load_tokenizer(tmp_path / "nothing")


def test_16_bits_where_the_vocabulary_allows():
    assert ids_type(65536) is np.uint16
    assert ids_type(65537) is np.uint32


def test_token_files_come_back_and_know_their_tokenizer(tmp_path):
    with TokenWriter(tmp_path, "pairs.train", vocab_size=70_000) as writer:
        writer.add_pair([1, 2, 69_999], [3])
        writer.add_pair([4], [5, 6])
    describe(tmp_path, vocab_size=70_000, tokenizer_fingerprint="abc")
    tokens = TokenFolder(tmp_path, tokenizer_fingerprint="abc")
    assert tokens.ids("pairs.train").tolist() == [1, 2, 69_999, 3, 4, 5, 6]
    assert tokens.spans("pairs.train").tolist() == [[0, 3, 4], [4, 5, 7]]
    with pytest.raises(DataError, match="come from tokenizer abc, the model has xyz"):
        TokenFolder(tmp_path, tokenizer_fingerprint="xyz")


def test_packing_loses_no_token(tokenizer, tmp_path):
    documents = [document(text, source="s") for text in [*TEXTS, "中文"]]
    pairs = [pair(text, text[:9], task="summarize") for text in TEXTS[:20]]
    write_records(tmp_path, [*(("train", d) for d in documents), *(("test", p) for p in pairs)])
    params = TokenizeParams(**SMALL_PARAMS["tokenize"])
    report = pack(tmp_path, tmp_path, tokenizer, params, progress=Progress("test"))
    tokens = TokenFolder(tmp_path, tokenizer_fingerprint=fingerprint(tokenizer))
    text = tokenizer.decode(tokens.ids("documents.train").astype(int).tolist())
    assert text == END + END.join(d.text for d in documents) + END
    assert report["documents"]["train"]["tokens"] == len(tokens.ids("documents.train"))
    assert len(tokens.spans("pairs.test")) == 20
    assert tokens.ids("documents.validation").tolist() == [end_id(tokenizer)]
    assert tokens.spans("pairs.validation").shape == (0, 3)


def test_without_training_text_there_is_no_tokenizer(tmp_path):
    write_records(tmp_path, [("test", document("held out", source="s"))])
    with pytest.raises(DataError, match="no training text is left"):
        train_tokenizer(tmp_path, TokenizeParams(**SMALL_PARAMS["tokenize"]), context_tokens=64)


def test_a_tokenizer_learns_from_training_text_alone(tmp_path):
    params = TokenizeParams(**SMALL_PARAMS["tokenize"])
    train = [("train", document(text, source="s")) for text in TEXTS]
    found = []
    for held_out in ("held out", "zzzz qqqq zzzz qqqq " * 50):
        write_records(tmp_path, [*train, ("test", document(held_out, source="s"))])
        found.append(fingerprint(train_tokenizer(tmp_path, params, context_tokens=64)))
    assert found[0] == found[1]


def test_a_cut_source_keeps_its_cue(tokenizer):
    prompts = Prompts(tokenizer, max_source_tokens=5)
    (ids,) = prompts.encode([Request("summarize", TEXTS[0])])
    text = tokenizer.decode(ids)
    assert text.startswith(END + TEXTS[0][:3])
    assert text.endswith(CUES["summarize"])
    assert prompts.num_cut == 1


def test_a_target_is_cut_and_ended(tokenizer):
    prompts = Prompts(tokenizer, max_source_tokens=5)
    short, long = prompts.encode_targets(["The", TEXTS[0]], max_tokens=3)
    assert tokenizer.decode(short) == " The" + END
    assert len(long) == 4
    assert long[-1] == end_id(tokenizer)


def test_every_task_has_a_cue_and_others_are_refused():
    assert set(CUES) == set(TASKS)
    assert request("translate", "x") == Request("translate", "x")
    with pytest.raises(ParamsError, match="got 'sing'; allowed: write, summarize"):
        request("sing", "x")


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
    for epoch in range(len(firsts) // 100):
        assert sorted(firsts[epoch * 100 : epoch * 100 + 100]) == list(range(0, 1000, 10))


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


def pairs(lengths, *, batch_size=2, seed=0):
    spans, start = [], 0
    for prompt, target in lengths:
        spans.append([start, start + prompt, start + prompt + target])
        start += prompt + target
    ids = np.arange(1, start + 1, dtype=np.uint16)
    return PairBatches(ids, np.array(spans), pad_id=0, batch_size=batch_size, seed=seed)


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


def test_without_pairs_there_is_no_batch():
    with pytest.raises(DataError, match="no pair in this split"):
        PairBatches(np.empty(0, np.uint16), np.empty((0, 3), int), pad_id=0, batch_size=2, seed=0)
