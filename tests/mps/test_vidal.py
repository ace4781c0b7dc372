"""Vidal's form: the product gives the state back, and its vectors are the Schmidt values."""

import pytest
import torch
from torch.testing import assert_close

from mpsheads.mps import (
    MPS,
    add,
    basis_state,
    ghz_state,
    random_mps,
    schmidt_values,
    to_dense,
    to_vidal,
)


def _states(generator):
    ghz = ghz_state(5, 2, dtype=torch.complex128)
    return [
        random_mps(1, 1, dtype=torch.complex128, generator=generator),
        random_mps(6, 3, batch_size=2, dtype=torch.complex128, generator=generator),
        ghz,
        add(ghz, ghz),  # bonds of four, two of whose Schmidt values vanish
    ]


@pytest.mark.parametrize("which", range(4))
def test_the_form_multiplies_to_the_normalised_state(which, generator):
    state = _states(generator)[which]
    gammas, lambdas = to_vidal(state)
    sites = [g * v[:, None, None] for g, v in zip(gammas, lambdas, strict=False)]
    found = to_dense(MPS((*sites, gammas[-1]), torch.zeros_like(state.log_norm)))
    assert_close(found, torch.nn.functional.normalize(to_dense(state), dim=1))
    for bond, values in enumerate(lambdas):
        expected = schmidt_values(state, bond)
        size = min(expected.shape[1], values.shape[1])
        assert_close(values[:, :size], expected[:, :size], atol=1e-8, rtol=0)


def test_a_zero_state_has_no_form():
    zero = basis_state(torch.tensor([0, 1]))
    zero = zero.with_sites({0: torch.zeros_like(zero.sites[0])})
    with pytest.raises(ValueError, match="with a norm above zero"):
        to_vidal(zero)
