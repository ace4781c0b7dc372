"""The classical heads: a linear layer with tanh (the paper's), PCA, and truncation."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpsheads._arrays import takes_arrays
from mpsheads._checks import can_look, check_sample, check_vectors
from mpsheads.heads.base import ProjectionHead, check_input


class DenseHead(ProjectionHead):
    """`tanh(W x + b)`, compared by cosine: the classical head of the paper.

    `in_features * out_features + out_features` parameters: 196,864 at 768 -> 256.

    Args:
        in_features: Width of the embeddings.
        out_features: Width of the compressed vectors.
        generator: Source of the initial weights; torch's default one if `None`.

    Source: Kankeu et al. 2025 (arXiv:2501.04591), the head that theirs is compared with.
    """

    name = "dense"
    compared_by = "cosine"

    def __init__(
        self,
        in_features: int = 768,
        out_features: int = 256,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(in_features, out_features)
        self.linear = nn.Linear(in_features, out_features)
        bound = in_features**-0.5
        with torch.no_grad():
            for parameter in self.linear.parameters():
                parameter.uniform_(-bound, bound, generator=generator)

    def forward(self, x: Float[Tensor, "batch _"]) -> Float[Tensor, "batch {self.out_features}"]:
        """Compress `(batch, in_features)` to `(batch, out_features)`, each number in (-1, 1)."""
        check_input(self, x)
        return torch.tanh(self.linear(x))


class _ShorteningHead(ProjectionHead):
    """A head that cannot return more numbers than it takes, compared by cosine."""

    compared_by = "cosine"

    def __init__(self, in_features: int = 768, out_features: int = 256) -> None:
        super().__init__(in_features, out_features)
        if out_features > in_features:
            raise ValueError(
                f"`out_features` must not exceed `in_features` {in_features}, got {out_features}."
            )


class TruncationHead(_ShorteningHead):
    """The first `out_features` numbers of an embedding, compared by cosine; nothing is learned."""

    name = "truncation"

    def forward(self, x: Float[Tensor, "batch _"]) -> Float[Tensor, "batch {self.out_features}"]:
        """The first `out_features` columns of `x`."""
        check_input(self, x)
        return x[:, : self.out_features]


class PCAHead(_ShorteningHead):
    """The leading principal components of a sample of embeddings, compared by cosine.

    Use `fit` before the first forward pass.
    """

    name = "pca"
    mean: Tensor
    components: Tensor

    def __init__(self, in_features: int = 768, out_features: int = 256) -> None:
        super().__init__(in_features, out_features)
        self.register_buffer("mean", torch.zeros(in_features))
        self.register_buffer("components", torch.zeros(out_features, in_features))

    @takes_arrays
    @torch.no_grad()
    def fit(self, x: Float[Tensor, "samples _"]) -> "PCAHead":
        """Set the mean and the principal axes from embeddings; returns the head itself.

        Args:
            x: Embeddings `(samples, in_features)`, more of them than `out_features`.

        Raises:
            ValueError: If there are too few embeddings, all are the same, or one is not finite.

        Cost: O(samples * in_features**2 + in_features**3), in float64.
        """
        check_vectors("x", x, self.in_features)
        if len(x) <= self.out_features:
            raise ValueError(
                f"`x` must hold more than `out_features` {self.out_features} rows, got {len(x)}."
            )
        check_sample("x", x, 0)
        mean = x.double().mean(0)
        centred = x.double() - mean
        _, axes = torch.linalg.eigh(centred.T @ centred)  # ascending
        axes = axes.flip(1)[:, : self.out_features].T
        largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
        self.mean.copy_(mean)
        self.components.copy_(axes * largest.sign())
        return self

    def forward(self, x: Float[Tensor, "batch _"]) -> Float[Tensor, "batch {self.out_features}"]:
        """Coordinates of `x - mean` along the principal axes.

        Raises:
            RuntimeError: If the head was not fitted.
        """
        check_input(self, x)
        if can_look(x) and not self.components.any():
            raise RuntimeError("This PCAHead is not fitted. Call `head.fit(embeddings)` first.")
        return (x - self.mean) @ self.components.T
