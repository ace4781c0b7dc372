"""A head's similarity of vectors in any container, whole or cut."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mpsheads._checks import check_equal
from mpsheads.heads import ProjectionHead


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
    """Raise `ValueError` unless the first `length` numbers of the head's vectors are a vector.

    An angle is a qubit, so angles may be cut anywhere; a state is one whole.
    """
    is_state = head.config.get("readout") == "state"
    if length > head.out_features or (is_state and length != head.out_features):
        raise ValueError(
            f"Vectors of this head must have {head.out_features} numbers, got {length}."
            + " States cannot be cut." * is_state
        )


def compare(head: ProjectionHead, a: Any, b: Any, *, pairwise: bool = False) -> Tensor:
    """The head's similarity of vectors in any container, cut or whole.

    Numbers that were cut off are put back as zeros in both: a qubit in one state adds nothing to a
    log-fidelity, a zero nothing to a cosine.

    Raises:
        TypeError: If the vectors are integers.
        ValueError: If the widths differ or the head's vectors cannot be cut to this width.
    """
    a, b = _batch(a), _batch(b)
    check_equal("width", a=a.shape[-1], b=b.shape[-1])
    check_length(head, a.shape[-1])
    missing = head.out_features - a.shape[-1]
    dtype = torch.promote_types(a.dtype, b.dtype)
    a = nn.functional.pad(a.to(dtype), (0, missing))
    b = nn.functional.pad(b.to(a.device, dtype), (0, missing))
    return head.similarity(a, b, pairwise=pairwise)


def _batch(z: Any) -> Tensor:
    """A floating tensor `(n, width)`, at least float32, of a tensor, an array or a list of them."""
    if isinstance(z, list | tuple) and z and isinstance(z[0], Tensor):
        z = torch.stack(list(z))
    elif not isinstance(z, Tensor):
        z = torch.as_tensor(np.asarray(z))
    if not z.is_floating_point():
        raise TypeError(
            f"The vectors must be floating-point numbers, got {z.dtype}. Codes of few bits are "
            f"compared by `mpsheads.similarity.log_fidelity`."
        )
    z = z.float() if z.dtype in (torch.float16, torch.bfloat16) else z
    return z[None] if z.ndim == 1 else z
