"""Ansätze, families of circuits to train, and named circuits. A new one is a function here.

Parameters of an ansatz are zero at first, which makes every layer the identity.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from mpsheads._arrays import door
from mpsheads._checks import as_integers, check_choice, check_positive
from mpsheads.mps import Circuit

Bond = tuple[int, int]
_Turns = tuple[str, ...]


@door
def staircase(n_sites: int, depth: int = 1) -> Circuit:
    """Layers of a rotation on every site, then controlled gates down the chain to its last site.

    A layer is ZYZ on every site, then a controlled unitary from site 0 to 1, from 1 to 2, and so on
    to the last site: 3 * n_sites + 4 * (n_sites - 1) parameters. Each bond is crossed once a layer,
    so the state needs bond dimension at most 2**depth.

    Args:
        n_sites: Length of the chain. The last site is the one that a head keeps.
        depth: Number of layers.

    Source: Kankeu et al. 2025 (arXiv:2501.04591), whose circuit is one such layer. There the
    control is traced out after each gate; here the entanglement stays.
    """
    return _layered(n_sites, depth, [(site, site + 1) for site in range(n_sites - 1)])


@door
def brickwork(n_sites: int, depth: int = 1) -> Circuit:
    """Layers of a rotation on every site, then controlled gates on all even, then all odd bonds.

    A layer is ZYZ on every site, then a controlled unitary from site 0 to 1, from 2 to 3, and so
    on, then from 1 to 2, from 3 to 4, and so on: 3 * n_sites + 4 * (n_sites - 1) parameters. Each
    bond is crossed once a layer, so the state needs bond dimension at most 2**depth. What is
    measured on one site depends on at most 2 * depth sites to either side.

    Args:
        n_sites: Length of the chain.
        depth: Number of layers.

    Source: the alternating layered ansatz, Cerezo et al. 2021 (arXiv:2001.00550), figure 1, with
    the gates of Kankeu et al. 2025 (arXiv:2501.04591).
    """
    return _layered(n_sites, depth, brickwork_bonds(n_sites))


@door
def ghz(n_sites: int) -> Circuit:
    """From `|00..0>` to `(|00..0> + |11..1>) / sqrt(2)`: a Hadamard gate, then CX down the chain.

    Source: Greenberger, Horne and Zeilinger 1989 (arXiv:0712.0921).
    """
    check_positive(n_sites=n_sites)
    return Circuit(n_sites, [("h", 0), *(("cx", (i, i + 1)) for i in range(n_sites - 1))])


@door
def qft(n_sites: int) -> Circuit:
    """The quantum Fourier transform: `|j>` to the sum of `exp(2 pi i j k / 2**n) |k> / 2**(n/2)`.

    With the swaps at its end, so that j and k are both read with site 0 most significant.

    Source: Nielsen and Chuang, section 5.1, figure 5.1.
    """
    check_positive(n_sites=n_sites)
    gates: list[tuple] = []
    for i in range(n_sites):
        gates.append(("h", i))
        gates += [("cp", (j, i), [math.pi / 2 ** (j - i)]) for j in range(i + 1, n_sites)]
    gates += [("swap", (i, n_sites - 1 - i)) for i in range(n_sites // 2)]
    return Circuit(n_sites, gates)


@door
def trotter_ising(
    n_sites: int, steps: int, time: float = 1.0, coupling: float = 1.0, field: float = 1.0
) -> Circuit:
    """Evolution of an Ising chain in a transverse field, `exp(-i time H)`, in Trotter steps.

    `H = -coupling sum_i Z_i Z_{i+1} - field sum_i X_i`. A step of length t is half of the field's
    part, the bonds, and the other half: its error is of order t**3.

    Args:
        n_sites: Length of the open chain.
        steps: Number of steps.
        time: Time of the whole evolution, in inverse units of the energies.
        coupling: Energy of a bond.
        field: Energy of a site in the field.

    Source: Suzuki 1991 (doi:10.1063/1.529425), equation 2.
    """
    check_positive(n_sites=n_sites, steps=steps)
    step = time / steps
    half = [("rx", i, [-field * step]) for i in range(n_sites)]
    whole = [("rzz", bond, [-2 * coupling * step]) for bond in brickwork_bonds(n_sites)]
    return Circuit(n_sites, [*half, *whole, *half] * steps)


@door
def irredundant(
    n_sites: int,
    bonds: Sequence[Bond],
    kept: Iterable[int],
    readout: str = "probability",
) -> Circuit:
    """Controlled rotations on given bonds, with the fewest rotations that reach the same functions.

    Inputs are products of real qubits. Any two-qubit gate that is controlled is, up to rotations of
    single qubits, one angle; so each bond is a `cry`, and what is to choose are the rotations
    between. Left out are those that

    - no readout sees: all that happens to a qubit after its last gate, unless it is kept, and
      the gates that no kept qubit depends on;
    - commute with the gate that follows, Z with a control and Y with a target: they are merged into
      the rotation after it;
    - only change what the inputs do not have, their Y component.

    So one qubit between two gates takes two angles, not three. A gate whose control is measured by
    nobody afterwards takes the place of a rotation after it. The gates are directed so that the
    qubit that is not needed any more is the control.

    Args:
        n_sites: Length of the chain.
        bonds: Pairs (control, target) in the order of time.
        kept: Sites that are read out.
        readout: "probability" (only Z of the kept sites is seen) or "state" (all of them, up to a
            rotation, which no fidelity sees, with other sites projected on 0).
    """
    check_positive(n_sites=n_sites)
    check_choice("readout", readout, ("probability", "state"))
    pairs, sites = [as_integers("bonds", bond) for bond in bonds], as_integers("kept", kept)
    for name, named in (("bonds", [*pairs, sites]), ("kept", [sites])):
        if not all(0 <= site < n_sites for some in named for site in some):
            raise ValueError(f"`{name}` must name sites within 0..{n_sites - 1}, got {named}.")
    if not all(len(set(pair)) == len(pair) == 2 for pair in pairs):
        raise ValueError(f"`bonds` must be pairs of different sites, got {bonds}.")
    return Circuit(
        n_sites, _irredundant_gates([(a, b) for a, b in pairs], sites, n_sites, readout, {})
    )


@door
def irredundant_staircase(n_sites: int, depth: int = 1, readout: str = "probability") -> Circuit:
    """`staircase` without redundant parameters; the last site is kept.

    Angles, for three sites or more: 3 n - 1 for one layer, 9 n - 7 for two; for the readout
    "state" 7 n - 7 and 12 n - 12. For "probability" a second layer on two sites and a third on
    three reach all observables: more are left out.

    Args:
        n_sites: Length of the chain, n.
        depth: Number of layers.
        readout: As in `irredundant`.
    """
    check_positive(n_sites=n_sites, depth=depth)
    enough, inputs = _ENOUGH.get((n_sites, readout), (depth + 1, {}))
    depth = min(depth, enough)
    steps = [(site, site + 1) for site in range(n_sites - 1)]
    inputs = inputs if depth == enough else {}
    gates = _irredundant_gates(steps * depth, [n_sites - 1], n_sites, readout, inputs)
    if depth > 2 and n_sites > 2 and readout == "probability":
        # what this turn does to the kept site, the last two layers can do as well
        before = [i for i, gate in enumerate(gates) if gate == ("cry", steps[-2])][depth - 3]
        gates.pop(gates.index(("rz", (n_sites - 2,)), before))
    return Circuit(n_sites, gates)


_TURNS: dict[str, _Turns] = {  # what comes before, by what is sensitive to it afterwards
    "z": ("rz", "ry"),  # only Z is seen
    "0": ("rz", "ry"),  # projected on 0
    "control": ("rz", "ry"),  # up to Z, which commutes with a control
    "target": ("ry", "rz"),  # up to Y, which commutes with a target
    "all": ("zyz",),
    "free": (),  # all is seen, but rotations do not count
}
_ENOUGH: dict[tuple[int, str], tuple[int, dict[int, _Turns]]] = {
    # layers with which a block of so many sites reaches everything, and its first rotations then
    (2, "probability"): (2, {0: ("ry",), 1: ()}),
    (3, "probability"): (3, {1: ("rz",), 2: ()}),
}


def _irredundant_gates(
    bonds: Sequence[Bond],
    kept: Iterable[int],
    n_sites: int,
    readout: str,
    inputs: Mapping[int, _Turns],
) -> list[tuple[str, tuple[int, ...]]]:
    """The gates of `irredundant`, found from the measurement backwards.

    A site's state says what later gates see of it: a key of `_TURNS`, or "" for nothing.
    """
    seen = dict.fromkeys(range(n_sites), "0" if readout == "state" else "")
    seen |= dict.fromkeys(kept, "z" if readout == "probability" else "free")
    gates: list[tuple[str, tuple[int, ...]]] = []  # last to first
    met: dict[int, int] = {}  # control, needed for nothing else, and target, with no gate before

    def turn(site: int, turns: _Turns) -> None:
        gates.extend((name, (site,)) for name in reversed(turns))

    for first, second in reversed(bonds):
        if not (seen[first] or seen[second]):
            continue
        control, target = (first, second) if seen[second] else (second, first)
        met = {c: t for c, t in met.items() if not {c, t} & {control, target}}
        if not seen[control]:
            seen[control] = "z"
            met[control] = target
        else:
            turn(control, _TURNS[seen[control]])
            seen[control] = "control"
        if seen[target] == "z":  # the gate is turned instead: the rotation before it has three
            seen[target] = "all"
        else:
            turn(target, _TURNS[seen[target]])
            seen[target] = "target"
        gates.append(("cry", (control, target)))
    for site, what in seen.items():
        if what == "all":
            turn(site, inputs.get(site, ("ry", "rz")))
        elif what == "z" and seen[met.get(site, site)] == "target":
            turn(site, ("ry",))  # its Z seen as Z or X of less length, the target makes up for that
        elif what:
            turn(site, inputs.get(site, _TURNS[what]))
    return gates[::-1]


@door
def brickwork_bonds(n_sites: int) -> list[Bond]:
    """The bonds of a layer of `brickwork`: all even ones, then all odd ones."""
    return [(site, site + 1) for first in (0, 1) for site in range(first, n_sites - 1, 2)]


def _layered(n_sites: int, depth: int, bonds: Iterable[Bond]) -> Circuit:
    """Layers of ZYZ on every site, then controlled unitaries on the given bonds."""
    check_positive(n_sites=n_sites, depth=depth)
    turns = [("zyz", (site,)) for site in range(n_sites)]
    return Circuit(n_sites, [*turns, *(("controlled-unitary", bond) for bond in bonds)] * depth)
