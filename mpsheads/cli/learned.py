"""What a head has learned, gathered from its parameters and from a sample of texts."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mpsheads.cli.heads import compress
from mpsheads.cli.scores import Row, describe, summarise
from mpsheads.cli.sources import Embedded, Pool
from mpsheads.heads import (
    MPSProjectionHead,
    PCAHead,
    ProjectionHead,
    ReferenceHead,
    TruncationHead,
)
from mpsheads.mps import MPS
from mpsheads.plotting import EntropyProfile, PairDistances, code_entropy, entropy_profile
from mpsheads.plotting.learned import CODE_BITS, too_few
from mpsheads.retrieval import evaluate, rank
from mpsheads.similarity import cosine

FLOAT_BITS = 32
_STATES = 32  # texts whose states are held at once
_QUERIES, _OTHERS = 1000, 100  # most queries of pairs; other documents of each query
_TOP_K = 1000
_OUTPUTS: dict[str | None, tuple[str, tuple[float, float] | None]] = {
    "angle": ("angle", (0.0, math.pi)),
    "bloch": ("Bloch component", (-1.0, 1.0)),
    "state": ("component of a site", (-1.0, 1.0)),
    "dense": ("output", (-1.0, 1.0)),
}
_STATE_BITS = (8, 4)
_CLIPPED = 0.005  # share of documents beyond either end of the range of a calibrated code


def code_kind(head: ProjectionHead) -> str | None:
    """What `quantize` calls the head's vectors; `None` where they need calibration."""
    if isinstance(head, MPSProjectionHead):
        return head.readout.kind
    return "angle" if isinstance(head, ReferenceHead) else None


def code_bits(head: ProjectionHead) -> tuple[int, ...]:
    """The widths of codes that the head's vectors can have."""
    return _STATE_BITS if code_kind(head) == "state" else CODE_BITS


def bytes_by_bits(head: ProjectionHead) -> dict[int, int]:
    """Bits a number -> bytes a vector, packed."""
    return {
        bits: math.ceil(head.out_features * bits / 8) for bits in (FLOAT_BITS, *code_bits(head))
    }


def outputs(head: ProjectionHead) -> tuple[str, tuple[float, float] | None]:
    """What an output of the head is, and its range; `None` where nothing bounds it.

    Of directions the part that codes of 8 bits fill.
    """
    name = _OUTPUTS.get(code_kind(head) or head.name, ("output", None))[0]
    return name, code_ranges(head).get(max(CODE_BITS))


def code_ranges(head: ProjectionHead) -> dict[int, tuple[float, float]]:
    """Bits -> the range that the cells of such a code fill; none where no range is known."""
    _, ends = _OUTPUTS.get(code_kind(head) or head.name, ("output", None))
    if ends is None:
        return {}
    low, high = ends
    found = {}
    for bits in code_bits(head):
        span = 1.0
        if isinstance(head, MPSProjectionHead):
            span = head.readout.span(bits, head.out_features)
        beyond = (1 - span) * (high - low) / 2
        found[bits] = low + beyond, high - beyond
    return found


def check_width(head: ProjectionHead, path: str, features: int) -> None:
    """Raise `ValueError` unless the head takes embeddings of that many numbers."""
    if head.in_features != features:
        raise ValueError(
            f"`path` {path!r} holds a head for embeddings of {head.in_features} numbers, but these "
            f"have {features}."
        )


def trained(head: ProjectionHead) -> dict[str, Any]:
    """Size of the head's parameters; for circuits, how far the gates are from the identity."""
    report: dict[str, Any] = {}
    for name, tensor in head.named_parameters():
        values = tensor.detach().double()
        if values.numel() == 1:
            report[name] = float(values)
            continue
        if name == "angles_raw":  # stand for angles 2 pi tanh(t) off the identity
            values = 2 * math.pi * values.tanh()
        elif name == "directions":  # the identity leaves Z where it is: polar angle 0
            values = values[..., 0]
        report[name] = {
            "shape": list(tensor.shape),
            "rms": float(values.square().mean().sqrt()),
            "largest": float(values.abs().max()),
        }
    return report


def from_identity(head: ProjectionHead, name: str) -> bool:
    """Whether the size of a parameter is the distance of gates from the identity, in radians.

    It is for the circuits that a head names, where all angles 0 make the identity.
    """
    if name == "angles":
        return isinstance(head.config.get("ansatz"), str)
    return name in ("angles_raw", "directions")


def profile(head: ProjectionHead, vectors: Tensor) -> tuple[EntropyProfile, float] | None:
    """Entanglement of the head's states of some embeddings, and the mean weight truncated away.

    `None` if the head has no states.
    """
    state = getattr(head, "state", None)
    if state is None:
        return None
    like = next(iter([*head.parameters(), *head.buffers()]), vectors)
    discarded: list[Tensor] = []

    def batches() -> Iterator[MPS]:
        for part in vectors.split(_STATES):
            states = state(part.to(like.device, like.dtype))
            discarded.append(states.discarded_weight.sum(dim=1).cpu())
            yield states

    with torch.no_grad():
        found = entropy_profile(batches(), kept_sites=tuple(getattr(head, "kept_sites", ())))
    return found, float(torch.cat(discarded).mean())


def sample_rows(count: int, most: int, seed: int) -> list[int]:
    """At most that many row numbers, ascending, chosen by the seed."""
    rows = range(count)
    return list(rows) if count <= most else sorted(random.Random(seed).sample(rows, most))


def describe_entanglement(found: EntropyProfile, discarded: float = 0.0) -> dict[str, Any]:
    """The profile in a few numbers, in bits, and the mean weight that truncation discarded."""
    inside = found.limits > 0
    entropies, limits = found.entropies[:, inside], found.limits[inside]
    if not inside.any():
        return {"texts": len(found.entropies), "mean_bits": 0.0, "discarded_weight": discarded}
    return {
        "texts": len(found.entropies),
        "mean_bits": float(entropies.mean()),
        "largest_bits": float(entropies.max()),
        "share_of_possible": float((entropies.mean(dim=0) / limits).mean()),
        "by_distance_from_kept": {
            distance: float(values.mean()) for distance, values in found.by_distance.items()
        },
        "discarded_weight": discarded,
    }


def describe_outputs(head: ProjectionHead, z: Tensor) -> dict[str, Any]:
    """The outputs in a few numbers; the bits in use only where the range is known."""
    name, ends = outputs(head)
    report: dict[str, Any] = {
        "texts": len(z),
        "name": name,
        "range": ends,
        "mean": float(z.mean()),
        "std": float(z.std(dim=0, correction=0).mean()),
    }
    if ends is not None:
        report["bits_in_use"] = {
            bits: float(code_entropy(z, bits, low=low, high=high).mean())
            for bits, (low, high) in code_ranges(head).items()
        }
    return report


def bits_in_words(report: dict[str, Any]) -> str:
    """Bits in use, with a sign where the texts are too few to see all of them."""
    return ", ".join(
        f"{'≥ ' if too_few(report['texts'], bits) else ''}{value:.1f} of {bits}"
        for bits, value in report["bits_in_use"].items()
    )


def sample_distances(
    head: ProjectionHead,
    embedded: Embedded,
    qrels: Mapping[str, Mapping[str, int]],
    pool: Pool,
    seed: int,
) -> list[PairDistances]:
    """Distances before and after compression, of relevant pairs and of candidates that are not.

    At most 1,000 queries, and 100 candidates of each that no judgment calls relevant.

    Raises:
        ValueError: If no query has both.
    """
    pairs = list(_pairs(embedded, qrels, pool, seed))
    if not pairs:
        raise ValueError("No query has a relevant document among its candidates and another one.")
    cosine_head = head.compared_by == "cosine"
    after = ("1 − cosine", 1.0) if cosine_head else ("−log fidelity", 0.0)
    zq, zd = compress(head, embedded.queries), compress(head, embedded.documents)
    return [
        _distances(
            pairs, embedded.queries, embedded.documents, cosine, "1 − cosine", 1.0, "before"
        ),
        _distances(pairs, zq, zd, head.similarity, *after, "after"),
    ]


def _pairs(
    embedded: Embedded, qrels: Mapping[str, Mapping[str, int]], pool: Pool, seed: int
) -> Iterator[tuple[int, list[int], list[int]]]:
    """Row of a query, rows of its relevant documents, and rows of some others."""
    row_of = {doc_id: row for row, doc_id in enumerate(embedded.doc_ids)}
    draw = random.Random(seed)
    for row in sample_rows(len(embedded.query_ids), _QUERIES, seed):
        query_id = embedded.query_ids[row]
        grades = qrels.get(query_id, {})
        candidates = embedded.doc_ids if pool is None else pool.get(query_id, ())
        relevant = [row_of[d] for d, grade in grades.items() if grade > 0 and d in row_of]
        some = draw.sample(candidates, min(len(candidates), _OTHERS + len(relevant)))
        others = [row_of[d] for d in some if grades.get(d, 0) <= 0][:_OTHERS]
        if relevant and others:
            yield row, relevant, others


@torch.no_grad()
def _distances(
    pairs: Sequence[tuple[int, list[int], list[int]]],
    zq: Tensor,
    zd: Tensor,
    similarity: Any,
    name: str,
    highest: float,
    when: str,
) -> PairDistances:
    near, far = [], []
    for row, relevant, others in pairs:
        found = highest - similarity(zq[row : row + 1], zd[relevant + others])[0].cpu()
        near.append(found[: len(relevant)])
        far.append(found[len(relevant) :])
    queries = torch.arange(len(pairs))
    return PairDistances(
        name,
        torch.cat(near),
        torch.cat(far),
        f"{when}: {zd.shape[1]} numbers",
        queries.repeat_interleave(torch.tensor([len(part) for part in near])),
        queries.repeat_interleave(torch.tensor([len(part) for part in far])),
    )


def describe_distances(distances: PairDistances) -> dict[str, Any]:
    """Both samples in a few numbers."""
    return {
        "distance": distances.name,
        "relevant_pairs": len(distances.relevant),
        "other_pairs": len(distances.other),
        "overlap": distances.overlap,
        "threshold": distances.threshold,
        "auc": distances.auc,
        "auc_within_queries": distances.auc_within_queries,
    }


def measure_sizes(
    head: ProjectionHead,
    embedded: Embedded,
    qrels: Mapping[str, Mapping[str, int]],
    measure: str,
    pool: Pool,
    seed: int,
) -> list[Row]:
    """Quality by bits a number: of the uncompressed embeddings, the head, truncation and PCA.

    Documents are stored as codes, queries stay as they are. Truncation and PCA, fitted on the
    documents, get as many numbers as the head, where they can.
    """
    features = embedded.documents.shape[1]
    heads: list[ProjectionHead] = [head]
    if head.out_features < features:
        others = (TruncationHead, PCAHead)
        heads += [kind(features, head.out_features) for kind in others if kind.name != head.name]
    rows = [_row(None, embedded, embedded.queries, embedded.documents, qrels, measure, pool, seed)]
    for made in heads:
        if isinstance(made, PCAHead) and made is not head:
            if len(embedded.documents) <= made.out_features:
                continue  # too few documents to fit it
            made.fit(embedded.documents)
        zq, zd = compress(made, embedded.queries), compress(made, embedded.documents)
        for bits, size in bytes_by_bits(made).items():
            kept = zd if bits == FLOAT_BITS else stored(made, zd, bits)
            row = _row(made, embedded, zq, kept, qrels, measure, pool, seed)
            label = f"{made.name}, {bits} bit{'s' * (bits > 1)}"
            rows.append({**row, "label": label, "bits": bits, "bytes_per_vector": size})
    return rows


def _row(
    head: ProjectionHead | None,
    embedded: Embedded,
    zq: Tensor,
    zd: Tensor,
    qrels: Mapping[str, Mapping[str, int]],
    measure: str,
    pool: Pool,
    seed: int,
) -> Row:
    similarity = cosine if head is None else head.similarity
    cut = measure.partition("@")[2]  # no measure looks deeper
    run = rank(
        zq,
        embedded.query_ids,
        zd,
        embedded.doc_ids,
        similarity,
        pool=pool,
        top_k=int(cut or _TOP_K),
    )
    measures = summarise(evaluate(run, qrels, [measure]), seed)
    return {**describe("uncompressed", head, zd.shape[1]), "bits": None, "measures": measures}


def stored(head: ProjectionHead, z: Tensor, bits: int) -> Tensor:
    """The vectors as they come back from codes of some bits a number.

    Those of circuits by `quantize`. Others are cut into equal cells of their range, or, where they
    have none, of what leaves out half a percent of the vectors at either end of each number.
    """
    if isinstance(head, MPSProjectionHead | ReferenceHead):
        return head.quantize(z, bits).dequantize(z.dtype)
    ends = outputs(head)[1]
    if ends is None:
        low, high = torch.quantile(z.float(), z.new_tensor([_CLIPPED, 1 - _CLIPPED]), dim=0)
    else:
        low, high = (z.new_full((z.shape[1],), end) for end in ends)
    step = ((high - low) / 2**bits).clamp_min(torch.finfo(z.dtype).tiny)
    cell = ((z - low) / step).floor().clamp(0, 2**bits - 1)
    return low + (cell + 0.5) * step
