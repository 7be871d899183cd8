import errno
import json
import re

import pytest
from sample_record import empty_record, full_record

from flows.summary import Summary
from wordmill.errors import OutputError
from wordmill.files import replaced_file, replaced_folder
from wordmill.progress import Progress
from wordmill.report.markdown import card, report, score_table, terminal


def score(value):
    return {"value": value, "low": value - 1, "high": value + 1, "count": 3, "signature": "s"}


def test_the_best_of_each_column_is_bold_whichever_way_is_better():
    table = score_table(
        {
            "n-gram": {"perplexity": score(40.0), "bleu": score(2.0)},
            "finetuned": {"bleu": score(9.0), "perplexity": score(90.0)},
        },
        with_intervals=False,
    )
    assert table.splitlines() == [
        "| system    | perplexity ↓ | BLEU ↑   |",
        "|-----------|--------------|----------|",
        "| n-gram    | **40.00**    | 2.00     |",
        "| finetuned | 90.00        | **9.00** |",
    ]


def test_a_table_has_room_for_scores_that_are_missing():
    scores = {"lead": {"f1": score(1.0)}, "other": {"bleu": score(float("nan"))}}
    assert score_table(scores, with_intervals=True).splitlines()[2:] == [
        "| lead   | –      | 1.00 (0.00 to 2.00) |",
        "| other  | –      | –                   |",
    ]


def test_the_report_shows_systems_examples_and_signatures():
    example = {
        "id": "1",
        "task": "summarize",
        "source": "a\n" * 200,
        "ask": "",
        "target": "t",
        "language": "en",
        "why": "best",
        "metric": "rougeL",
        "value": 6.0,
        "predictions": {"lead": "p\nq"},
    }
    text = report(
        empty_record(
            num_documents=3,
            num_pairs={"summarize": 4},
            documents={"unigram": {"perplexity": score(5.0)}},
            pairs={"summarize": {"lead": {"bleu": score(6.0)}}},
            examples=[example],
        )
    )
    assert "## Held-out documents (3)" in text
    assert "## Held-out pairs: summarize (4)" in text
    assert "5.00 (4.00 to 6.00)" in text
    assert "- lead: `p q`\n" in text
    assert "> `a a a" in text
    assert "a …`" in text
    assert text.count("- `s`") == 1


def test_the_report_says_who_won_and_how_sure_that_is():
    text = report(full_record())
    assert "- **documents: The n-gram model is best.** Bits/byte 1.710 against 1.853" in text
    assert re.search(r"finetuned − retrieval +\| 0.94 \(−1.12 to 3.01\) +\| 0.361", text)
    assert "| up to 100 tokens" in text
    assert "personal data FAILED: 2 came back (email 2)" in text
    assert "None" not in text.replace("is not None", "").replace("may be None", "")


def test_texts_in_the_report_are_no_markup():
    record = full_record()
    record["examples"][0]["predictions"] = {"a|<b>": "``` <img src=x> `"}
    text = report(record)
    assert "- a\\|\\<b>: ```` ``` <img src=x> ` ````\n" in text


def test_a_card_is_short_and_holds_what_was_compared():
    text = card(full_record())
    assert len(text) < len(report(full_record())) / 2
    assert "### Evaluation" in text
    assert "744 held-out documents:" in text
    assert "pairs `7fd0b2c4411ce09a`" in text
    assert "distinct" not in text


def test_empty_records_have_reports_too():
    assert report(empty_record()).startswith("# Evaluation\n")
    assert card(empty_record()) == "### Evaluation\n"
    assert terminal(empty_record()) == ""


def test_the_terminal_shows_a_few_metrics_of_each_kind(tmp_path, monkeypatch):
    (tmp_path / "data/evaluate").mkdir(parents=True)
    (tmp_path / "data/evaluate/scores.json").write_text(json.dumps(full_record()))
    monkeypatch.chdir(tmp_path)
    text = Summary(model="m")._scores()
    assert "744 held-out documents\n| system " in text
    assert "256 held-out pairs to answer\n" in text
    assert max(map(len, text.splitlines())) <= 100


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
