"""Hard negatives: documents that rank high, by words or by cosine, but are not relevant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from mpsheads._checks import check_choice, check_finite, check_positive
from mpsheads._progress import progress_bar
from mpsheads.retrieval import BM25, Collection, EmbeddedCollection, Triple
from mpsheads.training.data import TrainingData, training_data

_CHUNK_ELEMENTS = 1 << 24

_Scorer = Callable[[Tensor], Tensor]
"""From rows of queries `(q,)` to scores of all documents `(q, n_documents)`; -inf for none."""


@dataclass(frozen=True)
class MinedTriples:
    """What `mine_triples` found.

    Attributes:
        triples: One a negative; those of a pair follow each other, the hardest first.
        pairs: Queries with a document judged relevant.
        short_pairs: Of these, how many got fewer negatives than asked for.
        empty_pairs: Of these, how many got none, and so are in no triple.
        candidates: Documents that ranked between `skip` and `depth`, over all pairs.
        filtered: Of these, how many the margin left out as perhaps relevant.
        mean_margin: Mean cosine with the positive less that with the negative; `None` without
            embeddings, and if nothing was found.
    """

    triples: list[Triple]
    pairs: int
    short_pairs: int
    empty_pairs: int
    candidates: int
    filtered: int
    mean_margin: float | None


def mine_triples(
    source: EmbeddedCollection | Collection,
    by: str = "bm25",
    count: int = 5,
    *,
    margin: float | None = 0.05,
    skip: int = 0,
    depth: int = 100,
    sampling: str = "top",
    seed: int = 0,
    language: str | None = "english",
    chunk: int = 256,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> MinedTriples:
    """For each query and relevant document, documents that rank high but are safely not relevant.

    The candidates of a pair are the documents at the places `skip` to `depth` of the query's
    ranking, by BM25, by cosine, or by both. Documents judged relevant are not ranked, nor are
    copies: of several with one text the first stands for all. A candidate whose cosine with the
    query comes within `margin` of that of the pair's document, or above, is left out: it is often
    relevant too and was merely not judged.

    Args:
        source: Queries, judgments, and the embedded documents, all of which may be taken. A
            collection without embeddings is enough for "bm25" without `margin`.
        by: "bm25", "encoder", or "both", which takes turns, BM25 first.
        count: Documents a pair, at most; the paper uses 5.
        margin: By how much cosine a negative must stay below the relevant document, in [0, 2);
            `None` filters nothing.
        skip: Highest places left out, a cruder guard against documents that were not judged.
        depth: Last place taken.
        sampling: "top" takes the highest, "random" any of those between `skip` and `depth`.
        seed: Seed of "random".
        language: Whose stems and stop words BM25 takes; see `BM25`.
        chunk: Queries handled at once; fewer where there are many documents.
        device: Where cosines are computed.
        progress: Show a bar on stderr.

    Raises:
        ValueError: If an argument is out of range, embeddings are needed and missing, or no
            document is judged relevant.
        ImportError: If bm25s is needed and missing.

    Cost: O(n_queries * n_documents * features) for the encoder, in chunks. BM25 takes some ten
    seconds for 40,000 queries and 20,000 documents.
    Source of the filter: Moreira et al. 2024 (arXiv:2407.15831), "TopK-MarginPos".
    """
    check_choice("by", by, ("bm25", "encoder", "both"))
    check_choice("sampling", sampling, ("top", "random"))
    check_positive(chunk=chunk)
    generator = torch.Generator().manual_seed(seed) if sampling == "random" else None
    rule = _Rule(count, margin, skip, depth, generator)
    if isinstance(source, Collection):
        if by != "bm25" or margin is not None:
            raise ValueError(
                "`source` must be an EmbeddedCollection to mine by the encoder, and to filter by "
                '`margin`. Without embeddings give by="bm25" and margin=None.'
            )
        ids = list(source.queries), list(source.documents)
        nothing = torch.empty(0, 0)
        source = EmbeddedCollection(source.name, source, ids[0], nothing, ids[1], nothing)
    data = training_data(replace(source, triples=None), texts=True)
    vectors = _Vectors.of(source, device) if source.queries.numel() else None
    scorers: list[_Scorer] = [] if by == "encoder" else [_by_words(data, language)]
    if by != "bm25":
        assert vectors is not None
        scorers.append(vectors.all_cosines)
    query_rows, place = data.pairs[:, 0].unique(return_inverse=True)
    negatives = torch.full((len(data), count), -1)
    counts, gap = torch.zeros(2, dtype=torch.int64), 0.0
    size = max(1, min(chunk, _CHUNK_ELEMENTS // len(data.documents)))
    with progress_bar("mining", len(query_rows), enabled=progress) as advance:
        for start in range(0, len(query_rows), size):
            rows = query_rows[start : start + size]
            inside = ((place >= start) & (place < start + size)).nonzero()[:, 0]
            excluded = data.excluded(rows)
            rankings = [_highest(score(rows), excluded, rule) for score in scorers]
            pairs = (rows, place[inside] - start, data.pairs[inside, 1:])
            negatives[inside], number, margins = _choose(*pairs, rankings, vectors, rule)
            counts, gap = counts + number, gap + margins
            advance(len(rows))
    return _report(data, negatives, source, counts, gap if vectors is not None else None)


@dataclass(frozen=True)
class _Rule:
    """Which candidates become negatives; see `mine_triples`."""

    count: int
    margin: float | None
    skip: int
    depth: int
    generator: torch.Generator | None

    def __post_init__(self) -> None:
        check_positive(count=self.count, depth=self.depth)
        if self.margin is not None:
            _check_margin(self.margin)
        if not 0 <= self.skip < self.depth:
            raise ValueError(f"`skip` must lie in [0, `depth` = {self.depth}), got {self.skip}.")


@dataclass(frozen=True, eq=False)
class _Vectors:
    """Embeddings of norm 1, on any device; cosines of single rows come on the CPU."""

    queries: Tensor
    documents: Tensor

    @classmethod
    def of(cls, embedded: EmbeddedCollection, device: torch.device | str) -> Self:
        check_finite("queries", embedded.queries)
        check_finite("documents", embedded.documents)
        return cls(*(normalize(x.to(device)) for x in (embedded.queries, embedded.documents)))

    def all_cosines(self, query_rows: Tensor) -> Tensor:
        """With every document, `(q, n_documents)`."""
        return self.queries[query_rows.to(self.queries.device)] @ self.documents.T

    def cosines(self, query_rows: Tensor, document_rows: Tensor) -> Tensor:
        """With documents of its own for each query, `(q, m)`; those of row -1 mean nothing."""
        device = self.queries.device
        documents = self.documents[document_rows.clamp_min(0).to(device)]  # q m features
        return (documents @ self.queries[query_rows.to(device)][:, :, None]).squeeze(2).cpu()


def _by_words(data: TrainingData, language: str | None) -> _Scorer:
    """BM25, where a document that shares no word is none at all."""
    queries: Any = data.queries
    documents: Any = data.documents
    index = BM25(documents, language=language)

    def score(query_rows: Tensor) -> Tensor:
        scores = index.scores([queries[row] for row in query_rows.tolist()])
        return scores.masked_fill(scores <= 0, -torch.inf)

    return score


def _highest(scores: Tensor, excluded: Tensor, rule: _Rule) -> Tensor:
    """Rows of the documents at the places `skip` to `depth`, -1 for none; equal scores by row."""
    scores = scores.float().masked_fill(excluded.to(scores.device), -torch.inf)
    bits = scores.view(torch.int32)
    rising = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()  # in the order of the scores
    keys = rising * 2**32 - torch.arange(scores.shape[1], device=scores.device)  # no two equal
    rows = keys.topk(min(rule.depth, scores.shape[1]), dim=1).indices
    rows = rows.masked_fill(scores.gather(1, rows) == -torch.inf, -1)
    return rows[:, rule.skip :].cpu()


def _choose(
    query_rows: Tensor,
    place: Tensor,
    positive_rows: Tensor,
    rankings: Sequence[Tensor],
    vectors: _Vectors | None,
    rule: _Rule,
) -> tuple[Tensor, Tensor, float]:
    """Filter the candidates of each pair, and take turns.

    Args:
        query_rows: Some queries `(q,)`.
        place: For each pair the place of its query there `(pairs,)`.
        positive_rows: For each pair its document `(pairs, 1)`.
        rankings: Candidates `(q, m)`, by each of what ranks them.
        vectors: The embeddings, if there are some.
        rule: What is left out.

    Returns:
        Negatives `(pairs, count)`, -1 for none; how many candidates there were, and were left; and
        the sum of the margins of cosine.
    """
    kept = [ranking[place] for ranking in rankings]
    own = torch.zeros(())
    if vectors is not None:
        own = vectors.cosines(query_rows[place], positive_rows)
    if rule.margin is not None:
        assert vectors is not None
        near = [vectors.cosines(query_rows, ranking)[place] for ranking in rankings]
        limit = own - rule.margin
        kept = [rows.masked_fill(c >= limit, -1) for rows, c in zip(kept, near, strict=True)]
    if rule.generator is not None:
        kept = [_shuffled(rows, rule.generator) for rows in kept]
    candidates = (_in_turns(rankings) >= 0).sum(1)[place].sum()
    left = _in_turns(kept)
    chosen, gap = left[:, : rule.count], 0.0
    if vectors is not None:
        below = vectors.cosines(query_rows[place], chosen)
        gap = float((own - below)[chosen >= 0].double().sum())
    chosen = pad(chosen, (0, rule.count - chosen.shape[1]), value=-1)
    return chosen, torch.stack([candidates, (left >= 0).sum()]), gap


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


def _report(
    data: TrainingData,
    negatives: Tensor,
    source: EmbeddedCollection,
    counts: Tensor,
    gap: float | None,
) -> MinedTriples:
    query_ids, document_ids = source.query_ids, source.document_ids
    triples = [
        Triple(query_ids[query], document_ids[positive], document_ids[negative])
        for (query, positive), rows in zip(data.pairs.tolist(), negatives.tolist(), strict=True)
        for negative in rows
        if negative >= 0
    ]
    taken, candidates = (negatives >= 0).sum(1), int(counts[0])
    return MinedTriples(
        triples,
        pairs=len(data),
        short_pairs=int((taken < negatives.shape[1]).sum()),
        empty_pairs=int((taken == 0).sum()),
        candidates=candidates,
        filtered=candidates - int(counts[1]),
        mean_margin=gap / len(triples) if gap is not None and triples else None,
    )


def mine_hard_negatives(
    data: TrainingData, count: int = 5, *, margin: float = 0.05, chunk: int | None = None
) -> TrainingData:
    """For each pair, the documents nearest to the query by cosine that are safely not relevant.

    A document that scores nearly as high as the relevant one, or higher, is often relevant too
    and was merely not judged. So only those are taken whose cosine with the query is below that
    of the pair's document by more than `margin`.

    Args:
        data: Embeddings and pairs.
        count: Documents a pair, at most; the paper uses 5.
        margin: By how much cosine a negative must stay below the relevant document, in [0, 2).
        chunk: Pairs handled at once; by default as many as fit 64 MiB of similarities.

    Returns:
        The same data with `hard_negatives` `(n_pairs, count)`, nearest first. Where fewer documents
        qualify, the rest is -1.

    Raises:
        TypeError: If `data` holds texts.
        ValueError: If `count`, `margin` or `chunk` is out of range.

    Cost: O(n_pairs * n_documents * features), exact, in chunks.
    Source of the filter: Moreira et al. 2024 (arXiv:2407.15831), "TopK-MarginPos".
    """
    _check_margin(margin)
    queries, documents = data.queries, data.documents
    if not isinstance(queries, Tensor) or not isinstance(documents, Tensor):
        raise TypeError("`data` must hold embeddings, got texts; `mine_triples` takes both.")
    chunk = max(1, _CHUNK_ELEMENTS // len(documents)) if chunk is None else chunk
    check_positive(count=count, chunk=chunk)
    documents, mined = normalize(documents), []
    for pairs in data.pairs.split(chunk):
        query_rows, relevant_rows = pairs.unbind(1)
        cosines = normalize(queries[query_rows]) @ documents.T
        limit = cosines.gather(1, relevant_rows[:, None]) - margin
        cosines.masked_fill_((cosines >= limit) | data.excluded(query_rows), -torch.inf)
        nearest, rows = cosines.topk(min(count, len(documents)), dim=1)
        rows = rows.masked_fill(nearest == -torch.inf, -1)
        mined.append(pad(rows, (0, count - rows.shape[1]), value=-1))
    return replace(data, hard_negatives=torch.cat(mined))


def _check_margin(margin: float) -> None:
    if not 0 <= margin < 2:
        raise ValueError(f"`margin` must lie in [0, 2), got {margin}.")
