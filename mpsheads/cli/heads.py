"""What `--head` names: a saved head, or a new one."""

from typing import Any

import torch
from torch import Tensor

from mpsheads import heads
from mpsheads.cli.options import HEADS, ShapeOptions
from mpsheads.heads import (
    DenseHead,
    MPSProjectionHead,
    PCAHead,
    ProjectionHead,
    ReferenceHead,
    TruncationHead,
    load_head,
)

_KINDS: dict[str, type[ProjectionHead]] = {
    kind.name: kind
    for kind in (MPSProjectionHead, ReferenceHead, DenseHead, PCAHead, TruncationHead)
}


def make_head(
    named: str, features: int, shape: ShapeOptions, seed: int, device: torch.device
) -> ProjectionHead:
    """The head that `--head` names, on `device`, in evaluation mode.

    Args:
        named: Folder or hub name of a saved head, or a kind such as `mps` or `pca:64`.
        features: Width of the embeddings.
        shape: Size of a new head; the size in `named` goes first.
        seed: Seed of a new head's parameters.
        device: Where it is put.

    Raises:
        ValueError, FileNotFoundError: If there is no such head, or it does not take the features.
    """
    kind, _, size = named.partition(":")
    if kind in _KINDS:
        return _new(kind, size, features, shape, seed).to(device).eval()
    if any(value is not None for value in vars(shape).values()):
        raise ValueError(
            f"`{next(name for name, value in vars(shape).items() if value is not None)}` shapes a "
            f"new head, but `head` {named!r} is none of {HEADS}."
        )
    try:
        head = load_head(named, device=device)
    except FileNotFoundError as error:
        hint = "" if "/" in named or "missing" in str(error) else f" New heads are {HEADS}."
        raise FileNotFoundError(f"{error}{hint}") from error
    if head.in_features != features:
        raise ValueError(
            f"`head` {named!r} takes embeddings of {head.in_features} numbers, but these have "
            f"{features}."
        )
    return head


def compress(head: ProjectionHead | None, vectors: Tensor) -> Tensor:
    """The vectors compressed, some thousand at a time, on the head's device; `None` changes none.

    Raises:
        ValueError: If the head gives NaN or infinity.
    """
    if head is None:
        return vectors
    result = heads.compress(head, vectors)
    if not torch.isfinite(result).all():
        raise ValueError(
            f"`head` of kind {head.name} gives NaN or infinity: are its weights sound?"
        )
    return result


def fit(head: ProjectionHead, named: str, documents: Tensor) -> None:
    """Fit a head on documents if it is new and there is something to fit.

    Args:
        head: What `make_head` made.
        named: As `--head` names it.
        documents: Their embeddings.
    """
    is_new = named.partition(":")[0] in _KINDS
    mixes = isinstance(head, MPSProjectionHead) and head.mixing is not None and len(documents) > 1
    if is_new and (isinstance(head, PCAHead) or mixes):
        assert isinstance(head, PCAHead | MPSProjectionHead)
        head.fit(documents.to(next(iter(head.state_dict().values())).device))


def _new(kind: str, size: str, features: int, shape: ShapeOptions, seed: int) -> ProjectionHead:
    if size and not size.isdecimal():
        raise ValueError(f"`head` {kind}:{size} must end in a number, as in {kind}:64.")
    out_features = int(size) if size else shape.out_features
    if out_features is None:
        if features % 3:
            raise ValueError(f"Give `out_features`: {features} features have no whole third.")
        out_features = features // 3
    names = ("bond_dim", "depth", "ansatz", "readout", "encoding", "grouping", "mixing")
    asked = {name: getattr(shape, name) for name in names}
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if kind == "mps":
        return MPSProjectionHead(features, out_features, **given, generator=_seeded(seed))
    if given:
        raise ValueError(f"`{next(iter(given))}` is of mps heads, but `head` is {kind}.")
    if kind == "reference":
        return ReferenceHead(features, out_features, normalize=True, generator=_seeded(seed))
    if kind == "dense":
        return DenseHead(features, out_features, generator=_seeded(seed))
    return (
        PCAHead(features, out_features) if kind == "pca" else TruncationHead(features, out_features)
    )


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
