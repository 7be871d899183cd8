"""A batch without Prefect and MLflow: what it goes on from, what it refuses, what it leaves."""

import json
import os
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import SMALL_PARAMS, write_params

from flows import batch_answers, batch_plan, cli
from flows.answerer import Located
from flows.batch_answers import answer_rest
from flows.batch_job import Job, alone
from flows.batch_plan import planned
from flows.batch_record import read_record
from flows.located import Identity
from flows.request_file import read_requests
from flows.workspace import BusyError
from wordmill.errors import DataError, OutputError, ParamsError
from wordmill.params.everything import Params
from wordmill.progress import nowhere

PARAMS = Params.model_validate(SMALL_PARAMS)
SETTINGS = {"decoding": SMALL_PARAMS["evaluate"]["decoding"], "batch_size": 1}
CHUNK = 16  # rows: batches of one
RUN = "00000000-0000-0000-0000-000000000001"


def nothing():
    pass


class Killed(BaseException):
    """As a kill: nothing of ours catches it."""


class Model:
    """Answers that tell of the whole chunk: one that is not asked as a whole shows."""

    def __init__(self):
        self.num_tokens, self.chunks, self.dies_after = 0, [], None
        self.during = nothing

    def load(self, model):
        self.decoding = model.settings["decoding"]

    def answers(self, rows, *, num_sequences, show, count):
        self.during()
        if self.dies_after == len(self.chunks):
            raise Killed
        self.chunks.append(len(rows))
        self.num_tokens += len(rows)
        count(len(rows) // 2)
        first = rows[0]["source"]
        said = [f"{row['task']} {row['source']} of {len(rows)} after {first}\u2028" for row in rows]
        return [[f"{text}{number}" for number in range(num_sequences)] for text in said]


@pytest.fixture
def model(monkeypatch, tmp_path):
    """Version 3, which is champion; what is asked of it is listed."""
    monkeypatch.chdir(tmp_path)
    found = Model()
    found.identity = Identity("version 3 of m", "f" * 64, "3")

    @contextmanager
    def given(value):
        yield value

    located = Located("version 3 of m", tmp_path, tmp_path, SETTINGS, ("write",))
    monkeypatch.setattr(batch_answers, "answerer", lambda: given(found))
    monkeypatch.setattr(batch_answers, "located", lambda which, params: given(located))
    monkeypatch.setattr(batch_plan, "identified", lambda which, params: found.identity)
    return found


def job_of(**changes):
    usual = {
        "source": Path("in.jsonl"),
        "out": Path("out.jsonl"),
        "model": "champion",
        "defaults": {"task": "write", "ask": ""},
        "changes": {},
        "num_sequences": 1,
        "is_restarted": False,
    }
    return Job(**{**usual, **changes})


def run(job=None, *, flow_run=RUN, show=nowhere):
    job = job or job_of()
    with alone(job):
        plan = planned(job, PARAMS, flow_run=flow_run)
        if plan.step != "nothing to do":
            answer_rest(job, plan, PARAMS, flow_run=flow_run, show=show, every_seconds=0)
    return plan.step


def write_rows(count, *, path="in.jsonl"):
    rows = [
        {"source": f"row\u2028 {i}", "id": i, "odd": 1e400, "é": [1.0, None]} for i in range(count)
    ]
    lines = [json.dumps(row, ensure_ascii=i % 2 == 0) for i, row in enumerate(rows)]
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return rows


def files():
    return sorted(path.name for path in Path().iterdir() if path.name != ".wordmill")


DONE = ["in.jsonl", "out.jsonl", "out.jsonl.batch.json"]
HALF = ["in.jsonl", "out.jsonl.batch.json", "out.jsonl.part"]


def test_rows_come_back_with_their_answers_in_chunks(model):
    rows = write_rows(40)
    shown = []
    assert run(show=shown.append) == "begin"
    assert files() == DONE
    lines = Path("out.jsonl").read_bytes().removesuffix(b"\n").split(b"\n")
    found = [json.loads(line) for line in lines]
    assert [{**row, "prediction": None} for row in rows] == [
        {**row, "prediction": None} for row in found
    ]
    assert found[17]["prediction"] == "write row\u2028 17 of 16 after row\u2028 16\u20280"
    assert model.chunks == [16, 16, 8]
    record = read_record(Path("out.jsonl.batch.json"))
    assert record.decoding == SETTINGS["decoding"]
    assert (record.num_rows, record.end.num_rows, record.chunk_rows) == (40, 40, CHUNK)
    assert "8/40" in shown[0]  # half of a chunk is told
    assert "40/40" in shown[-1]
    assert "tokens/s" in shown[-1]
    assert run() == "nothing to do"
    assert model.chunks == [16, 16, 8]


def test_several_answers_to_a_row(model):
    write_rows(3)
    run(job_of(num_sequences=2, changes={"temperature": 1.0}))
    found = json.loads(Path("out.jsonl").read_bytes().partition(b"\n")[0])
    assert [text[-1] for text in found["predictions"]] == ["0", "1"]


def one_go(count):
    write_rows(count)
    run()
    made = Path("out.jsonl").read_bytes()
    for name in DONE[1:]:
        Path(name).unlink()
    return made


def left_with(made):
    """What a kill leaves: a record without its end, and a part of the file."""
    Path("out.jsonl").unlink(missing_ok=True)
    record = read_record(Path("out.jsonl.batch.json"))
    record = record.model_copy(update={"end": None})
    Path("out.jsonl.batch.json").write_text(record.model_dump_json())
    Path("out.jsonl.part").write_bytes(made)


def test_a_cut_at_any_byte_ends_with_the_same_bytes(model, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # most of the time, and no crash comes
    Path("in.jsonl").write_text("".join(f'{{"source":"é{i}"}}\n' for i in range(40)))
    run()
    made = Path("out.jsonl").read_bytes()
    ends = [place for place, byte in enumerate(made, start=1) if byte == ord("\n")]
    assert len(ends) == 40
    cuts = set(range(ends[-3], len(made) + 1))
    for rows in (0, 1, CHUNK, 2 * CHUNK):  # on both sides of each border between chunks
        end = ends[rows - 1] if rows else 0
        cuts |= {place for place in range(end - 2, end + 3) if place >= 0}
    for cut in sorted(cuts):
        left_with(made[:cut])
        assert run() == ("go on" if cut else "begin")
        assert Path("out.jsonl").read_bytes() == made, cut
        assert files() == DONE


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda made: made + b"\0" * 100,  # a file system after a crash
        lambda made: made + b"one line more\n",
        lambda made: made[: len(made) // 2] + b"\0" * (len(made) // 2),
        lambda made: made.replace(b'"id": 20', b'"id": 21'),  # edited, or of another row
        lambda made: made.replace(b'"prediction"', b'"other"', 5),
        lambda made: b"[1]\n" + made,
        lambda made: made[:200] + b"\xff" + made[201:],
        lambda made: made.replace(b'"write row', b'"\\ud800 row', 1),
    ],
)
def test_what_is_not_of_its_row_is_answered_again(model, spoiled):
    made = one_go(40)
    run()
    left_with(spoiled(made))
    run()
    assert Path("out.jsonl").read_bytes() == made


def test_a_kill_between_any_two_chunks_loses_no_row_and_repeats_none(model):
    made = one_go(100)  # 7 chunks
    for dies_after in range(7):
        for name in DONE[1:]:
            Path(name).unlink(missing_ok=True)
        model.chunks, model.dies_after = [], dies_after
        with pytest.raises(Killed):
            run()
        assert files() == HALF
        model.dies_after = None
        assert run(flow_run="later") == ("go on" if dies_after else "begin")
        assert Path("out.jsonl").read_bytes() == made
        assert len(model.chunks) == 7
        starts = read_record(Path("out.jsonl.batch.json")).starts
        assert [start.row for start in starts] == ([0] if dies_after else []) + [dies_after * CHUNK]


def test_a_kill_before_the_file_has_its_name_needs_no_model(model):
    made = one_go(20)
    run()
    Path("out.jsonl").rename("out.jsonl.part")
    model.chunks = []
    assert run() == "finish"
    assert (model.chunks, Path("out.jsonl").read_bytes()) == ([], made)
    assert files() == DONE


CHANGED = [
    ({"defaults": {"task": "summarize", "ask": ""}}, '--task was "write" and is now "summarize"'),
    ({"defaults": {"task": "write", "ask": "x"}}, '--ask was "" and is now "x"'),
    ({"changes": {"max_new_tokens": 3}}, "--max-new-tokens was not given and is now 3"),
    ({"num_sequences": 2, "changes": {"num_beams": 2}}, "--sequences was 1 and is now 2"),
]


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize(("changes", "message"), CHANGED)
def test_answers_of_two_kinds_are_never_mixed(model, is_whole, changes, message):
    write_rows(40)
    model.dies_after = None if is_whole else 1
    try:
        run()
    except Killed:
        model.dies_after = None
    before = {path: path.read_bytes() for path in Path().glob("out*")}
    with pytest.raises(OutputError, match=message) as caught:
        run(job_of(**changes))
    assert "\n" not in str(caught.value)
    assert f"was {'made' if is_whole else 'begun'} otherwise" in str(caught.value)
    assert "--restart makes it anew, another OUT keeps both" in str(caught.value)
    assert {path: path.read_bytes() for path in Path().glob("out*")} == before
    assert run(job_of(**changes, is_restarted=True), flow_run="another") == "begin"
    assert files() == DONE


def half_done(model):
    write_rows(40)
    model.dies_after = 1
    with pytest.raises(Killed):
        run()
    model.dies_after = None


def test_a_champion_that_moved_is_told_with_both_versions(model):
    half_done(model)
    model.identity = Identity("version 5 of m", "e" * 64, "5")
    message = (
        "^out.jsonl: was begun otherwise: the model was version 3 of m and is now champion, version"
        " 5 of m. --model 3 goes on with it, --restart makes it anew, another OUT keeps both$"
    )
    with pytest.raises(OutputError, match=message):
        run()
    model.identity = Identity("version 3 of m", "f" * 64, "3")
    assert run(job_of(model="3")) == "go on"


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        (
            Identity("version 3 of m", "e" * 64, "3"),
            "the model's files changed from ffffffffffff to",
        ),
        (Identity("version 3 of other", "f" * 64, "3"), "and is now champion, version 3 of other"),
        (Identity("./m", "f" * 64, None, "c" * 64), "was version 3 of m and is now champion, ./m"),
    ],
)
def test_another_model_is_told(model, identity, message):
    half_done(model)
    model.identity = identity
    with pytest.raises(OutputError, match=message):
        run()


def test_a_folder_is_the_same_by_its_files_settings_and_code(model, monkeypatch):
    model.identity = Identity("./m", "f" * 64, None, "c" * 64)
    half_done(model)
    model.identity = Identity("../there/m", "f" * 64, None, "d" * 64)
    with pytest.raises(
        OutputError, match="the code in wordmill/ changed from cccccccccccc to dddd"
    ):
        run()
    model.identity = Identity("../there/m", "f" * 64, None, "c" * 64)
    settings = batch_plan.engine_settings(PARAMS)
    other = {**settings, "decoding": {**settings["decoding"], "max_new_tokens": 5}}
    other["labels"] = {"a": ["b"]}
    monkeypatch.setattr(batch_plan, "engine_settings", lambda params: dict(other))
    with pytest.raises(OutputError, match=r"evaluate\.decoding\.max_new_tokens was 8 and is now 5"):
        run()
    monkeypatch.setattr(batch_plan, "engine_settings", lambda params: dict(settings))
    assert run() == "go on"


def test_another_input_is_told_and_what_is_answered_is_kept(model):
    half_done(model)
    part = Path("out.jsonl.part").read_bytes()
    write_rows(41)
    with pytest.raises(OutputError, match="the input changed from"):
        run()
    assert Path("out.jsonl.part").read_bytes() == part


def test_an_input_that_changes_while_it_is_read_is_told(model):
    made = one_go(2000)
    changes = iter([lambda: write_rows(2001)])
    model.during = lambda: next(changes, nothing)()
    with pytest.raises(DataError, match=r"in\.jsonl: has changed while it was read; put back"):
        run()
    assert files() == HALF
    model.during = nothing
    write_rows(2000)
    run()
    assert Path("out.jsonl").read_bytes() == made


def test_a_restart_keeps_the_old_answers_until_the_new_ones_are_whole(model):
    write_rows(40)
    Path("out.jsonl").write_text("somebody's\n")
    with pytest.raises(OutputError, match=r"without out\.jsonl\.batch\.json nobody knows"):
        run()
    model.dies_after = 2
    with pytest.raises(Killed):
        run(job_of(is_restarted=True))
    assert Path("out.jsonl").read_text() == "somebody's\n"
    model.dies_after, model.chunks = None, []
    # Prefect tries again what has begun anew: the same run goes on.
    assert run(job_of(is_restarted=True)) == "go on"
    assert model.chunks == [8]
    assert len(Path("out.jsonl").read_text().splitlines()) > 40
    assert files() == DONE
    assert run(job_of(is_restarted=True), flow_run="another") == "begin"


def test_what_is_in_the_way_is_one_line(model):
    write_rows(20)
    Path("out.jsonl.part").write_text("x")
    with pytest.raises(OutputError, match=r"out.jsonl.part: is there, and without"):
        run()
    Path("out.jsonl.batch.json").write_text("{}")
    with pytest.raises(DataError, match=r"batch\.json: is not what `wordmill batch` writes"):
        run()
    run(job_of(is_restarted=True))
    with Path("out.jsonl").open("a") as out:
        out.write("edited\n")
    with pytest.raises(OutputError, match="has changed since its batch was done"):
        run()
    Path("out.jsonl").unlink()
    assert run() == "begin"  # the answers were taken away


def test_a_file_that_somebody_puts_in_the_place_of_out_stays(model):
    half_done(model)
    Path("out.jsonl").write_text("mine")
    with pytest.raises(OutputError, match="was not there when its batch began"):
        run()
    Path("out.jsonl").unlink()
    model.during = lambda: Path("out.jsonl").write_text("mine")
    with pytest.raises(OutputError, match="was not there when its batch began"):
        run()
    assert Path("out.jsonl").read_text() == "mine"
    Path("out.jsonl").unlink()
    model.during, model.chunks = nothing, []
    run()
    assert model.chunks == []
    assert files() == DONE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"out": Path("in.jsonl")}, "in.jsonl: is the file that is read; name another"),
        ({"source": Path("a.part"), "out": Path("a")}, "a.part: is the file that is read"),
        ({"out": Path("no/out")}, "no/out: there is no folder no; make it first"),
        ({"out": Path("folder")}, "folder: is a folder; name a file in it"),
        ({"out": Path("pipe")}, "pipe: is no plain file; name another"),
        ({"source": Path("none")}, "none: can't be read: No such file"),
        ({"source": Path("folder")}, "folder: is no plain file, and a batch reads it more than"),
        ({"source": Path("pipe")}, "pipe: is no plain file, and a batch reads it more than once"),
        ({"num_sequences": 0}, "--sequences 0: must be 1 at least"),
        ({"defaults": {"task": "sing", "ask": ""}}, "--task sing: no such task"),
        ({"changes": {"top_p": 2.0}}, "--top-p 2.0: must be less than or equal to 1"),
        ({"changes": {"sing": 2.0}}, "decoding.sing 2.0: Extra inputs are not permitted"),
        ({"changes": {"top_p": 0.5}}, "--top-p: version 3 of m takes the best token each time"),
        ({"changes": {"length_penalty": 2.0}}, "--length-penalty: version 3 of m follows no beams"),
        ({"num_sequences": 3}, "--sequences 3: the best token each time gives one answer"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_nothing_is_left(model, changes, message):
    write_rows(3)
    Path("folder").mkdir()
    Path("a.part").write_text('{"source": "x"}\n')
    os.mkfifo("pipe")
    before = files()
    with pytest.raises(ParamsError, match=message):
        run(job_of(**changes))
    assert files() == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{broken", "in.jsonl:3: not valid JSON"),
        (b'{"source": " "}', "in.jsonl:3: source is empty"),
        (b'{"source": "\\ud83d"}', r"in.jsonl:3: holds half a character, a \\ud"),
        (b'{"source": "x", "id": %s}' % (b"1" * 5000), "in.jsonl:3: can't be read as JSON: Exc"),
        (b"[" * 100_000, "in.jsonl:3: can't be read as JSON: maximum recursion"),
        (b'{"source": "\xff"}', "in.jsonl: is not UTF-8: invalid start byte"),
    ],
)
def test_every_row_is_looked_at_before_anything_starts(model, line, message):
    Path("in.jsonl").write_bytes(b'{"source": "fine"}\n\n' + line + b"\n")
    with pytest.raises(DataError, match=message):
        run()
    assert files() == ["in.jsonl"]
    assert model.chunks == []
    Path("in.jsonl").write_bytes(b"\n\n")
    with pytest.raises(DataError, match="holds no row"):
        run()


def test_lines_end_at_line_feeds_alone(model):
    text = '\ufeff{"source": "a\u2028b\u0085c"}\r\n\n{"source": "\\ud83d\\ude00 \\\\ud8"}'
    Path("in.jsonl").write_bytes(text.encode())
    found = [
        row["source"] for row, _ in read_requests(Path("in.jsonl"), defaults={"task": "write"})
    ]
    assert found == ["a\u2028b\u0085c", "😀 \\ud8"]
    run()
    assert Path("out.jsonl").read_bytes().count(b"\n") == 2


def test_memory_does_not_grow_with_the_rows(model, monkeypatch):
    row = json.dumps({"source": "x" * 2000}) + "\n"
    peaks = []
    for count in (100, 1000):
        Path("in.jsonl").write_text(row * count)
        model.chunks = []
        tracemalloc.start()
        run(job_of(is_restarted=True), flow_run=str(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(model.chunks) == -(-count // CHUNK)
    assert peaks[1] < 1.2 * peaks[0] + 100_000
    assert peaks[1] < Path("in.jsonl").stat().st_size / 4


def test_two_batches_to_one_file(model):
    with alone(job_of()), pytest.raises(BusyError, match=r"another batch writes out\.jsonl"):
        run()
    with alone(job_of(out=Path("other.jsonl"))):
        write_rows(3)
        run()


def test_a_full_disk_is_one_line_and_the_batch_goes_on_later(model, monkeypatch):
    made = one_go(40)

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken, pytest.raises(OutputError, match=r"out\.jsonl: can't be"):
        model.during = lambda: broken.setattr(batch_answers.os, "fsync", full)
        run()
    model.during = nothing
    run()
    assert Path("out.jsonl").read_bytes() == made


def test_a_task_that_the_model_was_never_scored_on_is_told(model, capsys):
    Path("in.jsonl").write_text('{"source": "a", "task": "dialogue"}\n')
    run()
    assert "was never scored on 'dialogue'" in capsys.readouterr().err


def test_mistakes_are_told_before_prefect_starts(model, monkeypatch, capsys):
    Path("dvc.yaml").write_text("stages: {}\n")
    write_params(Path(), SMALL_PARAMS)
    monkeypatch.setattr(cli.workspace, "enter", lambda: None)
    for words, status, message in [
        ("in.jsonl out.jsonl", 2, "in.jsonl: can't be read: No such file or directory"),
        ("in.jsonl", 2, "the following arguments are required: OUT"),
        ("in.jsonl out.jsonl --task sing", 2, "--task sing: no such task"),
    ]:
        monkeypatch.setattr("sys.argv", ["wordmill", "batch", *words.split()])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert (left.value.code, message in capsys.readouterr().err) == (status, True)
    write_rows(3)
    run()
    monkeypatch.setattr(
        "sys.argv", ["wordmill", "batch", "in.jsonl", "out.jsonl", "--task", "write"]
    )
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 0
    said = "nothing to do: out.jsonl holds the 3 answers of version 3 of m already\n"
    assert capsys.readouterr().out == said
