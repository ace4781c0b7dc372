"""Triples of a query, a relevant document and one that is not: files and ir_datasets ids."""

import io
from collections.abc import Iterable, Iterator
from gzip import GzipFile
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from mpsheads._checks import check_positive
from mpsheads._files import read_lines, replacing
from mpsheads._typing import PathLike
from mpsheads.retrieval._irds import load_docpairs

_HEADER = ("query-id", "positive-id", "negative-id")


class Triple(NamedTuple):
    """A query, a document that is relevant for it, and one that is not.

    Attributes:
        query_id: The query.
        positive_id: The relevant document.
        negative_id: The other one, mostly one that looks relevant.
    """

    query_id: str
    positive_id: str
    negative_id: str


def read_triples(path: PathLike) -> Iterator[Triple]:
    """Read triples one by one from a tab-separated file, gzipped if its name ends in `.gz`.

    Each line holds `query-id`, `positive-id`, `negative-id`; a first line with these names is
    passed over. The files of MS MARCO with ids, such as `qidpidtriples.train.full.2.tsv`, are of
    this form.

    Raises:
        FileNotFoundError: If there is no such file, at once.
        ValueError: If the file is empty, broken or of another form, when that line is reached;
            the message names it.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of triples {path}.")
    return _parse(path)


def _parse(path: Path) -> Iterator[Triple]:
    count = 0
    for number, (place, line) in enumerate(read_lines(path)):
        fields = tuple(field.strip() for field in line.split("\t"))
        if number == 0 and tuple(field.lower() for field in fields) == _HEADER:
            continue
        if len(fields) != 3 or not all(fields):
            raise ValueError(
                f"{place}: must have 3 tab-separated fields ({', '.join(_HEADER)}), none of them "
                f"empty, got {line!r}."
            )
        triple = Triple(*fields)
        if triple.positive_id == triple.negative_id:
            raise ValueError(
                f"{place}: document {triple.positive_id!r} cannot be the positive and the negative."
            )
        count += 1
        yield triple
    if not count:
        raise ValueError(f"{path} holds no triples.")


def write_triples(triples: Iterable[tuple[str, str, str]], path: PathLike) -> int:
    """Write triples under a header line, gzipped if `path` ends in `.gz`.

    The file appears when all are written; equal triples give equal bytes.

    Args:
        triples: Query, positive and negative of each; an iterator is written as it goes.
        path: The file; folders are made.

    Returns:
        How many were written.

    Raises:
        ValueError: If there are none, or an id is empty or holds a tab or a line break.
    """
    count = 0
    with replacing(path) as file, file.open("wb") as raw:
        packer = GzipFile("", "wb", fileobj=raw, mtime=0) if str(path).endswith(".gz") else raw
        with packer, io.TextIOWrapper(packer, "utf-8", newline="\n") as stream:
            stream.write("\t".join(_HEADER) + "\n")
            for triple in triples:
                for name, field in zip(_HEADER, triple, strict=True):
                    if not field or field != field.strip() or any(c in field for c in "\t\r\n"):
                        raise ValueError(
                            f"The {name} {field!r} cannot stand in a file of triples: it is empty, "
                            f"holds a tab or a line break, or begins or ends with white space."
                        )
                stream.write("\t".join(triple) + "\n")
                count += 1
        if not count:
            raise ValueError(f"There are no triples to write to {path}.")
    return count


def load_triples(source: PathLike, limit: int | None = None) -> Iterator[Triple]:
    """Stream triples from a file or an ir_datasets id.

    Args:
        source: Path of a file as `read_triples` reads, or an id with document pairs, such as
            `msmarco-passage/train/triples-small`. Its first document counts as the positive.
        limit: Most triples, from the first on; all if `None`. That id has 40 million.

    Raises:
        FileNotFoundError: If `source` is neither, or the files of the id could not be fetched.
        ValueError: If `limit` is below 1, the id has no document pairs, or a triple is malformed.
        ImportError: If ir_datasets is needed and missing.
    """
    if limit is not None:
        check_positive(limit=limit)
    path = Path(source).expanduser()
    if path.is_file():
        return islice(read_triples(path), limit)
    name = str(source)
    if path.is_absolute() or name.startswith((".", "~")) or name.endswith((".tsv", ".gz")):
        raise FileNotFoundError(f"There is no file of triples {path}.")
    return islice((Triple(*pair) for pair in load_docpairs(name)), limit)
