"""What a saved head has learned, measured on texts: what `mpsheads info` draws and prints."""

import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mpsheads import plotting
from mpsheads.experiments import code
from mpsheads.heads import MPSProjectionHead, ProjectionHead, compress_vectors, make_head
from mpsheads.plotting import EntropyProfile, PairDistances, QualityPoint
from mpsheads.plotting.quality import UNCOMPRESSED
from mpsheads.retrieval import EmbeddedCollection, bootstrap_interval
from mpsheads.similarity import Codes, cosine

_STATES = 32  # texts whose states are held at once
_QUERIES, _OTHERS = 1000, 100  # most queries of pairs; other documents of each query


def draw(
    head: ProjectionHead,
    profile: EntropyProfile | None,
    z: Tensor,
    pairs: list[PairDistances],
    points: list[QualityPoint],
    *,
    measure: str,
    subtitle: str,
) -> dict[str, Any]:
    """The figures of a head, and an overview of their main panels: name -> draws to a path.

    `profile`: of its states, if a bond carries entanglement; `z`: its outputs for documents;
    `pairs`, `points`: distances and quality by bytes, empty without judgments.
    """
    entropies, distances = [], [partial(plotting.distances_on, each) for each in pairs]
    if profile is not None:
        by = ("place", "block") if len(profile.blocks) > 1 else ("bond",)
        entropies = [partial(plotting.entropy_on, profile, by=each) for each in by]
    codes = list(codes_of(head, z))
    overview: list[Any] = [*entropies[:1], partial(plotting.angle_histogram_on, z)]
    overview += [partial(plotting.code_bits_on, codes)] if codes else []
    overview += distances
    figures: dict[str, Any] = {
        "angles": partial(plotting.angle_histogram, z, codes=codes, subtitle=subtitle)
    }
    if points:
        figures["quality"] = partial(
            plotting.quality_vs_bytes, points, measure=measure, subtitle=subtitle
        )
        overview.append(partial(plotting.quality_vs_bytes_on, points, measure=measure))
    for name, title, panels, high in (
        ("entanglement", "Entanglement inside the head", entropies, 4.9),
        ("distances", "Distances of relevant and of other pairs", distances, 4.9),
        ("overview", "What the head has learned", overview, 3.9),
    ):
        if panels:
            look = {"title": title, "subtitle": subtitle, "high": high}
            wide = 4.7 if len(panels) > 2 else 11.4 / len(panels)
            figures[name] = partial(plotting.draw_panels, panels, wide=wide, **look)
    return figures


def codes_of(head: ProjectionHead, z: Tensor) -> Iterator[Codes]:
    """Outputs in codes of 8, 4, 2 and 1 bits, as far as the head gives such codes."""
    for bits in (8, 4, 2, 1):
        try:
            yield head.quantize(z, bits)
        except ValueError:  # vectors of no known range, or bits that are too few for them
            return


@torch.no_grad()
def entropies_of(
    head: ProjectionHead, documents: Tensor, texts: int, seed: int
) -> tuple[EntropyProfile | None, float]:
    """The profile of the states of at most so many documents, and the mean weight truncated away.

    `None` and 0 if the head has no states, or no bond that can carry entanglement.
    """
    if not isinstance(head, MPSProjectionHead):
        return None, 0.0
    some = documents[_sample(len(documents), texts, seed)]
    vectors = some.to(head.angles.device, head.angles.dtype)
    states = [head.state(part) for part in vectors.split(_STATES)]
    profile = plotting.entropy_profile(states)
    discarded = torch.cat([state.discarded_weight.sum(dim=1) for state in states])
    return profile if profile.limits.any() else None, float(discarded.mean())


@torch.no_grad()
def sample_distances(
    head: ProjectionHead, embedded: EmbeddedCollection, seed: int
) -> list[PairDistances]:
    """Distances before and after compression, of relevant pairs and of candidates that are not.

    At most 1,000 queries, and 100 candidates of each that no judgment calls relevant.

    Raises:
        ValueError: If no query has both.
    """
    pairs = list(_pairs(embedded, seed))
    if not pairs:
        raise ValueError("No query has a relevant document among its candidates and another one.")
    zq, zd = (compress_vectors(head, x) for x in (embedded.queries, embedded.documents))
    distances = []
    for when, similarity, queries, documents, is_cosine in (
        ("before", cosine, embedded.queries, embedded.documents, True),
        ("after", head.similarity, zq, zd, head.compared_by == "cosine"),
    ):
        parts = []
        for row, near, far in pairs:
            values = similarity(queries[row : row + 1], documents[near + far])[0].cpu()
            parts.append((float(is_cosine) - values).split([len(near), len(far)]))
        name = "1 − cosine" if is_cosine else "−log fidelity"
        title = f"{when}: {documents.shape[1]} numbers"
        distances.append(PairDistances(name, *zip(*parts, strict=True), title=title))
    return distances


def _pairs(embedded: EmbeddedCollection, seed: int) -> Iterator[tuple[int, list[int], list[int]]]:
    """Row of a query, rows of its relevant documents, and rows of some others."""
    row_of = {doc_id: row for row, doc_id in enumerate(embedded.document_ids)}
    draw = random.Random(seed)
    for row in _sample(len(embedded.query_ids), _QUERIES, seed):
        query_id = embedded.query_ids[row]
        grades = embedded.qrels.get(query_id, {})
        pool = embedded.pool
        candidates = embedded.document_ids if pool is None else list(pool.get(query_id, ()))
        relevant = [row_of[d] for d, grade in grades.items() if grade > 0 and d in row_of]
        some = draw.sample(candidates, min(len(candidates), _OTHERS + len(relevant)))
        others = [row_of[d] for d in some if grades.get(d, 0) <= 0][:_OTHERS]
        if relevant and others:
            yield row, relevant, others


def _sample(count: int, most: int, seed: int) -> list[int]:
    rows = range(count)
    return list(rows) if count <= most else sorted(random.Random(seed).sample(rows, most))


def measure_sizes(
    head: ProjectionHead, embedded: EmbeddedCollection, measure: str, seed: int
) -> list[QualityPoint]:
    """Quality by bits a number: of the uncompressed embeddings, the head, truncation and PCA.

    Documents are stored as codes, queries stay as they are. Truncation and PCA, fitted on the
    documents, get as many numbers as the head, where they can.
    """
    documents, size = embedded.documents, head.out_features
    heads: list[ProjectionHead | None] = [None, head]
    for kind in ("truncation", "pca"):
        fits = size < embedded.features and (kind != "pca" or size < len(documents))
        if fits and kind != head.name:
            heads.append(make_head(kind, embedded.features, size, documents=documents))
    points = []
    for each in heads:
        zd, name = compress_vectors(each, documents), each.name if each else UNCOMPRESSED
        for bits in (32, 8, 4, 2, 1) if each else (32,):
            try:
                stored = zd if each is None or bits == 32 else code(each, zd, zd, bits)
            except ValueError:  # states take 8 and 4 bits alone
                continue
            scores = list(embedded.scores(measure, each, documents=stored).values())
            interval = bootstrap_interval(scores, seed=seed)
            parameters = each.num_parameters if each else 0
            size = -(-zd.shape[1] * bits // 8)
            mean = sum(scores) / len(scores)
            points.append(QualityPoint(name, size, mean, interval, parameters, bits))
    return points
