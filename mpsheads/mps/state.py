"""A batch of matrix product states, and the makers of simple ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Inexact, Integer
from torch import Tensor
from torch.utils import _pytree

from mpsheads._checks import as_integers, check_finite, check_positive, is_concrete
from mpsheads.mps.arguments import check_alike
from mpsheads.mps.chain import Chain, check_chain, pytree


@pytree
@dataclass(frozen=True, repr=False, eq=False)
class MPS(Chain):
    """A batch of different matrix product states with open boundary.

    The amplitude of a basis state is `exp(log_norm)` times the product of the site matrices.

    Attributes:
        sites: One tensor `(batch, left, phys, right)` per site, site 0 leftmost and most
            significant. The first left and the last right bond have dimension 1.
        log_norm: Natural logarithm of a factor that multiplies each state, `(batch,)`, real. It
            keeps long chains within the range of floats. Of a site itself the numbers should be
            less than 1e15, and the largest more than 1e-15: their squares meet in single precision.
        center: Orthogonality centre: the sites left of it are left-canonical, those right of it
            right-canonical. `None` where nothing is known. Algorithms that rely on it take the
            canonical sites for isometries in their gradients too: leave it out of states whose
            tensors are trained one by one.
        discarded_weight: `(batch, n_sites - 1)`: for each bond the weight that truncation dropped
            there so far, relative to the whole, summed over the truncations. Zero by default.
        truncation_angle: `(batch,)`, radians: upper bound on the angle between each state and the
            state that no truncation had touched. See `fidelity_bound`.

    Raises:
        ValueError: If there is no site, or batch sizes, bonds, dtypes or devices do not fit.
    """

    sites: tuple[Inexact[Tensor, "batch _left _phys _right"], ...]
    log_norm: Float[Tensor, " batch"]
    center: int | None = None
    discarded_weight: Float[Tensor, "batch _bonds"] = None  # type: ignore[assignment]
    truncation_angle: Float[Tensor, " batch"] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        check_chain(self, "batch, left, phys, right", self.log_norm)
        if self.center is not None and not 0 <= self.center < self.n_sites:
            raise ValueError(
                f"`center` must be None or within 0..{self.n_sites - 1}, got {self.center}."
            )
        self._fill()

    def _fill(self) -> None:
        """Zeros where nothing was truncated yet."""
        if not isinstance(self.log_norm, Tensor):
            return
        if self.discarded_weight is None:
            shape = (*self.log_norm.shape, len(self.sites) - 1)
            object.__setattr__(self, "discarded_weight", self.log_norm.new_zeros(shape))
        if self.truncation_angle is None:
            object.__setattr__(self, "truncation_angle", torch.zeros_like(self.log_norm))

    def with_sites(self, tensors: dict[int, Tensor], **fields: Any) -> "MPS":
        """The same states with some site tensors replaced; for algorithms, not checked again.

        Args:
            tensors: New tensors by site.
            fields: New values of other fields. The centre is forgotten unless it is named here.
        """
        sites = list(self.sites)
        for i, tensor in tensors.items():
            sites[i] = tensor
        records = {
            "log_norm": self.log_norm,
            "discarded_weight": self.discarded_weight,
            "truncation_angle": self.truncation_angle,
        }
        return MPS.unchecked(sites, **{**records, **fields})

    @property
    def fidelity_bound(self) -> Float[Tensor, " batch"]:
        """Lower bound, in [0, 1], on the fidelity with the state that no truncation had touched.

        `cos(truncation_angle)**2`. One truncation is an orthogonal projection, and its angle is
        exact; the angles of several add up, by the triangle inequality of the Fubini-Study
        distance.
        """
        return self.truncation_angle.clamp(max=math.pi / 2).cos() ** 2

    def to(self, *args: Any, **kwargs: Any) -> "MPS":
        """The same states on another device or in another dtype, as `Tensor.to` takes them.

        The real fields follow to the real dtype of the same precision.
        """
        sites = tuple(site.to(*args, **kwargs) for site in self.sites)
        fields = (self.log_norm, self.discarded_weight, self.truncation_angle)
        log_norm, *records = (field.to(sites[0].real) for field in fields)
        return MPS(sites, log_norm, self.center, *records)

    def detach(self) -> "MPS":
        """The same states without their gradient history."""
        return _pytree.tree_map(Tensor.detach, self)

    def __len__(self) -> int:
        return self.batch_size

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> "MPS":
        """Some states of the batch, named or by a mask; an integer keeps the batch axis."""
        if isinstance(index, int) or (isinstance(index, Tensor) and index.ndim == 0):
            index = int(index)
            if not -self.batch_size <= index < self.batch_size:
                raise IndexError(f"`index` {index} is outside a batch of {self.batch_size}.")
            index = slice(index, index + 1 or None)
        chosen: Any = index
        if not isinstance(index, slice | Tensor) and {*map(type, index)} == {bool}:
            chosen = torch.tensor(index)
        elif not isinstance(index, slice) and getattr(index, "dtype", None) is not torch.bool:
            chosen = list(as_integers("index", index))
        return _pytree.tree_map(lambda tensor: tensor[chosen], self)


def concatenate(states: Sequence[MPS]) -> MPS:
    """One batch from several, in their order; smaller bonds are filled with zeros.

    Args:
        states: At least one, alike in their physical dimensions, dtype and device.

    Raises:
        ValueError: If there is none, or they differ.
    """
    if not states:
        raise ValueError("`states` must hold at least one batch.")
    check_alike(**{f"states[{i}]": state for i, state in enumerate(states)})
    centers = {state.center for state in states}
    same_bonds = len({state.bond_dims for state in states}) == 1
    return MPS.unchecked(
        [_pad_and_join(column) for column in zip(*(state.sites for state in states), strict=True)],
        torch.cat([state.log_norm for state in states]),
        center=centers.pop() if len(centers) == 1 and same_bonds else None,
        discarded_weight=torch.cat([state.discarded_weight for state in states]),
        truncation_angle=torch.cat([state.truncation_angle for state in states]),
    )


def _pad_and_join(tensors: Sequence[Tensor]) -> Tensor:
    left, right = (max(tensor.shape[axis] for tensor in tensors) for axis in (1, 3))
    padded = []
    for tensor in tensors:
        missing = (0, right - tensor.shape[3], 0, 0, 0, left - tensor.shape[1])
        padded.append(torch.nn.functional.pad(tensor, missing) if any(missing) else tensor)
    return torch.cat(padded)


def product_state(amplitudes: Inexact[Tensor, "batch sites phys"]) -> MPS:
    """Product states from one vector per site.

    Args:
        amplitudes: `(batch, sites, phys)`, real or complex. Vectors of norm 1 give states of norm
            1; others are taken as they are.

    Raises:
        ValueError: If there is no state or no site, or an amplitude is NaN or infinite.
    """
    _check_amplitudes(amplitudes)
    sites = amplitudes.permute(1, 0, 2)[:, :, None, :, None].unbind()
    return MPS.unchecked(sites, amplitudes.real.new_zeros(len(amplitudes)))


def one_particle_state(amplitudes: Inexact[Tensor, "batch sites"]) -> MPS:
    """One particle that is on site i with amplitude i: `sum_i x_i |0 .. 1_i .. 0>`.

    Its bond dimension is 2, whatever the amplitudes: a bond says whether the particle is to its
    left. Gates that conserve the particle, such as Givens rotations, keep it so at any depth.

    Args:
        amplitudes: `(batch, sites)`, real or complex; the norm of a row is that of its state.

    Raises:
        ValueError: If there is no state or no site, or an amplitude is NaN or infinite.
    """
    _check_amplitudes(amplitudes)
    one = torch.ones_like(amplitudes[:, 0])
    zero = torch.zeros_like(one)
    sites = [
        torch.stack([one, zero, zero, x, zero, one, zero, zero], 1).view(-1, 2, 2, 2)
        for x in amplitudes.unbind(1)
    ]  # batch left phys right
    sites[0] = sites[0][:, :1]
    sites[-1] = sites[-1][..., 1:]
    return MPS.unchecked(sites, amplitudes.real.new_zeros(len(amplitudes)))


def _check_amplitudes(amplitudes: Tensor) -> None:
    if 0 in amplitudes.shape:
        raise ValueError(
            f"`amplitudes` must hold at least one state, site and level, got shape "
            f"{tuple(amplitudes.shape)}."
        )
    check_finite("amplitudes", amplitudes)


def basis_state(
    bits: Integer[Tensor, " sites"] | Sequence[int],
    batch_size: int = 1,
    *,
    dtype: torch.dtype = torch.complex64,
) -> MPS:
    """The computational basis state of the given bits, `batch_size` times.

    Args:
        bits: 0 or 1 for each site, site 0 first; a tensor gives its device to the result.
        batch_size: Number of copies.
        dtype: A real or complex dtype of the site tensors.

    Raises:
        ValueError: If a bit is neither 0 nor 1, or `batch_size` is less than 1.
    """
    check_positive(batch_size=batch_size)
    bits = bits if isinstance(bits, Tensor) else torch.tensor(as_integers("bits", bits))
    if is_concrete(bits) and not ((bits == 0) | (bits == 1)).all():
        raise ValueError(f"`bits` must be 0 or 1, got {bits.tolist()}.")
    amplitudes = torch.nn.functional.one_hot(bits.long(), 2).to(dtype)
    return product_state(amplitudes.expand(batch_size, -1, -1))


def ghz_state(n_sites: int, batch_size: int = 1, *, dtype: torch.dtype = torch.complex64) -> MPS:
    """The state `(|00...0> + |11...1>) / sqrt(2)` of qubits, with bond dimension 2.

    Args:
        n_sites: Number of qubits. One qubit is in the state `|+>`.
        batch_size: Number of copies.
        dtype: Real or complex dtype.

    Raises:
        ValueError: If a number is less than 1.
    """
    check_positive(n_sites=n_sites, batch_size=batch_size)
    copy = torch.zeros(2, 2, 2, dtype=dtype)
    copy[0, 0, 0] = copy[1, 1, 1] = 1
    sites = [copy] * n_sites
    sites[0] = sites[0].sum(0, keepdim=True) * 0.5**0.5
    sites[-1] = sites[-1].sum(-1, keepdim=True)
    log_norm = copy.real.new_zeros(batch_size)
    return MPS.unchecked([site.expand(batch_size, -1, -1, -1) for site in sites], log_norm)


def w_state(n_sites: int, batch_size: int = 1, *, dtype: torch.dtype = torch.complex64) -> MPS:
    """The state `(|10...0> + |01...0> + ... + |0...01>) / sqrt(n_sites)`, with bond dimension 2.

    Args:
        n_sites: Number of qubits.
        batch_size: Number of copies.
        dtype: Real or complex dtype.

    Raises:
        ValueError: If a number is less than 1.
    """
    check_positive(n_sites=n_sites, batch_size=batch_size)
    amplitudes = torch.full((batch_size, n_sites), n_sites**-0.5, dtype=dtype)
    return one_particle_state(amplitudes)


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

    Raises:
        ValueError: If a site does not exist.

    Cost: O(bond**3) for each bond that is too large, nothing elsewhere.
    """
    last = state.n_sites - 1 if last is None else last
    if not 0 <= first <= last < state.n_sites:
        raise ValueError(f"`first` and `last` must be sites, in order, got {first} and {last}.")
    tensors: dict[int, Tensor] = {}
    dims = [1, *state.bond_dims, 1]  # left bond of each site, then the last right one
    phys = state.phys_dims
    for i in range(first, last):  # left to right
        fills = dims[i] * phys[i]
        if dims[i + 1] > fills:
            site, following = (tensors.get(k, state.sites[k]) for k in (i, i + 1))
            tensors[i] = _identity(state, dims[i], phys[i], fills)
            tensors[i + 1] = torch.einsum("bxl,blpr->bxpr", site.flatten(1, 2), following)
            dims[i + 1] = fills
    for i in range(last, first, -1):  # right to left
        fills = phys[i] * dims[i + 1]
        if dims[i] > fills:
            before, site = (tensors.get(k, state.sites[k]) for k in (i - 1, i))
            tensors[i] = _identity(state, fills, phys[i], dims[i + 1])
            tensors[i - 1] = torch.einsum("blpr,brx->blpx", before, site.flatten(2, 3))
            dims[i] = fills
    return state.with_sites(tensors) if tensors else state


def _identity(state: MPS, left: int, phys: int, right: int) -> Tensor:
    eye = torch.eye(max(left, right), dtype=state.dtype, device=state.device)
    return eye.reshape(1, left, phys, right).expand(state.batch_size, -1, -1, -1)
