"""What an index keeps of the search by uncompressed vectors, and how fast it answers."""

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mpsheads._typing import PathLike, Positive
from mpsheads.search.engines import Exact
from mpsheads.search.index import Index
from mpsheads.search.shards import read_shards
from mpsheads.similarity import cosine, top_k

_K = 10


def check_index(
    index: Index, shards: PathLike, *, queries: Positive = 200, seed: int = 0
) -> dict[str, Any]:
    """Measure an index with some of its own passages as queries, each without itself.

    Args:
        index: The index, of all passages of the shards in their order.
        shards: The folder that it was built of, with the uncompressed vectors.
        queries: How many passages are drawn.
        seed: Seed of the draw.

    Returns:
        `queries`; `recall_exact`, the part of the ten that reading all codes finds which the engine
        finds; `recall_uncompressed`, the part of the ten closest by cosine of the uncompressed
        vectors which the engine finds; `recall_of_codes`, which reading all codes finds; and
        `queries_per_second`, one at a time.

    Raises:
        ValueError: If the shards hold no vectors.

    Memory: one shard at a time.
    """
    count = min(queries, len(index))
    generator = torch.Generator().manual_seed(seed)
    asked = torch.randperm(len(index.codes), generator=generator)[:count].sort().values
    x = _rows_of(shards, asked)
    uncompressed = _closest(shards, x, asked)
    rows, _ = index.search_rows(x, _K + 1)
    began = time.perf_counter()
    for row in x.split(1):
        index.search_rows(row, _K + 1)
    seconds = time.perf_counter() - began
    exact = Index(index.head, index.codes, index.table, Exact()).search_rows(x, _K + 1)[0]
    engine, whole = (_without(found, asked) for found in (rows, exact))
    return {
        "queries": count,
        "recall_exact": _recall(engine, whole),
        "recall_uncompressed": _recall(engine, uncompressed),
        "recall_of_codes": _recall(whole, uncompressed),
        "queries_per_second": count / seconds,
    }


def vectors_of(table: Any) -> Tensor:
    """The embeddings of a shard."""
    if "vector" not in table.column_names:
        raise ValueError("The shards hold no vectors. Encode with `keep_vectors`.")
    column = table["vector"].combine_chunks()
    return torch.from_numpy(np.asarray(column.values).copy()).view(len(table), -1)


def _rows_of(shards: PathLike, wanted: Tensor) -> Tensor:
    """The embeddings of some rows."""
    parts, start = [], 0
    for table in read_shards(shards):
        rows = wanted[(wanted >= start) & (wanted < start + len(table))] - start
        parts.append(vectors_of(table)[rows])
        start += len(table)
    return torch.cat(parts)


def _closest(shards: PathLike, x: Tensor, asked: Tensor) -> list[list[int]]:
    """The ten closest of each by cosine of the uncompressed vectors, without itself."""
    values, places, start = torch.empty(len(x), 0), torch.empty(len(x), 0, dtype=torch.long), 0
    for table in read_shards(shards):
        more, rows = top_k(x, vectors_of(table), _K + 1, similarity=cosine)
        values, places = torch.cat([values, more], 1), torch.cat([places, rows + start], 1)
        values, order = values.sort(dim=1, descending=True, stable=True)
        values, places = values[:, : _K + 1], places.gather(1, order)[:, : _K + 1]
        start += len(table)
    return _without(places, asked)


def _without(rows: Tensor, asked: Tensor) -> list[list[int]]:
    """Ten rows of each query, the query itself left out."""
    pairs = zip(rows.tolist(), asked.tolist(), strict=True)
    return [[row for row in found if row not in (own, -1)][:_K] for found, own in pairs]


def _recall(found: list[list[int]], wanted: list[list[int]]) -> float:
    """Mean part of the wanted rows that is found."""
    parts = [len(set(a) & set(b)) / max(1, len(b)) for a, b in zip(found, wanted, strict=True)]
    return sum(parts) / max(1, len(parts))
