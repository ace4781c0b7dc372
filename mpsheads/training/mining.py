"""Hard negatives: documents that rank high, by words or by cosine, but are not relevant."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from mpsheads._checks import as_device, check_finite
from mpsheads._progress import progress_bar
from mpsheads._typing import Positive
from mpsheads.retrieval import BM25, EmbeddedCollection, Triple
from mpsheads.training.data import TrainingData, training_data

_CHUNK, _CHUNK_ELEMENTS = 256, 1 << 24  # queries, and similarities, that are held at once


@dataclass(frozen=True)
class MinedTriples:
    """What `mine_triples` found.

    Attributes:
        triples: One a negative; those of a pair follow each other, the hardest first.
        pairs: Queries with a document judged relevant.
        short_pairs: Of these, how many got fewer negatives than asked for.
        empty_pairs: Of these, how many got none, and so are in no triple.
        candidates: Documents that ranked within `depth`, over all pairs.
        filtered: Of these, how many the margin left out as perhaps relevant.
        mean_margin: Mean cosine with the positive less that with the negative; `None` if nothing
            was found.
    """

    triples: list[Triple]
    pairs: int
    short_pairs: int
    empty_pairs: int
    candidates: int
    filtered: int
    mean_margin: float | None


def mine_triples(
    source: EmbeddedCollection,
    by: Literal["bm25", "encoder", "both"] = "bm25",
    count: Positive = 5,
    *,
    margin: float = 0.05,
    depth: Positive = 100,
    language: str | None = "english",
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> MinedTriples:
    """For each query and relevant document, documents that rank high but are safely not relevant.

    The candidates of a pair are the first `depth` documents of the query's ranking, by BM25, by
    cosine, or by both. Documents judged relevant are not ranked, nor is one that is the query
    itself, nor are copies: of several with one text the first stands for all. A candidate whose
    cosine with the query comes within `margin` of that of the pair's document, or above, is left
    out: it is often relevant too and was merely not judged.

    Args:
        source: Queries, judgments, and the embedded documents, all of which may be taken.
        by: "bm25", "encoder", or "both", which takes turns, BM25 first.
        count: Documents a pair, at most, the highest; the paper uses 5.
        margin: By how much cosine a negative must stay below the relevant document, in [-2, 2);
            -2 filters nothing.
        depth: Last place taken.
        language: Whose stems and stop words BM25 takes; see `BM25`.
        device: Where cosines are computed.
        progress: Show a bar on stderr.

    Raises:
        ValueError: If an argument is out of range, or no document is judged relevant.
        ImportError: If bm25s is needed and missing.

    Cost: O(n_queries * n_documents * features), in chunks. BM25 takes some ten seconds for 40,000
    queries and 20,000 documents.
    Source of the filter: Moreira et al. 2024 (arXiv:2407.15831), "TopK-MarginPos".
    """
    _check_margin(margin)
    device = as_device(device)
    data = training_data(replace(source, triples=None), texts=True)
    ranked = _ranked(source, data, by, language, depth, device)
    positives: dict[int, list[int]] = {}
    for query, positive in data.pairs.tolist():
        positives.setdefault(query, []).append(positive)
    found: dict[tuple[int, int], list[int]] = {}
    gap, candidates, left = 0.0, 0, 0
    with progress_bar("mining", len(positives), enabled=progress) as advance:
        for query, rankings, cosines, near in ranked:
            candidates += len(near) * len(positives[query])
            for positive in positives[query]:
                own = float(cosines[positive])
                safe = _in_turns([[r for r in rows if near[r] < own - margin] for rows in rankings])
                left += len(safe)
                found[query, positive] = safe[:count]
                gap += sum(own - near[row] for row in safe[:count])
            advance(1)
    counts = [len(rows) for rows in found.values()]
    return MinedTriples(
        triples=[
            Triple(source.query_ids[query], source.document_ids[positive], source.document_ids[row])
            for query, positive in data.pairs.tolist()
            for row in found[query, positive]
        ],
        pairs=len(counts),
        short_pairs=sum(number < count for number in counts),
        empty_pairs=counts.count(0),
        candidates=candidates,
        filtered=candidates - left,
        mean_margin=gap / sum(counts) if sum(counts) else None,
    )


def _ranked(
    source: EmbeddedCollection,
    data: TrainingData,
    by: str,
    language: str | None,
    depth: int,
    device: torch.device | str,
) -> Iterator[tuple[int, list[list[int]], Tensor, dict[int, float]]]:
    """Rank documents for each query; to BM25 one that shares no word is none at all.

    Yields the query's row, rows of candidates by each that ranks them, best first, cosines of all
    documents, and those of the candidates by row.
    """
    check_finite("queries", source.queries)
    check_finite("documents", source.documents)
    queries, documents = (normalize(x.to(device)) for x in (source.queries, source.documents))
    index = None if by == "encoder" else BM25(source.texts("documents"), language=language)
    texts = source.texts("queries")
    size = max(1, min(_CHUNK, _CHUNK_ELEMENTS // len(documents)))
    for rows in data.pairs[:, 0].unique().split(size):
        cosines = queries[rows.to(device)] @ documents.T
        scores = [] if by == "bm25" else [cosines]
        if index is not None:
            words = index.scores([texts[row] for row in rows.tolist()])
            scores.insert(0, words.masked_fill(words <= 0, -torch.inf))
        excluded, cosines = data.excluded(rows), cosines.cpu()
        rankings = [_highest(score, excluded, depth) for score in scores]
        near = torch.cat([cosines.gather(1, r.clamp_min(0)) for r in rankings], 1).tolist()
        lists = zip(*(ranking.tolist() for ranking in rankings), strict=True)
        for query, own, of_all, values in zip(rows.tolist(), lists, cosines, near, strict=True):
            of_own = dict(zip(chain(*own), values, strict=True))
            of_own.pop(-1, None)
            yield query, [[row for row in r if row >= 0] for r in own], of_all, of_own


def _highest(scores: Tensor, excluded: Tensor, depth: int) -> Tensor:
    """Rows of the first documents of each ranking, -1 for none; equal scores by row."""
    scores = scores.float().masked_fill(excluded.to(scores.device), -torch.inf)
    bits = scores.view(torch.int32)
    rising = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()  # in the order of the scores
    keys = rising * 2**32 - torch.arange(scores.shape[1], device=scores.device)  # no two equal
    rows = keys.topk(min(depth, scores.shape[1]), dim=1).indices
    return rows.masked_fill(scores.gather(1, rows) == -torch.inf, -1).cpu()


def _in_turns(rankings: Sequence[Sequence[int]]) -> list[int]:
    """The first of each ranking, then the second of each, ...; each row once."""
    turns = chain.from_iterable(zip_longest(*rankings))
    return [row for row in dict.fromkeys(turns) if row is not None]


def mine_hard_negatives(
    data: TrainingData, count: Positive = 5, *, margin: float = 0.05
) -> TrainingData:
    """For each pair, the documents nearest to the query by cosine that are safely not relevant.

    What `mine_triples` finds by the encoder at any depth, as `hard_negatives` of the data.

    Args:
        data: Embeddings and pairs.
        count: Documents a pair, at most; the paper uses 5.
        margin: As `mine_triples` takes it.

    Returns:
        The same data with `hard_negatives` `(n_pairs, count)`, nearest first. Where fewer documents
        qualify, the rest is -1.

    Raises:
        TypeError: If `data` holds texts.
        ValueError: If `count` or `margin` is out of range.

    Cost: O(n_pairs * n_documents * features), exact, in chunks of 64 MiB of similarities.
    """
    _check_margin(margin)
    queries, documents = data.queries, data.documents
    if not isinstance(queries, Tensor) or not isinstance(documents, Tensor):
        raise TypeError("`data` must hold embeddings, got texts; `mine_triples` takes both.")
    documents, mined = normalize(documents), []
    for pairs in data.pairs.split(max(1, _CHUNK_ELEMENTS // len(documents))):
        query_rows, relevant_rows = pairs.unbind(1)
        cosines = normalize(queries[query_rows]) @ documents.T
        limit = cosines.gather(1, relevant_rows[:, None]) - margin
        cosines.masked_fill_((cosines >= limit) | data.excluded(query_rows), -torch.inf)
        nearest, rows = cosines.topk(min(count, len(documents)), dim=1)
        rows = rows.masked_fill(nearest == -torch.inf, -1)
        mined.append(pad(rows, (0, count - rows.shape[1]), value=-1))
    return replace(data, hard_negatives=torch.cat(mined))


def _check_margin(margin: float) -> None:
    if not -2 <= margin < 2:
        raise ValueError(f"`margin` must lie in [-2, 2), got {margin}.")
