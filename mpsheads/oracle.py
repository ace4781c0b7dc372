"""Dense state vectors in complex128: slow, plain, and the judge of everything else.

Used by tests alone, for up to about 12 sites. One state at a time, no batching, no shared code with
`mpsheads.mps`. Site 0 is the most significant bit; a gate matrix is `(out, in)`.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Inexact
from torch import Tensor

from mpsheads._arrays import door
from mpsheads._checks import as_integers, check_equal, check_finite

Vector = Inexact[Tensor, " levels"]
Matrix = Inexact[Tensor, "levels levels"]


@door
def product_vector(amplitudes: Inexact[Tensor, "sites phys"] | Sequence[Tensor]) -> Tensor:
    """Kronecker product of one vector per site, the first site most significant.

    Args:
        amplitudes: One vector `(phys,)` for each site.

    Returns:
        The state vector `(phys**n_sites,)`, complex128.
    """
    vector = torch.ones(1, dtype=torch.complex128)
    for i, site in enumerate(amplitudes):
        if not isinstance(site, Tensor) or site.ndim != 1:
            raise TypeError(f"`amplitudes[{i}]` must be a tensor `(phys,)`, got {site!r:.50}.")
        vector = torch.kron(vector, site.to(torch.complex128))
    return vector


@door
def apply_matrix(vector: Vector, matrix: Matrix, sites: Sequence[int], phys_dim: int = 2) -> Tensor:
    """Apply a matrix to some sites of a state vector.

    Args:
        vector: State `(phys_dim**n_sites,)`.
        matrix: `(phys_dim**k, phys_dim**k)` for k sites, `(out, in)`; the first of `sites` is its
            most significant digit.
        sites: Which sites, in any order, none twice.
        phys_dim: Physical dimension of every site.

    Returns:
        The new state vector, complex128.

    Raises:
        ValueError: If a site is named twice or does not exist.
    """
    tensor, k = _legs(vector, phys_dim, sites), len(sites)
    check_equal("number of levels", matrix=len(matrix), sites=phys_dim**k)
    gate = _square("matrix", matrix).reshape([phys_dim] * (2 * k))
    tensor = torch.tensordot(gate, tensor, ([*range(k, 2 * k)], [*sites]))  # type: ignore[arg-type]
    return torch.movedim(tensor, list(range(k)), list(sites)).reshape(-1)


@door
def controlled(matrix: Matrix) -> Tensor:
    """The matrix `|0><0| (x) 1 + |1><1| (x) matrix`, the control first."""
    full = torch.eye(2 * len(matrix), dtype=torch.complex128)
    full[len(matrix) :, len(matrix) :] = _square("matrix", matrix)
    return full


@door
def partial_trace(vector: Vector, keep: Sequence[int], phys_dim: int = 2) -> Tensor:
    """Reduced density matrix of the sites `keep`, in the order in which they are named.

    Args:
        vector: State `(phys_dim**n_sites,)`.
        keep: The sites that stay.
        phys_dim: Physical dimension of every site.

    Returns:
        Density matrix `(phys_dim**k, phys_dim**k)`, complex128; its trace is the squared norm.

    Raises:
        ValueError: If a site is named twice or does not exist.
    """
    keep = list(as_integers("keep", keep))
    rows = torch.movedim(_legs(vector, phys_dim, keep), keep, list(range(len(keep))))
    rows = rows.reshape(phys_dim ** len(keep), -1)
    return rows @ rows.conj().T


@door
def pauli_matrix(string: str) -> Tensor:
    """The Kronecker product of Pauli matrices named by letters of `1XYZ`, complex128."""
    letters = {
        "1": [[1, 0], [0, 1]],
        "X": [[0, 1], [1, 0]],
        "Y": [[0, -1j], [1j, 0]],
        "Z": [[1, 0], [0, -1]],
    }
    if set(string) - set(letters):
        raise ValueError(f"`string` must be letters of 1XYZ, got {string!r}.")
    matrix = torch.ones(1, 1, dtype=torch.complex128)
    for letter in string:
        matrix = torch.kron(matrix, torch.tensor(letters[letter], dtype=torch.complex128))
    return matrix


@door
def schmidt_values(vector: Vector, left_levels: int) -> Tensor:
    """Singular values of a normalised state between its first `left_levels` levels and the rest.

    Args:
        vector: State of `left_levels * right_levels` numbers; its norm is divided out.
        left_levels: The product of the dimensions of the sites on the left.

    Returns:
        Largest first, real double precision.
    """
    check_finite("vector", vector)
    if left_levels < 1 or len(vector) % left_levels or not len(vector):
        raise ValueError(f"`left_levels` must divide {len(vector)} numbers, got {left_levels}.")
    matrix = vector.to(torch.complex128).unflatten(0, (int(left_levels), -1))
    return torch.linalg.svdvals(matrix / matrix.norm())


@door
def renyi_entropy(rho: Matrix, alpha: float) -> Tensor:
    """Entropy `log(tr rho**alpha) / (1 - alpha)` in nats; von Neumann's for `alpha` 1.

    Args:
        rho: Density matrix of trace 1. Eigenvalues below 1e-14 count as zero.
        alpha: Order above 0, also `math.inf`.
    """
    p = torch.linalg.eigvalsh(_square("rho", rho))
    p = p[p > 1e-14]
    if alpha == 1:
        return -(p * p.log()).sum()
    if alpha == math.inf:
        return -p.max().log()
    return (p**alpha).sum().log() / (1 - alpha)


@door
def fidelity(a: Vector, b: Vector) -> Tensor:
    """`|<a|b>|**2 / (<a|a> <b|b>)` of two state vectors, a real number in [0, 1]."""
    check_equal("number of levels", a=len(a), b=len(b))
    a, b = a.to(torch.complex128), b.to(torch.complex128)
    norms = torch.vdot(a, a).real * torch.vdot(b, b).real
    return torch.vdot(a, b).abs() ** 2 / norms


@door
def uhlmann_fidelity(rho: Matrix, sigma: Matrix) -> Tensor:
    """Uhlmann fidelity `(tr sqrt(sqrt(rho) sigma sqrt(rho)))**2` of two density matrices.

    Source: Uhlmann 1976; for pure states it is `|<a|b>|**2`.
    """
    check_equal("number of levels", rho=len(rho), sigma=len(sigma))
    root = _square_root(_square("rho", rho))
    return _square_root(root @ _square("sigma", sigma) @ root).trace().real ** 2


def _square_root(matrix: Matrix) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.conj().T


def _legs(vector: Vector, phys_dim: int, sites: Sequence[int]) -> Tensor:
    """The vector with one axis a site, once `sites` are found to be some of them."""
    named = as_integers("sites", sites)
    n_sites = round(math.log(max(1, len(vector)), max(2, phys_dim)))
    if phys_dim**n_sites != len(vector):
        raise ValueError(f"`vector` must have {phys_dim}**n numbers, got {len(vector)}.")
    if len(set(named)) != len(named) or not all(0 <= site < n_sites for site in named):
        raise ValueError(f"`sites` must be distinct and within 0..{n_sites - 1}, got {sites}.")
    return vector.to(torch.complex128).reshape([phys_dim] * n_sites)


def _square(name: str, matrix: Matrix) -> Tensor:
    """The matrix in complex128, once it is found to be square and finite."""
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"`{name}` must be square, got shape {tuple(matrix.shape)}.")
    check_finite(name, matrix)
    return matrix.to(torch.complex128)
