from itertools import pairwise

import numpy as np
import pytest
from conftest import small_texts, small_tokenizer, tokenize_params

from wordmill.data.records import document, pair, write_records
from wordmill.errors import DataError, ParamsError, TryAgainError
from wordmill.models.folder import load_tokenizer
from wordmill.progress import Progress
from wordmill.tasks import KEEPS_END, TASKS, cue
from wordmill.tokens import checkpoint, store
from wordmill.tokens.checkpoint import from_checkpoint
from wordmill.tokens.choosing import TrainingText
from wordmill.tokens.encoding import PlainEncoder
from wordmill.tokens.making import make_tokenizer
from wordmill.tokens.packing import num_records, pack
from wordmill.tokens.prompts import Prompts, Request, request
from wordmill.tokens.store import TokenFolder, TokenWriter, describe, ids_type
from wordmill.tokens.tokenizer import (
    END,
    PAD,
    UNKNOWN,
    encode_batch,
    end_id,
    fingerprint,
    num_ids,
    pad_id,
)

TEXTS = small_texts(200, seed=3)
CHINESE = ["床前明月光，疑是地上霜。", "舉頭望明月，低頭思故鄉。"] * 20
KINDS = ("byte-bpe", "unigram", "word", "char")
ODD_TEXTS = (
    "The miller.",
    "  two  spaces\n\ttab",
    "中文，标点。",
    "é🙂\x00",
    "",
    END,
    PAD,
    "<|a|>",
)


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer(TEXTS)


def made(kind, **changes):
    texts = [*TEXTS, *CHINESE]
    return small_tokenizer(texts, **{"kind": kind, "min_frequency": 1, **changes})


@pytest.fixture(scope="module")
def tokenizers():
    return {kind: made(kind) for kind in KINDS}


def decoded(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize("kind", ["byte-bpe", "unigram"])
@pytest.mark.parametrize("text", ODD_TEXTS)
def test_every_text_comes_back_from_bytes(tokenizers, kind, text):
    (ids,) = encode_batch(tokenizers[kind], [text])
    assert decoded(tokenizers[kind], ids) == text


@pytest.mark.parametrize("kind", ["word", "char"])
@pytest.mark.parametrize("text", [*TEXTS[:3], " ".join(TEXTS[:2]), CHINESE[0], ""])
def test_known_words_and_characters_come_back(tokenizers, kind, text):
    (ids,) = encode_batch(tokenizers[kind], [text])
    assert decoded(tokenizers[kind], ids) == text


def test_a_han_character_is_a_word_and_so_is_a_word_with_its_space(tokenizers):
    (ids,) = encode_batch(tokenizers["word"], ["The miller 明月光，"])
    pieces = [decoded(tokenizers["word"], [number]) for number in ids]
    assert pieces == ["The", " miller", UNKNOWN, "明", "月", "光", "，"]  # a lone space: never met


@pytest.mark.parametrize("kind", ["word", "char"])
def test_what_was_never_met_is_unknown(tokenizers, kind):
    (ids,) = encode_batch(tokenizers[kind], ["龘"])
    assert ids == [tokenizers[kind].unk_token_id]


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_in_a_text_are_plain_text(tokenizers, kind):
    found = tokenizers[kind]
    own = set(found.all_special_ids) - {found.unk_token_id}
    for text in (END, PAD, f"a {END} b{PAD}", "<|endoftext|><|endoftext|>"):
        (ids,) = encode_batch(found, [text])
        assert not own & set(ids)
        assert not own & set(found(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("kind", KINDS)
def test_training_twice_gives_the_same_tokenizer(tokenizers, kind):
    assert fingerprint(made(kind)) == fingerprint(tokenizers[kind])
    other = made(kind, special_tokens=["<|a|>"])
    assert fingerprint(other) != fingerprint(tokenizers[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_tokenizer_is_the_same(tokenizers, kind, tmp_path):
    tokenizers[kind].save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert fingerprint(loaded) == fingerprint(tokenizers[kind])
    assert loaded("a" + END)["input_ids"] == tokenizers[kind]("a" + END)["input_ids"]
    with pytest.raises(DataError, match="tokenizer can't be loaded"):
        load_tokenizer(tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["byte-bpe", "unigram", "word"])
def test_digits_are_split_where_wanted(kind):
    texts = ["in 1999 and 1999"] * 50
    split = small_tokenizer(texts, kind=kind, split_digits=True)
    whole = small_tokenizer(texts, kind=kind)
    (apart,), (together,) = (encode_batch(t, ["1999"]) for t in (split, whole))
    assert [decoded(split, [number]) for number in apart] == ["1", "9", "9", "9"]
    assert kind == "unigram" or len(together) < 4  # it finds no use for a longer piece
    (ids,) = encode_batch(split, texts[:1])
    assert decoded(split, ids) == texts[0]


def test_more_special_tokens_have_an_id_of_their_own():
    found = small_tokenizer(TEXTS, special_tokens=["<|speaker|>"])
    number = found.convert_tokens_to_ids("<|speaker|>")
    assert number == 2
    assert number not in encode_batch(found, ["<|speaker|>"])[0]
    assert decoded(found, [number]) == "<|speaker|>"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"kind": "checkpoint"}, "needs checkpoint"),
        ({"checkpoint": "x"}, "must be null for kind byte-bpe"),
        ({"vocab_size": 299}, "must be at least 300"),
        ({"special_tokens": ["<|a|>"], "vocab_size": 300}, "must be at least 301"),
        ({"special_tokens": [END]}, "is there already"),
        ({"special_tokens": ["<|a|>", "<|a|>"]}, "given twice"),
        ({"special_tokens": ["word"]}, "match pattern"),
        ({"kind": "checkpoint", "checkpoint": "x", "split_digits": True}, "must be false"),
    ],
)
def test_params_that_do_not_go_together_are_refused(changes, expected):
    with pytest.raises(ValueError, match=expected):
        tokenize_params(**changes)


def checkpoint_params(folder, **changes):
    return tokenize_params(kind="checkpoint", checkpoint=str(folder), **changes)


def test_a_checkpoints_tokenizer_keeps_its_ids(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    found = from_checkpoint(checkpoint_params(tmp_path), context_tokens=32)
    assert fingerprint(found) == fingerprint(tokenizer)
    assert (end_id(found), pad_id(found)) == (end_id(tokenizer), pad_id(tokenizer))
    assert found.model_max_length == 32
    more = from_checkpoint(
        checkpoint_params(tmp_path, special_tokens=["<|new|>"]), context_tokens=32
    )
    assert num_ids(more) == num_ids(tokenizer) + 1


def test_a_checkpoint_without_padding_pads_with_its_end(tmp_path):
    found = small_tokenizer(TEXTS)
    found.pad_token = None
    found.save_pretrained(tmp_path)
    loaded = from_checkpoint(checkpoint_params(tmp_path), context_tokens=32)
    assert pad_id(loaded) == end_id(loaded)


def test_checkpoints_that_cannot_be_used_are_one_line(tmp_path, monkeypatch):
    from transformers import ByT5Tokenizer

    slow, endless = tmp_path / "slow", tmp_path / "endless"
    ByT5Tokenizer().save_pretrained(slow)
    without_end = small_tokenizer(TEXTS)
    without_end.eos_token = None
    without_end.save_pretrained(endless)
    (tmp_path / "empty").mkdir()

    def away(*_, **__):
        raise OSError("We couldn't connect\nand more") from ConnectionError("no route")

    def load(name):
        from_checkpoint(checkpoint_params(name), context_tokens=32)

    for name, error, expected in (
        (slow, ParamsError, "has no fast form"),
        (endless, ParamsError, "has no end-of-sequence token"),
        (tmp_path / "empty", DataError, "can't be loaded"),
        ("./nothing", DataError, "no folder with a tokenizer here"),
    ):
        with pytest.raises(error, match=expected) as caught:
            load(name)
        assert "\n" not in str(caught.value)
    monkeypatch.setattr(checkpoint.AutoTokenizer, "from_pretrained", away)
    with pytest.raises(TryAgainError, match=r"couldn't connect$"):
        load("some/name")


def test_16_bits_where_the_vocabulary_allows():
    assert ids_type(65536) is np.uint16
    assert ids_type(65537) is np.uint32


def test_token_files_come_back_and_know_their_tokenizer(tmp_path):
    with TokenWriter(tmp_path, "pairs.train", vocab_size=70_000) as writer:
        for ids, prompts, lengths in (([1, 2, 69_999, 3], [3], [4]), ([4, 5, 6], [1], [3])):
            writer.add_pairs(
                np.array(ids, np.uint32),
                prompt_lengths=np.array(prompts),
                lengths=np.array(lengths),
            )
    describe(tmp_path, vocab_size=70_000, tokenizer_fingerprint="abc")
    tokens = TokenFolder(tmp_path, tokenizer_fingerprint="abc")
    assert tokens.ids("pairs.train").tolist() == [1, 2, 69_999, 3, 4, 5, 6]
    assert tokens.spans("pairs.train").tolist() == [[0, 3, 4], [4, 5, 7]]
    with pytest.raises(DataError, match="come from tokenizer abc, the model has xyz"):
        TokenFolder(tmp_path, tokenizer_fingerprint="xyz")


@pytest.mark.parametrize("kind", KINDS)
def test_packing_loses_no_token(tokenizers, kind, tmp_path):
    tokenizer, params = tokenizers[kind], tokenize_params(kind=kind)
    documents = [document(text, origin="s", language="en") for text in TEXTS]
    documents += [document(text, origin="s", language="zh") for text in CHINESE[:2]]
    pairs = [pair(t, t[:9], task="answer", ask="Who?", origin="s") for t in TEXTS[:20]]
    write_records(tmp_path, [*(("train", d) for d in documents), *(("test", p) for p in pairs)])
    assert num_records(tmp_path) == len(documents) + 20
    report = pack(tmp_path, tmp_path, tokenizer, params, progress=Progress("test")).report
    tokens = TokenFolder(tmp_path, tokenizer_fingerprint=fingerprint(tokenizer))
    text = decoded(tokenizer, tokens.ids("documents.train").astype(int).tolist())
    assert text == END + END.join(d.text for d in documents) + END
    assert report["documents"]["train"]["tokens"] == len(tokens.ids("documents.train"))
    assert set(report["languages"]) == {"en", "zh", "und"}
    in_languages = sum(report["languages"][name]["tokens"] for name in ("en", "zh"))
    assert in_languages == report["documents"]["train"]["tokens"] - len(documents) - 1
    assert len(tokens.spans("pairs.test")) == 20
    assert tokens.ids("documents.validation").tolist() == [end_id(tokenizer)]
    assert tokens.spans("pairs.validation").shape == (0, 3)


def test_the_report_knows_what_is_unknown_and_what_is_long(tokenizers, tmp_path):
    write_records(tmp_path, [("train", document("明月龘龘", origin="s"))])
    params = tokenize_params(kind="char")
    found = pack(tmp_path, tmp_path, tokenizers["char"], params, progress=Progress("test"))
    assert found.report["unknown_rate"] == 0.4  # the end token counts
    assert found.vocabulary["encoder"] == "tokenizers"
    sizes = [entry["bytes"] for entry in found.vocabulary["longest_tokens"]]
    assert sizes == [3] * 10


def packed_ids(folder, tokenizer, records):
    write_records(folder, records)
    report = pack(folder, folder, tokenizer, tokenize_params(), progress=Progress("test")).report
    tokens = TokenFolder(folder, tokenizer_fingerprint=fingerprint(tokenizer))
    return tokens, report


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_weight_repeats_training_records_alone(tokenizer, tmp_path, split):
    weighted = [document(f"{t} b", origin="s", weight=2.5) for t in TEXTS]
    records = [(split, document(t, origin="s")) for t in TEXTS] + [(split, d) for d in weighted]
    tokens, report = packed_ids(tmp_path, tokenizer, records)
    texts = decoded(tokenizer, tokens.ids(f"documents.{split}").tolist()).split(END)[1:-1]
    counts = {text: texts.count(text) for text in {*texts}}
    repeats = [counts[d.text] for d in weighted]
    assert {counts[t] for t in TEXTS} == {1}
    assert report["documents"][split]["weighted"] == (200 if split == "train" else 0)
    if split == "train":
        assert set(repeats) == {2, 3}
        assert 0.4 < np.mean(repeats) - 2 < 0.6
        assert texts[:400] == [*TEXTS, *(d.text for d in weighted)]  # copies come after all
    else:
        assert set(repeats) == {1}


def test_half_a_weight_keeps_half_of_the_pairs(tokenizer, tmp_path):
    def half(text):
        return pair(text, text[:5], task="summarize", origin="s", weight=0.5)

    tokens, _ = packed_ids(tmp_path, tokenizer, [("train", half(text)) for text in TEXTS])
    assert 75 < len(tokens.spans("pairs.train")) < 125


def record_of(tokens, name, place):
    (found,) = tokens.record_ids(name, [(place, place + 1)])
    return found


@pytest.mark.parametrize("chunk_tokens", [1 << 24, 1, 7])
def test_every_token_of_a_document_knows_its_record(tokenizer, tmp_path, monkeypatch, chunk_tokens):
    monkeypatch.setattr(store, "_CHUNK_TOKENS", chunk_tokens)
    documents = [document(t, origin="s", weight=1 + i % 3 / 2) for i, t in enumerate(TEXTS[:40])]
    tokens, _ = packed_ids(tmp_path, tokenizer, [("train", d) for d in documents])
    ids = tokens.ids("documents.train").tolist()
    text_of = {d.id: d.text for d in documents}
    ends = [i for i, token in enumerate(ids) if token == end_id(tokenizer)]
    assert len(ends) - 1 > len(documents)  # some are there twice
    for before, end in pairwise(ends):
        found = {record_of(tokens, "documents.train", place) for place in (before + 1, end)}
        (record,) = found
        assert text_of[record] == decoded(tokenizer, ids[before + 1 : end])
    assert text_of[record_of(tokens, "documents.train", 0)] == TEXTS[0]
    everything = tokens.record_ids("documents.train", [(0, len(ids) + 9)])
    assert everything == [d.id for d in documents]


def test_a_range_names_all_its_documents_once_in_order(tokenizer, tmp_path):
    documents = [document(t, origin="s") for t in TEXTS[:9]]
    tokens, _ = packed_ids(tmp_path, tokenizer, [("test", d) for d in documents])
    ids = tokens.ids("documents.test").tolist()
    ends = [i for i, token in enumerate(ids) if token == end_id(tokenizer)]
    wanted = [documents[i].id for i in (5, 6, 7, 1)]
    ranges = [(ends[5] + 3, ends[7] + 4), (ends[1] + 1, ends[1] + 2), (ends[6] + 1, ends[7])]
    assert tokens.record_ids("documents.test", ranges) == wanted
    assert tokens.record_ids("documents.test", []) == []
    assert tokens.record_ids("documents.test", [(len(ids), len(ids) + 5)]) == []
    assert tokens.record_ids("documents.validation", [(5, 9)]) == []


def test_every_token_of_a_pair_knows_its_record(tokenizer, tmp_path):
    pairs = [
        pair(t, t[:5], task="summarize", origin="s", weight=0.5 + i % 3)
        for i, t in enumerate(TEXTS[:40])
    ]
    tokens, _ = packed_ids(tmp_path, tokenizer, [("train", p) for p in pairs])
    ids, source_of = tokens.ids("pairs.train").tolist(), {p.id: p.source for p in pairs}
    spans = tokens.spans("pairs.train").tolist()
    for start, _, stop in spans:
        (record,) = {record_of(tokens, "pairs.train", place) for place in range(start, stop)}
        prompt = decoded(tokenizer, ids[start:stop])
        assert prompt.startswith(f"{END}{source_of[record][:20]}")
    (first, _, _), (_, _, last) = spans[2], spans[3]
    both = [record_of(tokens, "pairs.train", place) for place in (first, last - 1)]
    assert tokens.record_ids("pairs.train", [(first, last)]) == both


def making(folder, **changes):
    params = tokenize_params(**changes)
    return make_tokenizer(folder, params, context_tokens=64, progress=Progress("test"))


def test_without_training_text_there_is_no_tokenizer(tmp_path):
    write_records(tmp_path, [("test", document("held out", origin="s"))])
    with pytest.raises(DataError, match="no training text is left"):
        making(tmp_path)


def test_a_tokenizer_learns_from_training_text_alone(tmp_path):
    train = [("train", document(text, origin="s")) for text in TEXTS]
    found = []
    for held_out in ("held out", "zzzz qqqq zzzz qqqq " * 50):
        write_records(tmp_path, [*train, ("test", document(held_out, origin="s"))])
        found.append(fingerprint(making(tmp_path).tokenizer))
    assert found[0] == found[1]


def test_at_most_so_much_training_text_is_chosen_evenly(tmp_path):
    write_records(tmp_path, [("train", document(text, origin="s")) for text in TEXTS])
    size = sum(map(len, TEXTS))
    part = TrainingText(tmp_path, max_bytes=size // 2, progress=Progress("test"))
    chosen = list(part)
    assert 0.35 * size < sum(map(len, chosen)) == part.num_bytes <= size // 2
    assert chosen == list(part)
    places = [TEXTS.index(text) for text in chosen]
    assert 60 < np.mean(places) < 140
    assert making(tmp_path).training_bytes == size


@pytest.fixture(scope="module")
def encoder(tokenizer):
    return PlainEncoder(tokenizer)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("ask", ["", "German"])
def test_a_prompt_is_end_source_and_cue(tokenizer, encoder, task, ask):
    (ids,) = Prompts(encoder, max_source_tokens=99).encode([Request(task, "A text.", ask)])
    found = cue(task, is_asking=bool(ask))
    assert decoded(tokenizer, ids) == f"{END}A text.{found.before}{ask}{found.after}"


@pytest.mark.parametrize("task", TASKS)
def test_a_cut_source_keeps_its_cue(tokenizer, encoder, task):
    (ids,) = Prompts(encoder, max_source_tokens=5).encode([Request(task, TEXTS[0])])
    source, whole = ids[1:6], encode_batch(tokenizer, [TEXTS[0]])[0]
    assert source == (whole[-5:] if task in KEEPS_END else whole[:5])
    assert decoded(tokenizer, ids[6:]) == cue(task, is_asking=False).after


def test_what_is_asked_has_half_of_the_room_at_most(tokenizer, encoder):
    prompts = Prompts(encoder, max_source_tokens=8)
    long, short = prompts.encode(
        [Request("answer", TEXTS[0], TEXTS[1]), Request("answer", TEXTS[0], "W")]
    )
    ask_ids = encode_batch(tokenizer, [f" {TEXTS[1]}"])[0][:4]
    source_ids = encode_batch(tokenizer, [TEXTS[0]])[0]
    asking = cue("answer", is_asking=True)
    before, after = encode_batch(tokenizer, [asking.before.rstrip(), asking.after])
    assert long == [end_id(tokenizer), *source_ids[:4], *before, *ask_ids, *after]
    short_ask = encode_batch(tokenizer, [" W"])[0]
    source = source_ids[: 8 - len(short_ask)]
    assert short == [end_id(tokenizer), *source, *before, *short_ask, *after]


def test_targets_are_cut_and_ended_and_cuts_are_counted(tokenizer, encoder):
    prompts = Prompts(encoder, max_source_tokens=5)
    asked = [Request("summarize", "A"), Request("summarize", TEXTS[0]), Request("write", "B")]
    found = prompts.with_targets(asked, ["The", TEXTS[0], TEXTS[1]], max_target_tokens=3)
    rows = found.ids.as_lists()
    for row, prompt, length in zip(rows, prompts.encode(asked), found.prompt_lengths, strict=True):
        assert row[:length] == prompt
    targets = [row[n:] for row, n in zip(rows, found.prompt_lengths, strict=True)]
    assert decoded(tokenizer, targets[0]) == " The" + END
    assert [len(target) for target in targets[1:]] == [4, 4]
    assert all(target[-1] == end_id(tokenizer) for target in targets)
    assert (found.num_prompts_cut, found.num_targets_cut) == (1, 2)


def test_training_and_generation_build_the_same_prompt(tokenizer, tmp_path):
    asked = pair(TEXTS[0], "x", task="translate", ask="German", origin="s")
    tokens, _ = packed_ids(tmp_path, tokenizer, [("train", asked)])
    prompts = Prompts(PlainEncoder(tokenizer), max_source_tokens=32)
    (wanted,) = prompts.encode([request("translate", TEXTS[0], "German")])
    start, target, _ = tokens.spans("pairs.train")[0]
    assert tokens.ids("pairs.train")[start:target].tolist() == wanted


def test_a_request_has_a_known_task():
    assert request("translate", "x") == Request("translate", "x", "")
    assert request("answer", "x", "y") == Request("answer", "x", "y")
    with pytest.raises(ParamsError, match="got 'sing'; allowed: write, summarize"):
        request("sing", "x")
