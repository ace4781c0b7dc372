"""A head from its name: a kind with a size, or a saved head."""

import warnings
from typing import Any

import torch
from torch import Tensor

from mpsheads._checks import as_device, check_choice, check_positive, check_type, check_vectors
from mpsheads.heads.base import HEADS, ProjectionHead, load_head
from mpsheads.heads.dense import DenseHead, PCAHead
from mpsheads.heads.projection import MPSProjectionHead

_SAMPLE = 8192  # documents that a head is fitted to
_CODES = "codes"  # an mps head whose size is a number of bytes
_SETTINGS = {
    "mps": ("bond_dim", "depth", "ansatz", "readout", "mixing", "fitted"),
    _CODES: ("mixing", "fitted"),
    "reference": ("normalize",),
    "dense": ("start",),
}


def make_head(
    named: str,
    in_features: int,
    out_features: int | None = None,
    *,
    documents: Tensor | None = None,
    queries: Tensor | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    **settings: Any,
) -> ProjectionHead:
    """The head that a name stands for, in evaluation mode on `device`.

    Args:
        named: A kind, one of `HEADS`, alone or with a size, such as `pca:64`; `codes:64` for
            `MPSProjectionHead.for_bytes` with so many bytes a vector; or folder or hub name of a
            saved head.
        in_features: Width of the embeddings.
        out_features: Width of the compressed vectors, a third of `in_features` by default; bytes
            for `codes`, a sixth by default. The size in `named` goes first.
        documents: Embeddings `(n, in_features)` that new heads of kind `mps`, `codes` (two rows or
            more) and `pca` are fitted to, and `dense` ones with `start="pca"`. Where there are more
            than 8,192, all but `pca` take as many, drawn by `seed`.
        queries: Embeddings `(n, in_features)` of queries, row i of one that row i of `documents`
            answers: `mps` and `codes` are fitted to what pairs have in common, and `dense` ones
            with `start="pca"` begin there.
        seed: Seed of a new head's parameters.
        device: Where it is put.
        settings: Of a new head; `None` counts as not given. `mps`: `bond_dim`, `depth`, `ansatz`,
            `readout`, `mixing`, `fitted` (to the documents; by default if there is mixing).
            `codes`: `mixing` ("full" by default), `fitted`.
            `reference`: `normalize` (here true by default). `dense`: `start`, "random"
            or "pca".

    Raises:
        ValueError: If a size or a setting does not fit, or a saved head takes other embeddings.
        FileNotFoundError: If there is no such head.
    """
    check_type("named", named, str, "a string")
    check_positive(in_features=in_features)
    for name, x in {"documents": documents, "queries": queries}.items():
        if x is not None:
            check_vectors(name, x, in_features)
    settings = {name: value for name, value in settings.items() if value is not None}
    kind, _, size = named.partition(":")
    if kind not in HEADS and kind != _CODES:
        return _saved_head(named, in_features, {"out_features": out_features, **settings}, device)
    if size and not size.isdecimal():
        raise ValueError(f"`head` {named} must end in a number, as in {kind}:64.")
    if not size and out_features is None and kind != _CODES and in_features % 3:
        raise ValueError(f"Give `out_features`: {in_features} features have no whole third.")
    if wrong := sorted(settings.keys() - set(_SETTINGS.get(kind, ()))):
        owners = [other for other, names in _SETTINGS.items() if wrong[0] in names]
        owner = f"of {owners[0]} heads" if owners else "no setting of a head"
        raise ValueError(f"`{wrong[0]}` is {owner}, but `head` is {kind}.")
    start, fitted = settings.pop("start", "random"), settings.pop("fitted", None)
    check_choice("start", start, ("random", "pca"))
    if not isinstance(fitted, bool | None):
        raise TypeError(f"`fitted` must be true or false, got {fitted!r}.")
    if start == "pca" and documents is None:
        raise ValueError('`start` "pca" needs `documents`, whose principal axes they are.')
    if kind == "reference":
        settings.setdefault("normalize", True)
    if kind in _SETTINGS:
        settings["generator"] = torch.Generator().manual_seed(seed)
    part = in_features // (6 if kind == _CODES else 3)
    make: Any = MPSProjectionHead.for_bytes if kind == _CODES else HEADS[kind]
    head = make(in_features, int(size) if size else out_features or part, **settings)
    head = head.to(as_device(device)).eval()
    if documents is not None:
        _fit(head, documents, queries, seed, fitted, start)
    return head


def _saved_head(
    named: str, in_features: int, asked: dict[str, Any], device: torch.device | str
) -> ProjectionHead:
    kinds = ", ".join(HEADS)
    for name, value in asked.items():
        if value is not None:
            raise ValueError(
                f"`{name}` shapes a new head, but `head` {named!r} is none of {kinds}."
            )
    try:
        head = load_head(named, device=device)
    except FileNotFoundError as error:
        hint = "" if "/" in named or "missing" in str(error) else f" New heads are {kinds}."
        raise FileNotFoundError(f"{error}{hint}") from error
    if head.in_features != in_features:
        raise ValueError(
            f"`head` {named!r} takes embeddings of {head.in_features} numbers, but these have "
            f"{in_features}."
        )
    return head


@torch.no_grad()
def _fit(
    head: ProjectionHead,
    documents: Tensor,
    queries: Tensor | None,
    seed: int,
    fitted: bool | None,
    start: str,
) -> None:
    device = next(iter([*head.parameters(), *head.buffers()]), documents).device
    if isinstance(head, PCAHead):
        head.fit(documents.to(device, torch.float32))
        return
    rows = torch.arange(len(documents))
    if len(rows) > _SAMPLE:
        rows = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:_SAMPLE]
    sides = [s[rows.to(s.device)].to(device).float() for s in (documents, queries) if s is not None]
    if isinstance(head, MPSProjectionHead):
        if fitted if fitted is not None else head.mixing is not None and len(documents) > 1:
            with warnings.catch_warnings():  # a head of a few texts is for these texts
                warnings.simplefilter("ignore", UserWarning)
                head.fit(*sides)
    elif isinstance(head, DenseHead) and start == "pca":
        sizes = head.in_features, head.out_features
        if len(sides) == 1:
            axes = PCAHead(*sizes).to(device).fit(*sides).components
        else:
            like = MPSProjectionHead(*sizes, readout="amplitude", mixing="full").to(device)
            axes = like.fit(*sides).mixing.matrix()  # pyright: ignore[reportOptionalMemberAccess]
        head.linear.weight.copy_(axes)
        head.linear.bias.zero_()
