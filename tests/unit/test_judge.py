"""People as judges: the ballot, the votes, what they say, and the page's server over HTTP."""

import http.client
import json
import threading
from contextlib import contextmanager

import pytest

from flows.judge import judge
from wordmill.errors import DataError, OutputError, ParamsError
from wordmill.judging.answers import read_answers
from wordmill.judging.ballot import ballot
from wordmill.judging.server import Booth, Server
from wordmill.judging.tally import sign_test, tally, wilson
from wordmill.judging.votes import VoteFile, read_votes, votes

SYSTEMS = {"north": "cold {}", "south": "warm {}", "echo": "cold {}"}


def write_predictions(path, *, count=12, systems=SYSTEMS):
    rows = [
        {
            "system": system,
            "id": f"id-{i:02}",
            "task": "summarize",
            "source": f"source {i}",
            "ask": "",
            "target": f"target {i}",
            "prediction": says.format(i),
        }
        for system, says in systems.items()
        for i in range(count)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def predictions(tmp_path):
    return write_predictions(tmp_path / "data/evaluate/predictions.jsonl")


def drawn(predictions, a="north", b="south", *, samples=6, seed=1):
    both = (read_answers(name, default=predictions) for name in (a, b))
    return ballot(*both, samples=samples, seed=seed)


@contextmanager
def served(ballot, folder, judge="Ann"):
    booth = Booth(ballot, VoteFile(folder, ballot, judge=judge))
    with Server(booth, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield Client(server.server_port), booth, thread
        finally:
            server.shutdown()
            thread.join()


class Client:
    """Asks as the page does, unless told otherwise."""

    def __init__(self, port):
        self.port = port

    def ask(self, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        content = None if body is None else json.dumps(body)
        sent = {"Content-Type": "application/json"} if body is not None else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET" if body is None else "POST", path, content, sent)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        is_json = answer.headers["Content-Type"].startswith("application/json")
        return answer.status, json.loads(text) if is_json else text

    def vote(self, number, choice, **headers):
        return self.ask("/vote", {"number": number, "choice": choice}, **headers)


def test_the_ballot_follows_from_the_seed_and_a_longer_one_begins_with_the_shorter(predictions):
    short, long = drawn(predictions, samples=4), drawn(predictions, samples=9)
    assert long.duels[:4] == short.duels
    assert drawn(predictions, seed=2, samples=9).duels != long.duels
    assert {duel.is_a_left for duel in drawn(predictions, samples=12).duels} == {True, False}


def test_a_against_b_and_b_against_a_are_one_comparison(predictions):
    there, back = drawn(predictions, "north", "south"), drawn(predictions, "south", "north")
    assert there == back
    assert there.hash == back.hash


def test_answers_from_another_file(predictions, tmp_path):
    other = write_predictions(tmp_path / "other.jsonl", systems={"north": "windy {}"})
    found = drawn(predictions, "north", f"{other}:north")
    assert {duel.answer_a.split()[0] for duel in found.duels} | {
        duel.answer_b.split()[0] for duel in found.duels
    } == {"cold", "windy"}


def test_systems_of_one_name_are_told_apart_by_their_files(predictions, tmp_path):
    other = write_predictions(tmp_path / "other.jsonl", systems={"north": "windy {}"})
    found = drawn(predictions, "north", f"{other}:north")
    assert {found.a.system, found.b.system} == {"north", f"{other}:north"}


def test_examples_answered_alike_are_not_shown(tmp_path):
    path = write_predictions(tmp_path / "p.jsonl", systems={"a": "same", "b": "same"})
    with pytest.raises(DataError, match="a and b answer all 12 examples alike"):
        drawn(path, "a", "b")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[3]["prediction"] = "other"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = drawn(path, "a", "b")
    assert [duel.asked.id for duel in found.duels] == ["id-03"]
    assert (found.num_alike, found.num_common) == (11, 12)


def test_systems_of_other_test_sets_are_not_compared(predictions, tmp_path):
    path = write_predictions(tmp_path / "p.jsonl", systems={"far": "far {}"})
    path.write_text(path.read_text().replace("source ", "another source "))
    with pytest.raises(DataError, match="no example in common"):
        drawn(predictions, "north", f"{path}:far")


@pytest.mark.parametrize(
    ("which", "error", "words"),
    [
        ("west", ParamsError, "no system 'west'; there are: echo, north, south"),
        ("none.jsonl:north", DataError, "none.jsonl: no such file"),
    ],
)
def test_what_is_not_there_is_one_line(predictions, which, error, words):
    with pytest.raises(error, match=words):
        read_answers(which, default=predictions)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 1: not JSON"),
        ("[]", "line 1: system, id"),
        ('{"system": "a"}', "line 1: id, task"),
        ("", "no predictions"),
    ],
)
def test_broken_predictions_are_one_line(tmp_path, line, words):
    path = tmp_path / "p.jsonl"
    path.write_text(line)
    with pytest.raises(DataError, match=words):
        read_answers("a", default=path)


def test_a_sitting_over_http(predictions, tmp_path):
    found = drawn(predictions)
    with served(found, tmp_path / "votes") as (client, booth, thread):
        assert client.ask("/state") == (200, {"total": 6, "done": 0, "next": 0})
        choices = ["left", "right", "tie", "skip", "left", "left"]
        for number, choice in enumerate(choices):
            status, state = client.vote(number, choice)
            assert (status, state["done"]) == (200, number + 1)
        assert state["next"] is None
        status, result = client.ask("/end", {})
        thread.join(timeout=5)
        assert not thread.is_alive()
    wins = {"a": 0, "b": 0}
    for duel, choice in zip(found.duels, choices, strict=True):
        if choice in ("left", "right"):
            wins["a" if (choice == "left") == duel.is_a_left else "b"] += 1
    counted = {found.a.system: wins["a"], found.b.system: wins["b"]}
    assert {result["a"]: result["wins_a"], result["b"]: result["wins_b"]} == counted
    assert (result["ties"], result["skips"]) == (1, 1)
    assert booth.result == result


def test_names_and_ids_do_not_reach_the_browser_before_the_end(predictions, tmp_path):
    systems = {"north": "cold {}", "south": "warm {}"}
    with served(drawn(predictions), tmp_path) as (client, _, _):
        pages = [client.ask(path)[1] for path in ("/", "/judge.js", "/judge.css", "/state")]
        pages += [client.ask(f"/example?number={n}")[1] for n in range(6)]
        pages += [client.vote(n, "left")[1] for n in range(6)]
        seen = json.dumps(pages)
        assert not [word for word in (*systems, "id-0") if word in seen]
        assert "north" in json.dumps(client.ask("/end", {})[1])


def test_sides_are_shuffled_and_votes_follow_the_system(predictions, tmp_path):
    """Whoever always prefers the warm answer makes its system win everything."""
    found = drawn(predictions, samples=12)
    with served(found, tmp_path) as (client, _, _):
        lefts = []
        for number in range(12):
            example = client.ask(f"/example?number={number}")[1]
            lefts.append(example["left"].split()[0])
            client.vote(number, "left" if example["left"].startswith("warm") else "right")
        assert set(lefts) == {"warm", "cold"}
        result = client.ask("/end", {})[1]
    assert (result["a"], result["wins_a"], result["wins_b"]) == ("south", 12, 0)
    assert result["p"] == pytest.approx(2 / 2**12)


def test_judging_is_taken_up_where_it_stopped(predictions, tmp_path):
    with served(drawn(predictions), tmp_path) as (client, _, _):
        client.vote(0, "left")
        client.vote(1, "skip")
    with served(drawn(predictions, samples=8), tmp_path) as (client, _, _):
        assert client.ask("/state")[1] == {"total": 8, "done": 2, "next": 2}
        assert client.ask("/example?number=0")[1]["choice"] == "left"
        client.vote(0, "right")
        assert client.ask("/example?number=0")[1]["choice"] == "right"
    with served(drawn(predictions), tmp_path, judge="Bob") as (client, _, _):
        assert client.ask("/state")[1]["done"] == 0
    assert len(read_votes(next(tmp_path.glob("*.jsonl")))) == 3


def test_a_line_cut_by_a_kill_is_passed_over(predictions, tmp_path):
    found = drawn(predictions)
    file = VoteFile(tmp_path, found, judge="")
    file.add("id-01", "a")
    file.path.write_text(file.path.read_text() + '{"example": "id-0')
    again = VoteFile(tmp_path, found, judge="")
    again.add("id-02", "b")
    assert [vote.example for vote in read_votes(file.path)] == ["id-01", "id-02"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:80", "Origin": "http://evil.example:80"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Content_Type": "text/plain"},
    ],
)
def test_votes_come_from_the_page_alone(predictions, tmp_path, headers):
    with served(drawn(predictions), tmp_path) as (client, _, _):
        assert client.vote(0, "left", **headers)[0] == 403
        assert client.ask("/state")[1]["done"] == 0


def test_another_host_reads_nothing(predictions, tmp_path):
    with served(drawn(predictions), tmp_path) as (client, _, _):
        for path in ("/", "/state", "/example?number=0"):
            assert client.ask(path, Host="evil.example")[0] == 403
        assert client.ask("/state", Host=f"localhost:{client.port}")[0] == 200


@pytest.mark.parametrize(
    ("number", "choice"),
    [(6, "left"), (-1, "left"), (True, "left"), ("0", "left"), (None, "left"), (0, "a"), (0, [])],
)
def test_only_known_examples_and_choices_are_taken(predictions, tmp_path, number, choice):
    with served(drawn(predictions), tmp_path) as (client, _, _):
        assert client.vote(number, choice)[0] == 400
        assert not list(tmp_path.glob("*.jsonl"))


def test_what_is_not_there_is_not_served(predictions, tmp_path):
    with served(drawn(predictions), tmp_path) as (client, _, _):
        for path in ("/../server.py", "/judge.html", "/example?number=99", "/example?number=x"):
            assert client.ask(path)[0] in (400, 404)
        assert client.ask("/votes", {})[0] == 404
        assert client.ask("/vote", ["no", "object"])[0] == 400
        assert client.ask("/vote", {"number": 0, "choice": "x" * 5000})[0] == 400


def test_the_result_waits_for_the_last_vote_and_closes_the_ballot(predictions, tmp_path):
    with served(drawn(predictions, samples=1), tmp_path) as (client, booth, _):
        assert client.ask("/end", {})[0] == 400
        client.vote(0, "tie")
        assert booth.end()["ties"] == 1
        with pytest.raises(ParamsError, match="the result is out"):
            booth.vote(0, "left")
    # Names may be known by now: taken up, it stays closed.
    with served(drawn(predictions, samples=1), tmp_path) as (client, booth, _):
        assert client.vote(0, "left")[0] == 400
        assert booth.result["ties"] == 1


def test_a_vote_that_cannot_be_written_is_said(predictions, tmp_path):
    folder = tmp_path / "votes"
    folder.write_text("a file in the way")
    with pytest.raises(OutputError, match="can't be written"):
        VoteFile(folder, drawn(predictions), judge="").add("id-01", "a")
    with served(drawn(predictions), folder) as (client, _, _):
        status, told = client.vote(0, "left")
        assert (status, "can't be written" in told["error"]) == (500, True)


def test_a_taken_port_is_one_line(predictions, tmp_path):
    with (
        served(drawn(predictions), tmp_path) as (client, booth, _),
        pytest.raises(ParamsError, match=f"port {client.port} is taken"),
    ):
        Server(booth, port=client.port)


def test_votes_for_a_report_are_those_on_its_answers(predictions, tmp_path):
    folder = tmp_path / "judgements"
    assert votes(folder, predictions=predictions) == []
    file = VoteFile(folder, drawn(predictions, samples=12), judge="")
    choice = "a" if drawn(predictions).a.system == "south" else "b"
    for i in range(9):
        file.add(f"id-{i:02}", choice)
    file.add("id-09", "tie")
    (found,) = votes(folder, predictions=predictions)
    assert (found["a"], found["b"]) == ("south", "north")
    assert (found["wins_a"], found["wins_b"], found["ties"]) == (9, 0, 1)
    assert found["rate"] == pytest.approx(0.95)
    assert found["low"] < 0.95 < found["high"]
    others = write_predictions(tmp_path / "later.jsonl", systems={"north": "new {}"})
    assert votes(folder, predictions=others) == []


def test_wilson_by_hand_and_at_the_ends():
    low, high = wilson(8, 10)
    assert (low, high) == (pytest.approx(0.4901625), pytest.approx(0.9433178))
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 5)[0] == 0.0
    assert wilson(5, 5)[1] == pytest.approx(1.0)


def test_the_ends_of_wilson_solve_its_equation():
    """(share - p)^2 = z^2 p (1 - p) / n."""
    for wins, count in ((3, 7), (12.5, 30), (29, 30)):
        for end in wilson(wins, count):
            z_square = (wins / count - end) ** 2 * count / (end * (1 - end))
            assert z_square == pytest.approx(1.959963984540054**2)


def test_the_sign_test_by_hand():
    assert sign_test(0, 0) == 1.0
    assert sign_test(5, 5) == 1.0
    assert sign_test(9, 1) == pytest.approx(2 * 11 / 1024)
    assert sign_test(1, 9) == sign_test(9, 1)


def test_ties_count_half_and_skips_do_not():
    counted = tally(["a", "a", "b", "tie", "skip"])
    assert counted == (2, 1, 1, 1)
    assert counted.rate == pytest.approx(2.5 / 4)
    assert counted.p == 1.0
    assert tally([]).rate == 0.5


def test_the_command_says_who_won(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_predictions(tmp_path / "data/evaluate/predictions.jsonl", count=3)
    lines, threads = [], []

    def announced(text, **_):
        lines.append(text)
        if "http://" in text:
            port = int(text.split("127.0.0.1:")[1].split("/")[0])
            threads.append(threading.Thread(target=_click_through, args=(port,)))
            threads[0].start()

    monkeypatch.setattr("builtins.print", announced)
    assert judge("north", "south", samples=30, seed=1, port=0) == 0
    threads[0].join()
    assert "win rate of" in lines[-1]
    assert "ties count half" in lines[-1]
    assert judge("north", "south", samples=30, seed=1, port=0) == 0
    assert "all is judged" in lines[-1]
    with pytest.raises(ParamsError, match="--port 99999"):
        judge("north", "south", samples=1, seed=1, port=99999)
    with pytest.raises(ParamsError, match="no system 'west'"):
        judge("north", "west", samples=1, seed=1, port=0)


def _click_through(port):
    client = Client(port)
    for number in range(3):
        client.vote(number, "left")
    client.ask("/end", {})
