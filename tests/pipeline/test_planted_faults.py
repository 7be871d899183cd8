"""A corpus with every kind of fault planted in it, through ingest, clean and tokenize.

Each plant must be found and counted under its own reason, clean text must come through as it
was, and personal data must be gone from every file that follows.
"""

import copy
import json
import random
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL_PARAMS, run_in, write_params
from transformers import AutoTokenizer

from wordmill.data.records import Document, read_records

VOWELS, CONSONANTS = "aeiouéöü", "bdfgklmnprst"
DRAW = random.Random(20260)
WORDS = ["".join(DRAW.choices(CONSONANTS + VOWELS, k=DRAW.randint(2, 8))) for _ in range(4000)]
PERSONAL = {
    "email": "ann.miller@example.org",
    "card": "4111 1111 1111 1111",
    "phone": "13812345678",
    "us_ssn": "536-90-4399",
    "iban": "DE89 3704 0044 0532 0130 00",
    "ip": "8.8.8.8",
    "china_id": "11010519491231002X",
}
HIDDEN = "hidden.person@example.org"  # goes with the link that holds it
LONG_LINE_BYTES = 50_000_000


def sentence() -> str:
    return " ".join(DRAW.choices(WORDS, k=DRAW.randint(14, 22))).capitalize() + "."


def text() -> str:
    return " ".join(sentence() for _ in range(DRAW.randint(4, 9)))


def near_copy(of: str) -> str:
    words = of.split(" ")
    words[DRAW.randrange(len(words))] = DRAW.choice(WORDS)  # at least 56 words: Jaccard 0.83
    return " ".join(words)


CLEAN = [text() for _ in range(500)]
HELD_OUT = [text() for _ in range(60)]
NEAR = [near_copy(CLEAN[5 * i]) for i in range(100)]  # one in five
LEAKED = [held_out.split(". ")[1].removesuffix(".") + "." for held_out in HELD_OUT[:20]]
HOSTS = [text() for _ in LEAKED]  # training texts that a held-out sentence leaked into
NULS = [text() for _ in range(8)]
PAGES = [text() for _ in range(8)]
LETTERS = [f"{text()} Write to {item} now. {sentence()}" for item in [*PERSONAL.values()] * 3]
NEAR_HELD_OUT = [near_copy(held_out) for held_out in HELD_OUT[40:50]]
EMPTY = ["", "   ", "\n\t\n", "\u200b", "<p></p>"]


def with_leak(host: str, leak: str) -> str:
    first, rest = host.split(". ", 1)
    return f"{first}. {leak} {rest}"


def training_rows() -> list[bytes]:
    hosts = [with_leak(host, leak) for host, leak in zip(HOSTS, LEAKED, strict=True)]
    link = f'<nav><a href="mailto:{HIDDEN}">write</a></nav>'
    pages = [f"<html><body>{link}<p>{page}</p><script>x()</script></body></html>" for page in PAGES]
    nuls = [nul.replace(" ", " \x00", 1) for nul in NULS]
    texts = [*CLEAN, *NEAR, *NEAR_HELD_OUT, *hosts, *nuls, *pages, *LETTERS, *EMPTY]
    rows = [json.dumps({"text": text}, ensure_ascii=False).encode() for text in texts]
    broken = [json.dumps({"text": text()}).encode()[:-4] + b"\xff\xfe" + b'."}' for _ in range(6)]
    long = b'{"text": "' + b"x" * LONG_LINE_BYTES + b'"}'
    rows += [*broken, long]
    DRAW.shuffle(rows)
    return rows


@pytest.fixture(scope="module")
def project(make_project) -> Path:
    made = make_project("faults")
    params = copy.deepcopy(SMALL_PARAMS)
    params["ingest"]["max_bad_fraction"] = 0.05
    params["ingest"]["max_row_bytes"] = 1_000_000
    params["ingest"]["sources"] = [
        {"kind": "files", "path": f"{split}.jsonl", "split": split, "columns": columns}
        for split in ("train", "test")
        for columns in ({"task": "write", "text": "text"},)
    ]
    params["clean"]["length"]["max_document_chars"] = 100_000
    write_params(made, params)
    raw = made / "data/raw"
    (raw / "train.jsonl").write_bytes(b"\n".join(training_rows()))
    (raw / "test.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in HELD_OUT))
    done = run_in(made, "dvc", "repro", "tokenize")
    assert done.returncode == 0, done.stdout + done.stderr
    return made


def counts(project: Path) -> dict:
    return json.loads((project / "data/clean/report.json").read_text())


def kept(project: Path) -> list[str]:
    return [one.text for one in read_records(project / "data/clean", Document, "train")]


def test_rows_that_cannot_be_read_are_set_aside(project):
    lines = (project / "data/ingest/quarantine.jsonl").read_text().splitlines()
    reasons = [json.loads(line)["reason"] for line in lines]
    assert sorted(reasons) == ["not_decodable"] * 6 + ["row_too_long"]
    (train,) = (one for name, one in counts(project)["ingest"].items() if "train" in name)
    assert train["bad"] == 7


def test_each_fault_is_counted_under_its_reason(project):
    report = counts(project)
    assert report["documents"]["train"]["dropped"] == {
        "near_duplicate": 100,
        "near_duplicate_of_held_out": 10,
        "empty": 5,
    }
    assert report["documents"]["test"]["dropped"] == {}
    assert report["leaks_cut"]["documents"] == len(LEAKED)
    assert report["changed"]["html"] == len(PAGES) + 1  # an empty page too
    assert report["changed"]["normalize"] >= len(NULS)
    assert report["masked"] == dict.fromkeys(report["masked"], 3)
    assert set(report["masked"]) == set(PERSONAL)


def test_no_more_than_one_in_a_hundred_clean_texts_is_hurt(project):
    left = set(kept(project))
    # Of a text and its near copy the one that came first stays.
    alone = [text for place, text in enumerate(CLEAN) if place % 5]
    couples = zip(CLEAN[::5], NEAR, strict=True)
    whole = [*alone, *HOSTS, *NULS, *PAGES]
    hurt = [text for text in whole if text not in left]
    hurt += [one for one, other in couples if (one in left) == (other in left)]
    assert len(hurt) <= 0.01 * (len(whole) + len(NEAR))


def test_nothing_leaked_is_left_in_training_text(project):
    texts = kept(project)
    assert [leak for leak in LEAKED if any(leak in text for text in texts)] == []
    held_out = [one.text for one in read_records(project / "data/clean", Document, "test")]
    assert held_out == HELD_OUT


def test_masked_items_are_gone_from_every_file_that_follows(project):
    tokenizer = AutoTokenizer.from_pretrained(project / "data/tokenize/tokenizer")
    texts = ["\n".join(kept(project))]
    for path in (project / "data/tokenize").glob("documents.*.bin"):
        texts.append(tokenizer.decode(np.fromfile(path, dtype=np.uint16)))
    for stage in ("clean", "tokenize"):
        for path in (project / "data" / stage).rglob("*"):
            if path.suffix in (".json", ".jsonl", ".html", ".md"):
                texts.append(path.read_text())
    assert len(texts) > 8
    for item in (*PERSONAL.values(), HIDDEN):
        assert [text[:50] for text in texts if item in text] == []
    assert "<EMAIL>" in texts[0]


def test_the_data_page_shows_what_was_found(project):
    page = (project / "data/tokenize/data.html").read_text()
    for shown in ("near_duplicate", "train.jsonl", "html", "us_ssn", "100", "Tokenizer"):
        assert shown in page
    assert "<script" not in page
