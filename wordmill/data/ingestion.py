"""One pass over all sources: records with their split, bad rows, a record of each source.

Parts that did not change since the last ingest are taken over from it in the order in which a
full read would give them, so that the output is the same bytes. What the output says of a
source holds no time, because equal work has to give equal bytes; times are told apart from it.
"""

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wordmill.data.parts import Part
from wordmill.data.previous import Known, Previous, place_of, remember
from wordmill.data.quarantine import BadRow, Quarantine
from wordmill.data.records import KINDS, SPLITS, RecordWriter, Split, kind_name, split_of
from wordmill.data.sources import fingerprint, may_be_outside, parts_of, source_name
from wordmill.errors import DataError
from wordmill.params.ingest import IngestParams, Source
from wordmill.progress import Progress


class Ingestion:
    """One pass over all sources, and what was seen on it.

    Args:
        params: the `ingest` section.
        code_key: changes with the code; another one means that everything is read again.
        memory: where the last ingest is kept, and this one will be.
        kept_quarantine: where the bad rows are left if there are too many of them.
        progress: counts records.
    """

    def __init__(
        self,
        params: IngestParams,
        *,
        code_key: str,
        memory: Path,
        kept_quarantine: Path,
        progress: Progress,
    ) -> None:
        self._params, self._progress = params, progress
        self._code_key, self._memory = code_key, memory
        self._kept_quarantine = kept_quarantine
        self._previous = Previous(memory)
        self._seen: list[tuple[Source, list[Known]]] = []
        self.num_parts = self.num_unchanged = 0

    def write(self, folder: Path) -> None:
        """Write the records and the bad rows of every source.

        Raises:
            DataError: a source is empty, missing or has too many rows that can't be used.
            TryAgainError: a server does not answer.
        """
        self._kept_quarantine.unlink(missing_ok=True)
        limit = self._params.max_bad_fraction
        with (
            RecordWriter(folder) as writer,
            Quarantine(folder, max_bad_fraction=limit, kept_at=self._kept_quarantine) as bad,
        ):
            for source in self._params.sources:
                name = source_name(source)
                bad.start(name)
                known = self._take_in(source, writer, bad)
                bad.judge()
                if not any(part.num_good for part in known):
                    num_bad = sum(part.num_bad for part in known)
                    gave = (
                        f"none of its {num_bad:,} rows can be used"
                        if num_bad
                        else "it gave no rows"
                    )
                    raise DataError(f"{name}: the source is empty; {gave}")
                self._seen.append((source, known))

    def report(self) -> dict[str, Any]:
        """What each source gave, and the fingerprints of those that DVC can't see."""
        outside: dict[str, str] = {}
        for source, parts in self._seen:
            if may_be_outside(source):
                told = [part.identity for part in parts if part.is_outside]
                outside |= fingerprint(source, told)
        sources = [_source_report(source, parts) for source, parts in self._seen]
        return {"sources": sources, "outside": outside}

    def times(self) -> list[dict[str, str]]:
        """When each part was read, UTC."""
        return [
            {"source": source_name(source), "address": part.name, "read": part.read_at}
            for source, parts in self._seen
            for part in parts
        ]

    def remember(self, output: Path) -> None:
        """Keep the output, in its place now, for the next ingest."""
        remember(output, self._memory, [part for _, parts in self._seen for part in parts])

    def _take_in(self, source: Source, writer: RecordWriter, bad: Quarantine) -> list[Known]:
        key, found = self._key(source), list[Known]()
        taking_over = self._previous.taking_over(writer, bad)
        for part in parts_of(source, self._params):
            self.num_parts += 1
            if unchanged := self._previous.unchanged(key, part):
                number, known = unchanged
                self.num_unchanged += 1
                taking_over.add(number)
                self._progress.advance(sum(known.counts.values()), note=part.name)
            else:
                taking_over.finish()
                known = self._read(part, source, writer, bad)
            found.append(known)
        taking_over.finish()
        return found

    def _read(self, part: Part, source: Source, writer: RecordWriter, bad: Quarantine) -> Known:
        # Told before it is read: what changes meanwhile is then read again the next time.
        stamp, identity = part.stamp(), part.identity()
        counts: Counter[str] = Counter()
        num_good, num_bad, start = 0, 0, bad.num_bytes
        for result in part.results():
            if isinstance(result, BadRow):
                num_bad += 1
                bad.put(result)
                continue
            num_good += 1
            bad.accept()
            for text, record in result:
                split = source.split or self._split(text)
                counts[place_of(type(record), split)] += 1
                writer.add(split, record)
            self._progress.advance(len(result), note=part.name)
        return Known(
            key=self._key(source),
            name=part.name,
            stamp=stamp,
            identity=identity,
            is_outside=part.is_outside,
            size=part.size,
            num_good=num_good,
            num_bad=num_bad,
            counts=dict(sorted(counts.items())),
            quarantine_bytes=bad.num_bytes - start,
            read_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _split(self, text: str) -> Split:
        return split_of(
            text.strip(),  # a line of a file and the same line in a table fall on one side
            validation_fraction=self._params.validation_fraction,
            test_fraction=self._params.test_fraction,
            fold=self._params.fold,
        )

    def _key(self, source: Source) -> str:
        params = self._params.model_dump(mode="json", exclude={"sources", "max_bad_fraction"})
        described = [self._code_key, params, source.model_dump(mode="json")]
        return hashlib.blake2b(json.dumps(described).encode(), digest_size=16).hexdigest()


def _source_report(source: Source, parts: list[Known]) -> dict[str, Any]:
    return {
        "name": source_name(source),
        "kind": source.kind,
        "weight": source.weight,
        **_sums(parts),
        "parts": [_part_report(part) for part in parts],
    }


def _part_report(part: Known) -> dict[str, Any]:
    told = "version" if part.is_outside else "hash"
    return {"address": part.name, "size": part.size, told: part.identity, **_sums([part])}


def _sums(parts: list[Known]) -> dict[str, int]:
    counts = sum((Counter(part.counts) for part in parts), Counter[str]())
    rows = sum(part.num_good + part.num_bad for part in parts)
    kinds = {
        name: sum(counts[place_of(kind, split)] for split in SPLITS)
        for kind in KINDS
        for name in [kind_name(kind)]
    }
    return {"rows": rows, "bad": sum(part.num_bad for part in parts), **kinds}
