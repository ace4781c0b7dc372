"""A head for inference and export, with its observables evolved once."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpsheads.heads.base import without_autocast
from mpsheads.heads.projection import MPSProjectionHead
from mpsheads.similarity import Codes


class FrozenHead(nn.Module):
    """A head whose observables are evolved already; `MPSProjectionHead.freeze` makes it.

    It does not follow later changes of the head it was made from, and has no parameters.
    """

    scale: Tensor | None

    def __init__(self, head: MPSProjectionHead) -> None:
        super().__init__()
        if not head._cones:
            raise ValueError(
                "`head` evolves states, since it truncates or has the readout "
                '"state": there are no observables to freeze.'
            )
        self.in_features, self.out_features = head.in_features, head.out_features
        dtype = torch.promote_types(head.angles.dtype, torch.float32)
        with torch.no_grad():
            evolved = head.observables(head.angles.to(dtype))
        self._shape = [[len(observable) for observable in letter] for letter in evolved]
        flat = [site for letter in evolved for observable in letter for site in observable]
        for number, tensor in enumerate(flat):
            self.register_buffer(f"observable_{number}", tensor.contiguous())
        scale = None if head.scale is None else head.scale.detach().to(dtype).clone()
        self.register_buffer("scale", scale)
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
        flat = (self.get_buffer(f"observable_{n}") for n in range(sum(map(sum, self._shape))))
        observables = [
            [tuple(next(flat) for _ in range(count)) for count in letter] for letter in self._shape
        ]
        own = self.get_buffer("observable_0")
        with without_autocast(x):
            x = x.to(own.dtype)
            x = x if self.mixing is None else self.mixing(x)
            return self._head[0].meet(x, self.scale, observables)
