import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mpsheads.mps import Circuit
from mpsheads.mps.drawing import CONTROL, moments, symbols
from mpsheads.mps.gates import FAMILIES
from tests.strategies import circuits

ANY = circuits(max_sites=12, max_gates=20)
MIXED = Circuit(
    4,
    [
        ("h", 0),
        ("cx", (0, 2)),
        ("rzz", (2, 3)),
        (torch.eye(4), (3, 1)),
        ("s", 0),
        ("swap", (0, 1)),
        ("ccx", (3, 0, 1)),
    ],
)


def test_a_circuit_is_drawn_with_wires_boxes_and_controls():
    assert MIXED.draw().splitlines() == [
        "0: ─┤H├──●──┤S├─────────×──●─",
        "         │              │  │",
        "1: ──────┼────────┤M₁├──×──⊕─",
        "         │         │       │",
        "2: ──────⊕──┤ZZ├───┼───────┼─",
        "             │     │       │",
        "3: ─────────┤ZZ├──┤M₀├─────●─",
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_symbol_for_each_site(family):
    count = FAMILIES[family].num_sites
    circuit = Circuit(count, [(family, tuple(range(count)))])
    for one in (circuit, circuit.inverse()):
        assert len(symbols(one.operations[0])) == count


def test_adjoints_have_a_dagger():
    circuit = Circuit(2, [("s", 0), ("sdg", 0), ("cp", (0, 1)), ("h", 0), ("iswap", (0, 1))])
    drawn = [symbols(operation) for operation in circuit.inverse()]
    assert drawn == [("iSWAP†", "iSWAP†"), ("H",), (CONTROL, "P†"), ("S",), ("S†",)]


@pytest.mark.slow
@given(circuit=ANY, width=st.integers(30, 200))
def test_lines_fit_and_hold_every_symbol_once(circuit, width):
    text = circuit.draw(width)
    assert max(map(len, text.splitlines())) <= width
    for wanted in {s for operation in circuit for s in symbols(operation)}:
        drawn = wanted if wanted in "●⊕×" else f"┤{wanted}├"
        count = sum(symbols(operation).count(wanted) for operation in circuit)
        assert text.count(drawn) == count


@given(circuit=ANY)
def test_moments_keep_the_order_on_each_site_and_their_lines_do_not_cross(circuit):
    columns = moments(circuit)
    assert sorted(map(id, circuit)) == sorted(id(op) for column in columns for op in column)
    for column in columns:
        wires = [w for op in column for w in range(min(op.sites), max(op.sites) + 1)]
        assert len(wires) == len(set(wires))
    for site in range(circuit.num_sites):
        inside = [op for op in circuit if site in op.sites]
        drawn = [op for column in columns for op in column if site in op.sites]
        assert list(map(id, inside)) == list(map(id, drawn))


def test_operations_stand_as_far_left_as_they_can():
    circuit = Circuit(3, [("h", 0), ("h", 1), ("cx", (0, 1)), ("x", 2), ("cx", (2, 0)), ("z", 1)])
    gates = [[op.gate for op in column] for column in moments(circuit)]
    assert gates == [["h", "h", "x"], ["cx"], ["cx"], ["z"]]


def test_long_circuits_go_on_below():
    lines = Circuit(1, [("h", 0)] * 6).draw(20).splitlines()
    assert lines == ["0: ─┤H├──┤H├──┤H├─", "", "0: ─┤H├──┤H├──┤H├─"]


def test_an_empty_circuit_has_its_wires():
    assert Circuit(2, []).draw() == "0:\n\n1:"
    with pytest.raises(ValueError, match="`width` must be at least 1"):
        Circuit(2, []).draw(0)
