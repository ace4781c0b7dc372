"""Passages from wherever they lie: files, folders, tables and collections, as a stream."""

import hashlib
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mpsheads._checks import check_id, check_unicode
from mpsheads._files import as_path
from mpsheads.retrieval._rows import Columns, rows, shown


class Passage(NamedTuple):
    """One text to find, under its name."""

    id: str
    text: str


class Passages:
    """The passages of a source, read anew at each iteration and never whole in memory.

    Args:
        source: A file: `.jsonl`, `.csv` and `.tsv` (also with `.gz`), or `.parquet`, with a passage
            a row; `.txt` or `.md`, with a passage a line. A folder: of a BEIR collection, with or
            without queries and judgments; of a dataset that `datasets` saved to disk; or of `.txt`
            and `.md` files at any depth, with a passage a paragraph. An id of ir_datasets, or of a
            dataset on the Hugging Face hub (its split train). From Python also a list of strings,
            a column of polars or pandas, or a table of these or of pyarrow.
        columns: What is read of a table.
        whole_files: In a folder of text files a passage is a file, not a paragraph.
        skip_bad_rows: Leave out rows that cannot be read. By default the first one raises.

    Attributes:
        name: What the source is called in messages and manifests.
        skipped: How many rows the last iteration left out, so far.

    Yields:
        A `Passage` for each row, in the order of the source. Those without an id are numbered from
        0; paragraphs are called `file#number`.

    Raises:
        FileNotFoundError: If there is no such source.
        TypeError: If the source is of a kind that is not read.
        ValueError: If a file is broken, a column is not there, or a row is bad: no text, a text or
            id that is not Unicode, an id with a NUL, a tab or a line break. The message names the
            place.
        ImportError: If a package that reads this kind is missing.
    """

    def __init__(
        self,
        source: Any,
        columns: Columns = Columns(),  # noqa: B008  # it is frozen
        *,
        whole_files: bool = False,
        skip_bad_rows: bool = False,
    ) -> None:
        self._read = lambda: rows(source, columns, whole_files)
        self.skip_bad_rows, self.skipped = skip_bad_rows, 0
        self.name = f"<{type(source).__name__}>"
        if isinstance(source, str | Path):
            path = as_path(source)
            self.name = path.resolve().name if path.exists() else str(source)

    def __iter__(self) -> Iterator[Passage]:
        self.skipped = 0
        for number, (place, row) in enumerate(self._read()):
            try:
                passage = passage_of(place, row, number)
                if not passage.text:
                    raise ValueError(f"{place}: the text is empty.")
                yield passage
            except ValueError as error:
                if not self.skip_bad_rows:
                    raise ValueError(f"{error} `skip_bad_rows` leaves such rows out.") from None
                self.skipped += 1

    def check(self) -> int:
        """Read all rows once, so that nothing bad comes up later; returns how many there are.

        Raises:
            ValueError: If there is none, or an id comes twice; and as iterating does.

        Memory: 8 bytes a passage.
        """
        digests = array("Q")
        for passage in self:
            digest = hashlib.blake2b(passage.id.encode(), digest_size=8).digest()
            digests.frombytes(digest)
        if not digests:
            raise ValueError(f"{self.name} holds no passage.")
        values, counts = np.unique(np.asarray(digests), return_counts=True)
        if len(values) < len(digests):
            twice, seen = set(values[counts > 1].tolist()), set[str]()
            for place, passage in enumerate(self):
                digest = hashlib.blake2b(passage.id.encode(), digest_size=8).digest()
                if int.from_bytes(digest, sys.byteorder) in twice:
                    if passage.id in seen:
                        raise ValueError(
                            f"{self.name}: the id {passage.id!r} comes a second time, as passage "
                            f"{place + 1}. Each needs an id of its own."
                        )
                    seen.add(passage.id)
        return len(digests)


def passage_of(place: str, row: Any, number: int = 0) -> Passage:
    """One of the `rows` as a passage, checked; its text may be empty. `ValueError` if it is bad."""
    if isinstance(row, ValueError):
        raise ValueError(f"{place}: {row}")
    identifier, title, text = row
    title = "" if title is None else title
    for name, part in (("text", text), ("title", title)):
        if not isinstance(part, str):
            raise ValueError(f"{place}: the {name} must be a string, got {shown(part)}.")
        check_unicode(f"{place}: the {name}", part)
    if identifier is None:
        identifier = number
    if isinstance(identifier, int) and not isinstance(identifier, bool):
        identifier = str(identifier)
    if not isinstance(identifier, str):
        got = shown(identifier)
        raise ValueError(f"{place}: the id must be a string or an integer, got {got}.")
    check_id(place, "id", identifier)
    return Passage(identifier, f"{title} {text}".strip())
