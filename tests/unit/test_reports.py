import errno

import pytest

from wordmill.errors import OutputError
from wordmill.files import replaced_file, replaced_folder
from wordmill.progress import Progress
from wordmill.report.markdown import report, score_table


def score(value):
    return {"value": value, "low": value - 1, "high": value + 1, "count": 3, "signature": "s"}


def test_the_best_of_each_column_is_bold_whichever_way_is_better():
    table = score_table(
        {
            "n-gram": {"perplexity": score(40.0), "bleu": score(2.0)},
            "finetuned": {"perplexity": score(90.0), "bleu": score(9.0)},
        },
        with_intervals=False,
    )
    assert table.splitlines() == [
        "| system    | perplexity ↓ | BLEU ↑   |",
        "|-----------|--------------|----------|",
        "| n-gram    | **40.00**    | 2.00     |",
        "| finetuned | 90.00        | **9.00** |",
    ]


def test_the_page_shows_systems_examples_and_signatures():
    record = {
        "num_documents": 3,
        "num_pairs": 3,
        "documents": {"unigram": {"perplexity": score(5.0)}},
        "pairs": {"lead": {"bleu": score(6.0)}},
        "examples": [{"source": "a\n" * 200, "target": "t", "predictions": {"lead": "p\nq"}}],
    }
    page = report(record)
    assert "**5.00** (4.00 to 6.00)" in page
    assert "- lead: p q\n" in page
    assert "> a a a" in page
    assert "a …" in page
    assert page.count("- `s`") == 1


def test_a_folder_takes_its_place_only_when_it_is_whole(tmp_path):
    place = tmp_path / "out"
    with replaced_folder(place) as folder:
        (folder / "a").write_text("1")
    with pytest.raises(RuntimeError), replaced_folder(place) as folder:
        (folder / "a").write_text("2")
        raise RuntimeError
    assert (place / "a").read_text() == "1"
    with replaced_folder(place) as folder:
        (folder / "b").write_text("3")
    assert [path.name for path in place.iterdir()] == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_takes_its_place_only_when_it_is_whole(tmp_path):
    place = tmp_path / "sub" / "file"
    with replaced_file(place) as partial:
        partial.write_text("1")
    with pytest.raises(RuntimeError), replaced_file(place) as partial:
        partial.write_text("2")
        raise RuntimeError
    assert place.read_text() == "1"
    assert [path.name for path in place.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_full_disk_is_one_line(tmp_path, number):
    with pytest.raises(OutputError, match="can't be written"), replaced_folder(tmp_path / "out"):
        raise OSError(number, "no")


def test_other_errors_keep_their_name(tmp_path):
    with pytest.raises(FileNotFoundError), replaced_folder(tmp_path / "out"):
        raise FileNotFoundError(errno.ENOENT, "no")


def test_progress_shows_share_rate_and_an_end():
    lines = []
    with Progress("milling", show=lines.append, total=4, unit="sack", every_seconds=0) as progress:
        for _ in range(4):
            progress.advance(note="fine")
    assert len(lines) == 4
    assert lines[1].startswith("milling:  50%|")
    assert "2/4" in lines[1]
    assert "fine" in lines[1]


def test_short_work_shows_its_end_alone():
    lines = []
    with Progress("milling", show=lines.append, total=100) as progress:
        for _ in range(100):
            progress.advance()
    assert len(lines) == 1
    assert "100/100" in lines[0]
