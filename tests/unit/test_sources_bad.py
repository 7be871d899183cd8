"""Rows that can't be used, files that are no good: one clear line each, and nothing in silence."""

import gzip
import io
import json
import lzma
import zipfile

import pytest
from ingesting import bad_rows, bytes_of, ingest, records, results, texts, written

from wordmill.data.quarantine import BadRow
from wordmill.errors import DataError

ROWS = {"columns": {"task": "write", "text": "text"}}
LINES = {"format": "text", "unit": "line"}
JSONL = {"format": "jsonl"}
CSV = {"format": "csv"}


@pytest.mark.parametrize(
    ("options", "content", "reason", "expected"),
    [
        (JSONL, b'{"text": "a"}\n{"text": \n', "not_json", "x:2: not valid JSON: Expecting value"),
        (JSONL, b'{"text": "a"}\n["a"]\n', "not_object", "x:2: must be a JSON object; got ['a']"),
        (
            JSONL,
            b'{"txt": "a"}\n',
            "missing_column",
            "x:1: no column 'text'; the columns are: txt",
        ),
        (JSONL, b'{"text": 5}\n', "not_text", "x:1: column 'text' must be text; got 5"),
        (JSONL, b'{"text": null}\n', "not_text", "x:1: column 'text' must be text; got None"),
        (JSONL, b'{"text": "\\ud83d"}\n', "half_surrogate", "x:1: column 'text' holds half a"),
        (JSONL, b"[" * 100_000, "not_json", "x:1: not valid JSON: maximum recursion"),
        (JSONL, b'{"text": ' + b"9" * 5000 + b"}", "not_json", "x:1: not valid JSON: Exceeds"),
        (
            {**JSONL, "encoding": "utf-8"},
            b'{"text": "a"}\n{"text": "\xff"}\n',
            "not_decodable",
            "x:2: not utf-8: invalid start byte 0xff",
        ),
        ({"format": "json"}, b"[{,", "not_json", "x:1: not valid JSON"),
        (CSV, b"id,body\n1,a\n", "missing_column", "x:2: no column 'text'"),
        (
            CSV,
            b"id,text\n1,a,b\n",
            "wrong_field_count",
            "x:2: has 3 fields where the header has 2",
        ),
        (
            CSV,
            b'text\n"a\nb\nc\n',
            "not_csv",
            "x:2: not valid CSV: unexpected end of data, 3 lines",
        ),
        (
            {**CSV, "encoding": "utf-8"},
            b"text\n\xe9t\xe9\n",
            "not_decodable",
            "x:2: not utf-8: invalid continuation byte 0xe9",
        ),
        (
            {**LINES, "encoding": "utf-8"},
            b"a\nb\xe9",
            "not_decodable",
            "x:2: not utf-8: unexpected end of data 0xe9",
        ),
        ({**LINES, "encoding": "utf-16"}, b"a\nb\n", "not_decodable", "x:1: not utf-16"),
    ],
)
def test_a_bad_row_is_named_by_file_and_row(tmp_path, options, content, reason, expected):
    root = tmp_path / "raw"
    root.mkdir()
    (root / "x").write_bytes(content)
    bad = bad_rows(root, path="x", **options)
    assert [row.reason for row in bad] == [reason]
    assert len(bad[0].excerpt) <= 80
    with pytest.raises(DataError) as caught:
        ingest(root, {"kind": "files", "path": "x", **options})
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.txt.gz", gzip.compress(b"a" * 1000, mtime=0)[:-9], "x.txt.gz: damaged or cut short"),
        ("x.txt.gz", b"not gzip", "x.txt.gz: damaged or cut short: Not a gzipped file"),
        ("x.txt.xz", lzma.compress(b"a" * 1000)[:-9], "x.txt.xz: damaged or cut short"),
        ("x.txt.zst", b"not zstd", "x.txt.zst: "),
        ("x.zip", zipped(a_txt=b"a" * 1000)[:-9], "x.zip: damaged or cut short"),
        ("x.parquet", b"not parquet", "x.parquet: not valid Parquet"),
        ("x.arrow", b"not arrow", "x.arrow: not valid Arrow"),
        ("x.txt", bytes(range(256)) * 9, "x.txt: not text: it holds zero bytes"),
    ],
)
def test_a_file_that_is_no_good_is_one_line(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        records(tmp_path, path=name)
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


def test_the_line_of_a_bad_byte_is_found_in_a_long_file(tmp_path):
    (tmp_path / "x").write_bytes(b"aaaaaaaaa\n" * 20_000 + b"\xff\n")
    (bad,) = bad_rows(tmp_path, path="x", encoding="utf-8", **LINES)
    assert bad.row == 20_001


def test_a_row_that_is_too_long_is_set_aside_and_the_next_is_read(tmp_path):
    (tmp_path / "x").write_bytes(b"a" * 5000 + b"\n" + b"b\n" + b"c" * 5000)
    found = results(tmp_path, path="x", max_row_bytes=1000, **LINES)
    assert [(b.row, b.reason) for b in found if isinstance(b, BadRow)] == [
        (1, "row_too_long"),
        (3, "row_too_long"),
    ]
    assert len(found) == 3
    (tmp_path / "y.txt").write_bytes(b"a\n" * 600 + b"\n" + b"b\n")
    found = results(tmp_path, path="y.txt", unit="paragraph", max_row_bytes=1000)
    assert [getattr(row, "reason", None) for row in found] == ["row_too_long", None]
    (tmp_path / "z.json").write_text(json.dumps([{"text": "a" * 2000}, {"text": "b"}]))
    found = results(tmp_path, path="z.json", max_row_bytes=1000)
    assert [getattr(row, "reason", None) for row in found] == ["row_too_long", None]


def test_reading_goes_on_after_a_broken_record_of_a_csv(tmp_path):
    (tmp_path / "x.csv").write_text('text,b\n"a"x,1\nc,2\n\n"d\ne",3\n')
    found = results(tmp_path, path="x.csv")
    assert [getattr(row, "reason", row) for row in found[:1]] == ["not_csv"]
    assert [keyed[0][1].text for keyed in found[1:]] == ["c", "d\ne"]


def many_rows(root, *, bad, good):
    root.mkdir()
    good_rows = [json.dumps({"text": f"text {n}"}) for n in range(good)]
    (root / "x.jsonl").write_text("\n".join([*good_rows, *(["{"] * bad)]))
    return {"kind": "files", "path": "x.jsonl"}


def test_few_bad_rows_are_set_aside(tmp_path):
    one = many_rows(tmp_path / "raw", bad=2, good=98)
    report = ingest(tmp_path / "raw", one, max_bad_fraction=0.02).report()
    assert len(written(tmp_path / "out")) == 98
    lines = (tmp_path / "out/quarantine.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {
        "source": "x.jsonl",
        "file": "x.jsonl",
        "row": 99,
        "reason": "not_json",
        "detail": "not valid JSON: Expecting property name enclosed in double quotes column 2",
        "excerpt": "{",
    }
    assert len(lines) == 2
    assert (report["sources"][0]["rows"], report["sources"][0]["bad"]) == (100, 2)


def test_too_many_bad_rows_stop_the_run_and_are_kept(tmp_path):
    one = many_rows(tmp_path / "raw", bad=2, good=98)
    with pytest.raises(DataError) as caught:
        ingest(tmp_path / "raw", one, max_bad_fraction=0.01)
    kept = tmp_path / "out.quarantine.jsonl"
    assert str(caught.value) == (
        "x.jsonl: 2 of 100 rows can't be used (2.0%; ingest.max_bad_fraction allows 1.0%); the"
        " first is x.jsonl:99: not valid JSON: Expecting property name enclosed in double quotes"
        f" column 2; all of them are in {kept}"
    )
    assert len(kept.read_text().splitlines()) == 2


def test_a_file_of_nothing_but_bad_rows_is_left_soon(tmp_path):
    one = many_rows(tmp_path / "raw", bad=3000, good=0)
    with pytest.raises(DataError, match=r"1,000 of 1,000 rows can't be used"):
        ingest(tmp_path / "raw", one, max_bad_fraction=0.5)


def test_an_empty_source_stops_the_run(tmp_path):
    root = tmp_path / "raw"
    root.mkdir()
    (root / "x.txt").write_text("")
    with pytest.raises(DataError, match=r"x.txt: the source is empty"):
        ingest(root, {"path": "x.txt", "kind": "files"})
    (root / "y.txt").write_text("y")
    report = ingest(root, {"path": "*.txt", "kind": "files"}).report()
    assert [part["rows"] for part in report["sources"][0]["parts"]] == [0, 1]


CHINESE = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。\n白日依山尽，黄河入海流。\n"
TRADITIONAL = "秦川雄帝宅，函谷壯皇居。綺殿千尋起，離宮百雉餘。連甍遙接漢，飛觀迥凌虛。\n"
GERMAN = "Zwei junge weiße Männer stehen im Freien in der Nähe vieler Büsche.\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (CHINESE * 5, "gb18030"),
        (TRADITIONAL * 5, "big5"),
        (GERMAN, "latin-1"),
        ("Le café coûte 5 € à l’hôtel où l'été a commencé.\n", "cp1252"),
        (CHINESE, "utf-8"),
        (CHINESE, "utf-8-sig"),
        (CHINESE, "utf-16"),
        (CHINESE, "utf-16-le"),
        (GERMAN, "utf-16-be"),
        (GERMAN, "utf-32"),
    ],
)
@pytest.mark.parametrize("start", ["", "only ascii\n" * 10_000], ids=["", "late"])
def test_encodings_are_found_out(tmp_path, text, encoding, start):
    (tmp_path / "x.txt").write_bytes((start + text).encode(encoding))
    assert "".join(texts(tmp_path, path="x.txt", unit="line")) == start + text


@pytest.mark.parametrize(
    ("text", "encoding"), [(GERMAN, "utf-8"), (CHINESE, "gb18030"), (TRADITIONAL, "big5")]
)
def test_one_broken_line_does_not_change_the_encoding(tmp_path, text, encoding):
    lines = [line.encode(encoding) for line in (text * 9).splitlines(keepends=True)[:9]]
    (tmp_path / "x.txt").write_bytes(b"".join([*lines, b"\xe9\xff\n"]))
    bad = bad_rows(tmp_path, path="x.txt", unit="line")
    assert [row.row for row in bad] == [10]
    assert bad[0].excerpt == "\\xe9\\xff"


def test_encodings_are_stated(tmp_path):
    (tmp_path / "x.txt").write_bytes("春眠".encode("gb18030"))
    assert texts(tmp_path, path="x.txt", encoding="gb18030") == ["春眠"]
    (tmp_path / "y.json").write_bytes('[{"text": "été"}]'.encode("latin-1"))
    assert texts(tmp_path, path="y.json", encoding="latin-1") == ["été"]


def test_a_page_names_its_encoding(tmp_path):
    page = '<html><head><meta charset="gb2312"></head><body><p>春眠不觉晓</p></body></html>'
    (tmp_path / "x.html").write_bytes(page.encode("gb18030"))
    assert texts(tmp_path, path="x.html") == ["春眠不觉晓"]


def test_archives_are_looked_through(tmp_path):
    import pyarrow as pa

    with pa.CompressedOutputStream(str(tmp_path / "a.jsonl.zst"), "zstd") as file:
        file.write(b'{"text": "a"}\n')
    (tmp_path / "b.txt.xz").write_bytes(lzma.compress(b"b"))
    (tmp_path / "c.zip").write_bytes(zipped(x_txt=b"c", y_jsonl=b'{"text": "d"}', z_pdf=b"no"))
    assert texts(tmp_path, path=".") == ["a", "b", "c", "d"]
    (last,) = texts(tmp_path, path="c.zip")[1:]
    assert last == "d"


def test_what_is_read_twice_is_the_same_bytes(tmp_path):
    one = many_rows(tmp_path / "raw", bad=1, good=99)
    for out in ("one", "two"):
        ingest(tmp_path / "raw", one, out=out, max_bad_fraction=0.1)
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
