"""How mining chooses negatives among the candidates of each pair, in blocks of queries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from mpsheads._checks import check_choice, check_positive


@dataclass(frozen=True)
class Rule:
    """Which candidates become negatives; see `mine_triples`."""

    count: int
    margin: float | None
    skip: int
    depth: int
    sampling: str

    def __post_init__(self) -> None:
        check_positive(count=self.count, depth=self.depth)
        if self.margin is not None:
            check_margin(self.margin)
        if not 0 <= self.skip < self.depth:
            raise ValueError(f"`skip` must lie in [0, `depth` = {self.depth}), got {self.skip}.")
        check_choice("sampling", self.sampling, ("top", "random"))


def check_margin(margin: float) -> None:
    """Raise `ValueError` unless `margin` lies in [0, 2)."""
    if not 0 <= margin < 2:
        raise ValueError(f"`margin` must lie in [0, 2), got {margin}.")


@dataclass(frozen=True, eq=False)
class Block:
    """Some queries, and the pairs of each.

    Attributes:
        query_rows: int64 `(q,)`.
        place: For each pair the place of its query in `query_rows`, int64 `(pairs,)`.
        positive_rows: For each pair the row of its document.
    """

    query_rows: Tensor
    place: Tensor
    positive_rows: Tensor

    @property
    def pair_queries(self) -> Tensor:
        """For each pair the row of its query."""
        return self.query_rows[self.place]


def blocks(pairs: Tensor, size: int) -> Iterator[Block]:
    """Blocks of `size` queries; the pairs of a query follow each other."""
    query_rows, place = pairs[:, 0].unique_consecutive(return_inverse=True)
    for start in range(0, len(query_rows), size):
        inside = (place >= start) & (place < start + size)
        yield Block(query_rows[start : start + size], place[inside] - start, pairs[inside, 1])


class Excluded:
    """Which documents may not be taken: those relevant for a query's text, and later copies."""

    def __init__(self, queries: Sequence[str], documents: Sequence[str], pairs: Tensor) -> None:
        self._query = _first_copies(queries)
        first = _first_copies(documents)
        self._is_copy = torch.tensor([row != place for place, row in enumerate(first)])
        self._relevant: dict[int, set[int]] = {}
        for query, document in pairs.tolist():
            self._relevant.setdefault(self._query[query], set()).add(first[document])

    def __call__(self, query_rows: Tensor) -> Tensor:
        """Bool `(q, n_documents)`."""
        mask = self._is_copy.repeat(len(query_rows), 1)
        for place, query in enumerate(query_rows.tolist()):
            mask[place, list(self._relevant[self._query[query]])] = True
        return mask


def _first_copies(texts: Sequence[str]) -> list[int]:
    """For each text the first row with the same words between white space."""
    first: dict[str, int] = {}
    return [first.setdefault(" ".join(text.split()), row) for row, text in enumerate(texts)]


@dataclass(frozen=True, eq=False)
class Vectors:
    """Embeddings of norm 1, on any device; rows come on the CPU."""

    queries: Tensor
    documents: Tensor

    def all_cosines(self, query_rows: Tensor) -> Tensor:
        """With every document, `(q, n_documents)`, on the device of the embeddings."""
        return self.queries[query_rows.to(self.queries.device)] @ self.documents.T

    def cosines(self, query_rows: Tensor, document_rows: Tensor) -> Tensor:
        """With documents of its own for each query, `(q, m)`; those of row -1 mean nothing."""
        device = self.queries.device
        documents = self.documents[document_rows.clamp_min(0).to(device)]  # q m features
        return (documents @ self.queries[query_rows.to(device)][:, :, None]).squeeze(2).cpu()


def highest(scores: Tensor, excluded: Tensor, rule: Rule) -> Tensor:
    """Rows of the documents at the places `skip` to `depth`, -1 for none; equal scores by row."""
    scores = scores.masked_fill(excluded.to(scores.device), -torch.inf)
    best, rows = scores.topk(min(rule.depth, scores.shape[1]), dim=1)
    last = best[:, -1:]  # topk takes any of the documents that share it
    equal, wanted = scores == last, (best == last).sum(1, keepdim=True)
    cut = ((equal.sum(1, keepdim=True) > wanted) & (last > -torch.inf))[:, 0]
    if cut.any():
        first = equal[cut] & (equal[cut].cumsum(1, dtype=torch.int32) <= wanted[cut])
        rows[cut] = (first | (scores[cut] > last[cut])).nonzero()[:, 1].view(-1, rows.shape[1])
    rows = rows.sort(dim=1).values
    best, order = scores.gather(1, rows).sort(dim=1, descending=True, stable=True)
    return rows.gather(1, order).masked_fill(best == -torch.inf, -1)[:, rule.skip :].cpu()


@dataclass(frozen=True, eq=False)
class Found:
    """The negatives of some pairs `(pairs, count)`, -1 for none, and sums for the report."""

    rows: Tensor
    candidates: int
    kept: int
    margin: float


def choose(
    rule: Rule,
    block: Block,
    rankings: Sequence[Tensor],
    vectors: Vectors | None,
    generator: torch.Generator,
) -> Found:
    """Filter the candidates of each pair, `(q, m)` in each ranking, and take turns."""
    kept = [ranking[block.place] for ranking in rankings]
    if rule.margin is not None:
        assert vectors is not None
        limit = vectors.cosines(block.pair_queries, block.positive_rows[:, None]) - rule.margin
        near = [vectors.cosines(block.query_rows, r)[block.place] >= limit for r in rankings]
        kept = [rows.masked_fill(hit, -1) for rows, hit in zip(kept, near, strict=True)]
    if rule.sampling == "random":
        kept = [_shuffled(rows, generator) for rows in kept]
    chosen = _in_turns(kept)
    candidates = (_in_turns(rankings) >= 0).sum(1)[block.place].sum()
    rows = chosen[:, : rule.count]
    gap = torch.zeros(())
    if vectors is not None:
        positive = vectors.cosines(block.pair_queries, block.positive_rows[:, None])
        gap = (positive - vectors.cosines(block.pair_queries, rows))[rows >= 0].double().sum()
    rows = pad(rows, (0, rule.count - rows.shape[1]), value=-1)
    return Found(rows, int(candidates), int((chosen >= 0).sum()), float(gap))


def _in_turns(rankings: Sequence[Tensor]) -> Tensor:
    """The first of each ranking, then the second of each, ...: each row once, -1 at the end."""
    rows = torch.stack([_to_front(ranking) for ranking in rankings], 2).flatten(1)
    ordered, order = rows.sort(dim=1, stable=True)
    again = pad(ordered[:, 1:] == ordered[:, :-1], (1, 0))
    return _to_front(rows.masked_fill(torch.zeros_like(again).scatter(1, order, again), -1))


def _to_front(rows: Tensor) -> Tensor:
    """Move -1 behind the others, which keep their order."""
    return rows.gather(1, (rows < 0).byte().argsort(dim=1, stable=True))


def _shuffled(rows: Tensor, generator: torch.Generator) -> Tensor:
    return rows.gather(1, torch.rand(rows.shape, generator=generator).argsort(dim=1))
