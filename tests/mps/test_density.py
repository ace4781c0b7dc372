import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.mps import (
    MPS,
    bloch_vectors,
    expectation,
    one_site_density_matrices,
    random_mps,
    reduced_density_matrix,
    to_dense,
)
from tests.mps.circuits import tolerance

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]
PAULIS = {
    "X": torch.tensor([[0, 1], [1, 0]], dtype=torch.complex128),
    "Y": torch.tensor([[0, -1j], [1j, 0]], dtype=torch.complex128),
    "Z": torch.tensor([[1, 0], [0, -1]], dtype=torch.complex128),
}


@given(
    n_sites=st.integers(1, 8),
    bond=st.integers(1, 6),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 1000),
)
def test_reduced_density_matrices_agree_with_the_oracle(n_sites, bond, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    state = random_mps(n_sites, bond, batch_size=2, dtype=dtype, generator=generator)
    together = one_site_density_matrices(state)
    assert together.dtype == dtype
    for i, vector in enumerate(to_dense(state).to(torch.complex128)):
        for site in range(n_sites):
            expected = oracle.partial_trace(vector / vector.norm(), [site])
            alone = reduced_density_matrix(state, site)[i]
            for found in (together[i, site], alone):
                assert_close(found.to(torch.complex128), expected, atol=tolerance(dtype), rtol=0)


def test_expectations_and_bloch_vectors_are_traces_with_pauli_matrices(generator):
    state = random_mps(4, 3, batch_size=2, dtype=torch.complex128, generator=generator)
    vectors = bloch_vectors(state)
    rho = one_site_density_matrices(state)
    for axis, pauli in enumerate(PAULIS.values()):
        expected = torch.einsum("bspq,qp->bs", rho, pauli)
        assert_close(vectors[..., axis], expected.real)
        for site in range(4):
            assert_close(expectation(state, pauli, site), expected[:, site])


def test_real_states_have_no_y_component(generator):
    state = random_mps(3, 2, dtype=torch.float64, generator=generator)
    assert_close(bloch_vectors(state)[..., 1], torch.zeros(1, 3, dtype=torch.float64))


def test_a_long_chain_keeps_unit_trace_in_single_precision(generator):
    state = random_mps(2000, 3, dtype=torch.complex64, generator=generator)
    quiet = MPS(tuple(site / 7 for site in state.sites), state.log_norm)
    rho = one_site_density_matrices(quiet)
    assert_close(torch.einsum("bspp->bs", rho).real, torch.ones(1, 2000))
    assert_close(rho, one_site_density_matrices(state), atol=1e-4, rtol=0)  # 2000 steps


def test_bad_sites_and_mixed_dimensions_are_refused(generator):
    state = random_mps(3, 2, generator=generator)
    with pytest.raises(ValueError, match=r"`site` must lie within 0\.\.2, got 3"):
        reduced_density_matrix(state, 3)
    mixed = MPS((torch.zeros(1, 1, 2, 1), torch.zeros(1, 1, 3, 1)), torch.zeros(1))
    with pytest.raises(ValueError, match="one physical dimension"):
        one_site_density_matrices(mixed)
    with pytest.raises(ValueError, match="must be one of qubits"):
        bloch_vectors(mixed)
