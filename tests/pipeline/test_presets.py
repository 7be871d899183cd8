"""Every preset is a valid one, and takes its real corpus through the whole data path."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, SMALL_PARAMS, run_in, write_params

from flows.preset import use
from wordmill.cleaning.cleaning import Cleaning
from wordmill.data.ingestion import Ingestion
from wordmill.data.records import SPLITS, Document, RecordWriter, read_records
from wordmill.errors import DataError, ParamsError
from wordmill.files import replaced_folder
from wordmill.params.everything import Params
from wordmill.params.section import parse_params, read_params
from wordmill.progress import Progress
from wordmill.tokens.making import make_tokenizer
from wordmill.tokens.packing import pack

QUIET = Progress("test")
CORPORA = ROOT.parent / "shared/data"
PRESETS = sorted(path.stem for path in (ROOT / "experiments").glob("*.yaml"))
# Documents and pairs that are read; the least bytes a token of documents.
EXPECTED = {
    "chinese-poems": (8007, 0, 2.9),
    "chinese-poems-backward": (8007, 0, 2.9),
    "cmrc2018": (256, 1002, 3.2),
    "dialogsum": (1000, 9543, 3.2),
    "multi30k": (62028, 31014, 3.6),
    "multi30k-en-de": (62028, 31014, 4.4),
    "multi30k-en-de-cpu": (62028, 31014, 3.9),
    "shakespeare-char": (3, 0, 1.0),
    "shakespeare-char-cpu": (3, 0, 1.0),
    "tinyshakespeare": (7222, 0, 3.1),
}


@pytest.fixture
def params_file(tmp_path) -> Path:
    return Path(shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml"))


def used(preset: str, params_file: Path) -> Params:
    if not CORPORA.is_dir():
        pytest.skip(f"no corpora in {CORPORA}")
    use(ROOT / f"experiments/{preset}.yaml", params=params_file, data=CORPORA)
    return parse_params(Params, read_params(params_file), file=params_file)


def cleaned(params: Params, folder: Path) -> tuple[Path, dict]:
    """The folder of a preset's clean records, and the report on them."""
    raw, clean = folder / "ingest", folder / "clean"
    ingestion = Ingestion(
        params.ingest,
        code_key="test",
        memory=folder / "memory",
        kept_quarantine=folder / "bad.jsonl",
        progress=QUIET,
    )
    with replaced_folder(raw) as partial:
        ingestion.write(partial)
    (clean / "work").mkdir(parents=True)
    with RecordWriter(clean) as writer:
        cleaning = Cleaning(
            raw, clean / "work", params.clean, seed=1, on_drop=lambda _: None, progress=QUIET
        )
        cleaning.run(writer)
    return clean, cleaning.tally.report(ingestion.report())


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_takes_its_corpus_from_files_to_tokens(preset, params_file, tmp_path):
    params = used(preset, params_file)
    documents, pairs, least_bytes = EXPECTED[preset]
    clean, report = cleaned(params, tmp_path)
    tokens = tmp_path / "tokens"
    context_tokens = params.model.context_tokens
    made = make_tokenizer(clean, params.tokenize, context_tokens=context_tokens, progress=QUIET)
    tokens.mkdir()
    packed = pack(clean, tokens, made.tokenizer, params.tokenize, progress=QUIET).report

    assert sum(report["documents"][split]["read"] for split in SPLITS) == documents
    assert sum(report["pairs"][split]["read"] for split in SPLITS) == pairs
    for kind, read in (("documents", documents), ("pairs", pairs)):
        assert sum(report[kind][split]["kept"] for split in SPLITS) >= 0.97 * read
    assert packed["documents"]["train"]["bytes_per_token"] >= least_bytes
    assert packed["unknown_rate"] == 0


@pytest.mark.parametrize("preset", ["shakespeare-char", "shakespeare-char-cpu"])
def test_not_a_character_of_shakespeare_is_changed(preset, params_file, tmp_path):
    params = used(preset, params_file)
    clean = cleaned(params, tmp_path)[0]
    text = (CORPORA / "tinyshakespeare/input.txt").read_bytes().decode()
    place = int(0.9 * len(text))
    assert len(text) - place == 111_540
    found = {split: [d.text for d in read_records(clean, Document, split)] for split in SPLITS}
    # No sentence of the training text is in the validation text: all of it stays.
    assert found["train"] == [text[:place]]
    assert found["validation"] == [text[place:]]
    assert found["test"] == [text[place + 1 :]]


def test_every_preset_has_its_figures():
    assert sorted(EXPECTED) == PRESETS


def test_a_preset_changes_its_keys_and_nothing_else(params_file, tmp_path):
    before = params_file.read_text()
    preset = tmp_path / "mine.yaml"
    preset.write_text("clean:\n  length:\n    min_source_chars: 3\n  mask: [email]\n")
    use(preset, params=params_file, data=None)
    after = params_file.read_text()
    changed = set(after.splitlines()) ^ set(before.splitlines())
    assert {re.sub(r"\s+", "", line) for line in changed} == {
        *["min_source_chars:80", "min_source_chars:3"],
        *["mask:[email,phone,ip,card,iban,china_id,us_ssn]", "mask:[email]"],
    }


@pytest.mark.parametrize(
    ("preset", "error", "message"),
    [
        ("clean:\n  lenght: {}\n", ParamsError, "clean.lenght: unknown key; allowed: engine"),
        ("clean:\n  mask: [mail]\n", ParamsError, "mine.yaml: clean.mask.0: must be 'email'"),
        ("ingest:\n  root: nowhere\n", DataError, "nowhere: no such folder; give the one that"),
        ("- list\n", ParamsError, "must hold sections"),
        ("ingest:\n", ParamsError, "ingest: must hold keys such as root; got None"),
        ("ingest: 3\n", ParamsError, "ingest: must hold keys such as root; got 3"),
        ("ingest:\n  root: 5\n", DataError, "5: no such folder"),
        ("clean:\n  augment: {operations: []}\n", ParamsError, "clean.augment.operations"),
        ("clean:\n  augment: {copies: 1}\n", ParamsError, "need a file of synonyms"),
        ("clean:\n  length: {min_source_chars: 99999}\n", ParamsError, "is above max_source"),
        ("clean:\n  language: {keep: [english]}\n", ParamsError, "got 'english'"),
    ],
)
def test_a_bad_preset_is_one_clear_line_and_changes_nothing(
    preset, error, message, params_file, tmp_path
):
    before = params_file.read_text()
    (tmp_path / "mine.yaml").write_text(preset)
    with pytest.raises(error, match=re.escape(message)) as caught:
        use(tmp_path / "mine.yaml", params=params_file, data=tmp_path)
    assert "\n" not in str(caught.value)
    assert params_file.read_text() == before


def test_a_folder_is_no_preset(params_file):
    with pytest.raises(ParamsError, match="experiments: is a folder; name a file in it"):
        use(ROOT / "experiments", params=params_file, data=None)


def test_a_folder_that_dvc_watches_and_is_not_there_is_one_clear_line(make_project):
    project = make_project("folders")
    params = {**SMALL_PARAMS, "ingest": {**SMALL_PARAMS["ingest"], "root": "data/rw"}}
    write_params(project, params)
    done = run_in(project, "python", "-m", "flows.cli", "retrain")
    assert done.returncode == 65
    assert done.stderr == (
        "wordmill: data/rw: no such folder; make it, or name another under ingest.root\n"
    )


def test_a_missing_preset_is_one_clear_line(make_project):
    project = make_project("presets")
    done = run_in(project, "python", "-m", "flows.cli", "use", "experiments/none.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("wordmill: experiments/none.yaml: no such file")
    assert len(done.stderr.splitlines()) == 1
