"""Local observables of shallow circuits, each from its own light cone, all of them in parallel.

What a measurement on a few sites sees of a circuit are the gates of its light cone; all others are
unitary and cancel. Sites of a regular circuit have cones of the same form, which are one batch: a
chain of 768 sites costs what a window of a few sites costs, and is never walked site by site.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from mpsheads._checks import check_equal
from mpsheads.mps.circuit import Circuit
from mpsheads.mps.heisenberg import evolve_observable, pauli_string, product_expectation

Places = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class _Cones:
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
    components = _pauli_components(amplitudes)  # site component batch
    rows: list[int] = []
    values = []
    for cones in _find_cones(circuit, pauli, places):
        rows += cones.rows
        values.append(_evaluate(cones, components, parameters))
    order = torch.tensor(rows, device=amplitudes.device).argsort()
    return torch.cat(values)[order].T


def _evaluate(
    cones: _Cones, components: Float[Tensor, "sites 3 batch"], parameters: Tensor
) -> Float[Tensor, "cones batch"]:
    """The values of all cones of one form."""
    device, batch = components.device, components.shape[2]
    places = torch.tensor(cones.parameters, device=device, dtype=torch.long)
    inputs = components[torch.tensor(cones.sites, device=device).T]  # window cones 3 batch
    shared = parameters.ndim == 1
    angles = parameters[places] if shared else parameters[:, places].transpose(0, 1).flatten(0, 1)
    if not shared:  # an observable for each cone and each state
        inputs = inputs.transpose(2, 3).flatten(1, 2)[..., None]
    observable = pauli_string(cones.letters, len(angles), dtype=components.dtype).to(device)
    observable = evolve_observable(observable, cones.circuit, angles)
    return product_expectation(observable, inputs).reshape(-1, batch)


def _pauli_components(amplitudes: Tensor) -> Float[Tensor, "sites 3 batch"]:
    """Expectation values of X, Y and Z of each input qubit."""
    zero, one = amplitudes.permute(1, 0, 2).unbind(-1)  # site batch
    norm = (zero.abs() ** 2 + one.abs() ** 2).clamp_min(torch.finfo(zero.dtype).tiny)
    off = zero.conj() * one
    y = off.imag if off.is_complex() else torch.zeros_like(off)
    z = zero.abs() ** 2 - one.abs() ** 2
    return torch.stack([2 * off.real, 2 * y, z], dim=1) / norm[:, None]


def _find_cones(circuit: Circuit, pauli: str, places: Places) -> list[_Cones]:
    """Light cones grouped by their form; kept with the circuit."""
    known = circuit.__dict__.setdefault("_cones", {})
    if (pauli, places) not in known:
        found: dict[object, _Cones] = {}
        for row, sites in enumerate(places):
            cone, window = circuit.light_cone(sites)
            letters = ["1"] * len(window)
            for site, letter in zip(sites, pauli, strict=True):
                letters[window.index(site)] = letter
            form = (
                "".join(letters),
                tuple((op.gate, op.sites, op.adjoint, op.matrix) for op in cone),
            )
            compact, used = _own_parameters(cone)
            cones = found.setdefault(form, _Cones(compact, form[0], [], [], []))
            cones.rows.append(row)
            cones.sites.append(window)
            cones.parameters.append(used)
        known[pauli, places] = list(found.values())
    return known[pauli, places]


def _own_parameters(circuit: Circuit) -> tuple[Circuit, list[int]]:
    """The circuit with a parameter vector that holds only its own, gate after gate."""
    operations, used = [], []
    for operation in circuit:
        operations.append(replace(operation, start=len(used)))
        used += range(operation.start, operation.stop)
    return Circuit(circuit.num_sites, tuple(operations)), used


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
