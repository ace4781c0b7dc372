"""Batched, differentiable matrix product states."""

from mpsheads._arrays import hold
from mpsheads.mps.canonical import Truncation, add, canonicalize, compress, from_dense, to_vidal
from mpsheads.mps.circuit import Circuit
from mpsheads.mps.contract import (
    fidelity_matrix,
    inner_distance,
    log_fidelity,
    log_fidelity_matrix,
    log_norm,
    overlap,
    overlap_matrix,
)
from mpsheads.mps.density import one_site_density_matrices, reduced_density_matrix
from mpsheads.mps.entropy import entanglement_entropy, purity, renyi_entropy, schmidt_values
from mpsheads.mps.evolve import apply_circuit, apply_controlled, apply_gate, apply_mpo
from mpsheads.mps.lightcone import local_expectations
from mpsheads.mps.mpo import MPO, heisenberg_hamiltonian, ising_hamiltonian, mpo_to_dense, pauli_sum
from mpsheads.mps.observables import bloch_vectors, correlation, expectation, variance
from mpsheads.mps.operation import Operation
from mpsheads.mps.paths import contraction_path
from mpsheads.mps.purified import (
    PurifiedMPS,
    mixed_expectation,
    mixed_fidelity,
    mixed_purity,
    mixed_to_dense,
    mixed_trace,
    partial_trace,
    purification,
)
from mpsheads.mps.sampling import log_probability, measure, project, sample
from mpsheads.mps.state import (
    MPS,
    basis_state,
    concatenate,
    ghz_state,
    one_particle_state,
    product_state,
    random_mps,
    to_dense,
    trim_bonds,
    w_state,
)
from mpsheads.mps.trellis import (
    Trellis,
    codewords,
    distance_to_code,
    log_partition,
    nearest_codewords,
    standard_trellis,
)

__all__ = [
    "MPO",
    "MPS",
    "Circuit",
    "Operation",
    "PurifiedMPS",
    "Trellis",
    "Truncation",
    "add",
    "apply_circuit",
    "apply_controlled",
    "apply_gate",
    "apply_mpo",
    "basis_state",
    "bloch_vectors",
    "canonicalize",
    "codewords",
    "compress",
    "concatenate",
    "contraction_path",
    "correlation",
    "distance_to_code",
    "entanglement_entropy",
    "expectation",
    "fidelity_matrix",
    "from_dense",
    "ghz_state",
    "heisenberg_hamiltonian",
    "inner_distance",
    "ising_hamiltonian",
    "local_expectations",
    "log_fidelity",
    "log_fidelity_matrix",
    "log_norm",
    "log_partition",
    "log_probability",
    "measure",
    "mixed_expectation",
    "mixed_fidelity",
    "mixed_purity",
    "mixed_to_dense",
    "mixed_trace",
    "mpo_to_dense",
    "nearest_codewords",
    "one_particle_state",
    "one_site_density_matrices",
    "overlap",
    "overlap_matrix",
    "partial_trace",
    "pauli_sum",
    "product_state",
    "project",
    "purification",
    "purity",
    "random_mps",
    "reduced_density_matrix",
    "renyi_entropy",
    "sample",
    "schmidt_values",
    "standard_trellis",
    "to_dense",
    "to_vidal",
    "trim_bonds",
    "variance",
    "w_state",
]

hold(globals())
