"""A second ingest: what did not change is not read again, and the output is the same bytes."""

import json
import os
import shutil

import pytest
from ingesting import bytes_of, ingest, written

from wordmill.data import previous
from wordmill.data.records import Document, RecordWriter, document, read_tables
from wordmill.errors import DataError


def source(**values):
    return {"kind": "files", "path": "*.jsonl", **values}


def add(root, name, *texts, bad=0):
    root.mkdir(exist_ok=True)
    rows = [json.dumps({"text": text, "title": text[:3]}) for text in texts] + ["{"] * bad
    path = root / name
    path.write_text("\n".join(rows))
    os.utime(path, (1e9, 1e9))  # long ago: a file of just now may change unseen


def numbered(start, stop):
    return [f"text number {n}" for n in range(start, stop)]


PAIRS = {"columns": {"task": "summarize", "source": "text", "target": "title"}}
BOTH = (source(), source(**PAIRS))


def files_read(monkeypatch):
    """The names of the files that are opened from here on."""
    from wordmill.data import addresses

    opened = []
    original = addresses.LocalFile.open

    def open_(self):
        opened.append(self.name)
        return original(self)

    monkeypatch.setattr(addresses.LocalFile, "open", open_)
    return opened


def same_as_a_full_read(tmp_path, *sources, **values):
    ingest(tmp_path / "raw", *sources, out="full", **values)
    return bytes_of(tmp_path / "out") == bytes_of(tmp_path / "full")


def test_only_what_is_new_is_read(tmp_path, monkeypatch):
    root = tmp_path / "raw"
    add(root, "b.jsonl", *numbered(0, 30))
    add(root, "d.jsonl", *numbered(30, 50))
    ingest(root, *BOTH)
    add(root, "a.jsonl", *numbered(50, 60))
    add(root, "c.jsonl", *numbered(60, 70))
    opened = files_read(monkeypatch)
    again = ingest(root, *BOTH)
    assert opened == ["a.jsonl", "c.jsonl"] * 2
    assert (again.num_parts, again.num_unchanged) == (8, 4)
    assert len(written(tmp_path / "out")) == 140
    assert same_as_a_full_read(tmp_path, *BOTH)
    times = [(entry["address"], entry["read"][:2]) for entry in again.times()]
    assert times[:2] == [("a.jsonl", "20"), ("b.jsonl", "20")]


def test_what_changed_or_left_is_noticed(tmp_path, monkeypatch):
    root = tmp_path / "raw"
    for name in "abc":
        add(root, f"{name}.jsonl", *[f"{name} {n}" for n in range(20)])
    ingest(root, *BOTH)
    add(root, "b.jsonl", *[f"B {n}" for n in range(20)])  # as large, and as old, but for ns
    os.utime(root / "b.jsonl", (1e9, 1e9 + 1))
    (root / "c.jsonl").unlink()
    opened = files_read(monkeypatch)
    ingest(root, *BOTH)
    assert opened == ["b.jsonl"] * 2
    assert same_as_a_full_read(tmp_path, *BOTH)


def test_a_touched_or_fresh_file_is_told_by_its_bytes(tmp_path, monkeypatch):
    root = tmp_path / "raw"
    add(root, "a.jsonl", "a")
    ingest(root, source())
    (root / "a.jsonl").touch()
    opened = files_read(monkeypatch)
    ingest(root, source())
    assert opened == []
    before = (root / "a.jsonl").stat()
    (root / "a.jsonl").write_text('{"text": "b"}')
    os.utime(root / "a.jsonl", ns=(before.st_atime_ns, before.st_mtime_ns))
    ingest(root, source())
    assert opened == ["a.jsonl"]


@pytest.mark.parametrize(
    "change",
    [
        {"code_key": "other"},
        {"test_fraction": 0.3},
        {"max_row_bytes": 1000},
        {"source": {"weight": 2.0}},
        {"source": {"columns": {"task": "write", "text": "title"}}},
    ],
)
def test_another_entry_fraction_or_code_reads_again(tmp_path, monkeypatch, change):
    root = tmp_path / "raw"
    add(root, "a.jsonl", *numbered(0, 9))
    ingest(root, source())
    opened = files_read(monkeypatch)
    ingest(root, source(**change.pop("source", {})), **change)
    assert opened == ["a.jsonl"]


def part(start, stop, split):
    return {"kind": "files", "path": "t.txt", "part": [start, stop], "split": split}


def test_another_part_of_a_file_is_read_again(tmp_path, monkeypatch):
    root = tmp_path / "raw"
    root.mkdir()
    (root / "t.txt").write_text("0123456789")
    os.utime(root / "t.txt", (1e9, 1e9))
    before = (part(0.0, 0.8, "train"), part(0.8, 1.0, "validation"))
    ingest(root, *before)
    opened = files_read(monkeypatch)
    again = ingest(root, *before)
    assert (opened, again.num_unchanged) == ([], 2)
    after = (part(0.0, 0.7, "train"), part(0.8, 1.0, "validation"), part(0.7, 0.8, "test"))
    ingest(root, *after)
    assert opened == ["t.txt"] * 2
    found = {split: record.text for split, record in written(tmp_path / "out")}
    assert found == {"train": "0123456", "validation": "89", "test": "7"}
    assert same_as_a_full_read(tmp_path, *after)


def test_bad_rows_come_along(tmp_path, monkeypatch):
    root = tmp_path / "raw"
    add(root, "a.jsonl", *numbered(0, 20), bad=1)
    add(root, "c.jsonl", *numbered(20, 40), bad=2)
    ingest(root, *BOTH, max_bad_fraction=0.5)
    add(root, "b.jsonl", *numbered(40, 60), bad=3)
    opened = files_read(monkeypatch)
    ingest(root, *BOTH, max_bad_fraction=0.4)  # the limit alone is no reason to read
    assert opened == ["b.jsonl"] * 2
    assert len((tmp_path / "out/quarantine.jsonl").read_text().splitlines()) == 12
    assert same_as_a_full_read(tmp_path, *BOTH, max_bad_fraction=0.4)
    with pytest.raises(DataError, match=r"x|a.jsonl:21: not valid JSON"):
        ingest(root, *BOTH)


def test_a_damaged_memory_is_no_memory(tmp_path, monkeypatch):
    root = tmp_path / "raw"
    add(root, "a.jsonl", *numbered(0, 20))
    for damage in (
        lambda folder: shutil.rmtree(folder),
        lambda folder: (folder / "parts.json").write_text("[{}]"),
        lambda folder: (folder / "documents.train.parquet").write_bytes(b"no"),
        lambda folder: (folder / "documents.train.parquet").unlink(),
        lambda folder: (folder / "quarantine.jsonl").write_text("more\n"),
    ):
        ingest(root, source())
        damage(tmp_path / "out.memory")
        opened = files_read(monkeypatch)
        ingest(root, source())
        assert opened == ["a.jsonl"]
        monkeypatch.undo()


def test_the_memory_costs_no_disk(tmp_path, monkeypatch):
    root = tmp_path / "raw"
    add(root, "a.jsonl", *numbered(0, 20))
    ingest(root, source())
    kept = tmp_path / "out.memory/documents.train.parquet"
    assert kept.samefile(tmp_path / "out/documents.train.parquet")

    def no_links(self, target):
        raise OSError

    monkeypatch.setattr(previous.Path, "hardlink_to", no_links)
    ingest(root, source())
    assert kept.read_bytes() == (tmp_path / "out/documents.train.parquet").read_bytes()


def test_row_groups_follow_from_the_rows_alone(tmp_path):
    documents = [document("é" * (1 if n < 4200 else 5000), origin="s", n=n) for n in range(4500)]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with RecordWriter(tmp_path / "one") as writer:
        for each in documents:
            writer.add("train", each)
    with RecordWriter(tmp_path / "two") as writer:
        for number, table in enumerate(read_tables(tmp_path / "one", Document, "train")):
            writer.add_table(Document, "train", table.slice(0, 7))
            writer.add_table(Document, "train", table.slice(7, table.num_rows - 8))
            last = sum(t.num_rows for t in _first(tmp_path / "one", number + 1)) - 1
            writer.add("train", documents[last])
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


def _first(folder, count):
    return list(read_tables(folder, Document, "train"))[:count]
