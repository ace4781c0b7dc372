"""Local observables of shallow circuits, each from its own light cone, all of them in parallel.

What a measurement on a few sites sees of a circuit are the gates of its light cone; all others are
unitary and cancel. Sites of a regular circuit have cones of the same form, which are one batch: a
chain of 768 sites costs what a window of a few sites costs, and is never walked site by site.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from mpsheads._checks import check_equal, is_concrete
from mpsheads.mps.circuit import Circuit
from mpsheads.mps.heisenberg import (
    evolve_string,
    live_bonds,
    product_expectation,
    select_components,
)
from mpsheads.mps.operation import Operation
from mpsheads.mps.products import Rows, as_rows, chain_expectation, dense_expectation, pick
from mpsheads.mps.state import MPS
from mpsheads.mps.transfer import evolve_dense

Places = tuple[tuple[int, ...], ...]

_SMALL = 4  # up to this window, an observable is held as all of its Pauli strings
_LARGEST = 8  # the largest for which it can be


@dataclass(frozen=True, eq=False)
class Cones:
    """Light cones of the same form: one circuit on the sites of a window.

    Attributes:
        circuit: The gates, with a parameter vector of their own.
        letters: The observable on the window.
        rows: Which of the observables asked for they are.
        sites: For each the sites of its window, `(cones, window)`.
        parameters: For each where its parameters stand in the whole circuit's.
    """

    circuit: Circuit
    letters: str
    rows: list[int]
    sites: list[tuple[int, ...]]
    parameters: list[list[int]]

    def own(self, parameters: Float[Tensor, " parameters"]) -> Float[Tensor, "cones _"]:
        """The parameters of each cone; a view where they follow each other."""
        count = self.circuit.num_parameters
        if not count:
            return parameters.new_zeros(len(self.rows), 0)
        flat = [place for places in self.parameters for place in places]
        if flat == list(range(flat[0], flat[0] + len(flat))):
            return parameters[flat[0] : flat[0] + len(flat)].view(-1, count)
        return parameters[torch.tensor(self.parameters, device=parameters.device)]

    def window_rows(self, row_of: Sequence[int] | None = None, group: int = 1) -> list[Rows]:
        """For each site of the window, which site of the register it is for each cone.

        Args:
            row_of: The row that stands for each site, where these are in another order.
            group: Sites that share a row: one entry for each group of the window.
        """
        columns = list(zip(*self.sites, strict=True))[::group]
        return [as_rows([row_of[s] if row_of else s for s in column]) for column in columns]


Observable = tuple[Tensor, ...]
"""One tensor `(strings, cones)`, or the sites `(cones, left, strings, right)` of operators."""


def evolve_cones(
    cones: Cones,
    parameters: Float[Tensor, "cones _"],
    kept: Sequence[int] = (0, 1, 2, 3),
    group: int = 1,
) -> Observable:
    """The observables of light cones of the same form, evolved backwards through their circuits.

    Args:
        cones: The cones.
        parameters: Those of each cone, `Cones.own`.
        kept: The identity, 0, and the Pauli strings of a group, as numbers in base 4, that the
            inputs have values of; the others vanish.
        group: Neighbouring sites whose inputs are entangled; 1 for product states.

    Raises:
        ValueError: If the window of entangled inputs has more than 8 sites.
    """
    width = len(cones.letters)
    if group > 1 and width > _LARGEST:
        raise ValueError(
            f"The readout depends on {width} qubits; for entangled inputs, {_LARGEST} is the most."
        )
    if group == 1 and width > _SMALL:
        observable = evolve_string(cones.letters, cones.circuit, parameters)
        return select_components(observable, kept).sites
    observable = evolve_dense(cones.letters, cones.circuit, parameters)
    if len(kept) < 4**group:
        strings = _strings(kept, 4**group, width // group).to(observable.device)
        observable = observable.index_select(0, strings)
    return (observable,)


def meet_inputs(
    observable: Observable,
    components: Float[Tensor, "_components sites states"],
    rows: Sequence[Rows],
) -> Float[Tensor, "cones states"]:
    """Expectation values of the observables of light cones in product states.

    Args:
        observable: What `evolve_cones` gives.
        components: Expectation values of Pauli strings in each group of input qubits, those of
            `kept` after the first.
        rows: For each group of the window which rows of `components` it is, `Cones.window_rows`.
    """
    if len(observable) == 1 and observable[0].ndim == 2:
        return dense_expectation(observable[0], components, rows)
    if is_concrete(components):
        return chain_expectation(observable, components, rows)
    picked = torch.stack([pick(components, site) for site in rows])  # window component cones i
    operators = MPS.unchecked(list(observable), observable[0].new_zeros(len(observable[0])))
    return product_expectation(operators, picked.transpose(1, 2))


def _strings(kept: Sequence[int], base: int, digits: int) -> Tensor:
    """The numbers with so many digits, all among `kept`."""
    found, choice = torch.zeros(1, dtype=torch.long), torch.tensor(kept)
    for _ in range(digits):
        found = (base * found[:, None] + choice).flatten()
    return found


def local_expectations(
    amplitudes: Inexact[Tensor, "batch sites 2"],
    circuit: Circuit,
    parameters: Float[Tensor, "*b parameters"] | None = None,
    pauli: str = "Z",
    sites: Sequence[int | Sequence[int]] | None = None,
) -> Float[Tensor, "batch observables"]:
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
        ValueError: If sites, letters or parameters do not fit.

    Source: the Heisenberg picture; see `mpsheads.mps.heisenberg`. Cost: O(observables * window *
    bond**2) once, with a bond of up to 4 for each layer of the cone, and O(batch * observables *
    window * bond**2) for the inputs.
    """
    check_equal("number of sites", amplitudes=amplitudes.shape[1], circuit=circuit.num_sites)
    places = _check_places(circuit, pauli, sites)
    if parameters is None:
        real = amplitudes.real.dtype
        parameters = circuit.parameters(dtype=real, device=amplitudes.device)
    elif parameters.ndim == 2:
        check_equal("batch size", amplitudes=len(amplitudes), parameters=len(parameters))
    components = _pauli_components(amplitudes)
    rows: list[int] = []
    values = []
    for cones in find_cones(circuit, pauli, places):
        rows += cones.rows
        values.append(_evaluate(cones, components, parameters))
    order = torch.tensor(rows, device=amplitudes.device).argsort()
    return torch.cat(values)[order].T


def _evaluate(
    cones: Cones, components: Float[Tensor, "3 sites batch"], parameters: Tensor
) -> Float[Tensor, "cones batch"]:
    """The values of all cones of one form."""
    if parameters.ndim == 1:
        return meet_inputs(
            evolve_cones(cones, cones.own(parameters)), components, cones.window_rows()
        )
    # a circuit for each cone and each state: every state becomes sites of its own
    batch, sites = components.shape[2], components.shape[1]
    own = parameters[:, torch.tensor(cones.parameters, device=parameters.device, dtype=torch.long)]
    rows: list[Rows] = [
        as_rows([state * sites + site for state in range(batch) for site in column])
        for column in zip(*cones.sites, strict=True)
    ]
    flat = components.permute(0, 2, 1).reshape(3, batch * sites, 1)
    return meet_inputs(evolve_cones(cones, own.flatten(0, 1)), flat, rows).reshape(batch, -1).T


def _pauli_components(amplitudes: Tensor) -> Float[Tensor, "3 sites batch"]:
    """Expectation values of X, Y and Z of each input qubit."""
    zero, one = amplitudes.permute(1, 0, 2).unbind(-1)  # site batch
    norm = (zero.abs() ** 2 + one.abs() ** 2).clamp_min(torch.finfo(zero.dtype).tiny)
    off = zero.conj() * one
    y = off.imag if off.is_complex() else torch.zeros_like(off)
    z = zero.abs() ** 2 - one.abs() ** 2
    return torch.stack([2 * off.real, 2 * y, z]) / norm


@lru_cache(maxsize=64)
def find_cones(circuit: Circuit, pauli: str, places: Places, group: int = 1) -> tuple[Cones, ...]:
    """Light cones of local observables, grouped by their form; the last 64 results are kept.

    Args:
        circuit: The circuit.
        pauli: Letters of `XYZ`, one for each site of an observable.
        places: The sites of each observable.
        group: Windows are made of whole groups of so many neighbouring sites.

    Cost: O(gates in all cones).
    """
    on_site: list[list[int]] = [[] for _ in range(circuit.num_sites)]
    for number, operation in enumerate(circuit):
        for site in operation.sites:
            on_site[site].append(number)
    by_form: dict[object, Cones] = {}
    for row, sites in enumerate(places):
        operations, window = _light_cone(circuit, on_site, sites)
        starts = sorted({site // group * group for site in window})
        window = tuple(site for start in starts for site in range(start, start + group))
        new = {site: i for i, site in enumerate(window)}
        cone, used = _own_parameters(operations, new)
        letters = ["1"] * len(window)
        for site, letter in zip(sites, pauli, strict=True):
            letters[new[site]] = letter
        form = ("".join(letters), tuple(cone))
        if form not in by_form:
            by_form[form] = Cones(Circuit(len(window), cone), form[0], [], [], [])
        cones = by_form[form]
        cones.rows.append(row)
        cones.sites.append(window)
        cones.parameters.append(used)
    for cones in by_form.values():
        if group == 1 and len(cones.letters) > _SMALL:
            live_bonds(cones.letters, cones.circuit)  # now, since no tracing may see it
    return tuple(by_form.values())


def _light_cone(
    circuit: Circuit, on_site: list[list[int]], sites: Sequence[int]
) -> tuple[list[Operation], set[int]]:
    """What `Circuit.light_cone` finds, without a look at all other gates."""
    window: set[int] = set()
    waiting: list[int] = []
    kept: list[int] = []

    def enter(site: int, before: int) -> None:
        window.add(site)
        for number in on_site[site]:
            if number < before:
                heapq.heappush(waiting, -number)

    for site in sites:
        enter(site, len(circuit))
    while waiting:
        number = -heapq.heappop(waiting)
        if kept and kept[-1] == number:
            continue
        kept.append(number)
        for site in circuit.operations[number].sites:
            if site not in window:
                enter(site, number)
    return [circuit.operations[number] for number in reversed(kept)], window


def _own_parameters(
    operations: Sequence[Operation], new: dict[int, int]
) -> tuple[list[Operation], list[int]]:
    """Operations on new sites with parameters of their own, and where these come from."""
    moved, used = [], []
    for operation in operations:
        sites = tuple(new[site] for site in operation.sites)
        moved.append(replace(operation, sites=sites, start=len(used)))
        used += range(operation.start, operation.stop)
    return moved, used


def _check_places(
    circuit: Circuit, pauli: str, sites: Sequence[int | Sequence[int]] | None
) -> Places:
    if not pauli or set(pauli) - set("XYZ"):
        raise ValueError(f"`pauli` must be letters of XYZ, at least one, got {pauli!r}.")
    if sites is None:
        sites = [range(i, i + len(pauli)) for i in range(circuit.num_sites - len(pauli) + 1)]
    places = tuple((place,) if isinstance(place, int) else tuple(place) for place in sites)
    for place in places:
        if len(place) != len(pauli) or len(set(place)) != len(place):
            raise ValueError(
                f"`sites` must name {len(pauli)} different sites for each observable, as many as "
                f"`pauli` has letters, got {place}."
            )
        if not all(0 <= site < circuit.num_sites for site in place):
            raise ValueError(f"`sites` must lie within 0..{circuit.num_sites - 1}, got {place}.")
    if not places:
        raise ValueError(f"`sites` must name at least one observable; {pauli!r} fits nowhere.")
    return places
