"""Strategies for property-based tests of the core, and the same things on dense vectors."""

import math
from itertools import pairwise

import torch
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.mps import MPS, Circuit, Truncation, log_norm
from mpsheads.mps.gates import FAMILIES

ALL_FAMILIES = (*sorted(FAMILIES), "matrix")
DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)
DOUBLE = (torch.float64, torch.complex128)
SEEDS = st.integers(0, 1000)


def source(seed):
    """A seeded source of random numbers."""
    return torch.Generator().manual_seed(seed)


def tolerance(dtype):
    """The project's promise: 1e-5 in single precision, 1e-12 in double."""
    return 1e-5 if dtype in (torch.float32, torch.complex64) else 1e-12


def haar_unitary(size, generator):
    """A random unitary, complex128."""
    matrix = torch.randn(size, size, dtype=torch.complex128, generator=generator)
    q, r = torch.linalg.qr(matrix)
    return q * torch.sgn(r.diagonal())


def random_product(batch, n_sites, dtype, generator):
    """Normalised random amplitudes `(batch, n_sites, 2)`."""
    amplitudes = torch.randn(batch, n_sites, 2, dtype=dtype, generator=generator)
    return amplitudes / amplitudes.norm(dim=-1, keepdim=True)


@st.composite
def circuits(draw, max_sites=10, max_gates=16, min_sites=1):
    """Circuits of all gates, near and far, in any order of their sites; fixed matrices, adjoints.

    Their values are large angles.
    """
    num_sites = draw(st.integers(min_sites, max_sites))
    gates = []
    for _ in range(draw(st.integers(0, max_gates))):
        gate = draw(st.sampled_from(ALL_FAMILIES))
        count = draw(st.integers(1, 3)) if gate == "matrix" else FAMILIES[gate].num_sites
        if count > num_sites:
            continue
        sites = draw(st.permutations(range(num_sites)))[:count]
        if gate == "matrix":
            gate = haar_unitary(2**count, source(draw(SEEDS)))
        gates.append((gate, tuple(sites)))
    circuit = Circuit(num_sites, gates)
    if draw(st.booleans()):
        circuit = circuit.inverse()
    generator = source(draw(SEEDS))
    angles = torch.randn(circuit.num_parameters, dtype=torch.float64, generator=generator)
    return circuit.with_parameters(math.pi * angles)


@st.composite
def states(
    draw, min_sites=1, max_sites=6, max_bond=5, max_batch=3, phys_dims=(1, 2, 3), dtypes=DOUBLE
):
    """Batches with random sites, any bonds, also ones too large, and any norm, not canonical."""
    n_sites = draw(st.integers(min_sites, max_sites))
    phys = [draw(st.sampled_from(phys_dims)) for _ in range(n_sites)]
    sizes = st.sampled_from([*range(2, max_bond + 1), max_bond, 1])  # larger ones more often
    bonds = [1, *(draw(sizes) for _ in range(n_sites - 1)), 1]
    batch, dtype = draw(st.integers(1, max_batch)), draw(st.sampled_from(dtypes))
    generator = source(draw(SEEDS))
    sites = tuple(
        torch.randn(batch, left, dim, right, dtype=dtype, generator=generator)
        * (left * dim) ** -0.5
        for (left, right), dim in zip(pairwise(bonds), phys, strict=True)
    )
    log_norm = torch.randn(batch, dtype=sites[0].real.dtype, generator=generator)
    return MPS(sites, log_norm)


@st.composite
def gates(draw, state, max_gate_sites=3):
    """A matrix, unitary or not, for one or for all states, and the sites it acts on, in any order.

    Some have few products of matrices that they are a sum of, as controlled gates do.
    """
    count = draw(st.integers(1, min(max_gate_sites, state.n_sites)))
    sites = tuple(draw(st.permutations(range(state.n_sites)))[:count])
    size = math.prod(state.phys_dims[site] for site in sites)
    generator, shared = source(draw(SEEDS)), draw(st.booleans())
    shape = (size, size) if shared else (state.batch_size, size, size)
    matrix = torch.randn(shape, dtype=state.dtype, generator=generator)
    if draw(st.booleans()):
        matrix = torch.linalg.qr(matrix)[0]
    if draw(st.booleans()):
        keep = torch.rand(size, size, generator=generator) < 0.3
        matrix = matrix * keep
    return matrix, sites


@st.composite
def truncations(draw, max_bond=4):
    """Limits on bonds, cutoffs, both, or neither."""
    bond = draw(st.sampled_from([2, 1, *range(2, max_bond + 1), None]))
    return Truncation(bond, draw(st.sampled_from([0.0, 0.0, 1e-3, 0.1, 1e-12])))


def regauged(state, generator):
    """The same states with random invertible matrices and their inverses on every bond."""
    sites = list(state.sites)
    for i, bond in enumerate(state.bond_dims):
        noise = torch.randn(state.batch_size, bond, bond, dtype=state.dtype, generator=generator)
        matrix = 2 * torch.eye(bond, dtype=state.dtype) + noise / (2 * bond**0.5)
        sites[i] = torch.einsum("blpr,brx->blpx", sites[i], matrix)
        sites[i + 1] = torch.einsum("bxr,brps->bxps", torch.linalg.inv(matrix), sites[i + 1])
    return MPS(tuple(sites), state.log_norm)


def assert_canonical(state, filled=False):
    """Sites left of the centre and right of it are isometries, and the centre holds the norm.

    With `filled`, bonds may hold zeros, as a cutoff leaves them for states of smaller rank.
    """
    assert state.center is not None
    for i, site in enumerate(state.sites):
        if i < state.center:
            gram = torch.einsum("blpr,blps->brs", site.conj(), site)
        elif i > state.center:
            gram = torch.einsum("blpr,bmpr->blm", site, site.conj())
        else:
            continue
        eye = torch.eye(gram.shape[1], dtype=gram.dtype).expand_as(gram)
        assert_close(gram, gram @ gram if filled else eye)
    norm = state.sites[state.center].flatten(1).norm(dim=1).log() + state.log_norm
    assert_close(
        norm, log_norm(state), atol=1e-4 if norm.dtype == torch.float32 else 1e-9, rtol=1e-5
    )


def dense_gate(vectors, matrix, sites, dims):
    """A gate on vectors `(batch, levels)` of sites of any dimensions."""
    axes, front = [site + 1 for site in sites], list(range(1, len(sites) + 1))
    moved = vectors.reshape(-1, *dims).movedim(axes, front)
    after = matrix @ moved.reshape(len(vectors), matrix.shape[-1], -1)
    return after.reshape(moved.shape).movedim(front, axes).reshape(vectors.shape)


def dense_circuit(vector, circuit, parameters):
    """The oracle's state after a circuit with parameters `(num_parameters,)`, in complex128."""
    for operation in circuit:
        matrix = operation_matrix(operation, parameters.double())
        vector = oracle.apply_matrix(vector, matrix, operation.sites)
    return vector


def operation_matrix(operation, parameters):
    """The matrix of one gate, straight from its family, not by way of its factors."""
    if operation.matrix is not None:
        matrix = torch.tensor(operation.matrix, dtype=torch.complex128)
    else:
        angles = parameters[operation.start : operation.stop]
        matrix = FAMILIES[operation.gate].matrix(angles)
    return matrix.mH if operation.adjoint else matrix


def dense_compress(vector, dims, truncation, first=0, last=None):
    """One vector with its bonds cut from left to right, each by an SVD; what each bond dropped."""
    last = len(dims) - 2 if last is None else last
    dropped = torch.zeros(len(dims) - 1, dtype=torch.float64)
    for bond in range(first, last + 1):
        matrix = vector.reshape(math.prod(dims[: bond + 1]), -1)
        u, s, _ = torch.linalg.svd(matrix, full_matrices=False)
        weights = s**2 / (s**2).sum()
        rank = min(truncation.max_bond or len(s), len(s))
        tails = weights.flip(0).cumsum(0).flip(0)
        rank = max(1, min(rank, int((tails > truncation.cutoff).sum())))
        dropped[bond] = weights[rank:].sum()
        vector = (u[:, :rank] @ (u[:, :rank].mH @ matrix)).flatten()
    return vector, dropped


def bloch_components(angles):
    """X and Z, `(-sin(angle), cos(angle))`, of each feature's qubit, before the last axis."""
    return torch.stack([-angles.sin(), angles.cos()], dim=-2)
