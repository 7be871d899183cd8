"""Files of every format, and what each task makes of their rows."""

import gzip
import json

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest
from ingesting import bad_rows, records, results, source, texts
from pydantic import ValidationError

from wordmill.data.records import Document, Pair
from wordmill.errors import DataError

PAIRS = {"task": "summarize", "source": "body", "target": "title"}


def write_lines(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("file", ["a\nb\n\n\n c\n"]),
        ("paragraph", ["a\nb\n", " c\n"]),
        ("line", ["a\n", "b\n", " c\n"]),
    ],
)
def test_text_comes_in_units(tmp_path, unit, expected):
    (tmp_path / "x.txt").write_text("a\nb\n\n\n c\n")
    assert texts(tmp_path, path="x.txt", unit=unit) == expected


TEXT = "Ünï\r\ncode\n\n\n明月 end.\n"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1 / 3, 0.999])
@pytest.mark.parametrize("name", ["x.txt", "x.md", "x.txt.gz"])
def test_parts_of_a_file_are_cut_at_exact_characters(tmp_path, share, name):
    data = TEXT.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    place = int(share * len(TEXT))
    assert texts(tmp_path, path=name, part=[share, 1.0]) == [TEXT[place:]]
    if share:
        assert texts(tmp_path, path=name, part=[0, share]) == [TEXT[:place]]
    assert texts(tmp_path, path=name, part=[0.0, 1.0]) == texts(tmp_path, path=name) == [TEXT]


def test_each_file_of_a_folder_gives_its_part_and_the_line_where_it_starts(tmp_path):
    (tmp_path / "a.txt").write_text("a\nb\nc\nd\n")
    (tmp_path / "b.html").write_text("<html><body><p>one two</p></body></html>")
    found = records(tmp_path, path=".", part=[0.5, 1.0])
    assert [r.text for r in found] == ["c\nd\n", " two"]
    assert json.loads(found[0].metadata) == {"file": "a.txt", "row": 3}


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"part": [0.5, 0.5]}, r"part \[0.5, 0.5\]: must go up, as in \[0.0, 0.9\]"),
        ({"part": [0.9, 0.1]}, "must go up"),
        (
            {"part": [0.0, 0.9], "unit": "line"},
            "part needs unit 'file', which it cuts; got unit 'line'",
        ),
        ({"part": [0.0, 0.9], "format": "csv"}, "got format 'csv'; allowed: text, markdown, html"),
        ({"part": [0.0, 1.1]}, "less than or equal to 1"),
        ({"part": [-0.1, 1.0]}, "greater than or equal to 0"),
        ({"part": [0.5]}, "at least 2 items"),
    ],
)
def test_a_part_that_is_none_is_refused(wrong, expected):
    with pytest.raises(ValidationError, match=expected):
        source(path="x", **wrong)


def test_a_part_of_a_table_is_one_line(tmp_path):
    write_lines(tmp_path / "x.jsonl", {"text": "a"})
    with pytest.raises(DataError, match=r"x.jsonl: 'part' cuts text, and this is jsonl; name text"):
        records(tmp_path, path="x.jsonl", part=[0.0, 0.9])


def test_a_glob_reads_files_in_order(tmp_path):
    for name in ("b.txt", "a.txt", "sub/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert texts(tmp_path, path="**/*.txt") == ["a.txt", "b.txt", "sub/c.txt"]


def test_a_folder_reads_every_format_by_its_ending(tmp_path):
    folder = tmp_path / "in"
    write_lines(folder / "a.jsonl", {"text": "1"}, {"text": "2"})
    write_lines(folder / "b.json", [{"text": "3"}])
    (folder / "c.csv").write_text("text\n4\n")
    (folder / "d.tsv").write_text("id\ttext\n1\t5,\n")
    (folder / "e.txt").write_text("6")
    (folder / "f.md").write_text("# 7")
    (folder / "g.html").write_text("<html><body><script>no()</script><p>8</p></body></html>")
    pq.write_table(pa.table({"text": ["9"], "other": [1]}), folder / "h.parquet")
    table = pa.table({"text": ["10"]})
    with ipc.new_file(folder / "i.arrow", table.schema) as file:
        file.write(table)
    with ipc.new_stream(folder / "j.arrow", table.schema) as file:
        file.write(table)
    (folder / "k.jsonl.gz").write_bytes(gzip.compress(b'{"text": "12"}\n'))
    (folder / "left.out").write_text("no")
    (folder / ".hidden.txt").write_text("no")
    (tmp_path / "README.md").write_text("no")
    found = texts(tmp_path, path="in")
    assert found == ["1", "2", "3", "4", "5,", "6", "# 7", "8", "9", "10", "10", "12"]
    assert texts(tmp_path, path=".") == found


def test_a_record_knows_its_place_and_what_its_source_says(tmp_path):
    write_lines(tmp_path / "x.jsonl", {"text": "a"}, {"text": "b"})
    about = {"language": "en", "weight": 2.5}
    found = records(tmp_path, path="*.jsonl", **about)[1]
    assert (found.origin, found.language, found.weight) == ("*.jsonl", "en", 2.5)
    assert json.loads(found.metadata) == {"file": "x.jsonl", "row": 2}


def test_jsonl_gives_documents_and_pairs(tmp_path):
    write_lines(tmp_path / "x.jsonl", {"text": "t", "body": "b", "title": "标题"})
    (found,) = records(tmp_path, path="x.jsonl")
    assert isinstance(found, Document)
    assert found.text == "t"
    (found,) = records(tmp_path, path="x.jsonl", columns=PAIRS)
    assert isinstance(found, Pair)
    assert (found.task, found.source, found.target) == ("summarize", "b", "标题")


def test_csv_keeps_line_breaks_and_quotes(tmp_path):
    (tmp_path / "x.csv").write_text('id;text\r\n1;"a\r\nb ""c"""\r\n\r\n', newline="")
    assert texts(tmp_path, path="x.csv", delimiter=";") == ['a\r\nb "c"']


SQUAD = {
    "version": 1,
    "data": [
        {
            "title": "T",
            "paragraphs": [
                {
                    "context": "C",
                    "id": "p",
                    "qas": [
                        {"question": "Q1", "answers": [{"text": "A1"}], "id": "q"},
                        {"question": "Q2", "answers": []},
                    ],
                },
                {"context": "D"},
            ],
        }
    ],
}


def test_nested_rows_see_what_stands_around_them(tmp_path):
    write_lines(tmp_path / "x.json", SQUAD)
    asked = {"task": "answer", "question": "question", "context": "context"}
    columns = {**asked, "answer": "answers[0].text"}
    good, *bad = results(tmp_path, path="x.json", rows="data[].paragraphs[].qas[]", columns=columns)
    ((key, found),) = good
    assert (found.source, found.ask, found.target) == ("C", "Q1", "A1")
    assert key == "C"  # questions about a paragraph stay together
    assert [(b.row, b.reason) for b in bad] == [(2, "missing_column"), (3, "missing_column")]
    assert "answers[0].text" in bad[0].detail
    assert "'qas'" in bad[1].detail
    one_line = {"path": "x.json", "format": "jsonl", "rows": "data[].paragraphs[]"}
    columns = {"task": "write", "text": ["title", "context", "id"]}
    assert texts(tmp_path, **one_line, columns={**columns, "text": ["title", "context"]}) == [
        "T\nC",
        "T\nD",
    ]


def test_a_list_of_lines_is_a_text(tmp_path):
    write_lines(tmp_path / "x.json", [{"title": "春晓", "paragraphs": ["春眠", "处处"]}])
    columns = {"task": "write", "text": ["title", "paragraphs"]}
    assert texts(tmp_path, path="x.json", columns=columns) == ["春晓\n春眠\n处处"]


def test_a_column_may_have_a_dot_in_its_name(tmp_path):
    write_lines(tmp_path / "x.jsonl", {"a.b": "whole"}, {"a": {"b": "path"}})
    assert texts(tmp_path, path="x.jsonl", columns={"task": "write", "text": "a.b"}) == [
        "whole",
        "path",
    ]


def pairs_of(tmp_path, row, **columns):
    write_lines(tmp_path / "x.jsonl", row)
    return [
        (p.source, p.ask, p.target, p.language)
        for p in records(tmp_path, path="x.jsonl", columns=columns)
    ]


def test_a_translation_asks_for_its_language(tmp_path):
    row = {"translation": {"de": "Haus", "en": "house"}}
    columns = {"task": "translate", "source": "translation.en", "target": "translation.de"}
    assert pairs_of(tmp_path, row, **columns) == [("house", "", "Haus", "")]
    found = pairs_of(tmp_path, row, **columns, source_language="en", target_language="de")
    assert found == [("house", "German", "Haus", "de")]


def test_a_question_without_context_is_the_source(tmp_path):
    columns = {"task": "answer", "question": "q", "answer": "a"}
    assert pairs_of(tmp_path, {"q": "Who?", "a": "Me."}, **columns) == [("Who?", "", "Me.", "")]


@pytest.mark.parametrize(
    "turns",
    [
        "Ann: Hi\nBob: Hello: you\nAnn: Bye",
        ["Ann: Hi", "Bob: Hello: you", "Ann: Bye"],
        [
            {"speaker": "Ann", "text": "Hi"},
            {"speaker": "Bob", "text": "Hello: you"},
            {"speaker": "Ann", "text": "Bye"},
        ],
    ],
)
def test_each_turn_but_the_first_is_a_reply(tmp_path, turns):
    assert pairs_of(tmp_path, {"turns": turns}, task="dialogue", turns="turns") == [
        ("Ann: Hi", "Bob", "Hello: you", ""),
        ("Ann: Hi\nBob: Hello: you", "Ann", "Bye", ""),
    ]


def test_turns_need_no_speakers_and_may_go_on(tmp_path):
    columns = {"task": "dialogue", "turns": "t"}
    found = pairs_of(tmp_path, {"t": ["Hi", "So: what?"]}, **columns)
    assert found == [("Hi", "", "So: what?", "")]
    found = pairs_of(tmp_path, {"t": "小明：你好\n再见吗\n老师：好"}, **columns)
    assert found == [("小明: 你好\n再见吗", "老师", "好", "")]


def test_the_replies_of_a_dialogue_stay_together_and_see_a_bounded_past(tmp_path):
    turns = "\n".join(f"A: {n}" for n in range(9))
    write_lines(tmp_path / "x.jsonl", {"t": turns})
    columns = {"task": "dialogue", "turns": "t", "max_turns_before": 2}
    (keyed,) = results(tmp_path, path="x.jsonl", columns=columns)
    assert {key for key, _ in keyed} == {turns}
    assert keyed[-1][1].source == "A: 6\nA: 7"


def test_labels_become_words(tmp_path):
    columns = {"task": "classify", "text": "t", "label": "l"}
    assert pairs_of(tmp_path, {"t": "x", "l": "fine"}, **columns) == [("x", "", "fine", "")]
    labels = {"0": "bad", "1": "good"}
    found = pairs_of(tmp_path, {"t": "x", "l": 1}, **columns, labels=labels)
    assert found == [("x", "bad, good", "good", "")]
    write_lines(tmp_path / "y.jsonl", {"t": "x", "l": 2})
    (bad,) = bad_rows(tmp_path, path="y.jsonl", columns={**columns, "labels": labels})
    assert bad.reason == "unknown_label"
    assert bad.detail == "column 'l' must be one of: 0, 1; got 2"


def test_a_translation_knows_what_it_is_from(tmp_path):
    (tmp_path / "t.en").write_text("red")
    languages = {"source_language": "en", "target_language": "en"}
    (found,) = records(tmp_path, kind="parallel", source="t.en", target="t.en", **languages)
    known = {"source_language": "en", "file": "t.en + t.en", "row": 1}
    assert json.loads(found.metadata) == known


def test_parallel_lines_are_translations(tmp_path):
    (tmp_path / "t.en").write_text("a house\nred\n")
    (tmp_path / "t.de.gz").write_bytes(gzip.compress(b"ein Haus\nrot\n"))
    both = {"kind": "parallel", "source": "t.en", "target": "t.de.gz"}
    languages = {"source_language": "en", "target_language": "de"}
    found = records(tmp_path, **both, **languages)
    assert [(p.source, p.ask, p.target, p.language) for p in found] == [
        ("a house", "German", "ein Haus", "de"),
        ("red", "German", "rot", "de"),
    ]
    (tmp_path / "t.en").write_text("a house\nred\nblue\n")
    message = r"t.en has 3 lines and t.de.gz has 2; each line"
    with pytest.raises(DataError, match=message):
        records(tmp_path, **both, **languages)


def test_a_wrong_entry_is_told(tmp_path):
    for wrong, expected in [
        ({"encoding": "utf-99"}, "unknown encoding 'utf-99'"),
        ({"language": "german"}, "ISO 639-1 code"),
        ({"columns": {"task": "write", "text": 5}}, "must be a column such as"),
        ({"path": "../x"}, "must lie under ingest.root"),
        ({"weight": 0}, "greater than 0"),
    ]:
        with pytest.raises(ValidationError, match=expected):
            source(**{"path": "x", **wrong})
    with pytest.raises(ValidationError, match="Invalid IPv6 URL"):
        source(path="http://[::1/x.txt")


def test_a_missing_file_says_where_paths_start(tmp_path):
    with pytest.raises(DataError, match="no such file; a source's path is relative"):
        records(tmp_path, path="x")
    (tmp_path / "x").mkdir()
    with pytest.raises(DataError, match="no file in this folder has an ending"):
        records(tmp_path, path="x")
    for path in ("**x/[.txt", "x" * 5000, "http://"):
        with pytest.raises(DataError) as caught:
            records(tmp_path, path=path)
        assert "\n" not in str(caught.value)
    (tmp_path / "x.dat").write_text("a")
    with pytest.raises(DataError, match=r"x.dat: its ending tells no format"):
        records(tmp_path, path="x.dat")


def test_a_missing_column_of_a_parquet_file_is_named(tmp_path):
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no column 'text'; the columns are: body"):
        records(tmp_path, path="x.parquet")
