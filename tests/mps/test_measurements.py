"""What all that is measured of a state has in common: gradients, `vmap`, and states of no norm."""

import math

import pytest
import torch
from torch.testing import assert_close

from mpsheads.mps import (
    MPS,
    bloch_vectors,
    correlation,
    entanglement_entropy,
    expectation,
    ghz_state,
    heisenberg_hamiltonian,
    log_norm,
    log_probability,
    measure,
    mixed_expectation,
    mixed_fidelity,
    mixed_purity,
    mixed_to_dense,
    mixed_trace,
    one_site_density_matrices,
    partial_trace,
    product_state,
    project,
    purity,
    random_mps,
    reduced_density_matrix,
    renyi_entropy,
    sample,
    schmidt_values,
    variance,
)

ENERGY = heisenberg_hamiltonian(3, 0.7, 0.3, dtype=torch.complex128)
SHOTS = torch.tensor([[[0, 1, 1], [1, 0, 1]]]).expand(2, -1, -1)
TURN = torch.tensor([[0.3, 0.5], [0.5, -0.8]])


def seeded(seed=4):
    return torch.Generator().manual_seed(seed)


SMOOTH = {
    "one-site density matrices": one_site_density_matrices,
    "density matrix": lambda s: reduced_density_matrix(s, (2, 0)),
    "density matrix of neighbours": lambda s: reduced_density_matrix(s, (0, 1)),
    "Pauli string": lambda s: expectation(s, "X1Z"),
    "two Y": lambda s: expectation(s, "YY", (2, 0)),
    "energy": lambda s: expectation(s, ENERGY),
    "variance": lambda s: variance(s, ENERGY),
    "correlation": lambda s: correlation(s, "X", "Z"),
    "Bloch vectors": bloch_vectors,
    "entropy": entanglement_entropy,
    "purity of an end": lambda s: purity(s, (0, 1)),
    "purity": lambda s: purity(s, (0, 2)),
    "mixed purity": lambda s: mixed_purity(partial_trace(s, (0, 2))),
    "mixed expectation": lambda s: mixed_expectation(partial_trace(s, (1, 2)), TURN, 0),
    "mixed fidelity": lambda s: mixed_fidelity(
        partial_trace(s, (0, 2)), product_state(TURN.to(s.dtype).expand(2, 2, 2))
    ),
    "log-probability": lambda s: log_probability(s, SHOTS).clamp_min(-10),
    "projection": lambda s: log_norm(project(s, {1: torch.tensor([0, 1])})),
}
WITHOUT_A_CHECK = {
    "mixed trace": lambda s: mixed_trace(partial_trace(s, (0, 2))),
    "mixed matrix": lambda s: mixed_to_dense(partial_trace(s, (1, 2))),
}
WITHOUT_A_GRADIENT = {
    "sample": lambda s: sample(s, 2, generator=seeded()),
    "measurement": lambda s: measure(s, (0, 2), generator=seeded())[0],
    "Schmidt values": lambda s: schmidt_values(s, 0),
}


def real(value):
    return torch.view_as_real(value) if value.is_complex() else value


def smooth_values(name, *tensors):
    compute = {**SMOOTH, **WITHOUT_A_CHECK}[name]
    return real(compute(MPS.unchecked(tensors, tensors[0].real.new_zeros(2))))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SMOOTH, *WITHOUT_A_CHECK])
def test_gradients_agree_with_finite_differences_also_from_product_states(name, generator):
    amplitudes = torch.randn(2, 3, 2, dtype=torch.complex128, generator=generator)
    for state in (
        product_state(amplitudes),
        random_mps(3, 2, dtype=torch.complex128, generator=generator),
    ):
        if state.max_bond > 1:  # beside one whose Schmidt values are equal
            both = zip(state.sites, ghz_state(3, dtype=torch.complex128).sites, strict=True)
            state = MPS(tuple(map(torch.cat, both)), state.log_norm.expand(2))
        tensors = [site.clone().requires_grad_() for site in state.sites]
        assert torch.autograd.gradcheck(
            lambda *tensors: smooth_values(name, *tensors), tensors, fast_mode=True
        )


def test_the_state_after_a_measurement_has_a_gradient(generator):
    def value(*tensors):
        state = MPS.unchecked(tensors, tensors[0].real.new_zeros(2))
        return expectation(measure(state, (0, 2), generator=seeded())[1], "X", 1).real

    state = random_mps(3, 2, batch_size=2, dtype=torch.complex128, generator=generator)
    tensors = [site.clone().requires_grad_() for site in state.sites]
    assert torch.autograd.gradcheck(value, tensors, fast_mode=True)


@pytest.mark.parametrize("name", [*SMOOTH, *WITHOUT_A_CHECK])
def test_vmap_agrees_with_its_members(name, generator):
    sites = [torch.randn(4, 2, *s, generator=generator) for s in [(1, 2, 2), (2, 2, 2), (2, 2, 1)]]
    together = torch.func.vmap(lambda *tensors: smooth_values(name, *tensors))(*sites)
    alone = [smooth_values(name, *[site[i] for site in sites]) for i in range(4)]
    assert_close(together, torch.stack(alone))


@pytest.mark.parametrize("scale", [1e-12, 1e12])
@pytest.mark.parametrize("name", [*SMOOTH, *WITHOUT_A_CHECK])
def test_sites_of_any_size_give_the_same_in_single_precision(name, scale, generator):
    state = random_mps(3, 2, batch_size=2, generator=generator)
    log_norms = torch.full((2,), -3 * math.log(scale))
    scaled = MPS(tuple(site * scale for site in state.sites), log_norms)
    compute = {**SMOOTH, **WITHOUT_A_CHECK}[name]
    assert_close(compute(scaled), compute(state), atol=2e-5, rtol=2e-5)  # logarithms near 80


@pytest.mark.parametrize(("value", "what"), [(0.0, "is zero"), (torch.nan, "holds NaN or infin")])
@pytest.mark.parametrize("name", [*SMOOTH, *WITHOUT_A_GRADIENT])
def test_states_without_a_norm_are_refused(name, value, what, generator):
    state = random_mps(3, 2, batch_size=2, generator=generator)
    scale = torch.tensor([1.0, value])[:, None, None, None]
    bad = state.with_sites({1: state.sites[1] * scale})
    with pytest.raises(ValueError, match=f"`state` must be finite .* state 1 of the .* {what}"):
        {**SMOOTH, **WITHOUT_A_GRADIENT}[name](bad)


def test_renyi_entropies_have_gradients_for_each_sample(generator):
    sites = [torch.randn(4, 2, *s, generator=generator) for s in [(1, 2, 2), (2, 2, 1)]]

    def total(*tensors):
        return renyi_entropy(MPS.unchecked(tensors, tensors[0].new_zeros(2)), 2).sum()

    grads = torch.func.vmap(torch.func.grad(total))(*sites)
    for i in range(4):
        member = [site[i].clone().requires_grad_() for site in sites]
        assert_close(grads[i], torch.autograd.grad(total(*member), member[0])[0])
