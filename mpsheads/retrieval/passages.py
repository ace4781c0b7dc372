"""Passages from wherever they lie: files, folders, tables and collections, as a stream."""

import hashlib
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

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
            or a table of pyarrow, polars or pandas.
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
            id that is not Unicode, an id with a control character. The message names the place.
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
            path = Path(source).expanduser()
            self.name = path.resolve().name if path.exists() else str(source)

    def __iter__(self) -> Iterator[Passage]:
        self.skipped = 0
        for number, (place, row) in enumerate(self._read()):
            try:
                yield _passage(row, number)
            except ValueError as error:
                if not self.skip_bad_rows:
                    raise ValueError(
                        f"{place}: {error} `skip_bad_rows` leaves such rows out."
                    ) from None
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


def check_identifier(identifier: str) -> None:
    """Raise `ValueError` unless an id can be written into a TREC run or a table and read back."""
    if not identifier:
        raise ValueError("the id is empty.")
    if not identifier.isprintable():
        escaped = identifier.encode("unicode_escape").decode()[:80]
        raise ValueError(f"the id '{escaped}' holds a control character, or is not Unicode.")


def _passage(row: Any, number: int) -> Passage:
    """One row as a passage, checked."""
    if isinstance(row, ValueError):
        raise row
    identifier, title, text = row
    if not isinstance(text, str):
        raise ValueError(f"the text must be a string, got {shown(text)}.")
    if title is not None and not isinstance(title, str):
        raise ValueError(f"the title must be a string, got {shown(title)}.")
    if identifier is None:
        identifier = str(number)
    elif isinstance(identifier, int) and not isinstance(identifier, bool):
        identifier = str(identifier)
    if not isinstance(identifier, str):
        raise ValueError(f"the id must be a string or an integer, got {shown(identifier)}.")
    check_identifier(identifier)
    text = f"{title or ''} {text}".strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds a lone surrogate, which is not Unicode.") from None
    if not text:
        raise ValueError("the text is empty.")
    return Passage(identifier, text)
