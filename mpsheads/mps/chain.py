"""What batches of states and operators have in common: a chain of tensors, one for each site."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils import _pytree

_Chain = TypeVar("_Chain")


class Chain:
    """Tensors `(batch, left, phys, ..., right)`, one for each site, site 0 leftmost.

    Subclasses are frozen dataclasses, and pytrees of `torch.utils._pytree` by `pytree`, so that
    `torch.func` and `torch.compile` take them.

    Attributes:
        sites: The tensors.
    """

    sites: tuple[Tensor, ...]

    @classmethod
    def unchecked(cls: type[_Chain], sites: Sequence[Any], *values: Any, **fields: Any) -> _Chain:
        """A batch from tensors that are known to fit; for algorithms, where checks cost time.

        `torch.func` also puts its own leaves in place of the tensors.

        Args:
            sites: The site tensors.
            values: The fields after `sites`, in their order.
            fields: Fields by name; all others have their defaults.
        """
        chain = object.__new__(cls)
        names: tuple[str, ...] = cls.__match_args__  # type: ignore[attr-defined]
        given = dict(zip(names, (tuple(sites), *values), strict=False))
        for name, value in {**given, **fields}.items():
            object.__setattr__(chain, name, value)
        chain._fill()  # type: ignore[attr-defined]
        return chain

    def _fill(self) -> None:
        """Fields that were not given and depend on others."""

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


def pytree(cls: type[_Chain]) -> type[_Chain]:
    """Register a dataclass of chains: all fields but `center` are tensors, the leaves."""
    names = [name for name in cls.__match_args__[1:] if name != "center"]  # type: ignore[attr-defined]

    def flatten(chain: Any) -> tuple[list[Any], int | None]:
        fields = [getattr(chain, name) for name in names]
        return [*chain.sites, *fields], getattr(chain, "center", None)

    def unflatten(leaves: Any, center: int | None) -> Any:
        leaves = list(leaves)
        sites = leaves[: len(leaves) - len(names)]
        fields = dict(zip(names, leaves[len(sites) :], strict=True))
        return cls.unchecked(  # type: ignore[attr-defined]
            sites, **fields, **({} if center is None else {"center": center})
        )

    name = f"mpsheads.{cls.__name__}"
    _pytree.register_pytree_node(cls, flatten, unflatten, serialized_type_name=name)
    return cls


def alike(keys: Iterable[Hashable]) -> dict[Any, list[int]]:
    """For each key the places where it stands: what is computed together."""
    places: dict[Any, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return places


def check_chain(chain: Chain, legs: str, log_norm: Tensor | None = None) -> None:
    """Raise `ValueError` unless the tensors of a chain fit to each other.

    Args:
        chain: The chain.
        legs: Its legs, for the message, for example `"batch, left, phys, right"`.
        log_norm: One number for each member, which gives the batch size.
    """
    if not chain.sites:
        raise ValueError("`sites` must hold at least one tensor.")
    if any(getattr(site, "ndim", 0) != legs.count(",") + 1 for site in chain.sites):
        raise ValueError(f"`sites` must be tensors ({legs}).")
    batch = chain.batch_size if log_norm is None else len(log_norm)
    left, wanted = 1, (batch, chain.dtype, chain.device)
    for i, site in enumerate(chain.sites):
        if site.shape[1] != left:
            raise ValueError(f"Site {i} must have left bond {left}, got {site.shape[1]}.")
        left, came = site.shape[-1], (len(site), site.dtype, site.device)
        if came != wanted:
            what = "the batch size, dtype and device of the others"
            raise ValueError(f"Site {i} must have {what}, {wanted}, got {came}.")
    if left != 1:
        raise ValueError(f"The last right bond of `sites` must be 1, got {left}.")
