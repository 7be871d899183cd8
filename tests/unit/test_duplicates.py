"""Near duplicates against exact Jaccard, contamination, and who stays."""

import itertools
import random
import time

import numpy as np
import pytest
from conftest import params_of

from wordmill.cleaning.characters import Characters, ngrams
from wordmill.cleaning.cleaning import Cleaning
from wordmill.cleaning.contamination import HeldOutRuns, may_be_held_out, without_leaks
from wordmill.cleaning.minhash import jaccard, sketches
from wordmill.data.records import (
    Document,
    Pair,
    RecordWriter,
    document,
    pair,
    read_records,
    write_records,
)
from wordmill.progress import Progress

NEAR = params_of("clean").near_duplicates
NO_LENGTH = params_of("clean").length.model_copy(
    update={"min_source_chars": 1, "min_target_chars": 1}
)
WORDS = ["".join(w) for w in itertools.product("bdfgklmnprst", "aeiou", "dlmnrst", "aeiou")]


def cleaned(tmp_path, records, **changes):
    """What is kept and dropped of (split, record) pairs, and the report."""
    params = params_of("clean").model_copy(update=changes)
    source, out = tmp_path / "in", tmp_path / "out"
    for folder in (source, out, out / "work"):
        folder.mkdir()
    write_records(source, records)
    dropped = []
    with RecordWriter(out) as writer:
        cleaning = Cleaning(
            source, out / "work", params, seed=1, on_drop=dropped.append, progress=Progress("test")
        )
        cleaning.run(writer)
    kept = {
        split: [*read_records(out, Document, split), *read_records(out, Pair, split)]
        for split in ("train", "validation", "test")
    }
    return kept, dropped, cleaning.tally.report({"sources": []})


def edited(words, share, draw):
    """A copy with a share of the words changed."""
    return [draw.choice(WORDS) if draw.random() < share else word for word in words]


def pairs_of_texts(count, *, seed):
    draw = random.Random(seed)
    for _ in range(count):
        words = draw.choices(WORDS, k=draw.randint(30, 400))
        yield " ".join(words), " ".join(edited(words, draw.uniform(0.0, 0.08), draw))


def shingles(text):
    words = text.split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def exact_jaccard(one, other):
    one, other = shingles(one), shingles(other)
    return len(one & other) / len(one | other)


def test_jaccard_of_sketches_is_the_exact_one():
    for one, other in pairs_of_texts(40, seed=1):
        sketch = sketches(Characters([one, other]), np.zeros(2, np.uint64), NEAR)
        parts = np.split(sketch.shingles, sketch.first_of[1:-1])
        assert jaccard(*parts) == pytest.approx(exact_jaccard(one, other), abs=1e-6)


def test_recall_and_false_positives_against_exact_jaccard(tmp_path):
    couples = list(pairs_of_texts(1500, seed=2))
    records = [
        ("train", document(text, origin="s", number=number, side=side))
        for number, couple in enumerate(couples)
        for side, text in enumerate(couple)
    ]
    _, dropped, _ = cleaned(tmp_path, records)
    gone = {drop.id for drop in dropped}
    is_alike = [exact_jaccard(*couple) >= NEAR.min_jaccard for couple in couples]
    is_found = [document(other, origin="s").id in gone for _, other in couples]
    found = sum(a and f for a, f in zip(is_alike, is_found, strict=True))
    wrong = sum(f and not a for a, f in zip(is_alike, is_found, strict=True))
    assert 400 < sum(is_alike) < 1100
    assert found >= 0.95 * sum(is_alike)
    assert wrong <= 0.01 * sum(is_found)
    assert not any(document(one, origin="s").id in gone for one, other in couples if one != other)


def sentences(count, *, seed):
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=20)).capitalize() + "." for _ in range(count)]


def test_held_out_text_stays_and_training_text_goes(tmp_path):
    one, two, three, four = (" ".join(sentences(5, seed=s)) for s in range(4))
    records = [
        ("train", document(one, origin="a")),
        ("test", document(one, origin="b")),
        ("train", document(two + " And more.", origin="a")),
        ("validation", document(two, origin="b")),
        ("train", document(three, origin="a")),
        ("train", document(three, origin="b")),
        ("train", document(four, origin="a")),
        ("train", document("Oh! " + four, origin="b")),
    ]
    kept, dropped, report = cleaned(tmp_path, records)
    assert [d.text for d in kept["test"]] == [one]
    assert [d.text for d in kept["validation"]] == [two]
    assert [d.text for d in kept["train"]] == [three, four]
    assert sorted(drop.reason for drop in dropped) == [
        *["duplicate", "duplicate_of_held_out", "near_duplicate", "near_duplicate_of_held_out"]
    ]
    assert report["documents"]["train"] == {
        "read": 6,
        "kept": 2,
        "dropped": dict.fromkeys(report["documents"]["train"]["dropped"], 1),
    }


def test_leaked_sentences_are_cut_out_of_documents(tmp_path):
    own, held_out = sentences(12, seed=5), sentences(3, seed=6)
    leaky = " ".join([*own[:6], held_out[1], *own[6:]])
    records = [
        ("train", document(leaky, origin="s")),
        ("train", document(held_out[2], origin="s")),
        ("train", document(" ".join(sentences(9, seed=7)), origin="s")),
        ("test", document(" ".join(held_out), origin="s")),
    ]
    kept, dropped, report = cleaned(tmp_path, records)
    assert kept["train"][0].text == " ".join(own)
    assert len(kept["train"]) == 2
    assert [(drop.reason, drop.id) for drop in dropped] == [
        ("contaminated", document(held_out[2], origin="s").id)
    ]
    assert report["leaks_cut"] == {"documents": 1, "chars": len(held_out[1]) + 1}


def test_leaked_targets_of_pairs_go_whole(tmp_path):
    own, held_out = sentences(20, seed=8), sentences(3, seed=9)
    records = [
        ("train", pair(" ".join(own[:6]), held_out[0], task="summarize", origin="s")),
        ("train", pair(" ".join(own[6:12]), own[0], task="summarize", origin="s")),
        ("test", pair(" ".join(own[12:]), held_out[0], task="summarize", origin="s")),
    ]
    kept, dropped, _ = cleaned(tmp_path, records)
    assert [p.target for p in kept["train"]] == [own[0]]
    assert [drop.reason for drop in dropped] == ["contaminated"]


def test_a_leak_in_chinese_is_found(tmp_path):
    leak = "河边有一座很老的磨坊水车日夜不停地转着。"
    own = "秦川雄帝宅，函谷壯皇居。綺殿千尋起，離宮百雉餘。連甍遙接漢，飛觀迥凌虛。"
    records = [
        ("train", document(own + leak, origin="s")),
        ("test", document("前面的话不一样。" + leak + "后面也不一样的话。", origin="s")),
    ]
    kept, _, report = cleaned(tmp_path, records)
    assert [d.text for d in kept["train"]] == [own]
    assert report["leaks_cut"]["documents"] == 1


def test_questions_on_one_text_are_no_duplicates(tmp_path):
    text, (other, *_) = " ".join(sentences(8, seed=10)), sentences(1, seed=11)
    asked = [("who?", "the miller"), ("where?", "at the river"), ("who?", "the miller again")]
    records = [
        ("train", pair(text, answer, task="answer", ask=ask, origin="s")) for ask, answer in asked
    ]
    turns = [other, *sentences(9, seed=12)]
    for place in range(5, 10):  # each history is most of the next one
        said = "\n".join(turns[:place])
        records.append(("train", pair(said, turns[place][:90], task="dialogue", origin="s")))
    kept, dropped, _ = cleaned(tmp_path, records)
    assert len(kept["train"]) == 7
    assert [drop.reason for drop in dropped] == ["duplicate"]


def test_a_contaminated_row_takes_no_clean_one_with_it(tmp_path):
    own, (leak, *_) = sentences(30, seed=13), sentences(1, seed=14)
    first = " ".join([*own, leak])
    second = " ".join([*own, "A clean end."])
    records = [
        ("train", document(first, origin="s")),
        ("train", document(second, origin="s")),
        ("test", document(leak, origin="s")),
    ]
    kept, dropped, _ = cleaned(tmp_path, records)
    assert [d.text for d in kept["train"]] == [second]
    assert [drop.reason for drop in dropped] == ["near_duplicate"]


def test_held_out_runs_are_exact(tmp_path):
    draw = np.random.default_rng(1)
    held_out = draw.integers(0, 2**63, 5000).astype(np.uint64)
    runs = HeldOutRuns(tmp_path / "runs")
    runs.add_held_out(held_out[:3000])
    runs.add_held_out(held_out[3000:])
    runs.close_held_out()
    training = draw.integers(0, 2**63, 20_000).astype(np.uint64)
    training[::100] = held_out[:200]
    possible = may_be_held_out(runs.table, training)
    assert possible[::100].all()
    assert possible.mean() < 0.02
    runs.add_training(training[possible], np.flatnonzero(possible))
    leaks = runs.leaks()
    assert leaks.rows.tolist() == list(range(0, 20_000, 100))
    assert set(leaks.runs.tolist()) == set(held_out[:200].tolist())


def test_nothing_leaked_nothing_cut():
    text = "One sentence of the text. And is there another one?\n\nA third, it seems, ends it."
    assert without_leaks(text, np.empty(0, np.uint64), ngram_words=13) == text
    runs = ngrams(Characters([text]).words, 3).hashes[:1]
    assert without_leaks(text, runs[:0], ngram_words=3) == text


def test_empty_records_are_fine(tmp_path):
    kept, dropped, report = cleaned(tmp_path, [])
    assert (list(itertools.chain(*kept.values())), dropped) == ([], [])
    assert report["documents"]["train"] == {"read": 0, "kept": 0, "dropped": {}}


def test_what_every_pair_is_asked_is_no_leak(tmp_path):
    labels = ", ".join(" ".join(sentences(3, seed=15)).split()[:20])
    texts = sentences(12, seed=16)
    records = [
        (
            "test" if place < 2 else "train",
            pair(text, "mill", task="classify", ask=labels, origin="s"),
        )
        for place, text in enumerate(texts)
    ]
    kept, dropped, _ = cleaned(tmp_path, records, length=NO_LENGTH)
    assert (len(kept["train"]), dropped) == (10, [])


def test_contaminated_texts_are_duplicates_as_well(tmp_path):
    own, (leak, other) = sentences(30, seed=17), sentences(2, seed=18)
    leaky = " ".join([*own, leak])
    records = [
        *[("train", document(leaky, origin="s", copy=copy)) for copy in range(3)],
        ("train", document(leaky + " The end.", origin="s")),
        ("train", document(" ".join([*own[:20], leak]), origin="s")),
        ("train", document(" ".join(own[:20]), origin="s")),  # what the one above is cut to
        ("train", document(other, origin="s")),
        ("test", document(leak, origin="s")),
    ]
    kept, dropped, _ = cleaned(tmp_path, records)
    assert [d.text for d in kept["train"]] == [" ".join(own), " ".join(own[:20]), other]
    reasons = sorted(drop.reason for drop in dropped)
    assert reasons == ["duplicate", "duplicate", "near_duplicate", "near_duplicate"]


def test_a_cut_text_that_is_not_new_goes(tmp_path):
    own, leaks = sentences(6, seed=19), sentences(20, seed=20)
    records = [
        ("train", document(" ".join(own), origin="s")),
        ("train", document(" ".join([*own, *leaks]), origin="s")),
        ("test", document(" ".join(leaks), origin="s")),
    ]
    kept, dropped, _ = cleaned(tmp_path, records)
    assert [d.text for d in kept["train"]] == [" ".join(own)]
    assert [drop.reason for drop in dropped] == ["duplicate"]


def test_a_clean_pair_stays_where_a_leaked_one_asks_the_same(tmp_path):
    (source, leak, clean) = sentences(3, seed=21)
    records = [
        ("train", pair(source, leak, task="answer", ask="who?", origin="s")),
        ("train", pair(source, clean, task="answer", ask="who?", origin="s")),
        ("test", document(leak, origin="s")),
    ]
    kept, _, _ = cleaned(tmp_path, records)
    assert [p.target for p in kept["train"]] == [clean]


def test_short_held_out_texts_leave_training_text_of_either_kind(tmp_path):
    source, target, other = (" ".join(s.split()[:9]) for s in sentences(3, seed=22))
    records = [
        ("test", pair(source, target, task="translate", ask="German", origin="s")),
        ("train", document(target, origin="s")),
        ("train", document(source, origin="s")),
        ("train", document(other, origin="s")),
        ("train", pair(target, source, task="translate", ask="English", origin="s")),
    ]
    kept, dropped, _ = cleaned(tmp_path, records, length=NO_LENGTH)
    assert [d.text for d in kept["train"]] == [other]
    assert {drop.reason for drop in dropped} == {"contaminated"}


def test_characters_are_counted_as_they_were_given(tmp_path):
    long = "mill " * 50_000
    _, dropped, report = cleaned(tmp_path, [("train", document(long, origin="s"))])
    assert [drop.reason for drop in dropped] == ["too_long"]
    assert report["documents"]["chars"] == {"read": len(long), "kept": 0}


def test_cutting_costs_no_more_than_the_text_is_long():
    def seconds(size):
        started = time.process_time()
        without_leaks("mill " * 20 + "." * size, np.zeros(1, np.uint64), ngram_words=13)
        return time.process_time() - started

    assert seconds(80_000) < 16 * max(seconds(10_000), 0.01)


def test_rows_are_the_same_for_any_number_of_workers(tmp_path, monkeypatch):
    records = [
        ("train", document(t, origin="s")) for couple in pairs_of_texts(300, seed=3) for t in couple
    ]
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = cleaned(tmp_path / "one", records)
    monkeypatch.setattr("wordmill.cleaning.cleaning._SMALL_BYTES", 0)
    monkeypatch.setattr("wordmill.data.records._MAX_GROUP_CHARS", 20_000)
    assert cleaned(tmp_path / "two", records) == one
