"""The formulas of docs/mathematics.md, written out plainly and held against the code."""

import math
from functools import reduce

import pytest
import torch
from torch.testing import assert_close

from mpsheads import DenseHead, MPSProjectionHead, ReferenceHead, log_fidelity, oracle
from mpsheads.ansatz import staircase
from mpsheads.encodings import equalise_norm, feature_angles, qubit_amplitudes
from mpsheads.mps import (
    MPS,
    apply_circuit,
    apply_controlled,
    product_state,
    random_mps,
    to_dense,
    trim_bonds,
)
from mpsheads.mps.gates import unitary
from mpsheads.mps.heisenberg import evolve_observable, pauli_string

pytestmark = pytest.mark.slow

PAULIS = torch.tensor(
    [[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]],
    dtype=torch.complex128,
)

ONE, X, Y, Z = PAULIS
P0, P1 = (ONE + Z) / 2, (ONE - Z) / 2


def kron(*factors: torch.Tensor) -> torch.Tensor:
    return reduce(torch.kron, factors)


def gate(angles: torch.Tensor) -> torch.Tensor:
    """`exp(i alpha) Rz(beta) Ry(gamma) Rz(delta)` from matrix exponentials."""
    alpha, beta, gamma, delta = angles
    turns = (torch.matrix_exp(-0.5j * a * p) for a, p in ((beta, Z), (gamma, Y), (delta, Z)))
    return torch.exp(1j * alpha) * reduce(torch.matmul, turns)


def angles_of(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return 3 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def staircase_matrix(parameters: torch.Tensor, sites: int, depth: int) -> torch.Tensor:
    """The whole circuit as a matrix, layer by layer as the page writes it."""
    turns, controls = 3 * sites, 4 * (sites - 1)
    matrix = torch.eye(2**sites, dtype=torch.complex128)
    for layer in parameters.split(turns + controls):
        rotations = layer[:turns].reshape(sites, 3)
        zero = torch.zeros(1, dtype=torch.float64)
        matrix = kron(*(gate(torch.cat([zero, row])) for row in rotations)) @ matrix
        for i, row in enumerate(layer[turns:].reshape(sites - 1, 4)):
            pair = kron(P0, ONE) + kron(P1, gate(row))
            before, after = torch.eye(2**i), torch.eye(2 ** (sites - i - 2))
            matrix = kron(before, pair, after).to(torch.complex128) @ matrix
    assert len(parameters) == depth * (turns + controls)
    return matrix


def test_features_become_qubits(generator):
    x = torch.randn(1, 6, generator=generator, dtype=torch.float64)
    scaled = math.sqrt(6) * x / x.norm()
    assert_close(equalise_norm(x), scaled)
    theta = (torch.tanh(scaled) + 1) * math.pi / 2
    assert_close(feature_angles(scaled), theta)
    assert_close(qubit_amplitudes(theta), torch.stack([(theta / 2).cos(), -(theta / 2).sin()], -1))
    qubit = qubit_amplitudes(theta)[0, 0].to(torch.complex128)
    values = torch.stack([torch.vdot(qubit, p @ qubit).real for p in PAULIS])
    assert_close(values[[1, 3]], torch.stack([-theta[0, 0].sin(), theta[0, 0].cos()]))
    assert_close(values[2], torch.zeros((), dtype=torch.float64))


@pytest.mark.parametrize(("sites", "depth"), [(2, 1), (3, 2), (4, 3)])
def test_the_head_is_the_circuit_of_the_page(sites, depth, generator):
    out = 3
    block = staircase(sites, depth)
    head = MPSProjectionHead(
        sites * out, out, bond_dim=4, ansatz=block, readout="probability", generator=generator
    )
    head = head.double()
    x = torch.randn(20, sites * out, generator=generator, dtype=torch.float64)
    head.fit(x)
    with torch.no_grad():
        head.angles.copy_(angles_of(generator, *head.angles.shape))
        head.scale.fill_(0.7)
    x = x[:2]
    rotated = x.clone()
    circuit, outputs = head.mixing.circuit()
    for operation, phi in zip(circuit, head.mixing.angles.detach().flatten(), strict=True):
        a, b = operation.sites
        both = rotated[:, [a, b]]
        rotated[:, a] = phi.cos() * both[:, 0] + phi.sin() * both[:, 1]
        rotated[:, b] = -phi.sin() * both[:, 0] + phi.cos() * both[:, 1]
    rotated = rotated[:, outputs]
    theta = (torch.tanh(0.7 * equalise_norm(rotated)) + 1) * math.pi / 2
    kept = kron(torch.eye(2 ** (sites - 1)).to(torch.complex128), Z)
    for text in range(2):
        for k, angles in enumerate(head.angles.detach().view(out, -1)):
            matrix = staircase_matrix(angles, sites, depth)
            chain = theta[text, k::out].flip(0)  # the last feature at the far end
            psi = matrix @ oracle.product_vector(qubit_amplitudes(chain))
            z = torch.vdot(psi, kept @ psi).real
            p1 = (1 - z) / 2
            assert_close(head(x)[text, k], 2 * p1.sqrt().asin())
            assert_close(head(x)[text, k], z.acos())


def test_the_numbers_of_parameters():
    for sites, depth in ((2, 1), (3, 2), (6, 2)):
        assert staircase(sites, depth).num_parameters == depth * (7 * sites - 4)
    assert MPSProjectionHead(768, 256).num_parameters == 256 * 8 + 512 + 1 == 2_561
    assert MPSProjectionHead(768, 256, depth=2).num_parameters == 256 * 20 + 512 + 1 == 5_633
    assert DenseHead(768, 256).num_parameters == 196_864
    assert ReferenceHead(768, 256).num_parameters == 12 * 256 * 2 == 6_144
    assert 196_864 // 6_144 == 32


def test_where_the_head_starts():
    head = MPSProjectionHead(96, 32)
    assert head.scale.item() == pytest.approx(0.35)
    assert head.angles.abs().max() < 0.5


def test_an_amplitude_is_a_product_of_site_matrices(generator):
    state = random_mps(3, 2, dtype=torch.float64, generator=generator)
    state = MPS(state.sites, state.log_norm + 0.4)
    a, b, c = (site[0] for site in state.sites)
    wanted = math.exp(0.4) * (a[:, 1] @ b[:, 0] @ c[:, 1])[0, 0]
    assert_close(to_dense(state)[0, 0b101], wanted)


def test_a_controlled_gate_splits_along_a_bond_of_two(generator):
    state = random_mps(4, 2, dtype=torch.complex128, generator=generator)
    angles = angles_of(generator, 4)
    u = unitary(angles)
    assert_close(u, gate(angles))
    a, b = state.sites[1][0], state.sites[2][0]
    powers = torch.stack([ONE, u])
    new_a = torch.einsum("pj,lpr->lprj", torch.eye(2).to(u), a).flatten(2)
    new_b = torch.einsum("jqs,lsr->ljqr", powers, b).flatten(0, 1)
    wanted = state.with_sites({1: new_a[None], 2: new_b[None]})
    assert (state.bond_dims, wanted.bond_dims) == ((2, 2, 2), (2, 4, 2))
    assert_close(to_dense(apply_controlled(state, u, 1, 2)), to_dense(wanted))


def test_bonds_are_trimmed_to_what_a_side_can_fill(generator):
    sites = [torch.randn(1, *s, generator=generator, dtype=torch.float64) for s in _wide_bonds()]
    state = MPS(tuple(sites), torch.zeros(1, dtype=torch.float64))
    trimmed = trim_bonds(state)
    assert trimmed.bond_dims == (2, 4, 2)
    assert_close(to_dense(trimmed), to_dense(state))


def _wide_bonds():
    return [(1, 2, 9), (9, 2, 9), (9, 2, 9), (9, 2, 1)]


@pytest.mark.parametrize("sites", [2, 3, 5, 6])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_block_needs_the_bond_dimension_of_the_page(sites, depth, generator):
    circuit = staircase(sites, depth)
    parameters = angles_of(generator, circuit.num_parameters)
    start = product_state(torch.eye(2, dtype=torch.complex128)[[0] * sites][None])
    bound = min(2**depth, 2 ** (sites // 2))
    assert apply_circuit(start, circuit, parameters).max_bond == bound


def test_gates_outside_of_the_light_cone_do_not_matter(generator):
    # Two rows of a brickwork on six sites: the cone of site 2 at the end is sites 0 to 3.
    inputs = torch.randn(6, 2, generator=generator, dtype=torch.complex128)
    inputs = inputs / inputs.norm(dim=1, keepdim=True)
    rows = [[(0, 1), (2, 3), (4, 5)], [(1, 2), (3, 4)]]
    us = {pair: gate(angles_of(generator, 4)) for row in rows for pair in row}

    def readout(skipped):
        psi = oracle.product_vector(inputs)
        for pair in (pair for row in rows for pair in row if pair not in skipped):
            psi = oracle.apply_matrix(psi, oracle.controlled(us[pair]), pair)
        return oracle.partial_trace(psi, [2])

    assert_close(readout([]), readout([(4, 5), (3, 4)]))
    assert not torch.allclose(readout([]), readout([(0, 1)]))


@pytest.mark.parametrize("name", ["one qubit", "controlled"])
def test_how_a_gate_maps_observables(name, generator):
    from mpsheads.mps.circuit import Circuit

    angles = angles_of(generator, 4)
    u = gate(angles)
    if name == "one qubit":
        u = gate(torch.cat([torch.zeros(1, dtype=torch.float64), angles[1:]]))
        circuit = Circuit(1, [("zyz", (0,))])
        for j, letter in enumerate("1XYZ"):
            start = pauli_string(letter, dtype=torch.float64)
            found = to_dense(evolve_observable(start, circuit, angles[None, 1:]))[0]
            wanted = [torch.trace(p @ u.mH @ PAULIS[j] @ u).real / 2 for p in PAULIS]
            assert_close(found, torch.stack(wanted))
        return
    circuit = Circuit(2, [("controlled-unitary", (0, 1))])
    for j, letter in enumerate("1XYZ"):
        sigma = PAULIS[j]
        even = (sigma @ u + u.mH @ sigma) / 2
        odd = 0.5j * (sigma @ u - u.mH @ sigma)
        inside, turned = kron(P0, sigma), kron(P1, u.mH @ sigma @ u)
        images = {
            "1": inside + turned,
            "X": kron(X, even) + kron(Y, odd),
            "Y": kron(Y, even) - kron(X, odd),
            "Z": inside - turned,
        }
        for control, wanted in images.items():
            start = pauli_string(control + letter, dtype=torch.float64)
            found = to_dense(evolve_observable(start, circuit, angles[None]))[0].reshape(4, 4)
            matrix = sum(
                found[a, b] * kron(PAULIS[a], PAULIS[b]) for a in range(4) for b in range(4)
            )
            assert_close(matrix, wanted)


def test_log_fidelity_is_the_sum_of_the_page(generator):
    a, b = (math.pi * torch.rand(3, 9, generator=generator, dtype=torch.float64) for _ in "ab")
    terms = ((a[:, None] - b) / 2).cos().square().log()
    assert_close(log_fidelity(a, b), terms.sum(-1))


def test_log_fidelity_is_minus_a_quarter_of_the_squared_distance_at_first():
    delta = torch.tensor(0.2, dtype=torch.float64)
    series = -(delta**2) / 4 - delta**4 / 96 - delta**6 / 1440
    # The next term of the series is 17 delta**8 / 322560, here 1e-10.
    assert_close((delta / 2).cos().square().log(), series, rtol=0, atol=2e-10)


def test_the_closed_form_of_the_paper_is_its_circuit(generator):
    head = ReferenceHead(6, 2, generator=generator).double()
    with torch.no_grad():
        head.angles_raw.copy_(torch.randn(head.angles_raw.shape, generator=generator))
    x = torch.randn(1, 6, generator=generator, dtype=torch.float64)
    turns = 2 * math.pi * (torch.tanh(head.angles_raw.detach()) + 1)
    theta = feature_angles(x)[0].reshape(3, 2)
    for qubit in range(2):
        control = qubit_amplitudes(theta[2, qubit]).to(torch.complex128)
        for step in range(2):
            on_control, on_target, controlled = (gate(turns[step, i, qubit]) for i in range(3))
            target = qubit_amplitudes(theta[1 - step, qubit]).to(torch.complex128)
            psi = kron(on_control @ control, on_target @ target)
            psi = (kron(P0, ONE) + kron(P1, controlled)) @ psi
            probabilities = oracle.partial_trace(psi, [1]).diagonal().real
            c_z = torch.vdot(on_control @ control, Z @ on_control @ control).real
            r_z, v_z = (
                torch.vdot(v, Z @ v).real
                for v in (on_target @ target, controlled @ on_target @ target)
            )
            p1 = (1 - c_z) / 2
            assert_close(probabilities[0] - probabilities[1], (1 - p1) * r_z + p1 * v_z)
            control = probabilities.sqrt().to(torch.complex128)
        assert_close(head(x)[0, qubit], 2 * probabilities[1].sqrt().asin())
