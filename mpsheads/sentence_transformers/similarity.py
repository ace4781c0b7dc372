"""A head's similarity of vectors in any container, whole or cut."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mpsheads._arrays import door
from mpsheads._checks import check_choice, check_equal
from mpsheads.heads import ProjectionHead
from mpsheads.similarity import Codes
from mpsheads.similarity.codes import code_bytes

_BITS = {"uint8": 8, "int8": 8, "ubinary": 1, "binary": 1}
_SIGN = 128  # by which signed bytes are less than unsigned ones


@door
def find_head(model: nn.Module) -> ProjectionHead:
    """The head of a model: of a `SentenceTransformer`, an `MPSHeadModel`, or the head itself.

    Raises:
        ValueError: If the model has none, or several.
    """
    heads = [module for module in model.modules() if isinstance(module, ProjectionHead)]
    if len(heads) != 1:
        raise ValueError(
            f"`model` must hold one projection head, found {len(heads)}. "
            f"`mpsheads.sentence_transformers.add_head` adds one."
        )
    return heads[0]


def head_similarity(
    model: nn.Module, *, scale: float = 1.0, pairwise: bool = False
) -> Callable[[Any, Any], Tensor]:
    """The head's similarity as the plain function that losses and evaluators take.

    Of all pairs for `similarity_fct` of `MultipleNegativesRankingLoss`, of its cached twin and of
    `RerankingEvaluator`, and for `score_functions` of `InformationRetrievalEvaluator`; pairwise for
    `similarity_fct` of `MarginMSELoss`, `DistillKLDivLoss` and `CoSENTLoss`.

    Args:
        model: The model with the head, or the head.
        scale: Factor on the similarity. With the readout "direction" it spreads like a cosine, and
            the ranking losses' own scale of 20 fits. Other log-fidelities are sums over the kept
            qubits, tens apart: give the ranking losses `scale=head.logit_scale`, which is 1.
        pairwise: Compare the i-th vector of one set with the i-th of the other.

    Returns:
        A function of two sets of vectors: tensors, arrays or lists, `(n, width)` and `(m, width)`.
        It returns a tensor `(n, m)`, or `(n,)` if pairwise. Vectors that were cut (`truncate_dim`)
        are compared by what is left of them.
    """
    head = find_head(model)

    def similarity(a: Any, b: Any) -> Tensor:
        return scale * compare(head, a, b, pairwise=pairwise)

    similarity.__name__ = head.compared_by + "_pairwise" * pairwise  # for the model card
    return similarity


def check_length(head: ProjectionHead, length: int) -> None:
    """Raise unless vectors may be cut so short: a state is one whole, angles are not."""
    is_state = head.config.get("readout") == "state"
    if length > head.out_features or (is_state and length != head.out_features):
        raise ValueError(
            f"Vectors of this head must have {head.out_features} numbers, got {length}."
            + " States cannot be cut." * is_state
        )


def compare(head: ProjectionHead, a: Any, b: Any, *, pairwise: bool = False) -> Tensor:
    """The head's similarity of vectors in any container, cut or whole, or codes that `pack` made.

    Numbers that were cut off are put back as zeros in both: a qubit in one state adds nothing to a
    log-fidelity, a zero nothing to a cosine.
    """
    a, b = _batch(head, a), _batch(head, b)
    if isinstance(a, Codes) or isinstance(b, Codes):
        return head.similarity(a, b.to(a.device), pairwise=pairwise)
    check_equal("width", a=a.shape[-1], b=b.shape[-1])
    check_length(head, a.shape[-1])
    missing = head.out_features - a.shape[-1]
    dtype = torch.promote_types(a.dtype, b.dtype)
    a = nn.functional.pad(a.to(dtype), (0, missing))
    b = nn.functional.pad(b.to(a.device, dtype), (0, missing))
    return head.similarity(a, b, pairwise=pairwise)


def pack(head: ProjectionHead, z: Tensor, precision: str) -> Tensor:
    """Codes of compressed vectors in the layouts of sentence-transformers, with no calibration.

    "uint8": the cells of 8 bits, or the head's own codes, which have no other. "ubinary": a bit a
    number, as `np.packbits` packs. "int8", "binary": the same bytes less 128. On the CPU.
    """
    check_choice("precision", precision, tuple(_BITS))
    own = head.config.get("bits")
    if own and precision != "uint8":
        raise ValueError(
            f"`precision` must be 'uint8', got {precision!r}: codes of this head are words of a "
            f"trellis and not numbers."
        )
    codes = head.quantize(z, own or _BITS[precision]).to("cpu")
    packed = codes.packed
    if _BITS[precision] == 1:
        packed = torch.from_numpy(np.packbits(codes.numbers().numpy(), axis=1))
    return packed if precision[0] == "u" else (packed ^ _SIGN).view(torch.int8)


def _unpack(head: ProjectionHead, packed: Tensor) -> Codes:
    """The codes that `pack` laid out; which, their type and their width tell."""
    if packed.dtype == torch.int8:
        packed = packed.view(torch.uint8) ^ _SIGN
    width, own = head.out_features, head.config.get("bits")
    known = {code_bytes(width, own, trellis=True): own} if own else {-(-width // 8): 1, width: 8}
    if packed.shape[1] not in known:
        sizes = " or ".join(map(str, known))
        raise ValueError(f"Codes of this head must have {sizes} bytes, got {packed.shape[1]}.")
    bits = known[packed.shape[1]]
    if bits == 1 and not own:
        cells = np.unpackbits(packed.cpu().numpy(), axis=1, count=width)
        return head.quantize(torch.pi * torch.from_numpy(cells), 1).to(packed.device)
    like = next(iter([*head.parameters(), *head.buffers()]), packed)
    example = head.quantize(torch.zeros(1, width, device=like.device), bits)
    return replace(example.to(packed.device), packed=packed)


def _batch(head: ProjectionHead, z: Any) -> Tensor | Codes:
    """A floating tensor `(n, width)`, at least float32, or codes; of any container of them."""
    if isinstance(z, list | tuple) and z and isinstance(z[0], Tensor):
        z = torch.stack(list(z))
    elif not isinstance(z, Tensor):
        z = np.asarray(z)
        if z.dtype.kind not in "fiubc":
            raise TypeError(f"The vectors must be numbers, got {z.dtype}.")
        z = torch.as_tensor(z)
    if z.ndim == 1:
        z = z[None] if len(z) else z.reshape(0, head.out_features)
    if z.ndim != 2:
        raise ValueError(f"The vectors must be a matrix (rows, width), got {tuple(z.shape)}.")
    if z.dtype in (torch.uint8, torch.int8):
        return _unpack(head, z)
    if not z.is_floating_point():
        raise TypeError(f"The vectors must be floating-point numbers or codes, got {z.dtype}.")
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
