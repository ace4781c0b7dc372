"""The numbers behind the figures, against laws and plain loops."""

import math

import pytest
import torch
from torch.testing import assert_close

from mpsheads.heads import MPSProjectionHead
from mpsheads.mps import add, entanglement_entropy, ghz_state, product_state, random_mps
from mpsheads.plotting import EntropyProfile, PairDistances, code_entropy, entropy_profile
from mpsheads.plotting.learned import too_few
from mpsheads.similarity import quantize


def blocks_of(*entropies, kept=()):
    """A profile of one text; a bond without entropy joins two blocks."""
    row = torch.tensor([entropies])
    return EntropyProfile(row, (row[0] > 0).float(), kept)


def test_the_profile_holds_the_entropies_of_all_batches_in_bits(generator):
    states = [random_mps(6, 3, batch_size=n, generator=generator) for n in (2, 3)]
    profile = entropy_profile(iter(states))
    expected = torch.cat([entanglement_entropy(state, base=2) for state in states])
    assert_close(profile.entropies, expected)
    assert profile.blocks == [range(6)]
    one = entropy_profile(states[0])
    assert_close(one.entropies, expected[:2])


def test_no_state_exceeds_the_limit_and_a_ghz_state_meets_it_at_bond_dimension_2(generator):
    random = entropy_profile(random_mps(7, 5, batch_size=20, generator=generator))
    assert (random.entropies <= random.limits + 1e-6).all()
    assert_close(random.limits, torch.tensor([1, 2, math.log2(5), math.log2(5), 2, 1]))
    ghz = entropy_profile(ghz_state(5))
    assert_close(ghz.entropies[0].float(), ghz.limits)


def test_a_bond_cannot_carry_more_than_the_qubits_of_its_shorter_side():
    wide = add(ghz_state(5), ghz_state(5))
    assert wide.bond_dims[0] == 4
    assert entropy_profile(wide).limits.tolist() == [1, 2, 2, 1]


def test_a_head_has_one_block_for_each_kept_qubit(generator):
    head = MPSProjectionHead(12, 4, generator=generator)
    with torch.no_grad():
        head.angles.uniform_(-1, 1, generator=generator)
        state = head.state(torch.randn(5, 12, generator=generator))
    profile = entropy_profile(state, kept_sites=head.kept_sites)
    assert profile.blocks == [range(3), range(3, 6), range(6, 9), range(9, 12)]
    assert profile.limits.tolist() == [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1]
    assert profile.bonds_by_distance == {1: [1, 4, 7, 10], 2: [0, 3, 6, 9]}


def test_bonds_are_counted_from_the_kept_qubit_in_uneven_blocks():
    profile = blocks_of(0.1, 0.2, 0.0, 0.3, 0.0, 0.4, 0.5, kept=(2, 3, 6))
    assert profile.blocks == [range(3), range(3, 5), range(5, 8)]
    assert profile.bonds_by_distance == {1: [1, 3, 5, 6], 2: [0]}


def test_a_block_of_unknown_kept_qubit_counts_from_its_last():
    assert blocks_of(0.1, 0.2, 0.0, 0.3).bonds_by_distance == {1: [1, 3], 2: [0]}


def test_each_block_has_a_strongest_bond_and_single_qubits_have_none():
    profile = blocks_of(0.1, 0.2, 0.0, 0.0, 0.4, 0.3, 0.0, 0.5)
    assert profile.blocks == [range(3), range(3, 4), range(4, 7), range(7, 9)]
    assert profile.strongest == [1, 4, 7]


def test_products_have_no_entropy_and_no_limit():
    profile = entropy_profile(product_state(torch.tensor([[[1.0, 0.0]] * 4])))
    assert not profile.limits.any()
    assert not profile.entropies.any()
    assert not profile.bonds_by_distance


def test_batches_must_be_there_and_fit(generator):
    with pytest.raises(ValueError, match=r"`states` must hold at least one batch"):
        entropy_profile([])
    with pytest.raises(ValueError, match=r"batches with the same number of sites"):
        entropy_profile([random_mps(n, 2, generator=generator) for n in (3, 4)])


def test_equally_frequent_codes_use_all_bits_and_a_constant_none():
    cells = (torch.arange(16) + 0.5) * math.pi / 16
    z = torch.stack([cells.repeat(50), torch.full((800,), 1.0)], dim=1)
    for bits in (1, 2, 4):
        expected = torch.tensor([bits, 0.0], dtype=torch.float64)
        assert_close(code_entropy(quantize(z, bits)), expected)


def test_code_entropy_is_that_of_the_frequencies_with_its_correction():
    z = torch.tensor([[0.1]] * 300 + [[3.0]] * 100)
    p = torch.tensor([0.75, 0.25], dtype=torch.float64)
    corrected = -(p * p.log2()).sum() + 1 / (2 * 400 * math.log(2))
    assert_close(code_entropy(quantize(z, 8)), corrected[None])
    with pytest.raises(ValueError, match=r"`codes` must hold at least one vector"):
        code_entropy(quantize(z, 8)[:0])


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_with_four_texts_a_cell_the_entropy_is_nearly_right(bits, generator):
    many = quantize(torch.rand(200_000, 1, generator=generator).sqrt() * math.pi, bits)
    few = quantize(torch.rand(4 * 2**bits, 200, generator=generator).sqrt() * math.pi, bits)
    assert not too_few(few)
    assert too_few(few[1:])
    assert abs(code_entropy(few).mean() - code_entropy(many).mean()) < 0.05


def distances(relevant, other, **fields):
    return PairDistances("d", torch.as_tensor(relevant), torch.as_tensor(other), **fields)


def test_auc_counts_pairs_in_order_and_ties_half(generator):
    near = torch.randn(30, generator=generator).mul(3).round()
    far = torch.randn(70, generator=generator).mul(4).round() + 3
    order = (near[:, None] < far).float() + (near[:, None] == far).float() / 2
    assert distances(near, far).auc == pytest.approx(float(order.mean()))


def test_the_threshold_makes_the_fewest_errors(generator):
    near, far = (torch.randn(n, generator=generator) + shift for n, shift in ((80, 0), (90, 1.5)))
    found = distances(near, far)

    def errors(threshold):
        return float((near > threshold).float().mean() + (far <= threshold).float().mean())

    assert errors(found.threshold) == pytest.approx(found.overlap)
    assert all(errors(t) >= found.overlap - 1e-6 for t in torch.linspace(-4, 6, 300))


def test_separate_samples_share_nothing_and_equal_ones_everything():
    apart = distances([0.0, 1.0], [2.0, 3.0])
    assert (apart.auc, apart.overlap, apart.threshold) == (1.0, 0.0, 1.0)
    same = distances([1.0, 2.0], [1.0, 2.0])
    assert (same.auc, same.overlap) == (0.5, 1.0)
    wrong_way = distances([2.0, 3.0], [0.0, 1.0])
    assert (wrong_way.auc, wrong_way.overlap) == (0.0, 1.0)


def test_auc_within_queries_sees_pairs_of_one_query_only():
    fields = {
        "relevant_queries": torch.tensor([0, 1, 2]),
        "other_queries": torch.tensor([0, 0, 1, 1]),
    }
    found = distances([1.0, 5.0, 8.0], [0.5, 2.0, 6.0, 7.0], **fields)
    assert found.auc_within_queries == pytest.approx((0.5 + 1.0) / 2)  # query 2 has no others
    assert distances([1.0], [2.0]).auc_within_queries is None


@pytest.mark.parametrize("bad", [[], [float("nan")], [[1.0]]])
def test_distances_must_be_numbers(bad):
    with pytest.raises(ValueError, match=r"`other` must be a non-empty row of finite numbers"):
        distances([1.0], bad)
