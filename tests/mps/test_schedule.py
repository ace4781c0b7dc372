from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mpsheads.ansatz import brickwork, staircase
from mpsheads.mps.schedule import layers
from tests.strategies import circuits

RANKS = st.sampled_from([1, 2, 4, 16, 10**9])


def factors_of(circuit):
    return circuit.factors(circuit.parameters(torch.float64))


def numbered(circuit):
    """The operations by kind and by their place among those of their kind."""
    counts, found = {}, {}
    for index, operation in enumerate(circuit):
        place = counts.get(operation.kind, 0)
        counts[operation.kind] = place + 1
        found[operation.kind, place] = index
    return found


def events(circuit, found, reverse=False):
    """For each site the operations that meet it, in the order of the layers, with their legs."""
    indices = numbered(circuit)
    by_site = [[] for _ in range(circuit.num_sites)]
    depth = []
    for number, layer in enumerate(found):
        for group in layer:
            for member, site in enumerate(group.sites):
                for step in group.steps:
                    if step.kind is not None:
                        index = indices[step.kind, int(step.places[member])]
                        by_site[site].append((index, step.leg))
                        depth.append((index, number))
    return by_site, depth


@pytest.mark.slow
@given(circuit=circuits(), rank=RANKS, reverse=st.booleans())
def test_every_site_meets_its_gates_in_the_order_of_the_circuit(circuit, rank, reverse):
    found = layers(circuit, factors_of(circuit), rank, reverse)
    by_site, depth = events(circuit, found)
    for site, met in enumerate(by_site):
        expected = [
            (index, sorted(operation.sites).index(site))
            for index, operation in enumerate(circuit)
            if site in operation.sites
        ]
        assert met == (expected[::-1] if reverse else expected)
    assert all(len({n for i, n in depth if i == index}) == 1 for index, _ in depth)


@given(circuit=circuits(), rank=RANKS)
def test_no_bond_grows_by_more_than_the_limit_unless_by_one_gate_alone(circuit, rank):
    factors = factors_of(circuit)
    for layer in layers(circuit, factors, rank):
        growth, largest = [1] * (circuit.num_sites - 1), [1] * (circuit.num_sites - 1)
        crossing = [0] * (circuit.num_sites - 1)
        for operation in {
            index: list(circuit)[index] for site in events(circuit, [layer])[0] for index, _ in site
        }.values():
            places = sorted(operation.sites)
            shapes = [factor.shape[5] for factor in factors[operation.kind][:-1]]
            for (a, b), bond_rank in zip(pairwise(places), shapes, strict=True):
                for bond in range(a, b):
                    growth[bond] *= bond_rank
                    largest[bond] = max(largest[bond], bond_rank)
                    crossing[bond] += bond_rank > 1
        for total, most in zip(growth, largest, strict=True):
            assert total <= max(rank, most)


@pytest.mark.parametrize(("depth", "rank", "count"), [(1, 4, 1), (2, 4, 1), (3, 4, 2), (4, 2, 4)])
@pytest.mark.parametrize("ansatz", [staircase, brickwork])
def test_layers_of_an_ansatz_are_joined_up_to_the_limit(ansatz, depth, rank, count):
    circuit = ansatz(12, depth)
    found = layers(circuit, factors_of(circuit), rank)
    assert len(found) == count
    assert sum(len(layer) for layer in found) < 12 * count  # sites in the bulk are one group
    assert layers(circuit, factors_of(circuit), rank) is found
