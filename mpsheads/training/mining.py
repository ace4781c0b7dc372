"""Hard negatives: documents that rank high, by words or by cosine, but are not relevant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from mpsheads._checks import check_choice, check_finite, check_positive, check_vectors
from mpsheads._progress import progress_bar
from mpsheads.retrieval.bm25 import BM25
from mpsheads.retrieval.collections import Collection
from mpsheads.retrieval.triples import Triple
from mpsheads.training.data import TrainingData, judged_pairs, rows_of_ids
from mpsheads.training.negatives import (
    Excluded,
    Found,
    Rule,
    Vectors,
    blocks,
    check_margin,
    choose,
    highest,
)

_CHUNK_ELEMENTS = 1 << 24
_MOST_QUERIES = 256  # handled at once
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
    collection: Collection,
    by: str = "bm25",
    count: int = 5,
    *,
    query_vectors: Tensor | None = None,
    document_vectors: Tensor | None = None,
    query_ids: Sequence[str] | None = None,
    document_ids: Sequence[str] | None = None,
    margin: float | None = 0.05,
    skip: int = 0,
    depth: int = 100,
    sampling: str = "top",
    seed: int = 0,
    language: str | None = "english",
    progress: bool = False,
) -> MinedTriples:
    """For each query and relevant document, documents that rank high but are safely not relevant.

    The candidates of a pair are the documents at the places `skip` to `depth` of the query's
    ranking, by BM25, by cosine, or by both. Documents judged relevant are not ranked, nor are
    copies: of several with one text the first stands for all. A candidate whose cosine with the
    query comes within `margin` of that of the pair's document, or above, is left out: it is often
    relevant too and was merely not judged.

    Args:
        collection: Queries, documents and judgments.
        by: "bm25", "encoder", or "both", which takes turns, BM25 first.
        count: Documents a pair, at most; the paper uses 5.
        query_vectors: Embeddings of the queries `(n_queries, features)`, for all but "bm25"
            without `margin`. Cosines are computed where they are.
        document_vectors: Those of the documents `(n_documents, features)`.
        query_ids: Identifier of each row of `query_vectors`; the collection's order if `None`.
        document_ids: Which documents may be taken, in the order of `document_vectors`; all of the
            collection's if `None`. Documents judged relevant must be among them.
        margin: By how much cosine a negative must stay below the relevant document, in [0, 2);
            `None` filters nothing.
        skip: Highest places left out, a cruder guard against documents that were not judged.
        depth: Last place taken.
        sampling: "top" takes the highest, "random" any of those between `skip` and `depth`.
        seed: Seed of "random".
        language: Whose stems and stop words BM25 takes; see `BM25`.
        progress: Show a bar on stderr.

    Raises:
        ValueError: If an argument is out of range, vectors are needed and missing, rows and
            identifiers do not match, or no document is judged relevant.
        ImportError: If bm25s is needed and missing.

    Cost: O(n_queries * n_documents * features) for the encoder, in chunks. BM25 takes some ten
    seconds for 40,000 queries and 20,000 documents.
    Source of the filter: Moreira et al. 2024 (arXiv:2407.15831), "TopK-MarginPos".
    """
    check_choice("by", by, ("bm25", "encoder", "both"))
    rule = Rule(count, margin, skip, depth, sampling)
    q_ids = list(collection.queries) if query_ids is None else list(query_ids)
    d_ids = list(collection.documents) if document_ids is None else list(document_ids)
    vectors = _vectors(query_vectors, document_vectors, needed=by != "bm25" or margin is not None)
    query_rows = rows_of_ids(
        "query", q_ids if vectors is None else vectors.queries, q_ids, collection.queries
    )
    document_rows = rows_of_ids(
        "document", d_ids if vectors is None else vectors.documents, d_ids, collection.documents
    )
    pairs = torch.tensor(judged_pairs(collection, query_rows, document_rows))
    queries = [collection.queries[query_id] for query_id in q_ids]
    documents = [collection.documents[doc_id] for doc_id in d_ids]
    scorers: list[_Scorer] = []
    if by != "encoder":
        scorers.append(_by_words(queries, documents, language))
    if by != "bm25":
        assert vectors is not None
        scorers.append(vectors.all_cosines)
    excluded = Excluded(queries, documents, pairs)
    generator = torch.Generator().manual_seed(seed)
    size = max(1, min(_MOST_QUERIES, _CHUNK_ELEMENTS // len(documents)))
    found: list[Found] = []
    with progress_bar("mining", len(pairs[:, 0].unique()), enabled=progress) as advance:
        for block in blocks(pairs, size):
            mask = excluded(block.query_rows)
            rankings = [highest(score(block.query_rows), mask, rule) for score in scorers]
            found.append(choose(rule, block, rankings, vectors, generator))
            advance(len(block.query_rows))
    return _report(pairs, found, q_ids, d_ids, has_cosines=vectors is not None)


def _vectors(queries: Tensor | None, documents: Tensor | None, *, needed: bool) -> Vectors | None:
    if queries is None and documents is None and not needed:
        return None
    if queries is None or documents is None:
        raise ValueError(
            "`query_vectors` and `document_vectors` are both needed to mine by the encoder, and to "
            'filter by `margin`. Without embeddings give by="bm25" and margin=None.'
        )
    check_vectors("document_vectors", documents, documents.shape[-1])
    check_vectors("query_vectors", queries, documents.shape[1])
    check_finite("query_vectors", queries)
    check_finite("document_vectors", documents)
    return Vectors(normalize(queries), normalize(documents))


def _by_words(queries: Sequence[str], documents: Sequence[str], language: str | None) -> _Scorer:
    """BM25, where a document that shares no word is none at all."""
    index = BM25(documents, language=language)

    def score(query_rows: Tensor) -> Tensor:
        scores = index.scores([queries[int(row)] for row in query_rows])
        return scores.masked_fill(scores <= 0, -torch.inf)

    return score


def _report(
    pairs: Tensor,
    found: Sequence[Found],
    query_ids: Sequence[str],
    document_ids: Sequence[str],
    *,
    has_cosines: bool,
) -> MinedTriples:
    negatives = torch.cat([part.rows for part in found])
    taken = (negatives >= 0).sum(1)
    triples = [
        Triple(query_ids[int(query)], document_ids[int(positive)], document_ids[int(negative)])
        for (query, positive), rows in zip(pairs.tolist(), negatives.tolist(), strict=True)
        for negative in rows
        if negative >= 0
    ]
    candidates = sum(part.candidates for part in found)
    margin = sum(part.margin for part in found)
    return MinedTriples(
        triples,
        pairs=len(pairs),
        short_pairs=int((taken < negatives.shape[1]).sum()),
        empty_pairs=int((taken == 0).sum()),
        candidates=candidates,
        filtered=candidates - sum(part.kept for part in found),
        mean_margin=margin / len(triples) if has_cosines and triples else None,
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
        ValueError: If `count`, `margin` or `chunk` is out of range.

    Cost: O(n_pairs * n_documents * features), exact, in chunks.
    Source of the filter: Moreira et al. 2024 (arXiv:2407.15831), "TopK-MarginPos".
    """
    check_positive(count=count)
    check_margin(margin)
    if chunk is not None:
        check_positive(chunk=chunk)
    chunk = chunk or max(1, _CHUNK_ELEMENTS // len(data.documents))
    documents = normalize(data.documents)
    with torch.no_grad():
        mined = [
            _nearest(data, documents, pairs, count, margin) for pairs in data.pairs.split(chunk)
        ]
    return replace(data, hard_negatives=torch.cat(mined))


def _nearest(
    data: TrainingData, documents: Tensor, pairs: Tensor, count: int, margin: float
) -> Tensor:
    """Rows of the hard negatives of some pairs, `(pairs, count)`."""
    query_rows, relevant_rows = pairs.unbind(1)
    cosines = normalize(data.queries[query_rows]) @ documents.T
    limit = cosines.gather(1, relevant_rows[:, None]) - margin
    excluded = (cosines >= limit) | data.is_copy
    excluded[data.relevant_documents(query_rows)] = True
    cosines.masked_fill_(excluded, -torch.inf)
    nearest, rows = cosines.topk(min(count, len(documents)), dim=1)
    rows = rows.masked_fill(nearest == -torch.inf, -1)
    return pad(rows, (0, count - rows.shape[1]), value=-1)
