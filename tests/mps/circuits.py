"""Random circuits for property-based tests, and the same on dense vectors."""

import math

import torch
from hypothesis import strategies as st

from mpsheads import oracle
from mpsheads.mps import Circuit
from mpsheads.mps.gates import FAMILIES

ALL_FAMILIES = (*sorted(FAMILIES), "matrix")


def haar_unitary(size, generator):
    """A random unitary, complex128."""
    matrix = torch.randn(size, size, dtype=torch.complex128, generator=generator)
    q, r = torch.linalg.qr(matrix)
    return q * torch.sgn(r.diagonal())


@st.composite
def circuits(draw, max_sites=10, max_gates=16):
    """Circuits of all gates, near and far, in any order of their sites; fixed matrices, adjoints.

    Their values are large angles.
    """
    num_sites = draw(st.integers(1, max_sites))
    gates = []
    for _ in range(draw(st.integers(0, max_gates))):
        gate = draw(st.sampled_from(ALL_FAMILIES))
        count = draw(st.integers(1, 3)) if gate == "matrix" else FAMILIES[gate].num_sites
        if count > num_sites:
            continue
        sites = draw(st.permutations(range(num_sites)))[:count]
        if gate == "matrix":
            generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
            gate = haar_unitary(2**count, generator)
        gates.append((gate, tuple(sites)))
    circuit = Circuit.of(num_sites, gates)
    if draw(st.booleans()):
        circuit = circuit.inverse()
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    angles = torch.randn(circuit.num_parameters, dtype=torch.float64, generator=generator)
    return circuit.with_parameters(math.pi * angles)


def random_product(batch, n_sites, dtype, generator):
    """Normalised random amplitudes `(batch, n_sites, 2)`."""
    amplitudes = torch.randn(batch, n_sites, 2, dtype=dtype, generator=generator)
    return amplitudes / amplitudes.norm(dim=-1, keepdim=True)


def dense_circuit(vector, circuit, parameters):
    """The oracle's state after a circuit with parameters `(num_parameters,)`, in complex128."""
    matrices = circuit.unitaries(parameters.double())
    for operation, matrix in zip(circuit, matrices, strict=True):
        vector = oracle.apply_matrix(vector, matrix, operation.sites)
    return vector


def tolerance(dtype):
    """The project's promise: 1e-5 in single precision, 1e-12 in double."""
    return 1e-5 if dtype in (torch.float32, torch.complex64) else 1e-12
