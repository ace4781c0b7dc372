import math

import pytest
import torch

from mpsheads import MPSProjectionHead, fit_grouping
from mpsheads.heads.grouping import _correlation, _mutual_information, _swapped

MEASURES = ("correlation", "mutual_information")


def planted(sizes, generator, make):
    """Features that depend on one hidden number a group, shuffled; and the groups."""
    samples = 2000
    columns = []
    for size in sizes:
        hidden = torch.randn(samples, generator=generator)
        noise = 0.3 * torch.randn(samples, size, generator=generator)
        columns.append(torch.stack([make(hidden, k) for k in range(size)], 1) + noise)
    order = torch.randperm(sum(sizes), generator=generator)
    owner = torch.cat([torch.full((size,), k) for k, size in enumerate(sizes)])
    return torch.cat(columns, 1)[:, order], owner[order].tolist()


def cut(order, num_blocks):
    small, larger = divmod(len(order), num_blocks)
    sizes = [small + (k < larger) for k in range(num_blocks)]
    stops = torch.tensor(sizes).cumsum(0).tolist()
    return [order[stop - size : stop] for stop, size in zip(stops, sizes, strict=True)]


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("sizes", [(3,) * 8, (4, 4, 4, 3, 3), (12, 12), (2,) * 9])
def test_planted_groups_are_recovered(sizes, measure, generator):
    x, owner = planted(sizes, generator, lambda hidden, k: hidden * (-1) ** k)
    order = fit_grouping(x, len(sizes), measure=measure)
    assert sorted(order) == list(range(len(owner)))
    blocks = cut(order, len(sizes))
    assert [len(block) for block in blocks] == list(sizes)
    assert all(len({owner[f] for f in block}) == 1 for block in blocks)


def test_mutual_information_sees_what_correlation_misses(generator):
    def make(hidden, k):  # even and odd functions of a symmetric number: no correlation
        return (hidden, hidden.square(), (3 * hidden).cos())[k] * 1.0

    x, owner = planted((3,) * 6, generator, make)
    whole = {}
    for measure in MEASURES:
        blocks = cut(fit_grouping(x, 6, measure=measure), 6)
        whole[measure] = sum(len({owner[f] for f in block}) == 1 for block in blocks)
    assert whole["mutual_information"] == 6
    assert whole["correlation"] < 6


def test_features_and_blocks_follow_a_chain(generator):
    steps = torch.randn(4000, 24, generator=generator)
    chain = steps.clone()
    for k in range(1, 24):  # each feature depends on the one before
        chain[:, k] = 0.9 * chain[:, k - 1] + 0.44 * steps[:, k]
    shuffle = torch.randperm(24, generator=generator)
    order = [int(shuffle[f]) for f in fit_grouping(chain[:, shuffle], 4)]
    blocks = cut(order, 4)
    for block in blocks:
        assert sorted(block) in (block, block[::-1])
        assert max(block) - min(block) == 5
    firsts = [min(block) for block in blocks]
    assert sorted(firsts) in (firsts, firsts[::-1])


def test_the_order_depends_on_neither_scale_nor_shift_and_is_repeated(generator):
    x, _ = planted((4,) * 4, generator, lambda hidden, k: hidden)
    scale = torch.rand(16, generator=generator) + 0.5
    for measure in MEASURES:
        order = fit_grouping(x, 4, measure=measure)
        assert fit_grouping(x, 4, measure=measure) == order
        assert fit_grouping((x * scale + 2).double(), 4, measure=measure) == order


@pytest.mark.parametrize("measure", MEASURES)
def test_constant_and_repeated_features_do_no_harm(measure, generator):
    x, owner = planted((3,) * 4, generator, lambda hidden, k: hidden)
    x = torch.cat([x, torch.ones(2000, 3)], 1)
    blocks = cut(fit_grouping(x, 5, measure=measure), 5)
    assert sorted(max(block) for block in blocks if min(block) >= 12) == [14]
    assert sum(len({owner[f] for f in b}) == 1 for b in blocks if max(b) < 12) == 4


def test_independent_features_have_no_mutual_information(generator):
    x = torch.randn(3000, 70, generator=generator).double()
    x[:, 69] = x[:, 0]
    found = _mutual_information(x, 8)
    assert found[0, 69] == pytest.approx(math.log(8), abs=0.02)
    found[0, 69] = found[69, 0] = 0
    assert found.max() < 0.02
    assert found.mean() < 0.003


def test_a_head_takes_the_order(generator):
    x, owner = planted((3, 3, 2), generator, lambda hidden, k: hidden)
    head = MPSProjectionHead(8, 3, grouping=fit_grouping(x, 3))
    assert all(len({owner[f] for f in block}) == 1 for block in head.register.blocks)
    assert head(x[:5]).shape == (5, 3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"num_blocks": 9}, ValueError, "`num_blocks` is 9, but `x` has 8 features"),
        ({"num_blocks": 0}, ValueError, "`num_blocks` must be at least 1"),
        ({"measure": "distance"}, ValueError, '`measure` must be one of "correlation"'),
        ({"x": torch.zeros(1, 8)}, ValueError, "at least 2 rows"),
        ({"x": torch.zeros(5, 8), "measure": "mutual_information"}, ValueError, "at least 8 rows"),
        ({"x": torch.full((9, 8), torch.nan)}, ValueError, "`x` must be finite"),
    ],
)
def test_errors_name_what_is_wrong(change, error, message):
    given = {"x": torch.randn(20, 8), "num_blocks": 2} | change
    with pytest.raises(error, match=message):
        fit_grouping(given.pop("x"), given.pop("num_blocks"), **given)


def test_an_order_that_is_none_points_to_the_fit():
    with pytest.raises(ValueError, match="`fit_grouping` finds an order"):
        MPSProjectionHead(4, 2, grouping=[0, 1, 1, 2])


def test_swaps_keep_sizes_within_one(generator):
    x, owner = planted((3, 3, 1), generator, lambda hidden, k: hidden)
    order = sorted(range(7), key=lambda f: owner[f])
    dependence = _correlation(x[:, order].double())  # a block of one would hold more of it
    found = _swapped([[0, 1, 3], [2, 4], [5, 6]], dependence, 3)
    assert sorted(map(len, found)) == [2, 2, 3]
    assert sorted(f for block in found for f in block) == list(range(7))
