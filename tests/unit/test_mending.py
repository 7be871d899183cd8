"""What changes text: repair, HTML, boilerplate, classical preprocessing, augmentation."""

import pytest
from conftest import params_of

from wordmill.cleaning.augmentation import augmented, read_synonyms
from wordmill.cleaning.blocklist import holds_listed
from wordmill.cleaning.boilerplate import without_boilerplate
from wordmill.cleaning.classical import preprocess
from wordmill.cleaning.mending import Mended, mend
from wordmill.cleaning.repair import normalize
from wordmill.data.records import pair
from wordmill.errors import DataError
from wordmill.params.clean import AugmentParams, BoilerplateParams, ClassicalParams

CLEAN = params_of("clean")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("trailing  \nspace\t\n", "trailing\nspace"),
        ("a\n\n\n\nb", "a\n\nb"),
        ("zero\u200bwidth \ufeffmark\x00 nul\x07", "zerowidth mark nul"),
        ("e\u0301", "é"),
        ("full width ＡＢＣ", "full width ＡＢＣ"),
        ("lone \ud800 half", "lone  half"),
        ("lost \ufffd byte", "lost  byte"),
        ("keeps\ttabs and  two spaces", "keeps\ttabs and  two spaces"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_normalize(given, wanted):
    assert normalize(given, unicode_form="NFC", is_space_tidied=True) == wanted
    assert normalize(wanted, unicode_form="NFC", is_space_tidied=True) == wanted


@pytest.mark.parametrize("text", ["\nAnd  \nTwice\n\n\n\tbeing \n", "\n\n", " a "])
def test_blank_space_stays_where_wanted(text):
    assert normalize(text, unicode_form="NFC", is_space_tidied=False) == text
    assert normalize(f"\x00{text}\r\né", unicode_form="NFC", is_space_tidied=False) == f"{text}\né"


def test_nfkc_folds_full_width_forms():
    assert normalize("ＡＢＣ ﬁ", unicode_form="NFKC", is_space_tidied=True) == "ABC fi"


@pytest.mark.parametrize(
    ("given", "wanted", "step"),
    [
        ("schÃ¶n und grÃ¼n", "schön und grün", "mojibake"),
        ("<p>One <b>bold</b> word</p><script>x=1</script>", "One bold word", "html"),
        ("NUL\x00 inside", "NUL inside", "normalize"),
    ],
)
def test_each_step_says_that_it_changed_the_text(given, wanted, step):
    mended = mend(["before", given], CLEAN, is_page=True)
    assert mended.texts == ["before", wanted]
    assert mended.changed == {1: [step]}
    assert mended.samples[1].startswith(f"{step}: ")


@pytest.mark.parametrize(
    "text",
    [
        "Plain text.",
        "use the <b> tag",
        "if a < b and c > d:",
        "<b> is a tag",
        "中文。",
        "naïve café",
    ],
)
def test_clean_text_stays_as_it_is(text):
    assert mend([text], CLEAN, is_page=True) == Mended([text])


def test_samples_never_show_what_was_masked():
    mended = mend(["<p>write to joe@example.org</p>\x00"], CLEAN, is_page=True)
    assert mended.masked == {0: {"email": 1}}
    assert mended.changed == {0: ["html", "mask"]}
    assert mended.samples == {}
    assert "joe" not in mended.texts[0]


@pytest.mark.parametrize(
    "page",
    [
        '<div><a href="mailto:ann@example.org">write to us</a> about the mill by the river</div>',
        "Ann Miller, ann@example.org, answers questions\nThis is the text of the page.",
    ],
)
def test_samples_never_show_what_a_step_took_away(page):
    boilerplate = CLEAN.boilerplate.model_copy(update={"is_on": True})
    params = CLEAN.model_copy(update={"boilerplate": boilerplate})
    mended = mend([page], params, is_page=True)
    assert mended.changed[0]
    assert mended.samples == {}


def test_markdown_with_a_line_of_html_stays():
    page = "<p align='center'>logo</p>\n\n# Title\n\n- one\n- two `</div>`\n\nLast line."
    assert mend([page], CLEAN, is_page=True) == Mended([page])


def test_labels_and_answers_are_no_boilerplate():
    boilerplate = CLEAN.boilerplate.model_copy(update={"is_on": True})
    params = CLEAN.model_copy(update={"boilerplate": boilerplate})
    assert mend(["positive"], params, is_page=False).texts == ["positive"]
    assert mend(["positive"], params, is_page=True).texts == [""]


def test_boilerplate_lines_go():
    params = BoilerplateParams(
        is_on=True, needs_line_end=True, min_line_words=3, phrases=["cookie policy"]
    )
    page = (
        "Home\nThis is a sentence.\nRead our Cookie Policy today.\n\nno end here\n"
        "河边有一座很老的磨坊。"
    )
    assert without_boilerplate(page, params) == ("This is a sentence.\n\n河边有一座很老的磨坊。")


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("a Bad word", True),
        ("badly", False),
        ("plan C is good", False),
        ("written in C# and so on", True),
        ("caféteria", False),
        ("au café.", True),
        ("这是坏词吗", True),
        ("two words here", True),
        ("two  words", False),
        ("", False),
    ],
)
def test_blocklist_words_and_phrases(text, holds):
    assert holds_listed(text, ("bad", "坏词", "two words", "C#", "café")) == holds


def classical(**options):
    off = {
        "is_lower_cased": False,
        "is_punctuation_removed": False,
        "are_stop_words_removed": False,
        "segmentation": "none",
    }
    return ClassicalParams.model_validate({**off, **options})


@pytest.mark.parametrize(
    ("options", "language", "given", "wanted"),
    [
        ({}, "en", "The Mill, old.", "The Mill, old."),
        ({"is_lower_cased": True}, "en", "The Mill", "the mill"),
        ({"is_punctuation_removed": True}, "en", "The mill, (old).", "The mill old"),
        ({"are_stop_words_removed": True}, "en", "The mill by the river", "mill river"),
        ({"segmentation": "words"}, "en", "Don't stop, now.", "Don't stop , now ."),
        ({"segmentation": "words"}, "zh", "河边磨坊", "河 边 磨 坊"),
        ({"are_stop_words_removed": True}, "zh", "磨坊的水", "磨 坊 水"),
    ],
)
def test_classical_preprocessing(options, language, given, wanted):
    assert preprocess(given, language=language, params=classical(**options)) == wanted


def test_jieba_finds_chinese_words():
    pytest.importorskip("jieba", reason="the extra wordmill[chinese] is not installed")
    params = classical(segmentation="jieba")
    assert preprocess("我来到北京清华大学", language="zh", params=params) == "我 来到 北京 清华大学"


def augment(source, *, seed=1, **options):
    values = {"copies": 3, "change_fraction": 0.2, "operations": ["swap"], "synonyms": "x"}
    params = AugmentParams.model_validate({**values, **options})
    given = pair(source, "a title", task="summarize", origin="s")
    synonyms = read_synonyms(("big large huge", "mill,grinder"))
    return list(augmented(given, params, synonyms=synonyms, seed=seed))


def test_augmented_copies_are_seeded_and_keep_the_target():
    source = "the big mill stands by the old river in the valley"
    one, again, other = augment(source), augment(source), augment(source, seed=2)
    assert one == again != other
    assert {copy.target for copy in one} == {"a title"}
    assert augment(source, change_fraction=0.0) == []
    assert len({copy.id for copy in augment("big mill", copies=9)}) == 1
    assert len({copy.id for copy in one}) == len(one)
    assert all(copy.source != source for copy in one)


@pytest.mark.parametrize(
    ("operation", "holds"),
    [
        ("swap", lambda words, new: sorted(words) == sorted(new)),
        ("delete", lambda words, new: len(new) < len(words) and set(new) <= set(words)),
        ("insert", lambda words, new: len(new) > len(words)),
        ("synonym", lambda words, new: len(new) == len(words) and set(new) - set(words)),
    ],
)
def test_each_operation(operation, holds):
    source = "the big mill stands by the old river in the valley"
    for copy in augment(source, operations=[operation]):
        assert holds(source.split(), copy.source.split())


def test_chinese_is_augmented_by_character():
    (copy, *_) = augment("河边有一座很老的磨坊")
    assert sorted(copy.source) == sorted("河边有一座很老的磨坊")


def test_a_missing_list_is_one_clear_line(tmp_path):
    from wordmill.cleaning.blocklist import read_list

    with pytest.raises(DataError, match="no such file; lists lie in the folder"):
        read_list(tmp_path / "none.txt")
    (tmp_path / "list.txt").write_text("# comment\nbad  # note\n\n two words\nC#\n")
    assert read_list(tmp_path / "list.txt") == ("bad", "two words", "C#")
    with pytest.raises(DataError, match="can't be read: Is a directory"):
        read_list(tmp_path)
