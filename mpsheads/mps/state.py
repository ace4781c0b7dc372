"""A batch of matrix product states, and the makers of simple ones."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Inexact, Int
from torch import Tensor

from mpsheads._checks import check_positive


@dataclass(frozen=True)
class MPS:
    """A batch of different matrix product states with open boundary.

    The amplitude of a basis state is `exp(log_norm)` times the product of the site matrices.

    Attributes:
        sites: One tensor `(batch, left, phys, right)` per site, site 0 leftmost and most
            significant. The first left and the last right bond have dimension 1.
        log_norm: Natural logarithm of a factor that multiplies each state, `(batch,)`, real. It
            keeps long chains within the range of floats.

    Raises:
        ValueError: If there is no site, or batch sizes, bonds, dtypes or devices do not fit.
    """

    sites: tuple[Inexact[Tensor, "batch _left _phys _right"], ...]
    log_norm: Float[Tensor, " batch"]

    def __post_init__(self) -> None:
        if not self.sites:
            raise ValueError("`sites` must hold at least one tensor.")
        if any(site.ndim != 4 for site in self.sites):
            raise ValueError("Every tensor of `sites` must be (batch, left, phys, right).")
        left = 1
        for i, site in enumerate(self.sites):
            if site.shape[1] != left:
                raise ValueError(f"Site {i} must have left bond {left}, got {site.shape[1]}.")
            left = site.shape[3]
            found = (len(site), site.dtype, site.device)
            wanted = (len(self.log_norm), self.dtype, self.device)
            if found != wanted:
                raise ValueError(
                    f"Site {i} must have the batch size of `log_norm` and the dtype and device of "
                    f"site 0, {wanted}, got {found}."
                )
        if left != 1:
            raise ValueError(f"The last right bond must be 1, got {left}.")

    def with_sites(self, tensors: dict[int, Tensor]) -> "MPS":
        """The same states with some site tensors replaced; for algorithms, not checked again."""
        sites = list(self.sites)
        for i, tensor in tensors.items():
            sites[i] = tensor
        state = object.__new__(MPS)
        object.__setattr__(state, "sites", tuple(sites))
        object.__setattr__(state, "log_norm", self.log_norm)
        return state

    @property
    def n_sites(self) -> int:
        """Number of sites."""
        return len(self.sites)

    @property
    def batch_size(self) -> int:
        """Number of states."""
        return self.sites[0].shape[0]

    @property
    def phys_dims(self) -> tuple[int, ...]:
        """Physical dimension of each site."""
        return tuple(site.shape[2] for site in self.sites)

    @property
    def bond_dims(self) -> tuple[int, ...]:
        """Bond dimension of each of the `n_sites - 1` inner bonds."""
        return tuple(site.shape[3] for site in self.sites[:-1])

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

    def to(self, *args: Any, **kwargs: Any) -> "MPS":
        """The same states on another device or in another dtype, as `Tensor.to` takes them.

        `log_norm` follows to the real dtype of the same precision.
        """
        sites = tuple(site.to(*args, **kwargs) for site in self.sites)
        return MPS(sites, self.log_norm.to(sites[0].device, sites[0].real.dtype))

    def detach(self) -> "MPS":
        """The same states without their gradient history."""
        return MPS(tuple(site.detach() for site in self.sites), self.log_norm.detach())

    def __len__(self) -> int:
        return self.batch_size

    def __getitem__(self, index: int | slice | Tensor) -> "MPS":
        """Some states of the batch; an integer keeps the batch axis, with one state."""
        if isinstance(index, int):
            if not -self.batch_size <= index < self.batch_size:
                raise IndexError(f"`index` {index} is outside a batch of {self.batch_size}.")
            index = slice(index, index + 1 or None)
        return MPS(tuple(site[index] for site in self.sites), self.log_norm[index])

    def __repr__(self) -> str:
        return (
            f"MPS(batch_size={self.batch_size}, n_sites={self.n_sites}, max_bond={self.max_bond}, "
            f"dtype={self.dtype}, device={self.device})"
        )


def product_state(amplitudes: Inexact[Tensor, "batch sites phys"]) -> MPS:
    """Product states from one vector per site.

    Args:
        amplitudes: `(batch, sites, phys)`, real or complex. Vectors of norm 1 give states of norm
            1; others are taken as they are.

    Raises:
        ValueError: If there is no site.
    """
    sites = tuple(site[:, None, :, None] for site in amplitudes.unbind(1))
    return MPS(sites, amplitudes.real.new_zeros(len(amplitudes)))


def basis_state(
    bits: Int[Tensor, " sites"],
    batch_size: int = 1,
    *,
    dtype: torch.dtype = torch.complex64,
) -> MPS:
    """The computational basis state of the given bits, `batch_size` times.

    Args:
        bits: 0 or 1 for each site, site 0 first, on the device of the result.
        batch_size: Number of copies.
        dtype: A real or complex dtype of the site tensors.

    Raises:
        ValueError: If a bit is neither 0 nor 1, or `batch_size` is less than 1.
    """
    check_positive(batch_size=batch_size)
    if not ((bits == 0) | (bits == 1)).all():
        raise ValueError(f"`bits` must be 0 or 1, got {bits.tolist()}.")
    amplitudes = torch.nn.functional.one_hot(bits.long(), 2).to(dtype)
    return product_state(amplitudes.expand(batch_size, -1, -1))


def random_mps(
    n_sites: int,
    bond_dim: int,
    *,
    batch_size: int = 1,
    phys_dim: int = 2,
    dtype: torch.dtype = torch.complex64,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> MPS:
    """Random states: Gaussian site tensors, scaled so that the norm stays near 1.

    Args:
        n_sites: Number of sites.
        bond_dim: Dimension of each inner bond, less where fewer span the shorter side.
        batch_size: Number of states, all different.
        phys_dim: Physical dimension of every site.
        dtype: Real or complex dtype.
        device: Where the tensors are made.
        generator: Source of randomness; torch's default one if `None`.

    Raises:
        ValueError: If a number is less than 1.
    """
    check_positive(n_sites=n_sites, bond_dim=bond_dim, batch_size=batch_size, phys_dim=phys_dim)
    bonds = [min(bond_dim, phys_dim ** min(i, n_sites - i)) for i in range(n_sites + 1)]
    sites = tuple(
        torch.randn(
            batch_size, left, phys_dim, right, dtype=dtype, device=device, generator=generator
        )
        * (left * phys_dim) ** -0.5
        for left, right in pairwise(bonds)
    )
    return MPS(sites, sites[0].real.new_zeros(batch_size))


def to_dense(state: MPS) -> Inexact[Tensor, "batch amplitudes"]:
    """State vectors `(batch, product of phys_dims)`, site 0 the most significant digit.

    Cost: O(product of phys_dims * max_bond): for a few sites only.
    """
    vector = state.sites[0].new_ones(state.batch_size, 1, 1)  # b amplitudes r
    for site in state.sites:
        vector = torch.einsum("bal,blpr->bapr", vector, site).flatten(1, 2)  # b a [l] p r
    return vector[..., 0] * state.log_norm.exp()[:, None]


def trim_bonds(state: MPS, first: int = 0, last: int | None = None) -> MPS:
    """The same states with no bond larger than what either of its two sites can fill, exactly.

    A site of left bond l and physical dimension d fills at most l * d dimensions of its right
    bond, and the same from the right. Where a bond is larger, that site becomes a reshaped
    identity and the rest moves across: no QR, no SVD, nothing lost, and the gradient is that of
    matrix products. From product ends, a bond with k qubits on its shorter side ends at most at
    2**k.

    Args:
        state: The states.
        first: First site whose bonds are looked at.
        last: Last such site; by default the last of the chain.

    Cost: O(bond**3) for each bond that is too large, nothing elsewhere.
    """
    last = state.n_sites - 1 if last is None else last
    tensors = {i: state.sites[i] for i in range(first, last + 1)}
    for i in range(first, last):  # left to right
        b, left, phys, right = tensors[i].shape
        if right > left * phys:
            carry = tensors[i].reshape(b, left * phys, right)
            tensors[i] = _identity(state, left, phys, left * phys)
            tensors[i + 1] = torch.einsum("bxl,blpr->bxpr", carry, tensors[i + 1])
    for i in range(last, first, -1):  # right to left
        b, left, phys, right = tensors[i].shape
        if left > phys * right:
            carry = tensors[i].reshape(b, left, phys * right)
            tensors[i] = _identity(state, phys * right, phys, right)
            tensors[i - 1] = torch.einsum("blpr,brx->blpx", tensors[i - 1], carry)
    return state.with_sites(tensors)


def _identity(state: MPS, left: int, phys: int, right: int) -> Tensor:
    eye = torch.eye(max(left, right), dtype=state.dtype, device=state.device)
    return eye.reshape(1, left, phys, right).expand(state.batch_size, -1, -1, -1)
