"""TREC run files: the ranked documents of each query."""

import gzip
import math
from pathlib import Path

from mpsheads._files import read_lines, replacing
from mpsheads._typing import PathLike

Run = dict[str, dict[str, float]]
"""query_id -> doc_id -> score; higher is closer."""


def read_run(path: PathLike) -> Run:
    """Read a TREC run: lines `query_id Q0 doc_id rank score tag`, gzipped if it ends in `.gz`.

    The order of a query's documents is that of the scores; the rank column is not used.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty, broken or not a run; the message names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no run file {path}.")
    run: Run = {}
    for place, line in read_lines(path):
        fields = line.split()
        if len(fields) != 6:
            raise ValueError(
                f"{place}: a run has 6 fields (query_id Q0 doc_id rank score tag), "
                f"got {len(fields)}."
            )
        query_id, _, doc_id, _, score, _ = fields
        ranked = run.setdefault(query_id, {})
        if doc_id in ranked:
            raise ValueError(f"{place}: query {query_id!r} ranks document {doc_id!r} twice.")
        try:
            ranked[doc_id] = float(score)
        except ValueError:
            ranked[doc_id] = math.nan
        if math.isnan(ranked[doc_id]):
            raise ValueError(f"{place}: the score must be a number, got {score!r}.")
    if not run:
        raise ValueError(f"{path} ranks nothing.")
    return run


def write_run(run: Run, path: PathLike, tag: str = "mpsheads") -> None:
    """Write a TREC run; gzipped if `path` ends in `.gz`.

    The documents of a query are ordered by falling score, equal scores by doc_id, and get the
    ranks 1, 2, ... and the scores `k - rank`: every tool then reads this order, also those that
    break ties in their own way or compare scores in float32.

    Raises:
        ValueError: If an id or `tag` is empty or holds white space, which the format cannot
            carry, or a score is NaN.
    """
    _check_field("tag", tag)
    lines: list[str] = []
    for query_id, scores in run.items():
        _check_field("query_id", query_id)
        ranked = ranking(scores)
        for rank, doc_id in enumerate(ranked, start=1):
            _check_field("doc_id", doc_id)
            lines.append(f"{query_id} Q0 {doc_id} {rank} {len(ranked) - rank} {tag}\n")
    content = "".join(lines).encode()
    with replacing(path) as file:
        file.write_bytes(gzip.compress(content, mtime=0) if str(path).endswith(".gz") else content)


def ranking(scores: dict[str, float]) -> list[str]:
    """The doc_ids by falling score, equal scores by doc_id.

    Raises:
        ValueError: If a score is NaN.
    """
    for doc_id, score in scores.items():
        if math.isnan(score):
            raise ValueError(f"The score of document {doc_id!r} is NaN.")
    return sorted(scores, key=lambda doc_id: (-scores[doc_id], doc_id))


def _check_field(name: str, value: str) -> None:
    if not value or value.split() != [value]:
        raise ValueError(
            f"`{name}` {value!r} cannot stand in a TREC run: it is empty or holds white space."
        )
