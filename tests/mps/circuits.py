"""Random circuits for property-based tests, and the same on dense vectors."""

import torch
from hypothesis import strategies as st

from mpsheads import oracle
from mpsheads.mps import Circuit

ONE_SITE = ("rx", "ry", "rz", "zyz")


@st.composite
def circuits(draw, max_sites=10, max_gates=16):
    """Circuits of one-site and controlled gates, near and far, in either direction."""
    n_sites = draw(st.integers(1, max_sites))
    site = st.integers(0, n_sites - 1)
    gate = st.tuples(st.sampled_from(ONE_SITE), st.tuples(site))
    if n_sites > 1:
        pair = st.tuples(site, site).filter(lambda sites: sites[0] != sites[1])
        gate = gate | st.tuples(st.just("controlled-unitary"), pair)
    return Circuit.of(n_sites, draw(st.lists(gate, max_size=max_gates)))


def random_product(batch, n_sites, dtype, generator):
    """Normalised random amplitudes `(batch, n_sites, 2)`."""
    amplitudes = torch.randn(batch, n_sites, 2, dtype=dtype, generator=generator)
    return amplitudes / amplitudes.norm(dim=-1, keepdim=True)


def dense_circuit(vector, circuit, parameters):
    """The oracle's state after a circuit with parameters `(num_parameters,)`, in complex128."""
    gates = circuit.matrices(parameters.double())
    gates = {family: iter(matrices) for family, matrices in gates.items()}
    for operation in circuit:
        matrix = next(gates[operation.gate])
        if len(operation.sites) == 2:
            matrix = oracle.controlled(matrix)
        vector = oracle.apply_matrix(vector, matrix, operation.sites)
    return vector


def tolerance(dtype):
    """The project's promise: 1e-5 in single precision, 1e-12 in double."""
    return 1e-5 if dtype in (torch.float32, torch.complex64) else 1e-12
