"""Dense state vectors in complex128: slow, plain, and the judge of everything else.

Used by tests alone, for up to about 12 sites. One state at a time, no batching, no shared code with
`mpsheads.mps`. Site 0 is the most significant bit; a gate matrix is `(out, in)`.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def product_vector(amplitudes: Sequence[Tensor] | Tensor) -> Tensor:
    """Kronecker product of one vector per site, the first site most significant.

    Args:
        amplitudes: One vector `(phys,)` for each site.

    Returns:
        The state vector `(phys**n_sites,)`, complex128.
    """
    vector = torch.ones(1, dtype=torch.complex128)
    for site in amplitudes:
        vector = torch.kron(vector, site.to(torch.complex128))
    return vector


def apply_matrix(vector: Tensor, matrix: Tensor, sites: Sequence[int], phys_dim: int = 2) -> Tensor:
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
    gate = matrix.to(torch.complex128).reshape([phys_dim] * (2 * k))
    tensor = torch.tensordot(gate, tensor, ([*range(k, 2 * k)], [*sites]))  # type: ignore[arg-type]
    return torch.movedim(tensor, list(range(k)), list(sites)).reshape(-1)


def controlled(matrix: Tensor) -> Tensor:
    """The matrix `|0><0| (x) 1 + |1><1| (x) matrix`, the control first."""
    full = torch.eye(2 * len(matrix), dtype=torch.complex128)
    full[len(matrix) :, len(matrix) :] = matrix
    return full


def partial_trace(vector: Tensor, keep: Sequence[int], phys_dim: int = 2) -> Tensor:
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
    rows = torch.movedim(_legs(vector, phys_dim, keep), list(keep), list(range(len(keep))))
    rows = rows.reshape(phys_dim ** len(keep), -1)
    return rows @ rows.conj().T


def pauli_matrix(string: str) -> Tensor:
    """The Kronecker product of Pauli matrices named by letters of `1XYZ`, complex128."""
    letters = {
        "1": [[1, 0], [0, 1]],
        "X": [[0, 1], [1, 0]],
        "Y": [[0, -1j], [1j, 0]],
        "Z": [[1, 0], [0, -1]],
    }
    matrix = torch.ones(1, 1, dtype=torch.complex128)
    for letter in string:
        matrix = torch.kron(matrix, torch.tensor(letters[letter], dtype=torch.complex128))
    return matrix


def schmidt_values(vector: Tensor, left_levels: int) -> Tensor:
    """Singular values of a normalised state between its first `left_levels` levels and the rest.

    Args:
        vector: State of `left_levels * right_levels` numbers; its norm is divided out.
        left_levels: The product of the dimensions of the sites on the left.

    Returns:
        Largest first, real double precision.
    """
    matrix = vector.to(torch.complex128).reshape(left_levels, -1)
    return torch.linalg.svdvals(matrix / matrix.norm())


def renyi_entropy(rho: Tensor, alpha: float) -> Tensor:
    """Entropy `log(tr rho**alpha) / (1 - alpha)` in nats; von Neumann's for `alpha` 1.

    Args:
        rho: Density matrix of trace 1. Eigenvalues below 1e-14 count as zero.
        alpha: Order above 0, also `math.inf`.
    """
    p = torch.linalg.eigvalsh(rho.to(torch.complex128))
    p = p[p > 1e-14]
    if alpha == 1:
        return -(p * p.log()).sum()
    if alpha == math.inf:
        return -p.max().log()
    return (p**alpha).sum().log() / (1 - alpha)


def fidelity(a: Tensor, b: Tensor) -> Tensor:
    """`|<a|b>|**2 / (<a|a> <b|b>)` of two state vectors, a real number in [0, 1]."""
    a, b = a.to(torch.complex128), b.to(torch.complex128)
    norms = torch.vdot(a, a).real * torch.vdot(b, b).real
    return torch.vdot(a, b).abs() ** 2 / norms


def uhlmann_fidelity(rho: Tensor, sigma: Tensor) -> Tensor:
    """Uhlmann fidelity `(tr sqrt(sqrt(rho) sigma sqrt(rho)))**2` of two density matrices.

    Source: Uhlmann 1976; for pure states it is `|<a|b>|**2`.
    """
    root = _square_root(rho.to(torch.complex128))
    return _square_root(root @ sigma.to(torch.complex128) @ root).trace().real ** 2


def _square_root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.conj().T


def _legs(vector: Tensor, phys_dim: int, sites: Sequence[int]) -> Tensor:
    """The vector with one axis a site, once `sites` are found to be some of them."""
    n_sites = round(math.log(vector.numel(), phys_dim))
    if phys_dim**n_sites != vector.numel():
        raise ValueError(f"`vector` must have {phys_dim}**n numbers, got {vector.numel()}.")
    if len(set(sites)) != len(sites) or not all(0 <= site < n_sites for site in sites):
        raise ValueError(f"`sites` must be distinct and within 0..{n_sites - 1}, got {sites}.")
    return vector.to(torch.complex128).reshape([phys_dim] * n_sites)
