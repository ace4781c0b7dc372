"""TREC run files: the ranked documents of each query."""

import math
from collections.abc import Mapping
from typing import Any

from mpsheads._checks import check_id, check_type
from mpsheads._files import as_path, read_lines, replacing_text
from mpsheads._typing import PathLike

_BLANKS = " \t\n\v\f\r"  # that part the fields
MOST_GRADE = 65_535
"""The highest grade of a judgment: trec_eval takes 8 bytes for each lower one."""
Run = dict[str, dict[str, float]]
"""query_id -> doc_id -> score; higher is closer."""


def read_run(path: PathLike) -> Run:
    """Read a TREC run: lines `query_id Q0 doc_id rank score tag`, gzipped if it ends in `.gz`.

    The order of a query's documents is that of the scores; the rank column is not used.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty, broken or not a run; the message names the line.
    """
    run: Run = {}
    for place, line in read_lines(as_path(path)):
        fields = [field.decode() for field in line.encode().split()]  # at blanks of ASCII alone
        if len(fields) != 6:
            raise ValueError(
                f"{place}: needs 6 fields (query_id Q0 doc_id rank score tag), got {len(fields)}."
            )
        query_id, _, doc_id, _, score, _ = fields
        ranked = run.setdefault(query_id, {})
        check_id(place, "query id", query_id)
        check_id(place, "document id", doc_id)
        if doc_id in ranked:
            raise ValueError(f"{place}: query {query_id!r} ranks document {doc_id!r} twice.")
        try:
            ranked[doc_id] = float(score)
        except ValueError:
            ranked[doc_id] = math.nan
        if math.isnan(ranked[doc_id]):
            raise ValueError(f"{place}: the score must be a number, got {score[:80]!r}.")
    return run


def write_run(run: Run, path: PathLike, tag: str = "mpsheads") -> None:
    """Write a TREC run; gzipped if `path` ends in `.gz`.

    The documents of a query are in the order of `ranking`, and get the ranks 1, 2, ... and the
    scores `k - rank`: every tool then reads this order, also those that break ties in their own way
    or compare scores in float32.

    Raises:
        ValueError: If an id or `tag` is empty, not Unicode, or holds a blank of ASCII or a NUL,
            which the format cannot carry, or a score is NaN.
    """
    check_rows("run", run)
    check_id("`tag`", "tag", tag)
    with replacing_text(path) as stream:
        for query_id, scores in run.items():
            ranked = ranking(scores)
            for rank, doc_id in enumerate(ranked, start=1):
                for name, field in (("query_id", query_id), ("doc_id", doc_id), ("tag", tag)):
                    if any(blank in field for blank in _BLANKS):
                        raise ValueError(
                            f"`{name}` {field!r} cannot stand in a TREC run: it holds a blank."
                        )
                stream.write(f"{query_id} Q0 {doc_id} {rank} {len(ranked) - rank} {tag}\n")


def check_rows(name: str, rows: Any) -> None:
    """Raise unless an argument is query_id -> doc_id -> anything, with ids that files can carry."""
    check_type(name, rows, Mapping)
    for query_id, row in rows.items():
        check_id(f"`{name}`", "query id", query_id)
        check_type(f"{name}[{query_id!r}]", row, Mapping)
        for doc_id in row:
            check_id(f"`{name}`", "document id", doc_id)


def ranking(scores: dict[str, float]) -> list[str]:
    """The doc_ids by falling score, equal scores by falling doc_id, as trec_eval ranks; no NaN."""
    for doc_id, score in scores.items():
        try:
            if math.isnan(score):
                raise ValueError(f"The score of document {doc_id!r} is NaN.")
        except TypeError as error:
            raise TypeError(f"The score of `run` for document {doc_id!r}: {error}.") from None
    return sorted(scores, key=lambda doc_id: (scores[doc_id], doc_id), reverse=True)
