"""What the core computes compiles into one graph, gradients included."""

import pytest
import torch
from torch.testing import assert_close

from mpsheads.mps import (
    MPS,
    Circuit,
    Truncation,
    apply_circuit,
    apply_gate,
    correlation,
    entanglement_entropy,
    expectation,
    inner_distance,
    ising_hamiltonian,
    log_fidelity,
    log_fidelity_matrix,
    log_norm,
    log_probability,
    mixed_purity,
    one_site_density_matrices,
    overlap,
    partial_trace,
    product_state,
    project,
    purity,
    random_mps,
    sample,
    to_dense,
)
from mpsheads.mps.canonical import add, canonicalize, compress

generator = torch.Generator().manual_seed(1)
options = {"batch_size": 2, "dtype": torch.complex128, "generator": generator}
fixed = random_mps(3, 2, **options)
gates = [("cry", (2, 0)), ("fsim", (0, 1)), ("ccx", (2, 0, 1)), (torch.eye(2), 1)]
circuit = Circuit(3, gates).inverse()
amplitudes = torch.randn(2, 3, 2, dtype=torch.complex128, generator=generator)
parameters = torch.randn(2, circuit.num_parameters, dtype=torch.float64, generator=generator)
gate = torch.randn(2, 4, 4, dtype=torch.complex128, generator=generator)
cut = Truncation(max_bond=2)


def exact(amplitudes, parameters):
    return to_dense(apply_circuit(product_state(amplitudes), circuit, parameters))


def truncated(amplitudes, gate):
    state = compress(canonicalize(add(product_state(amplitudes), fixed), 2), cut)
    state = apply_gate(state, gate, (2, 1), cut)
    return to_dense(state), state.discarded_weight, log_norm(state), log_fidelity(state, fixed)


def pairs(*sites):
    state = MPS.unchecked(sites, fixed.log_norm)
    functions = (overlap, inner_distance, log_fidelity, log_fidelity_matrix)
    return *(function(state, fixed) for function in functions), log_norm(state)


def readouts(*sites):
    state = MPS.unchecked(sites, sites[0].new_zeros(2))
    operator = ising_hamiltonian(3, sites[0].mean(), dtype=torch.float32)
    return (
        one_site_density_matrices(state),
        expectation(state, "X1Z"),
        expectation(state, operator),
        correlation(state, "X", "Z"),
        entanglement_entropy(state),
        purity(state, (0, 2)),
        mixed_purity(partial_trace(state, (0, 2))),
        log_probability(state, torch.zeros(2, 3, 3, dtype=torch.int64)),
        to_dense(project(state, {1: 1})),
        sample(state, 5) * 0,
    )


three = random_mps(3, 3, **options)
single = random_mps(3, 2, batch_size=2, dtype=torch.float32, generator=generator)


@pytest.mark.parametrize(
    ("function", "arguments", "backend"),
    [
        (exact, (amplitudes, parameters), "eager"),
        (truncated, (amplitudes, gate), "aot_eager"),
        (pairs, three.sites, None),
        (readouts, single.sites, None),
    ],
)
def test_it_compiles_into_one_graph(function, arguments, backend):
    compiled = torch.compile(function, backend=backend or "eager", fullgraph=True)
    inputs = [[x.clone().requires_grad_(backend is not None) for x in arguments] for _ in "ab"]
    values = [f(*x) for f, x in zip((compiled, function), inputs, strict=True)]
    assert_close(*values)
    if backend:
        flat = [v if isinstance(v, tuple) else (v,) for v in values]
        slopes = [
            torch.autograd.grad(sum(part.abs().sum() for part in v), x)
            for v, x in zip(flat, inputs, strict=True)
        ]
        assert_close(*slopes)


def test_one_state_against_many_compiles_too():
    compiled = torch.compile(log_fidelity_matrix, backend="eager", fullgraph=True)
    assert_close(compiled(fixed[:1], fixed), log_fidelity_matrix(fixed[:1], fixed))
