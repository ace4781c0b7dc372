"""Local observables of shallow circuits, each from its own light cone, all of them in parallel.

What a measurement on a few sites sees of a circuit are the gates of its light cone; all others are
unitary and cancel. Sites of a regular circuit have cones of the same form, which are one batch: a
chain of 768 sites costs what a window of a few sites costs, and is never walked site by site.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from mpsheads._checks import as_integers, check_equal
from mpsheads._constants import indices
from mpsheads.mps.arguments import check_sites, check_weights
from mpsheads.mps.circuit import Circuit
from mpsheads.mps.heisenberg import Step, evolve_observable, live_steps, pauli_string
from mpsheads.mps.linalg import to_unit
from mpsheads.mps.products import Rows, as_rows, chain_expectation, dense_expectation
from mpsheads.mps.rotations import Rotations, as_rotations, rotate
from mpsheads.mps.state import MPS, trim_bonds

Places = tuple[tuple[int, ...], ...]

_SMALL = 4  # up to this window, an observable is held as all of its Pauli strings


@dataclass(frozen=True, eq=False)
class Cones:
    """Light cones of the same form: one circuit on the sites of a window.

    Attributes:
        circuit: The gates, with a parameter vector of their own.
        letters: The observable on the window.
        rotations: The circuit as rotations, where the window is small and all gates are some.
        steps: Elsewhere, the circuit's layers, and what of bonds can differ from zero.
        rows: Which of the observables asked for they are.
        sites: For each the sites of its window, `(cones, window)`.
        parameters: Where their parameters stand in the whole circuit's, those of each together.
    """

    circuit: Circuit
    letters: str
    rotations: Rotations | None
    steps: tuple[Step, ...]
    rows: list[int]
    sites: list[tuple[int, ...]]
    parameters: list[int]

    def own(self, parameters: Float[Tensor, " parameters"]) -> Float[Tensor, "cones _"]:
        """The parameters of each cone; a view where they follow each other."""
        count = self.circuit.num_parameters
        if not count:
            return parameters.new_zeros(len(self.rows), 0)
        first, many = self.parameters[0], len(self.parameters)
        if self.parameters == list(range(first, first + many)):
            return parameters[first : first + many].view(-1, count)
        return parameters[indices(self.parameters, parameters)].view(-1, count)

    def window_rows(self, row_of: Sequence[int] | None = None) -> list[Rows]:
        """For each site of the window, which site of the register, or its row, each cone has."""
        columns = zip(*self.sites, strict=True)
        return [as_rows([row_of[s] if row_of else s for s in column]) for column in columns]


Observable = tuple[Tensor, ...]
"""One tensor `(strings, cones)`, or the sites `(cones, left, strings, right)` of operators."""


def evolve_cones(
    cones: Cones, parameters: Float[Tensor, "cones _"], paulis: Sequence[int] = (0, 1, 2, 3)
) -> Observable:
    """The observables of light cones of the same form, evolved backwards through their circuits.

    `paulis` are the Pauli matrices, as places in `1XYZ`, that the inputs have values of, the
    identity first; the others vanish. Real product states see nothing of Y: `(0, 1, 3)`.
    """
    if cones.rotations is not None:
        observable = rotate(cones.letters, cones.rotations, parameters)
        if len(paulis) < 4:
            words = product(map(str, paulis), repeat=len(cones.letters))  # in base 4
            strings = [int("".join(word), 4) for word in words]
            observable = observable.index_select(0, indices(strings, observable))
        return (observable,)
    like = {"dtype": parameters.dtype, "device": parameters.device}
    string = pauli_string(cones.letters, len(parameters), **like)
    evolved = evolve_observable(string, cones.circuit, parameters, cones.steps)
    if len(paulis) < 4:
        sites = tuple(site.index_select(2, indices(paulis, site)) for site in evolved.sites)
        evolved = trim_bonds(MPS(sites, evolved.log_norm))
    return evolved.sites


def meet_inputs(
    observable: Observable,
    components: Float[Tensor, "_components sites states"],
    rows: Sequence[Rows],
) -> Float[Tensor, "cones states"]:
    """Expectation values of what `evolve_cones` gives in product states.

    `components` are the values of `paulis` but the identity in each input qubit; `rows` are those
    of `Cones.window_rows`.
    """
    if observable[0].ndim == 2:
        return dense_expectation(observable[0], components, rows)
    return chain_expectation(observable, components, rows)


def local_expectations(
    amplitudes: Inexact[Tensor, "batch sites 2"],
    circuit: Circuit,
    parameters: Float[Tensor, "*b parameters"] | None = None,
    pauli: str = "Z",
    sites: Sequence[int | Sequence[int]] | None = None,
) -> Float[Tensor, "_batch observables"]:
    """Expectation values of local Pauli observables after a circuit on product states of qubits.

    Equal to evolving the states and contracting all of them, at the cost of the light cones.

    Args:
        amplitudes: Input qubits, `(batch, sites, 2)`, of any norm but zero; norms divide out.
        circuit: The circuit.
        parameters: `(num_parameters,)` shared by all states, or `(batch, num_parameters)`; by
            default those that the circuit came with.
        pauli: Letters of `XYZ`, one for each site of an observable, for example `"ZZ"`.
        sites: For each observable its sites, an integer for a single one. By default all runs of
            neighbouring sites as long as `pauli`.

    Returns:
        `(batch, observables)`, in [-1, 1].

    Raises:
        ValueError: If sites, letters or parameters do not fit, or a qubit is zero or not finite.

    Source: the Heisenberg picture; see `mpsheads.mps.heisenberg`. Cost: O(observables * window *
    bond**2) once, with a bond of up to 4 for each layer of the cone, and O(batch * observables *
    window * bond**2) for the inputs.
    """
    check_equal("number of sites", amplitudes=amplitudes.shape[1], circuit=circuit.num_sites)
    places = _check_places(circuit, pauli, sites)
    parameters = circuit.given(parameters, amplitudes.real).to(amplitudes.real.dtype)
    if len(parameters) > 1 == len(amplitudes):
        amplitudes = amplitudes.expand(len(parameters), -1, -1)
    elif len(parameters) > 1:
        check_equal("batch size", amplitudes=len(amplitudes), parameters=len(parameters))
    components = _pauli_components(amplitudes)
    forms = find_cones(circuit, pauli, places)
    values = torch.cat([_evaluate(cones, components, parameters) for cones in forms])
    rows = [row for cones in forms for row in cones.rows]
    return values[indices(rows, values).argsort()].T


def _evaluate(
    cones: Cones, components: Float[Tensor, "3 sites batch"], parameters: Tensor
) -> Float[Tensor, "cones batch"]:
    """The values of all cones of one form."""
    if len(parameters) == 1:
        return meet_inputs(
            evolve_cones(cones, cones.own(parameters[0])), components, cones.window_rows()
        )
    # a circuit for each cone and each state: every state becomes sites of its own
    batch, sites = components.shape[2], components.shape[1]
    own = parameters[:, indices(cones.parameters, parameters)]
    own = own.view(len(parameters) * len(cones.rows), -1)
    rows: list[Rows] = [
        as_rows([state * sites + site for state in range(batch) for site in column])
        for column in zip(*cones.sites, strict=True)
    ]
    flat = components.permute(0, 2, 1).reshape(3, batch * sites, 1)
    return meet_inputs(evolve_cones(cones, own), flat, rows).reshape(batch, -1).T


def _pauli_components(amplitudes: Tensor) -> Float[Tensor, "3 sites batch"]:
    """Expectation values of X, Y and Z of each input qubit."""
    zero, one = to_unit(amplitudes, 2)[0].permute(1, 0, 2).unbind(-1)  # site batch
    norm = zero.abs() ** 2 + one.abs() ** 2
    check_weights(norm.T, "amplitudes")
    off = zero.conj() * one
    y = off.imag if off.is_complex() else torch.zeros_like(off)
    z = zero.abs() ** 2 - one.abs() ** 2
    return torch.stack([2 * off.real, 2 * y, z]) / norm


@lru_cache(maxsize=64)
def find_cones(circuit: Circuit, pauli: str, places: Places) -> tuple[Cones, ...]:
    """Light cones of local observables, grouped by their form; the last 64 results are kept."""
    by_form: dict[object, Cones] = {}
    for row, sites in enumerate(places):
        operations, window = circuit.influences(sites)
        new = {site: i for i, site in enumerate(window)}
        cone, used = [], []  # operations with parameters of their own, and where these come from
        for op in operations:
            moved = tuple(new[site] for site in op.sites)
            cone.append(replace(op, sites=moved, start=len(used)))
            used += range(op.start, op.stop)
        letters = dict(zip(sites, pauli, strict=True))
        form = ("".join(letters.get(site, "1") for site in window), tuple(cone))
        if form not in by_form:
            part = Circuit(len(window), cone)
            rotations = as_rotations(part) if len(window) <= _SMALL else None
            steps = () if rotations else live_steps(form[0], part)
            by_form[form] = Cones(part, form[0], rotations, steps, [], [], [])
        cones = by_form[form]
        cones.rows.append(row)
        cones.sites.append(window)
        cones.parameters.extend(used)
    return tuple(by_form.values())


def _check_places(
    circuit: Circuit, pauli: str, sites: Sequence[int | Sequence[int]] | None
) -> Places:
    if not pauli or set(pauli) - set("XYZ"):
        raise ValueError(f"`pauli` must be letters of XYZ, at least one, got {pauli!r}.")
    if sites is None:
        sites = [range(i, i + len(pauli)) for i in range(circuit.num_sites - len(pauli) + 1)]
    places = tuple(as_integers("sites", place) for place in sites)
    for place in places:
        if len(place) != len(pauli):
            raise ValueError(
                f"`sites` must name {len(pauli)} sites for each observable, as many as `pauli` has "
                f"letters, got {place}."
            )
        check_sites(place, circuit.num_sites)
    if not places:
        raise ValueError(f"`sites` must name at least one observable; {pauli!r} fits nowhere.")
    return places
