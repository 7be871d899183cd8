"""The log of promotions: what it finds, and what a kill may leave of a line."""

import json
import random

import pytest

from flows.history import as_json, champion_before, table
from flows.promotion_log import PromotionLog
from wordmill.errors import DataError


def begun(old, new, act="promotion", **more):
    return {
        "kind": "begun",
        "at": "2026-11-22T12:00:00+00:00",
        "act": act,
        "model": "small",
        "from_version": old,
        "to_version": new,
        "run_id": f"run{new}",
        "files": "f" * 64,
        "by": "tester",
        "reason": "",
        "decision": None,
        "is_against_gate": False,
        "sets": {},
        "findings": [],
        **more,
    }


def filled(log, moves):
    for old, new, act in moves:
        entry = log.add(begun(old, new, act))
        log.add({"kind": "done", "at": "2026-11-22T12:00:01+00:00", "of": entry["number"]})
    return log


@pytest.fixture
def log(tmp_path):
    moves = [(None, "1"), ("1", "2"), ("2", "3"), ("3", "4")]
    return filled(PromotionLog(tmp_path / "log.jsonl"), [(*move, "promotion") for move in moves])


def rewritten(log, change):
    lines = log.path.read_text().splitlines()
    log.path.write_text("".join(f"{line}\n" for line in change(lines)))
    return log.problems()


def test_a_log_that_nobody_touched_has_no_problems(log):
    assert log.problems() == []
    assert [line["number"] for line in log.lines()] == list(range(1, 9))
    assert [one.entry["to_version"] for one in log.done()] == ["1", "2", "3", "4"]


def test_an_edited_line_is_named(log):
    for number in range(1, 9):
        before = log.path.read_bytes()
        edited = rewritten(
            log,
            lambda ls, n=number: [
                x.replace("2026", "2027") if i == n else x for i, x in enumerate(ls, 1)
            ],
        )
        assert edited == [f"line {number} was edited"]
        log.path.write_bytes(before)


def test_two_edited_lines_are_both_named(log):
    def change(lines):
        return [x.replace("2026", "2027") if i in (1, 4) else x for i, x in enumerate(lines)]

    assert rewritten(log, change) == ["line 2 was edited", "line 5 was edited"]


def test_a_removed_line_is_named(log):
    found = rewritten(log, lambda lines: lines[:3] + lines[4:])
    assert found == ["line 4 is missing: number 5 stands in its place"]


def test_reordered_lines_are_named(log):
    found = rewritten(log, lambda ls: [ls[0], ls[2], ls[1], *ls[3:]])
    assert found == ["line 2 is missing: number 3 stands in its place"]


def test_a_line_that_was_made_anew_with_a_right_hash_does_not_fit(log):
    from flows.promotion_log import _hash

    def change(lines):
        line = {**json.loads(lines[2]), "reason": "another"}
        line["sha256"] = _hash(line)
        return [*lines[:2], json.dumps(line), *lines[3:]]

    assert rewritten(log, change) == ["line 4 does not follow line 3: one of them was replaced"]


def test_any_flipped_bit_shows(log):
    whole, draw = log.path.read_bytes(), random.Random(3)
    for _ in range(300):
        place, bit = draw.randrange(len(whole) - 1), 1 << draw.randrange(8)
        log.path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        assert log.problems(), (place, bit)


def test_an_edited_log_takes_no_more_lines(log):
    rewritten(log, lambda lines: [lines[0].replace("tester", "nobody"), *lines[1:]])
    with pytest.raises(DataError, match="line 1 was edited; take the file back from git"):
        log.add(begun("4", "5"))


def test_half_a_line_at_the_end_is_no_line_and_goes_with_the_next(log):
    whole = log.path.read_bytes()
    for cut in (1, 2, 50, 150):
        log.path.write_bytes(whole[:-cut])
        assert len(log.lines()) == 7
        assert log.mend()
        assert not log.mend()
        log.add({"kind": "done", "at": "later", "of": 7})
        assert log.problems() == []
        assert len(log.lines()) == 8


def test_what_was_undone_was_no_promotion(log):
    entry = log.add(begun("4", "9"))
    log.add({"kind": "undone", "at": "later", "of": entry["number"]})
    log.add(begun("4", "5"))
    assert [one.entry["to_version"] for one in log.done()] == ["1", "2", "3", "4"]


def test_a_rollback_after_a_rollback_goes_further_back(tmp_path):
    log = PromotionLog(tmp_path / "log.jsonl")
    moves = [(None, "1", "promotion"), ("1", "2", "promotion"), ("2", "3", "promotion")]
    filled(log, moves)
    assert champion_before(log.done(), "3") == "2"
    filled(log, [("3", "2", "rollback")])
    assert champion_before(log.done(), "2") == "1"
    filled(log, [("2", "1", "rollback")])
    assert champion_before(log.done(), "1") is None
    filled(log, [("1", "3", "promotion")])
    assert champion_before(log.done(), "3") == "1"
    filled(log, [("3", "3", "reconciliation")])
    assert champion_before(log.done(), "3") == "1"


def test_the_table_is_a_line_each_and_holds_no_controls(tmp_path):
    log = PromotionLog(tmp_path / "log.jsonl")
    assert table(log.done()) == "no version was ever champion here"
    entry = log.add(
        begun("1", "2", decision="HOLD", is_against_gate=True, reason="a\nb\x1b[2J" + "c" * 99)
    )
    log.add({"kind": "done", "at": "later", "of": entry["number"]})
    heading, line = table(log.done()).splitlines()
    assert heading.split()[:3] == ["line", "when", "(UTC)"]
    assert "1 -> 2" in line
    assert "HOLD (overridden)" in line
    assert "\x1b" not in line
    assert json.loads(as_json(log.done()))[0]["end"]["of"] == 1
