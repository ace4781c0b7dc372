"""A head for inference and export, with its observables evolved once."""

import copy
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpsheads.encodings import components
from mpsheads.heads.base import without_autocast
from mpsheads.heads.projection import MPSProjectionHead
from mpsheads.similarity import Codes


class FrozenHead(nn.Module):
    """A head whose observables are evolved already; `freeze` makes it.

    It does not follow later changes of the head it was made from, and has no parameters.
    """

    scale: Tensor

    def __init__(self, head: MPSProjectionHead) -> None:
        super().__init__()
        if head._observables is None:
            raise ValueError(
                "`head` evolves states, since it truncates, is large, or has the readout "
                '"state": there are no observables to freeze.'
            )
        self.in_features, self.out_features = head.in_features, head.out_features
        dtype = torch.promote_types(head.angles.dtype, torch.float32)
        with torch.no_grad():
            evolved = head._observables.evolve(head.angles.to(dtype))
        self._lengths = [len(observable) for observable in evolved]
        for number, tensor in enumerate(site for observable in evolved for site in observable):
            self.register_buffer(f"observable_{number}", tensor.contiguous())
        self.register_buffer("scale", head.scale.detach().to(dtype).clone())
        self.mixing = copy.deepcopy(head.mixing)
        if self.mixing is not None:
            angles = self.mixing.angles.detach().to(dtype)
            del self.mixing.angles
            self.mixing.register_buffer("angles", angles)
        self._head = [copy.deepcopy(head)]  # in a list: its parameters are none of this module

    def similarity(
        self, zq: Tensor | Codes, zd: Tensor | Codes, *, pairwise: bool = False
    ) -> Float[Tensor, "*pairs"]:
        """As the head compares them."""
        return self._head[0].similarity(zq, zd, pairwise=pairwise)

    def quantize(self, z: Float[Tensor, "batch {self.out_features}"], bits: int) -> Codes:
        """As the head does."""
        return self._head[0].quantize(z, bits)

    def forward(self, x: Float[Tensor, "batch _"]) -> Float[Tensor, "batch {self.out_features}"]:
        """Compress embeddings, as the head does."""
        sites = (self.get_buffer(f"observable_{n}") for n in range(sum(self._lengths)))
        evolved = [tuple(islice(sites, length)) for length in self._lengths]
        observables = self._head[0]._observables
        assert observables is not None
        with without_autocast(x):
            x = x.to(self.scale.dtype)
            x = x if self.mixing is None else self.mixing(x)
            z = observables.meet(evolved, components(x, self.scale))
            return self._head[0].readout.vector(z)


def freeze(head: MPSProjectionHead) -> FrozenHead:
    """The head for inference: its observables evolved once, so only inputs are left to meet.

    Faster for small batches, and simple to export: the observables are real numbers.

    Raises:
        ValueError: If the head evolves states rather than observables: one that truncates, or has
            the readout "state".
    """
    return FrozenHead(head)
