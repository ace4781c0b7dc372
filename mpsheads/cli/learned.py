"""What a saved head has learned, measured on texts: what `mpsheads info` draws and prints."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mpsheads import plotting
from mpsheads.experiments import code
from mpsheads.heads import MPSProjectionHead, ProjectionHead, compress_vectors, make_head
from mpsheads.plotting import EntropyProfile, PairDistances, code_entropy, entropy_profile
from mpsheads.plotting.learned import too_few
from mpsheads.plotting.quality import UNCOMPRESSED
from mpsheads.retrieval import EmbeddedCollection, bootstrap_interval
from mpsheads.similarity import Codes, cosine

_FLOAT = 32  # bits of a number that is not in codes
_TOP_K = 1000
_STATES = 32  # texts whose states are held at once
_QUERIES, _OTHERS = 1000, 100  # most queries of pairs; other documents of each query


@dataclass
class Learned:
    """What texts show of a head.

    Attributes:
        head: The head.
        z: Its outputs for the documents.
        codes: The same in 8 bits a number and fewer, where the head gives codes.
        profile: Entropies of its states of some documents; `None` if it has no states.
        discarded: Mean weight that truncation cut off these states.
        distances: Of pairs, before and after compression; none without judgments.
        rows: Quality by bytes, likewise.
    """

    head: ProjectionHead
    z: Tensor
    codes: list[Codes]
    profile: EntropyProfile | None = None
    discarded: float = 0.0
    distances: list[PairDistances] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def numbers(self) -> dict[str, Any]:
        """All of it in a few numbers; entropies in bits."""
        z = self.z.double()
        outputs = {
            "texts": len(z),
            "range": [float(z.min()), float(z.max())],
            "mean": float(z.mean()),
            "std": float(z.std(dim=0, correction=0).mean()),
            "bits_in_use": {code.bits: float(code_entropy(code).mean()) for code in self.codes},
            "too_few_texts_for": [code.bits for code in self.codes if too_few(code)],
        }
        report: dict[str, Any] = {"outputs": outputs}
        if self.profile is not None:
            discarded = {"discarded_weight": self.discarded}
            report["entanglement"] = {**_entropies(self.profile), **discarded}
        names = ("overlap", "threshold", "auc", "auc_within_queries")
        for when, pairs in zip(("before", "after"), self.distances, strict=False):
            counts = {"relevant_pairs": len(pairs.relevant), "other_pairs": len(pairs.other)}
            values = {name: getattr(pairs, name) for name in names}
            report.setdefault("distances", {})[when] = {"distance": pairs.name, **counts, **values}
        return {**report, "quality": self.rows} if self.rows else report

    def left_out(self) -> dict[str, str]:
        """Figure -> why it cannot be drawn."""
        reasons = {}
        if self.profile is None:
            reasons["entanglement"] = f"a {self.head.name} head has no quantum states"
        elif not self.profile.limits.any():
            reasons["entanglement"] = "no bond of this head can carry any"
        if not self.rows:
            reasons["distances"] = reasons["quality"] = "there are no judgments to search by"
        return reasons

    def draw(self, folder: Path, ending: str, dataset: str, measure: str) -> dict[str, str]:
        """Draw a figure of each, and an overview, into a folder; returns name -> path."""
        head = self.head
        what = f"{head.name} head, {head.in_features} to {head.out_features} numbers; {dataset}"
        figures: dict[str, Any] = {}
        panels: list[Any] = []
        if self.profile is not None and self.profile.limits.any():
            figures["entanglement"] = partial(plotting.entanglement_entropy, self.profile)
            by = "place" if len(self.profile.blocks) > 1 else "bond"
            panels.append(partial(plotting.entanglement_entropy_on, self.profile, by=by))
        figures["angles"] = partial(plotting.angle_histogram, self.z, codes=self.codes)
        panels.append(partial(plotting.angle_histogram_on, self.z))
        panels += [partial(plotting.code_bits_on, self.codes)] if self.codes else []
        if self.rows:
            points = plotting.quality_points(self.rows, measure)
            figures["distances"] = partial(plotting.distance_distributions, self.distances)
            figures["quality"] = partial(plotting.quality_vs_bytes, points, measure=measure)
            panels += [partial(plotting.distance_distributions_on, d) for d in self.distances]
            panels.append(partial(plotting.quality_vs_bytes_on, points, measure=measure))
        title = "What the head has learned"
        figures["overview"] = partial(plotting.draw_panels, panels, title=title)
        return {
            name: str(draw(path=folder / f"{name}.{ending}", subtitle=what))
            for name, draw in figures.items()
        }


def look(
    head: ProjectionHead,
    documents: Tensor,
    embedded: EmbeddedCollection | None = None,
    *,
    measure: str = "nDCG@10",
    texts: int = 256,
    seed: int = 0,
) -> Learned:
    """Measure what a head has learned.

    Args:
        head: The head.
        documents: Embeddings `(n, in_features)`.
        embedded: Where they are from, with judgments for distances and quality.
        measure: Of quality.
        texts: Most documents whose states are computed.
        seed: Of what is sampled.
    """
    z = compress_vectors(head, documents)
    learned = Learned(head, z, list(_codes(head, z)))
    if isinstance(head, MPSProjectionHead):
        some = documents[_sample(len(documents), texts, seed)]
        learned.profile, learned.discarded = _entanglement(head, some)
    if embedded is not None:
        learned.distances = sample_distances(head, embedded, seed)
        learned.rows = measure_sizes(head, embedded, measure, seed)
    return learned


def _sample(count: int, most: int, seed: int) -> list[int]:
    rows = range(count)
    return list(rows) if count <= most else sorted(random.Random(seed).sample(rows, most))


def _codes(head: ProjectionHead, z: Tensor) -> Iterator[Codes]:
    for bits in (8, 4, 2, 1):
        try:
            yield head.quantize(z, bits)
        except ValueError:  # vectors of no known range, or bits that are too few for them
            return


@torch.no_grad()
def _entanglement(head: MPSProjectionHead, vectors: Tensor) -> tuple[EntropyProfile, float]:
    """Of the states of some embeddings, and the mean weight truncated away."""
    vectors = vectors.to(head.angles.device, head.angles.dtype)
    states = [head.state(part) for part in vectors.split(_STATES)]
    discarded = torch.cat([state.discarded_weight.sum(dim=1) for state in states])
    return entropy_profile(states, kept_sites=head.kept_sites), float(discarded.mean())


def _entropies(profile: EntropyProfile) -> dict[str, Any]:
    inside = profile.limits > 0
    entropies, limits = profile.entropies[:, inside], profile.limits[inside]
    if not inside.any():
        return {"texts": len(profile.entropies), "mean_bits": 0.0}
    return {
        "texts": len(profile.entropies),
        "mean_bits": float(entropies.mean()),
        "largest_bits": float(entropies.max()),
        "share_of_possible": float((entropies.mean(dim=0) / limits).mean()),
        "by_distance_from_kept": {
            distance: float(profile.entropies[:, bonds].mean())
            for distance, bonds in profile.bonds_by_distance.items()
        },
    }


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
    name, highest = ("1 − cosine", 1.0) if head.compared_by == "cosine" else ("−log fidelity", 0.0)
    sides: list[tuple[Any, ...]] = [
        ("before", cosine, embedded.queries, embedded.documents, "1 − cosine", 1.0),
        ("after", head.similarity, zq, zd, name, highest),
    ]
    distances = []
    for when, similarity, queries, documents, name, highest in sides:
        near, far = [], []
        for row, relevant, others in pairs:
            some = documents[relevant + others]
            values = highest - similarity(queries[row : row + 1], some)[0].cpu()
            near.append(values[: len(relevant)])
            far.append(values[len(relevant) :])
        numbers = torch.arange(len(pairs))
        owners = [
            numbers.repeat_interleave(torch.tensor([len(part) for part in parts]))
            for parts in (near, far)
        ]
        title = f"{when}: {documents.shape[1]} numbers"
        distances.append(PairDistances(name, torch.cat(near), torch.cat(far), title, *owners))
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


def measure_sizes(
    head: ProjectionHead, embedded: EmbeddedCollection, measure: str, seed: int
) -> list[dict[str, Any]]:
    """Quality by bits a number: of the uncompressed embeddings, the head, truncation and PCA.

    Documents are stored as codes, queries stay as they are. Truncation and PCA, fitted on the
    documents, get as many numbers as the head, where they can.

    Returns:
        Rows like those of `mpsheads.retrieval.measure_heads`, with "bits".
    """
    documents, size = embedded.documents, head.out_features
    heads: list[ProjectionHead | None] = [None, head]
    for kind in ("truncation", "pca"):
        fits = size < embedded.features and (kind != "pca" or size < len(documents))
        if fits and kind != head.name:
            heads.append(make_head(kind, embedded.features, size, documents=documents))
    rows = []
    for made in heads:
        zd = compress_vectors(made, documents)
        for bits in (_FLOAT, 8, 4, 2, 1) if made else (_FLOAT,):
            try:
                stored = zd if made is None or bits == _FLOAT else code(made, zd, zd, bits)
            except ValueError:  # states take 8 and 4 bits alone
                continue
            scores = embedded.scores(measure, made, documents=stored, top_k=_depth(measure))
            low, high = bootstrap_interval(list(scores.values()), seed=seed)
            mean = {"mean": sum(scores.values()) / len(scores), "interval": [low, high]}
            rows.append(
                {
                    "label": f"{made.name}, {bits} bit{'s' * (bits > 1)}" if made else UNCOMPRESSED,
                    "head": made.name if made else None,
                    "out_features": zd.shape[1],
                    "parameters": made.num_parameters if made else 0,
                    "bits": bits,
                    "bytes_per_vector": -(-zd.shape[1] * bits // 8),
                    "measures": {measure: mean},
                }
            )
    return rows


def _depth(measure: str) -> int:
    """How many documents a measure looks at."""
    cut = measure.partition("@")[2]
    return int(cut) if cut.isdecimal() else _TOP_K
