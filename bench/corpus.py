"""The benchmark's corpus: English that every Python environment carries, with planted copies.

A document is what one module says about itself, its docstrings in order, or what one package
says on its page: of nine in ten only the paragraphs that read as prose. Every fifth document
gets a copy in which a few words are changed. The same folders, size and seed give the same
bytes: compare runs by the SHA-256 that is printed. Holds the corpus in memory.
"""

import argparse
import ast
import email
import hashlib
import json
import random
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypedDict

MIN_CHARACTERS = 200
MAX_CHARACTERS = 20_000
MIN_PROSE_CHARACTERS = 60
MIN_LETTERS = 0.93
"""Of a prose paragraph's characters, letters and white space. At 0.90 the rule on words without
letters (Gopher) drops a quarter of the documents, at 0.93 a thirtieth."""
COPY_ONE_IN = 5
WHOLE_ONE_IN = 10
"""Files whose tables, signatures and examples stay. Of such text the public quality rules keep
one document in ten: with nothing else the deduplication would have no work."""
MAX_CHANGED_WORDS = 0.01
"""Of a copy's words, rounded up to one: 5-gram Jaccard similarity then stays above 0.9 in long
documents, and falls to 0.8 in one of 50 words, the shortest that Gopher's rules keep."""

# Tests are not documentation; a standard library's folder may hold site-packages.
_LEFT_OUT = {"test", "tests", "_vendor", "_vendored", "site-packages"}
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_WORD = re.compile(r"\w+")


class Record(TypedDict):
    """A document of the corpus; `copy_of` is the id of the document it was made from."""

    id: str
    text: str
    copy_of: str | None


def docstrings(folders: Sequence[Path], *, seed: int) -> Iterator[Record]:
    """Yield documents of 200 to 20,000 characters from installed packages, in shuffled order.

    Args:
        folders: Folders as `site-packages`; a file's id begins with its folder's number here.
        seed: Of the files' order, so that a small corpus has of every package, and of which
            are taken whole.
    """
    files = [
        (f"{number}/{path.relative_to(folder).as_posix()}", path)
        for number, folder in enumerate(folders)
        for path in sorted(folder.rglob("*"))
        if path.suffix == ".py" or path.name == "METADATA"
        if not _LEFT_OUT & set(path.relative_to(folder).parts)
    ]
    rng = random.Random(seed)
    rng.shuffle(files)
    for name, path in files:
        text = _page(path) if path.name == "METADATA" else _module(path)
        text = text if rng.randrange(WHOLE_ONE_IN) == 0 else _prose(text)
        for number, part in enumerate(_parts(text)):
            yield {"id": f"{name}#{number}", "text": part, "copy_of": None}


def corpus(folders: Sequence[Path], *, megabytes: float, seed: int) -> list[Record]:
    """Make a corpus with its planted copies, shuffled.

    Args:
        folders: Where the packages are.
        megabytes: Size of the texts in UTF-8, copies included, in millions of bytes.
        seed: Of the order, of what is copied and of what is changed in a copy.
    """
    rng = random.Random(seed)
    records: list[Record] = []
    left_bytes = megabytes * 1e6
    for record in docstrings(folders, seed=seed):
        if left_bytes <= 0:
            break
        made = [record]
        if rng.randrange(COPY_ONE_IN) == 0:
            made.append(_copy(record, rng))
        records += made
        left_bytes -= sum(len(one["text"].encode()) for one in made)
    rng.shuffle(records)
    return records


def write(records: Iterable[Record], path: Path) -> None:
    """Write JSON lines, or Parquet if the name ends so, and rename the file into place."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(list(records)), unfinished)
    else:
        with unfinished.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    unfinished.replace(path)


def _module(path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in old modules
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, RecursionError):  # files that show what does not parse
            return ""
    nodes = [node for node in ast.walk(tree) if isinstance(node, _DOCUMENTED)]
    nodes.sort(key=lambda node: getattr(node, "lineno", 0))  # the walk goes level by level
    return "\n\n".join(text for node in nodes if (text := ast.get_docstring(node)))


def _page(path: Path) -> str:
    message = email.message_from_string(path.read_text(encoding="utf-8", errors="replace"))
    return str(message.get_payload()).strip()


def _prose(text: str) -> str:
    return "\n\n".join(filter(_is_prose, dict.fromkeys(re.split(r"\n\s*\n", text))))


def _is_prose(paragraph: str) -> bool:
    letters = sum(character.isalpha() or character.isspace() for character in paragraph)
    return (
        len(paragraph) >= MIN_PROSE_CHARACTERS
        and paragraph[0].isalpha()
        and letters >= MIN_LETTERS * len(paragraph)
    )


def _parts(text: str) -> Iterator[str]:
    rest = text.encode(errors="replace").decode()  # an escape can spell half a surrogate pair
    while len(rest) >= MIN_CHARACTERS:
        # A part ends where a paragraph does, unless one paragraph is too long for a part.
        end = rest.rfind("\n\n", MIN_CHARACTERS, MAX_CHARACTERS)
        if len(rest) <= MAX_CHARACTERS or end < 0:
            end = MAX_CHARACTERS
        yield rest[:end]
        rest = rest[end:].lstrip("\n")


def _copy(record: Record, rng: random.Random) -> Record:
    text = record["text"]
    words = list(_WORD.finditer(text))
    most = max(1, round(len(words) * MAX_CHANGED_WORDS))
    for word in sorted(rng.sample(words, rng.randint(1, most)), key=re.Match.start, reverse=True):
        text = text[: word.start()] + rng.choice(words)[0] + text[word.end() :]
    return {"id": f"{record['id']}~copy", "text": text, "copy_of": record["id"]}


def installed() -> list[Path]:
    """The packages of this environment and the standard library."""
    return [Path(sysconfig.get_path(name)) for name in ("purelib", "stdlib")]


def main() -> None:
    """Write a corpus as the command line says."""
    parser = argparse.ArgumentParser(description="Write the benchmark's corpus.")
    parser.add_argument("path", type=Path, help="the file to write: .jsonl or .parquet")
    parser.add_argument("--megabytes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folders", type=Path, nargs="+", default=installed())
    asked = parser.parse_args()
    records = corpus(asked.folders, megabytes=asked.megabytes, seed=asked.seed)
    write(records, asked.path)
    digest = hashlib.sha256(asked.path.read_bytes()).hexdigest()
    print(f"{asked.path}: {len(records):,} documents, SHA-256 {digest}")


if __name__ == "__main__":
    main()
