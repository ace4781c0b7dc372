"""A loss at several lengths of the vectors."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mpsheads._checks import check_positive
from mpsheads.sentence_transformers.similarity import check_length, find_head


class PrefixLoss(nn.Module):
    """A loss at several lengths of the vectors, so that they can be cut afterwards.

    Like `MatryoshkaLoss`, but the prefixes are not normalised, which would change angles and with
    them the states. The loss's similarity must take prefixes, as those of this module do.

    Args:
        model: The model with the head.
        loss: A loss of sentence-transformers built on `model`; losses with a gradient cache too.
        lengths: Lengths of the prefixes; include the whole `out_features`.
        weights: Factor of the loss at each length; 1 each if `None`.

    Source: Kusupati et al. 2022 (arXiv:2205.13147).
    """

    def __init__(
        self,
        model: nn.Module,
        loss: nn.Module,
        lengths: Sequence[int],
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        head = find_head(model)
        for length in lengths:
            check_positive(lengths=length)
            check_length(head, length)
        weights = [1.0] * len(lengths) if weights is None else weights
        if not lengths or len(lengths) != len(weights):
            raise ValueError(
                f"`lengths` and `weights` must be as many, and at least one, got {len(lengths)} "
                f"and {len(weights)}."
            )
        self.model, self.loss = model, loss
        self.lengths, self.weights = tuple(lengths), tuple(weights)
        self.uses_gradient_cache = bool(getattr(loss, "uses_gradient_cache", False))
        if self.uses_gradient_cache:
            loss.calculate_loss = self._cached(loss.calculate_loss)  # pyright: ignore

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """Weighted sum of the loss over the lengths; every text goes through the model once."""
        if self.uses_gradient_cache:
            return self.loss(sentence_features, labels)
        vectors = [self.model(texts)["sentence_embedding"] for texts in sentence_features]
        compute: Any = self.loss.compute_loss_from_embeddings
        terms = [
            weight * compute([z[:, :length] for z in vectors], labels)
            for length, weight in zip(self.lengths, self.weights, strict=True)
        ]
        return torch.stack(terms).sum()

    def get_config_dict(self) -> dict[str, Any]:
        """What the model card tells of the loss."""
        return {
            "loss": type(self.loss).__name__,
            "lengths": self.lengths,
            "weights": self.weights,
        }

    @property
    def citation(self) -> str:
        """That of the loss inside."""
        return getattr(self.loss, "citation", "")

    def _cached(self, whole: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """`calculate_loss` of a loss that runs its own backward pass on cached embeddings."""

        def prefixes(reps: list[list[Tensor]], *args: Any, **kwargs: Any) -> Tensor:
            terms = []
            for length, weight in zip(self.lengths, self.weights, strict=True):
                cut = [[r.detach()[:, :length] for r in column] for column in reps]
                if torch.is_grad_enabled():
                    cut = [[r.requires_grad_() for r in column] for column in cut]
                terms.append(weight * whole(cut, *args, **kwargs))
                for r, part in zip(_flat(reps), _flat(cut), strict=True):
                    if part.grad is not None:
                        r[:, :length].backward(weight * part.grad)
            return torch.stack(terms).sum()

        return prefixes


def _flat(columns: list[list[Tensor]]) -> list[Tensor]:
    return [r for column in columns for r in column]
