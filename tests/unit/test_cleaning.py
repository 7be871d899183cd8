import pytest
from conftest import SMALL_PARAMS

from wordmill.data.cleaning import Cleaning, letter_fraction, normalize
from wordmill.data.records import Document, Pair, document, pair, write_records
from wordmill.params.clean import CleanParams
from wordmill.progress import Progress

PARAMS = CleanParams(**SMALL_PARAMS["clean"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("e\u0301", "é"),
        ("a\x00b\u200b\ufeffc\u00add", "abcd"),
        ("a  \t\nb\n\n\n\n\nc  \n", "a\nb\n\nc"),
        ("  indented", "  indented"),
        ("क्\u200dष می\u200cخواهم", "क्\u200dष می\u200cخواهم"),
        ("", ""),
    ],
)
def test_normalize(text, expected):
    assert normalize(text, unicode_form="NFC") == expected
    assert normalize(expected, unicode_form="NFC") == expected


def test_nfkc_folds_full_width_forms():
    assert normalize("ＡＢＣ１", unicode_form="NFKC") == "ABC1"
    assert normalize("ＡＢＣ１", unicode_form="NFC") == "ＡＢＣ１"


@pytest.mark.parametrize(
    ("text", "expected"), [("ab 12", 0.5), ("春眠 不觉晓", 1.0), ("", 0.0), (" \n", 0.0)]
)
def test_letter_fraction(text, expected):
    assert letter_fraction(text) == expected


def clean(folder, *records):
    write_records(folder, records)
    dropped = []
    cleaning = Cleaning(folder, PARAMS, on_drop=dropped.append, progress=Progress("test"))
    kept = list(cleaning.records())
    return kept, {d.reason: d for d in dropped}, cleaning.report()


TEXT = "The miller grinds the corn at dawn."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" \x00 ", "empty"),
        ("too few", "too_short"),
        ("word " * 3000, "too_long"),
        ("=" * 30, "few_letters"),
    ],
)
def test_a_dropped_document_has_a_reason(tmp_path, text, reason):
    kept, dropped, report = clean(tmp_path, ("train", document(text, source="s")))
    assert kept == []
    assert list(dropped) == [reason]
    train = report["documents"]["train"]
    assert train == {"read": 1, "kept": 0, "dropped": {reason: 1}}


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("", "a title", "empty"),
        (TEXT, "\n", "empty"),
        ("short", "a title", "source_too_short"),
        ("long " * 300, "a title", "source_too_long"),
        (TEXT, "a", "target_too_short"),
        (TEXT, "long " * 30, "target_too_long"),
    ],
)
def test_a_dropped_pair_has_a_reason(tmp_path, source, target, reason):
    _, dropped, _ = clean(tmp_path, ("train", pair(source, target, task="summarize")))
    assert list(dropped) == [reason]


def test_texts_that_become_equal_are_kept_once_and_on_the_held_out_side(tmp_path):
    spellings = [("train", TEXT), ("train", TEXT + "  "), ("test", TEXT + "\r\n")]
    records = [(split, document(text, source="s")) for split, text in spellings]
    kept, dropped, report = clean(tmp_path, *records)
    assert [(split, record.text) for split, record in kept] == [("test", TEXT)]
    assert list(dropped) == ["duplicate_of_held_out"]
    assert report["documents"]["train"]["dropped"] == {"duplicate_of_held_out": 2}


def test_pairs_of_one_source_are_kept_once(tmp_path):
    records = [("train", pair(TEXT, title, task="summarize")) for title in ("one", "two")]
    kept, dropped, _ = clean(tmp_path, *records)
    assert [record.target for _, record in kept] == ["one"]
    assert list(dropped) == ["duplicate"]


def test_ids_follow_the_cleaned_text(tmp_path):
    kept, _, _ = clean(
        tmp_path,
        ("train", document(TEXT + "\r\n", source="s")),
        ("train", pair(TEXT + " ", "a title ", task="summarize")),
    )
    ids = {type(record): record.id for _, record in kept}
    assert ids[Document] == document(TEXT, source="s").id
    assert ids[Pair] == pair(TEXT, "a title", task="summarize").id


def test_every_record_is_kept_or_counted_as_dropped(tmp_path):
    texts = [TEXT, TEXT, "x", "", "=" * 40, *(f"{TEXT} {i}" for i in range(50))]
    _, _, report = clean(tmp_path, *(("train", document(t, source="s")) for t in texts))
    train = report["documents"]["train"]
    assert train["read"] == len(texts) == train["kept"] + sum(train["dropped"].values())
