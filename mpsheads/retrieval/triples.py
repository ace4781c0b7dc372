"""Triples of a query, a relevant document and one that is not: files and ir_datasets ids."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from mpsheads._checks import check_id, check_type
from mpsheads._files import as_path, read_table, replacing_text
from mpsheads._typing import PathLike, Positive
from mpsheads.retrieval._irds import load_docpairs

_COLUMNS = ("query-id", "positive-id", "negative-id")


class Triple(NamedTuple):
    """A query, a document that is relevant for it, and one that is not but mostly looks so."""

    query_id: str
    positive_id: str
    negative_id: str


def write_triples(triples: Iterable[tuple[str, str, str]], path: PathLike) -> int:
    """Write triples under a header line, gzipped if `path` ends in `.gz`.

    The file appears when all are written; equal triples give equal bytes.

    Args:
        triples: Query, positive and negative of each; an iterator is written as it goes.
        path: The file; folders are made.

    Returns:
        How many were written.

    Raises:
        ValueError: If there are none, or an id is empty, not Unicode, or holds a NUL, a tab or a
            line break.
    """
    count = 0
    with replacing_text(path) as stream:
        stream.write("\t".join(_COLUMNS) + "\n")
        rows = csv.writer(stream, "excel-tab", lineterminator="\n")
        for triple in triples:
            check_type(f"triples[{count}]", triple, Sequence)
            for name, field in zip(_COLUMNS, triple, strict=True):
                check_id("`triples`", name, field)
            rows.writerow(triple)
            count += 1
        if not count:
            raise ValueError(f"There are no triples to write to {path}.")
    return count


def load_triples(source: PathLike, limit: Positive | None = None) -> Iterator[Triple]:
    """Stream triples from a file or an ir_datasets id.

    A file is tab-separated, and gzipped if its name ends in `.gz`. Each line holds `query-id`,
    `positive-id`, `negative-id`; a first line with these names is passed over. The files of MS
    MARCO with ids, such as `qidpidtriples.train.full.2.tsv`, are of this form.

    Args:
        source: Path of a file, or an id with document pairs, such as
            `msmarco-passage/train/triples-small`. Its first document counts as the positive.
        limit: Most triples, from the first on; all if `None`. That id has 40 million.

    Raises:
        FileNotFoundError: If `source` is neither, or the files of the id could not be fetched.
        ValueError: If `limit` is below 1, the id has no document pairs, or a triple is malformed,
            when that line is reached; the message names it.
        ImportError: If ir_datasets is needed and missing.
    """
    path, name = as_path(source), str(source)
    if path.is_file():
        return islice(_read_triples(path), limit)
    if path.is_absolute() or name.startswith((".", "~")) or name.endswith((".tsv", ".gz")):
        raise FileNotFoundError(f"There is no file of triples {path}.")
    return islice((Triple(*pair) for pair in load_docpairs(name)), limit)


def _read_triples(path: Path) -> Iterator[Triple]:
    for place, fields in read_table(path, _COLUMNS):
        triple = Triple(*fields)
        if triple.positive_id == triple.negative_id:
            raise ValueError(
                f"{place}: document {triple.positive_id!r} cannot be the positive and the negative."
            )
        yield triple
