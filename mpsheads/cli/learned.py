"""The figures of `mpsheads info`: what a saved head does to texts."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from mpsheads import plotting
from mpsheads.heads import MPSProjectionHead, ProjectionHead, compress_vectors
from mpsheads.plotting import EntropyProfile, PairDistances
from mpsheads.retrieval import EmbeddedCollection, load_vectors
from mpsheads.similarity import Codes, cosine

_TEXTS = 256  # whose states are computed
_STATES = 32  # that are held at once
_QUERIES, _OTHERS = 1000, 100  # most queries of pairs; other documents of each query


def draw(
    head: ProjectionHead, data: EmbeddedCollection | Path | None, folder: Path, seed: int
) -> list[Path]:
    """Draw entanglement, outputs and distances, as far as the head and the data have them.

    Args:
        head: Whose figures they are.
        data: Embeddings; a file of those of documents shows no distances.
        folder: Where the pictures go.
        seed: Of the samples of texts and pairs.
    """
    if isinstance(data, EmbeddedCollection):
        documents, name = data.documents, data.collection.name
    else:
        documents, name = load_vectors(str(data), name="documents")[0], str(data)
    subtitle = f"{head.name} head, {head.in_features} to {head.out_features} numbers; {name}"
    z = compress_vectors(head, documents)
    outputs = folder / "angles.png"
    written = [plotting.angle_histogram(z, outputs, codes=[*_codes(head, z)], subtitle=subtitle)]
    profile = _entropies(head, documents, seed)
    panels = {}
    if profile is not None and profile.limits.any():
        by = ("place", "block") if len(profile.blocks) > 1 else ("bond",)
        each = [partial(plotting.entropy_on, profile, by=axis) for axis in by]
        panels["entanglement"] = ("Entanglement inside the head", each)
    if isinstance(data, EmbeddedCollection):
        pairs = sample_distances(head, data, seed)
        each = [partial(plotting.distances_on, distances) for distances in pairs]
        panels["distances"] = ("Distances of relevant and of other pairs", each)
    for figure, (title, each) in panels.items():
        file, wide = folder / f"{figure}.png", 11.4 / len(each)
        look = {"title": title, "subtitle": subtitle, "high": 4.9, "wide": wide}
        written.append(plotting.draw_panels(each, file, **look))
    return written


def _codes(head: ProjectionHead, z: Tensor) -> Iterator[Codes]:
    """Outputs in codes of 8, 4, 2 and 1 bits, as far as the head gives such codes."""
    for bits in (8, 4, 2, 1):
        try:
            yield head.quantize(z, bits)
        except ValueError:  # vectors of no known range, or bits that are too few for them
            return


@torch.no_grad()
def _entropies(head: ProjectionHead, documents: Tensor, seed: int) -> EntropyProfile | None:
    """The profile of the states of some documents; `None` if the head has no states."""
    if not isinstance(head, MPSProjectionHead):
        return None
    vectors = documents[_sample(len(documents), _TEXTS, seed)].to(head.angles)
    return plotting.entropy_profile(head.state(part) for part in vectors.split(_STATES))


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
