"""Batched, differentiable matrix product states."""

from mpsheads.mps.circuit import Circuit, Operation
from mpsheads.mps.contract import (
    fidelity_matrix,
    log_fidelity,
    log_fidelity_matrix,
    log_norm,
    overlap,
    overlap_matrix,
)
from mpsheads.mps.density import one_site_density_matrices, reduced_density_matrix
from mpsheads.mps.evolve import apply_circuit, apply_controlled, apply_gate
from mpsheads.mps.mpo import MPO, heisenberg_hamiltonian, ising_hamiltonian, mpo_to_dense, pauli_sum
from mpsheads.mps.observables import bloch_vectors, correlation, expectation, variance
from mpsheads.mps.state import (
    MPS,
    basis_state,
    concatenate,
    ghz_state,
    product_state,
    random_mps,
    to_dense,
    trim_bonds,
    w_state,
)
from mpsheads.mps.truncation import Truncation

__all__ = [
    "MPO",
    "MPS",
    "Circuit",
    "Operation",
    "Truncation",
    "apply_circuit",
    "apply_controlled",
    "apply_gate",
    "basis_state",
    "bloch_vectors",
    "concatenate",
    "correlation",
    "expectation",
    "fidelity_matrix",
    "ghz_state",
    "heisenberg_hamiltonian",
    "ising_hamiltonian",
    "log_fidelity",
    "log_fidelity_matrix",
    "log_norm",
    "mpo_to_dense",
    "one_site_density_matrices",
    "overlap",
    "overlap_matrix",
    "pauli_sum",
    "product_state",
    "random_mps",
    "reduced_density_matrix",
    "to_dense",
    "trim_bonds",
    "variance",
    "w_state",
]
