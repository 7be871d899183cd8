"""Asking: what the command line comes to, the process that answers, files and dialogues."""

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT, SMALL_PARAMS, environment, small_texts, small_tokenizer, write_params

from flows import asking, chat, cli
from flows.answerer import Located, answerer
from flows.asking_options import asked_of, check_generate, decoding_changes
from flows.request_file import read_requests
from wordmill.errors import DataError, ParamsError, TryAgainError, WordmillError
from wordmill.generation.loading import load_engine
from wordmill.models.building import new_model
from wordmill.models.folder import save_model
from wordmill.models.vocabulary import vocabulary_of
from wordmill.params.everything import Params
from wordmill.params.model import ModelParams
from wordmill.progress import Progress, nowhere
from wordmill.tokens.prompts import Request

PARAMS = Params.model_validate(SMALL_PARAMS)
SETTINGS = {
    "decoding": SMALL_PARAMS["evaluate"]["decoding"],
    "max_source_tokens": 32,
    "batch_size": 4,
}


def parsed(*words):
    return cli._parser().parse_args(["generate", *words])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"task": "summarize", "ask": ""}),
        (["--task", "write"], {"task": "write", "ask": ""}),
        (["--task", "answer", "--ask", "Who?"], {"task": "answer", "ask": "Who?"}),
        (
            ["--task", "translate", "--source", "de", "--target", "en"],
            {"task": "translate", "ask": "English"},  # as the training pairs name a language
        ),
        (["--task", "translate"], {"task": "translate", "ask": ""}),
    ],
)
def test_options_become_what_training_pairs_have(words, expected):
    assert asked_of(parsed("x", *words)) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "sing"], "--task sing: no such task; allowed: write, summarize"),
        (["--target", "de"], "--target is for --task translate; the task is summarize"),
        (["--task", "translate", "--target", "german"], "--target german: no code of ISO 639-1"),
        (["--task", "translate", "--target", "de", "--ask", "German"], "give one"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(words, message):
    with pytest.raises(ParamsError, match=message):
        asked_of(parsed("x", *words))


@pytest.mark.parametrize(
    "words", [[], ["x", "--out", "a"], ["--file", "a"], ["x", "--file", "a", "--out", "b"]]
)
def test_a_text_or_two_files_are_given(words):
    with pytest.raises(ParamsError):
        check_generate(parsed(*words))


def test_only_what_is_given_changes_the_decoding():
    assert decoding_changes(parsed("x")) == {}
    words = ["--temperature", "0", "--top-k", "5", "--stop", "a", "--stop", "b"]
    words += ["--no-repeat-ngram", "3", "--beams", "2"]
    assert decoding_changes(parsed("x", *words)) == {
        "temperature": 0.0,
        "top_k": 5,
        "stop": ["a", "b"],
        "no_repeat_ngram_size": 3,
        "num_beams": 2,
    }


def located(**decoding):
    settings = {**SETTINGS, "decoding": {**SETTINGS["decoding"], **decoding}}
    return Located("m", Path("f"), Path("c"), settings)


@pytest.mark.parametrize(
    ("own", "changes", "expected"),
    [
        ({}, {"max_new_tokens": 5}, {"max_new_tokens": 5}),
        ({"num_beams": 4}, {"temperature": 0.5}, {"temperature": 0.5, "num_beams": 1}),
        ({"temperature": 0.5}, {"num_beams": 4}, {"temperature": 0.0, "num_beams": 4}),
        ({}, {"num_beams": 2}, {"num_beams": 2}),
        ({"temperature": 0.5}, {"top_k": 3}, {"temperature": 0.5, "top_k": 3}),
    ],
)
def test_changes_take_the_place_of_the_models_own_decoding(own, changes, expected):
    found = asking.with_changes(located(**own), changes).settings["decoding"]
    assert found == {**SETTINGS["decoding"], **expected}


def test_changes_that_would_do_nothing_are_told():
    with pytest.raises(ParamsError, match="--top-p: m takes the best token each time"):
        asking.with_changes(located(), {"top_p": 0.9})
    with pytest.raises(ParamsError, match="--sequences 3: the best token each time gives one"):
        asking.with_changes(located(), {}, num_sequences=3)
    asking.with_changes(located(num_beams=3), {}, num_sequences=3)
    asking.with_changes(located(), {"temperature": 1.0}, num_sequences=3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top_p": 2.0}, "--top-p 2.0: must be less than or equal to 1"),
        ({"max_new_tokens": 0}, "--max-new-tokens 0: must be greater than or equal to 1"),
        ({"temperature": 0.5, "num_beams": 2}, "--temperature above 0 draws"),
    ],
)
def test_values_out_of_their_range_are_one_line(changes, message):
    with pytest.raises(ParamsError, match=message):
        asking.check_changes(PARAMS, changes)
    asking.check_changes(PARAMS, {"top_p": 0.5, "temperature": 0.7})


FAKE = {
    "errors.py": (ROOT / "wordmill/errors.py").read_text(),
    "progress.py": (ROOT / "wordmill/progress.py").read_text(),
    "tokens/prompts.py": "def request(task, source, ask): return (task, source, ask)",
    "generation/loading.py": """
        import os
        from collections import namedtuple
        from wordmill.errors import TryAgainError

        Answer = namedtuple("Answer", "text num_tokens")

        class Engine:
            def __init__(self, settings):
                self.settings = settings

            def answer(self, requests, *, progress):
                print("a library prints")
                for _, source, _ in requests:
                    if source == "later":
                        raise TryAgainError("come back later")
                    if source == "crash":
                        raise KeyError("gone")
                    if source == "killed":
                        os.kill(os.getpid(), 9)
                progress.advance(len(requests))
                return [f"{t}:{s}:{a}:{self.settings['decoding']}" for t, s, a in requests]

            def generate(self, requests, *, progress, num_sequences):
                if num_sequences == 1:
                    return [[Answer(text, 2)] for text in self.answer(requests, progress=progress)]
                numbers = range(num_sequences)
                return [[Answer(f"{s}{n}", 2) for n in numbers] for _, s, _ in requests]

            def stream(self, request):
                yield from request[1].split("|")

        def load_engine(folder, **settings):
            return Engine(settings)
    """,
}


@pytest.fixture(scope="module")
def fake_model(tmp_path_factory):
    """A model whose own code is a few lines: what a version with other code is like."""
    code = tmp_path_factory.mktemp("code")
    for name, text in FAKE.items():
        path = code / "wordmill" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(textwrap.dedent(text))
    return Located("version 1 of fake", code, code, {"decoding": 7})


@pytest.fixture(scope="module")
def fake_session(fake_model):
    with answerer() as asked:
        asked.load(fake_model)
        yield asked


def row(source, task="write", ask=""):
    return {"task": task, "source": source, "ask": ask}


def test_a_model_answers_with_its_own_code(fake_session):
    found = fake_session.answers([row("a"), row("b", "answer", "c")], show=nowhere)
    assert found == [["write:a::7"], ["answer:b:c:7"]]
    found = fake_session.answers([row("a"), row("b")], num_sequences=2, show=nowhere)
    assert found == [["a0", "a1"], ["b0", "b1"]]
    assert list(fake_session.stream(row("one| two|"))) == ["one", " two", ""]
    assert list(fake_session.stream(row(""))) == [""]


def test_progress_is_told_on_the_way(fake_session):
    lines = []
    fake_session.answers([row("a")] * 3, show=lines.append)
    assert "3/3" in lines[-1]


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("later", TryAgainError, "^come back later$"),
        ("crash", DataError, "version 1 of fake does not answer: KeyError: 'gone'"),
        ("killed", TryAgainError, "version 1 of fake does not answer: its process was killed"),
    ],
)
def test_what_goes_wrong_over_there_is_one_line_here(fake_model, source, error, message):
    with answerer() as asked:
        asked.load(fake_model)
        with pytest.raises(error, match=message) as caught:
            asked.answers([row(source)], show=nowhere)
        assert "\n" not in str(caught.value)


def is_alive(number):
    try:
        return "State:\tZ" not in Path(f"/proc/{number}/status").read_text()
    except FileNotFoundError:
        return False


def test_the_process_ends_with_the_block_and_with_a_starter_that_is_killed():
    with answerer() as asked:
        number = asked._process.pid
        assert is_alive(number)
    assert not is_alive(number)
    code = (
        "import time; from flows.answerer import answerer\n"
        "with answerer() as asked: print(asked._process.pid, flush=True); time.sleep(99)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    )
    number = int(starter.stdout.readline())
    starter.kill()
    starter.wait()
    starter.stdout.close()
    deadline = time.monotonic() + 30
    while is_alive(number) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_alive(number)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project's root with a model folder and no registry."""
    root = tmp_path_factory.mktemp("project")
    tokenizer = small_tokenizer(small_texts(50, seed=1))
    shape = ModelParams(**SMALL_PARAMS["model"])
    (root / "models").mkdir()
    save_model(root / "models/one", new_model(shape, vocabulary_of(tokenizer), seed=3), tokenizer)
    write_params(root, SMALL_PARAMS)
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / "wordmill").symlink_to(ROOT / "wordmill")
    return root


def run(project, *words, **options):
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *words],
        cwd=project,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def wanted(project, *sources):
    engine = load_engine(project / "models/one", **SETTINGS | {"batch_size": 8})
    return engine.answer([Request("write", s) for s in sources], progress=Progress("test"))


def test_a_folder_answers_as_its_engine_does_and_needs_no_mlflow(project):
    done = run(project, "generate", "The miller", "--task", "write", "--model", "models/one")
    assert done.returncode == 0, done.stderr
    assert [done.stdout.removesuffix("\n")] == wanted(project, "The miller")
    assert not (project / "mlflow.db").exists()


def test_a_file_is_answered_row_by_row(project):
    rows = [
        {"source": "The miller", "id": 7},
        {"source": "Our neighbour", "task": "write", "prediction": "old"},
        {"source": "The baker sells"},
    ]
    (project / "in.jsonl").write_text("\n\n".join(map(json.dumps, rows)) + "\n")
    files = ["--file", "in.jsonl", "--out", "new/out.jsonl"]
    refused = run(project, "generate", *files, "--task", "write", "--model", "models/one")
    assert refused.returncode == 2
    assert "new/out.jsonl: there is no folder new; make it first" in refused.stderr
    (project / "new").mkdir()
    done = run(project, "generate", *files, "--task", "write", "--model", "models/one")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in (project / "new/out.jsonl").read_text().splitlines()]
    texts = wanted(project, *(row["source"] for row in rows))
    assert found == [{**r, "prediction": t} for r, t in zip(rows, texts, strict=True)]
    assert "3 answers of models/one -> new/out.jsonl" in done.stdout
    assert [path.name for path in (project / "new").iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("x --model ./nothing", 2, "--model ./nothing: no such folder"),
        ("x --model models/", 2, r"--model models/: no model \(config.json\)"),
        ("x --model models/broken", 65, "models/broken: the (model|tokenizer) can't be loaded"),
        ("x --temperature hot", 2, "argument --temperature: invalid float value: 'hot'"),
        ("x --task sing", 2, "--task sing: no such task"),
        ("--nothing", 2, "unrecognized arguments: --nothing"),
    ],
)
def test_what_cannot_be_asked_is_one_line(project, words, status, message):
    broken = project / "models/broken"
    broken.mkdir(exist_ok=True)
    (broken / "config.json").write_text('{"model_type": "llama"}')
    done = run(project, "generate", *words.split())
    assert (done.returncode, done.stdout) == (status, "")
    assert len(done.stderr.splitlines()) == 1
    assert re.search(message, done.stderr)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{broken", "in.jsonl:2: not valid JSON"),
        ("[1]", "in.jsonl:2: must be an object"),
        ('{"text": "x"}', "in.jsonl:2: has no source; it has text"),
        ('{"source": 3}', "in.jsonl:2: source must be a text; got 3"),
        ('{"source": "x", "ask": null}', "in.jsonl:2: ask must be a text; got None"),
        ('{"source": "x", "task": "sing"}', "in.jsonl:2: task is 'sing'; allowed: write"),
        ('{"source": " "}', "in.jsonl:2: source is empty"),
    ],
)
def test_a_bad_row_is_told_with_its_place_before_anything_is_asked(line, message, tmp_path):
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_text(f'{{"source": "fine"}}\n{line}\n')
    with pytest.raises(DataError, match=message):
        ask_file(file, out)
    assert not out.exists()


def ask_file(file, out, **options):
    defaults = {"task": "write", "ask": ""}
    given = {"changes": {}, "num_sequences": 1, **options}
    return asking.ask_file(PARAMS, "fake", file=file, out=out, defaults=defaults, **given)


@pytest.fixture
def fake_answers(fake_session, fake_model, monkeypatch):
    """The asking functions talk to the fake; what they ask is listed."""

    @contextmanager
    def given(value):
        yield value

    class Listening:
        def __init__(self):
            self.rows = []

        def load(self, model):
            assert model.settings["decoding"]["num_beams"] == 1

        def answers(self, rows, **options):
            return fake_session.answers(rows, **options)

        def stream(self, asked):
            self.rows.append(asked)
            yield from ("an", "swer")

    listening = Listening()
    for module in (asking, chat):
        monkeypatch.setattr(module, "answerer", lambda: given(listening))
        monkeypatch.setattr(module, "located", lambda which, params: given(located()))
    return listening


def test_nothing_is_half_written(fake_answers, tmp_path):
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    file.write_text('{"source": "a"}\n{"source": "b"}\n')
    ask_file(file, out, changes={"temperature": 1.0}, num_sequences=2)
    first = out.read_text()
    assert [json.loads(line)["predictions"] for line in first.splitlines()] == [
        ["a0", "a1"],
        ["b0", "b1"],
    ]
    file.write_text('{"source": "later"}\n')
    with pytest.raises(WordmillError):
        fake_answers.answers = lambda rows, **_: (_ for _ in ()).throw(TryAgainError("later"))
        ask_file(file, out)
    assert out.read_text() == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_a_file_is_not_written_over_itself(tmp_path):
    file = tmp_path / "in.jsonl"
    file.write_text('{"source": "a"}\n')
    (tmp_path / "link.jsonl").symlink_to(file)
    os.link(file, tmp_path / "hard.jsonl")
    for out in (file, tmp_path / "link.jsonl", tmp_path / "hard.jsonl", tmp_path / "x/../in.jsonl"):
        with pytest.raises(ParamsError, match="is the file that is read"):
            ask_file(file, out)
    assert file.read_text() == '{"source": "a"}\n'


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_file_is_one_line(text, tmp_path):
    (tmp_path / "in.jsonl").write_text(text)
    with pytest.raises(DataError, match="holds no row"):
        read_requests(tmp_path / "in.jsonl", defaults={})
    with pytest.raises(ParamsError, match="can't be read: No such file"):
        read_requests(tmp_path / "none.jsonl", defaults={})


def talk(monkeypatch, lines, **names):
    said = iter(lines)

    def line(prompt):
        try:
            found = next(said)
        except StopIteration:
            raise EOFError from None
        if isinstance(found, type):
            raise found
        return found

    monkeypatch.setattr("builtins.input", line)
    chat.chat(PARAMS, "fake", **{"name": "", "model_name": "", **names}, changes={})


def test_a_dialogue_keeps_its_turns_as_training_pairs_have_them(fake_answers, monkeypatch, capsys):
    talk(monkeypatch, ["Hello", "", "  ", "And you?"])
    assert fake_answers.rows == [
        {"task": "dialogue", "source": "Hello", "ask": ""},
        {"task": "dialogue", "source": "Hello\nanswer\nAnd you?", "ask": ""},
    ]
    assert capsys.readouterr().out == "answer\nanswer\n"


def test_who_speaks_stands_before_each_turn(fake_answers, monkeypatch):
    talk(monkeypatch, ["Hello", "And you?"], name="Ann", model_name="Bob")
    assert fake_answers.rows[1] == {
        "task": "dialogue",
        "source": "Ann: Hello\nBob: answer\nAnn: And you?",
        "ask": "Bob",
    }
    with pytest.raises(ParamsError, match="--as and --with go together"):
        talk(monkeypatch, [], name="Ann")


def test_ctrl_c_ends_a_dialogue_without_an_error(fake_answers, monkeypatch):
    talk(monkeypatch, ["Hello", KeyboardInterrupt, "not read"])
    assert len(fake_answers.rows) == 1


def test_a_dialogue_through_a_pipe_loads_its_model_once(project):
    done = run(project, "chat", "--model", "models/one", input="Hello\n\nThe miller\n")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) >= 2


def test_a_task_that_a_model_was_never_scored_on_is_told(capsys):
    model = Located("version 3 of m", Path("f"), Path("c"), {}, ("summarize", "write"))
    asking.warn_of_tasks(model, ["summarize", "dialogue"])
    said = capsys.readouterr().err
    assert "version 3 of m was never scored on 'dialogue' (only on summarize, write)" in said
    asking.warn_of_tasks(model, ["write"])
    asking.warn_of_tasks(model._replace(tasks=()), ["dialogue"])  # not known
    assert capsys.readouterr().err == ""
