from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from mpsheads import oracle
from mpsheads.ansatz import brickwork, staircase
from mpsheads.mps import Circuit
from mpsheads.mps.schedule import layers
from tests.strategies import SEEDS, circuits, dense_circuit, random_product, source

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


@given(circuit=circuits(max_sites=7), rank=RANKS, seed=SEEDS)
def test_layers_in_their_order_are_the_circuit(circuit, rank, seed):
    order = []
    for layer in layers(circuit, factors_of(circuit), rank):
        by_site, _ = events(circuit, [layer])
        order += sorted({index for site in by_site for index, _ in site})
    assert sorted(order) == list(range(len(circuit)))
    sorted_circuit = Circuit(
        circuit.num_sites, tuple(circuit.operations[i] for i in order), circuit.values
    )
    amplitudes = random_product(1, circuit.num_sites, torch.complex128, source(seed))[0]
    start, parameters = oracle.product_vector(amplitudes), circuit.parameters(torch.float64)
    assert_close(
        dense_circuit(start, sorted_circuit, parameters), dense_circuit(start, circuit, parameters)
    )


@pytest.mark.parametrize(("depth", "rank", "count"), [(1, 4, 1), (2, 4, 1), (3, 4, 2), (4, 2, 4)])
@pytest.mark.parametrize("ansatz", [staircase, brickwork])
def test_layers_of_an_ansatz_are_joined_up_to_the_limit(ansatz, depth, rank, count):
    circuit = ansatz(12, depth)
    found = layers(circuit, factors_of(circuit), rank)
    assert len(found) == count
    assert sum(len(layer) for layer in found) < 12 * count  # sites in the bulk are one group
    assert layers(circuit, factors_of(circuit), rank) is found


def test_a_wire_passes_between_the_sites_of_a_distant_gate():
    circuit = Circuit(4, [("cx", (0, 3)), ("swap", (1, 2))])
    factors = factors_of(circuit)
    (layer,) = layers(circuit, factors, 100)
    steps = {site: group.steps for group in layer for site in group.sites}
    assert [(step.kind is None, step.leg) for step in steps[1]] == [(True, 2), (False, 0)]
    wire = steps[1][0].factor(factors, 2)[0, 0]
    assert wire.shape == (2, 2, 2, 2)
    eye = torch.eye(2, dtype=wire.dtype)
    assert_close(wire, torch.einsum("ac,qp->aqpc", eye, eye))


def test_part_of_a_group_keeps_the_places_of_its_sites():
    circuit = Circuit(5, [("rx", i) for i in (3, 1, 4, 0, 2)])
    (layer,) = layers(circuit, factors_of(circuit), 4)
    (group,) = layer
    assert group.sites == (0, 1, 2, 3, 4)
    assert list(group.steps[0].places) == [3, 1, 4, 0, 2]
    part = group.part([1, 3])
    assert part.sites == (1, 3)
    assert list(part.steps[0].places) == [1, 0]
    assert group.part(range(5)) is group
