"""A head for inference and export, with its observables evolved once."""

import copy
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from mpsheads._arrays import takes_arrays
from mpsheads._checks import check_vectors
from mpsheads.encodings import components
from mpsheads.heads.base import without_autocast
from mpsheads.heads.mixing import FEW_LAYERS, Mixing
from mpsheads.heads.projection import MPSProjectionHead


class FrozenHead(nn.Module):
    """A copy of a head whose observables are evolved, or matrix made, already; see `freeze`.

    It compares and codes vectors as the head does, does not follow later changes of it, and has
    nothing to train.
    """

    def __init__(self, head: MPSProjectionHead) -> None:
        super().__init__()
        self.head = copy.deepcopy(head).requires_grad_(False).eval()
        self.in_features, self.out_features = head.in_features, head.out_features
        self.similarity, self.quantize = self.head.similarity, self.head.quantize
        self.rows: Tensor | None
        self.rotation: Tensor | None
        rows = None if head.amplitudes is None else head._kept_rows().detach()
        self.register_buffer("rows", rows)
        if rows is not None:
            return
        if head._observables is None:
            raise ValueError(
                "`head` evolves states, since it truncates, is large, or has the readout "
                '"state": there are no observables to freeze.'
            )
        self.head.to(torch.promote_types(head.angles.dtype, torch.float32))
        mixing = self.head.mixing
        few = isinstance(mixing, Mixing) and len(mixing.angles) <= FEW_LAYERS
        self.register_buffer("rotation", None if few or mixing is None else mixing.matrix())
        evolved = head._observables.evolve(self.head.angles)
        self._lengths = [len(observable) for observable in evolved]
        for number, tensor in enumerate(site for observable in evolved for site in observable):
            self.register_buffer(f"observable_{number}", tensor.contiguous())

    @takes_arrays
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`forward`, also of a NumPy array."""
        return super().__call__(*args, **kwargs)

    def forward(self, x: Float[Tensor, "batch _"]) -> Float[Tensor, "batch {self.out_features}"]:
        """Compress embeddings, as the head does."""
        check_vectors("x", x, self.in_features)
        if self.rows is not None:
            with without_autocast(x):
                return normalize(x.to(self.rows.dtype)) @ self.rows.T
        sites = (self.get_buffer(f"observable_{n}") for n in range(sum(self._lengths)))
        evolved = [tuple(islice(sites, length)) for length in self._lengths]
        head = self.head
        assert head._observables is not None
        with without_autocast(x):
            x = x.to(head.scale.dtype)
            if self.rotation is not None:
                x = x @ self.rotation.T
            elif head.mixing is not None:
                x = head.mixing(x)
            return head.readout.vector(head._observables.meet(evolved, components(x, head.scale)))


def freeze(head: MPSProjectionHead) -> FrozenHead:
    """The head for inference: its observables evolved once, so only inputs are left to meet.

    Faster for small batches, and simple to export: the observables are real numbers. With the
    readout "amplitude" all that is left is one matrix.

    Raises:
        ValueError: If the head evolves states rather than observables: one that truncates, or has
            the readout "state".
    """
    return FrozenHead(head)
