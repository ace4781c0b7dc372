"""Every public function of the tensor core on every device there is, and on one that is none."""

import pytest
import torch

from mpsheads import mps
from mpsheads.mps import Circuit, Truncation
from tests.devices.places import PLACE, same

SITES, BATCH = 6, 3
DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]
CIRCUIT = Circuit(
    SITES,
    [("ry", (i,)) for i in range(SITES)]
    + [("cx", (i, i + 1)) for i in range(SITES - 1)]
    + [("rzz", (0, 1)), ("givens", (1, 4)), ("su4", (2, 3)), ("h", (5,))],
)


def numbers(*shape, dtype=torch.float64, seed=0):
    """Random numbers, the same wherever they are taken."""
    source = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=dtype, generator=source)


class Given:
    """Arguments of one dtype at one place."""

    def __init__(self, move, dtype):
        self.move, self.dtype = move, dtype
        source = torch.Generator().manual_seed(1)
        draw = {"batch_size": BATCH, "dtype": dtype, "generator": source}
        self.psi = move(mps.random_mps(SITES, 4, **draw))
        self.phi = move(mps.random_mps(SITES, 3, **draw))
        self.real = dtype.to_real()
        self.product = mps.product_state(self(BATCH, SITES, 2))
        self.rho = mps.partial_trace(self.psi, [1, 2, 3])
        self.ising = move(mps.ising_hamiltonian(SITES, dtype=dtype))

    def __call__(self, *shape, dtype=None, seed=0):
        return self.move(numbers(*shape, dtype=dtype or self.dtype, seed=seed))

    def whole(self, *rows):
        return self.move(torch.tensor(rows))

    def angles(self):
        return self(CIRCUIT.num_parameters, dtype=self.real)


def trellis_words(g):
    return mps.nearest_codewords(g(BATCH, 16, dtype=g.real), mps.standard_trellis(2))


COMPLEX = {"apply_circuit"}  # its gates are
NO_TENSORS = {"MPO", "MPS", "Circuit", "Operation", "PurifiedMPS", "Trellis", "Truncation"}
NO_TENSORS |= {"contraction_path", "ghz_state", "w_state", "random_mps", "standard_trellis"}
NO_TENSORS |= {"heisenberg_hamiltonian", "sample", "measure"}
CALLS = {
    "add": lambda g: mps.add(g.psi, g.phi),
    "apply_circuit": lambda g: mps.apply_circuit(g.product, CIRCUIT, g.angles()),
    "apply_circuit truncated": lambda g: mps.apply_circuit(
        g.product, CIRCUIT, g.angles(), Truncation(2)
    ),
    "apply_controlled": lambda g: mps.apply_controlled(g.psi, g(2, 2), 1, 4),
    "apply_gate": lambda g: mps.apply_gate(g.psi, g(4, 4), (3, 1), Truncation(4, 1e-6)),
    "apply_mpo": lambda g: mps.apply_mpo(g.psi, g.ising, Truncation(4)),
    "basis_state": lambda g: mps.basis_state(g.whole(0, 1, 1), dtype=g.dtype),
    "bloch_vectors": lambda g: mps.bloch_vectors(g.psi),
    "canonicalize": lambda g: mps.to_dense(mps.canonicalize(g.psi, 2)),
    "codewords": lambda g: mps.codewords(trellis_words(g), mps.standard_trellis(2)),
    "compress": lambda g: mps.to_dense(mps.compress(g.psi, Truncation(2))),
    "concatenate": lambda g: mps.concatenate([g.psi, g.psi]),
    "correlation": lambda g: mps.correlation(g.psi, "Z", g(2, 2)),
    "distance_to_code": lambda g: mps.distance_to_code(
        g(BATCH, 16, dtype=g.real), mps.standard_trellis(1)
    ),
    "entanglement_entropy": lambda g: mps.entanglement_entropy(g.psi),
    "expectation": lambda g: mps.expectation(g.psi, g(2, 2), 3),
    "expectation of a sum": lambda g: mps.expectation(g.psi, g.ising),
    "expectation of a string": lambda g: mps.expectation(g.psi, "XZ", [1, 4]),
    "fidelity_matrix": lambda g: mps.fidelity_matrix(g.psi, g.phi),
    "from_dense": lambda g: mps.to_dense(mps.from_dense(g(BATCH, 16))),
    "inner_distance": lambda g: mps.inner_distance(g.psi, g.phi),
    "ising_hamiltonian": lambda g: mps.ising_hamiltonian(4, g(BATCH, dtype=g.real), dtype=g.dtype),
    "local_expectations": lambda g: mps.local_expectations(
        g(BATCH, SITES, 2), CIRCUIT, g.angles(), "X"
    ),
    "log_fidelity": lambda g: mps.log_fidelity(g.psi, g.phi),
    "log_fidelity_matrix": lambda g: mps.log_fidelity_matrix(g.psi, g.phi, chunk=2),
    "log_norm": lambda g: mps.log_norm(g.psi),
    "log_partition": lambda g: mps.log_partition(
        g(BATCH, 16, dtype=g.real), mps.standard_trellis(1), 0.5
    ),
    "log_probability": lambda g: mps.log_probability(
        g.psi, g.move(torch.ones(BATCH, 2, SITES, dtype=torch.long))
    ),
    "mixed_expectation": lambda g: mps.mixed_expectation(g.rho, g(2, 2), 1),
    "mixed_fidelity": lambda g: mps.mixed_fidelity(g.rho, mps.product_state(g(BATCH, 3, 2))),
    "mixed_purity": lambda g: mps.mixed_purity(g.rho),
    "mixed_to_dense": lambda g: mps.mixed_to_dense(g.rho),
    "mixed_trace": lambda g: mps.mixed_trace(g.rho),
    "mpo_to_dense": lambda g: mps.mpo_to_dense(g.ising),
    "nearest_codewords": trellis_words,
    "one_particle_state": lambda g: mps.one_particle_state(g(BATCH, SITES)),
    "one_site_density_matrices": lambda g: mps.one_site_density_matrices(g.psi),
    "overlap": lambda g: mps.overlap(g.psi, g.phi),
    "overlap_matrix": lambda g: mps.overlap_matrix(g.psi, g.phi),
    "partial_trace": lambda g: g.rho,
    "pauli_sum": lambda g: mps.pauli_sum({"XZ": g(dtype=g.real)}, 2, dtype=g.dtype),
    "product_state": lambda g: g.product,
    "project": lambda g: mps.project(g.psi, {1: 0, 3: g.whole(0, 1, 1)}),
    "purification": lambda g: mps.to_dense(mps.purification(g.rho)),
    "purity": lambda g: mps.purity(g.psi, [0, 2]),
    "reduced_density_matrix": lambda g: mps.reduced_density_matrix(g.psi, [4, 1]),
    "renyi_entropy": lambda g: mps.renyi_entropy(g.psi, 2.0),
    "schmidt_values": lambda g: mps.schmidt_values(g.psi),
    "to_dense": lambda g: mps.to_dense(g.psi),
    "to_vidal": lambda g: [x.abs() for part in mps.to_vidal(g.psi) for x in part],
    "trim_bonds": lambda g: mps.trim_bonds(g.psi),
    "variance": lambda g: mps.variance(g.psi, g.ising),
}


def test_every_function_is_called():
    assert {name.split()[0] for name in CALLS} | NO_TENSORS == set(mps.__all__)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        (name, dtype)
        for name in CALLS
        for dtype in DTYPES
        if dtype.is_complex or name.split()[0] not in COMPLEX
    ],
    ids=lambda value: str(value).removeprefix("torch."),
)
def test_results_and_where_they_are(name, dtype):
    call = CALLS[name]
    same(call(Given(PLACE.move, dtype)), call(Given(lambda x: x, dtype)), dtype)
