"""What batches of states and operators have in common: a chain of tensors, one for each site."""

import torch
from torch import Tensor


class Chain:
    """Tensors `(batch, left, phys, ..., right)`, one for each site, site 0 leftmost.

    Attributes:
        sites: The tensors.
    """

    sites: tuple[Tensor, ...]

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return len(self.sites)

    @property
    def batch_size(self) -> int:
        """Number of members of the batch."""
        return self.sites[0].shape[0]

    @property
    def phys_dims(self) -> tuple[int, ...]:
        """Physical dimension of each site."""
        return tuple([site.shape[2] for site in self.sites])

    @property
    def bond_dims(self) -> tuple[int, ...]:
        """Bond dimension of each of the `n_sites - 1` inner bonds."""
        return tuple([site.shape[-1] for site in self.sites[:-1]])

    @property
    def max_bond(self) -> int:
        """The largest bond dimension; 1 for a single site."""
        return max(self.bond_dims, default=1)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the site tensors."""
        return self.sites[0].dtype

    @property
    def device(self) -> torch.device:
        """Where the site tensors live."""
        return self.sites[0].device

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(batch_size={self.batch_size}, n_sites={self.n_sites}, "
            f"max_bond={self.max_bond}, dtype={self.dtype}, device={self.device})"
        )


def check_chain(chain: Chain, legs: str, log_norm: Tensor | None = None) -> None:
    """Raise `ValueError` unless the tensors of a chain fit to each other.

    Args:
        chain: The chain.
        legs: Its legs, for the message, for example `"batch, left, phys, right"`.
        log_norm: One number for each member, which gives the batch size.
    """
    if not chain.sites:
        raise ValueError("`sites` must hold at least one tensor.")
    if any(site.ndim != legs.count(",") + 1 for site in chain.sites):
        raise ValueError(f"Every tensor of `sites` must be ({legs}).")
    batch = chain.batch_size if log_norm is None else len(log_norm)
    left, wanted = 1, (batch, chain.dtype, chain.device)
    for i, site in enumerate(chain.sites):
        if site.shape[1] != left:
            raise ValueError(f"Site {i} must have left bond {left}, got {site.shape[1]}.")
        left, found = site.shape[-1], (len(site), site.dtype, site.device)
        if found != wanted:
            raise ValueError(
                f"Site {i} must have the batch size, dtype and device of the others, {wanted}, got "
                f"{found}."
            )
    if left != 1:
        raise ValueError(f"The last right bond must be 1, got {left}.")
