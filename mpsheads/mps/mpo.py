"""Matrix product operators, and the makers of sums of Pauli strings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from numbers import Number
from typing import Any, SupportsIndex

import numpy as np
import torch
from jaxtyping import Inexact
from torch import Tensor

from mpsheads._checks import check_finite, check_positive
from mpsheads.mps.chain import Chain, check_chain, pytree

PauliTerm = str | Mapping[int, str]
Coefficient = int | float | complex | Tensor
_String = tuple[tuple[int, str], ...]  # sites and their letters, from left to right
_Step = tuple[int, int, int, int]  # left state, right state, letter, coefficient: 0 is the number 1


@pytree
@dataclass(frozen=True, repr=False, eq=False)
class MPO(Chain):
    """A matrix product operator with open boundary: one for all states, or one for each state.

    Attributes:
        sites: One tensor `(batch, left, out, in, right)` per site, site 0 leftmost and most
            significant; the first left and the last right bond have dimension 1. A batch of 1 is
            an operator that all states share; otherwise there is one operator for each state.

    Raises:
        ValueError: If there is no site, or batch sizes, bonds, dtypes or devices do not fit, or an
            operator does not map a site to itself.
    """

    sites: tuple[Inexact[Tensor, "batch _left _out _in _right"], ...]

    def __post_init__(self) -> None:
        check_chain(self, "batch, left, out, in, right")
        for i, site in enumerate(self.sites):
            if site.shape[2] != site.shape[3]:
                raise ValueError(f"Site {i} must map a site to itself, got {tuple(site.shape)}.")

    def to(self, *args: Any, **kwargs: Any) -> "MPO":
        """The same operator on another device or in another dtype, as `Tensor.to` takes them."""
        return MPO.unchecked([site.to(*args, **kwargs) for site in self.sites])


def mpo_to_dense(operator: MPO) -> Inexact[Tensor, "batch levels levels"]:
    """Matrices `(batch, out, in)`, site 0 the most significant digit.

    Cost: O(levels**2 * max_bond), `levels` the product of `phys_dims`: for a few sites only.
    """
    matrix = operator.sites[0].new_ones(operator.batch_size, 1, 1, 1)  # b out in w
    for site in operator.sites:
        matrix = torch.einsum("bxyw,bwpqv->bxpyqv", matrix, site)  # b out p in q [w] v
        matrix = matrix.flatten(1, 2).flatten(2, 3)
    return matrix[..., 0]


def pauli_sum(
    terms: Mapping[str, Coefficient] | Iterable[tuple[PauliTerm, Coefficient]],
    n_sites: int,
    *,
    dtype: torch.dtype = torch.complex64,
    device: torch.device | str | None = None,
) -> MPO:
    """A sum of Pauli strings with coefficients.

    Args:
        terms: A mapping, or pairs, of a term and its coefficient. A term is a string with one
            letter of `1XYZ` per site, site 0 first, or a mapping from sites to letters, all other
            sites being left alone. A coefficient is a number, or a tensor, through which gradients
            flow: a single number, or `(batch,)`, one for each operator of a batch.
        n_sites: Number of qubits.
        dtype: Real or complex dtype of the operator. A real one takes strings with an even number
            of Y only.
        device: Where the tensors are made; by default where the coefficients are.

    Returns:
        An operator, or as many as the coefficients have. Bonds are those of a finite automaton
        that shares equal beginnings of the strings left of some site and equal ends right of it,
        the site chosen so that they are smallest: 3 for an Ising chain, 5 for a Heisenberg chain,
        at most n_sites / 2 + 2 for all pairs of one kind.

    Raises:
        ValueError: If a term has another letter, length or site, there is no term, the batch sizes
            of coefficients differ, or a real dtype cannot hold a term.

    Source: Crosswhite and Bacon 2008 (arXiv:0708.1221), sec. III. Cost: O(terms * their length**2).
    """
    check_positive(n_sites=n_sites)
    pairs: list[Any] = list(terms.items() if isinstance(terms, Mapping) else terms)
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"`terms` must be pairs of a term and its coefficient, got {pair!r}.")
    if not pairs:
        raise ValueError("`terms` must hold at least one term.")
    if device is None:
        device = next((v.device for _, v in pairs if isinstance(v, Tensor)), torch.device("cpu"))
    strings = [_support(term, n_sites) for term, _ in pairs]
    values = _coefficients([value for _, value in pairs], strings, dtype, device)
    states, steps = _automaton(strings, n_sites)
    letters = real_paulis(dtype, device).flatten(1)
    tensors = []
    for i in range(n_sites):
        left, right = states[i : i + 2]
        a, b, letter, value = torch.tensor(steps[i], device=device).T
        blocks = values[:, value, None] * letters[letter]  # b edges (out in)
        tensor = letters.new_zeros(len(values), left * right, 4).index_add(1, a * right + b, blocks)
        tensors.append(tensor.reshape(-1, left, right, 2, 2).permute(0, 1, 3, 4, 2))
    return MPO.unchecked(tensors)


def real_paulis(dtype: torch.dtype, device: torch.device | str) -> Inexact[Tensor, "4 2 2"]:
    """The Pauli matrices 1, X, Y / i and Z: real, so that real states need no complex numbers."""
    rows = [[1, 0, 0, 1], [0, 1, 1, 0], [0, -1, 1, 0], [1, 0, 0, -1]]
    return torch.tensor(rows, dtype=dtype, device=device).reshape(4, 2, 2)


def ising_hamiltonian(
    n_sites: int,
    coupling: Coefficient = 1.0,
    field: Coefficient = 1.0,
    *,
    dtype: torch.dtype = torch.complex64,
) -> MPO:
    """The transverse-field Ising chain `-coupling * sum Z Z - field * sum X`, of bond 3.

    Pauli matrices, neighbours of an open chain. Arguments as for `pauli_sum`.
    """
    bonds = [({i: "Z", i + 1: "Z"}, -coupling) for i in range(n_sites - 1)]
    fields = [({i: "X"}, -field) for i in range(n_sites)]
    return pauli_sum([*bonds, *fields], n_sites, dtype=dtype)


def heisenberg_hamiltonian(
    n_sites: int,
    coupling: Coefficient = 1.0,
    field: Coefficient = 0.0,
    *,
    dtype: torch.dtype = torch.complex64,
) -> MPO:
    """The Heisenberg chain `coupling * sum (X X + Y Y + Z Z) + field * sum Z`, of bond 5.

    Pauli matrices, neighbours of an open chain: a factor of 4 over spin-1/2 operators. Arguments as
    for `pauli_sum`.
    """
    bonds = [({i: p, i + 1: p}, coupling) for i in range(n_sites - 1) for p in "XYZ"]
    fields = [({i: "Z"}, field) for i in range(n_sites)]
    return pauli_sum([*bonds, *fields], n_sites, dtype=dtype)


def _support(term: PauliTerm, n_sites: int) -> _String:
    """The letters of a term that are not the identity, with their sites, from left to right."""
    if isinstance(term, str):
        if len(term) != n_sites:
            raise ValueError(
                f"A string of `terms` must have one letter for each of {n_sites} sites, got "
                f"{term!r}. A mapping from sites to letters names only some."
            )
        term = dict(enumerate(term))
    if not isinstance(term, Mapping) or not all(isinstance(site, SupportsIndex) for site in term):
        raise TypeError(f"`terms` must be strings, or mappings from sites to letters, got {term}.")
    for site, letter in term.items():
        if letter not in ("1", "X", "Y", "Z") or not 0 <= site < n_sites:
            raise ValueError(
                f"`terms` must have letters of 1XYZ on sites within 0..{n_sites - 1}, got "
                f"{letter!r} on site {site}."
            )
    return tuple(sorted((site, letter) for site, letter in term.items() if letter != "1"))


def _coefficients(
    values: Sequence[Coefficient],
    strings: Sequence[_String],
    dtype: torch.dtype,
    device: torch.device | str,
) -> Tensor:
    """`(batch, 1 + terms)`: a one, then each coefficient times i for every Y of its string."""
    if any(not isinstance(value, Number | Tensor | np.ndarray) for value in values):
        raise TypeError(f"The coefficients of `terms` must be numbers or tensors, got {values}.")
    phases = [1j ** (sum(letter == "Y" for _, letter in string) % 4) for string in strings]
    if not dtype.is_complex:
        odd = [i for i, phase in enumerate(phases) if phase.imag]
        if odd or any(torch.as_tensor(value).is_complex() for value in values):
            raise ValueError(
                f"`dtype` must be complex where a term has an odd number of Y or a complex "
                f"coefficient, got {dtype}."
            )
        phases = [phase.real for phase in phases]
    tensors = [torch.as_tensor(value, dtype=dtype, device=device).reshape(-1) for value in values]
    sizes = {len(tensor) for tensor in tensors} - {1}
    if len(sizes) > 1:
        raise ValueError(
            f"The coefficients of `terms` must be single numbers or agree in their batch size, "
            f"got {sorted(sizes)}."
        )
    batch = sizes.pop() if sizes else 1
    one = torch.ones(batch, dtype=dtype, device=device)
    columns = torch.stack([one, *(tensor.expand(batch) for tensor in tensors)], dim=1)
    check_finite("terms", columns[:, 1:].T)
    return columns * torch.tensor([1, *phases], device=device)


def _automaton(strings: Sequence[_String], n_sites: int) -> tuple[list[int], list[list[_Step]]]:
    """A finite automaton that reads the strings: the states on each bond, the steps at each site.

    Left of the site that carries its coefficient a string is known by its beginning, right of it by
    its end. That site is as near to `_middle` as the string reaches. Bond i lies left of site i.
    """
    middle = _middle(strings, n_sites)
    spans = [(string[0][0], string[-1][0]) if string else (middle, middle) for string in strings]
    states: list[dict[object, int]] = [{} for _ in range(n_sites + 1)]
    steps: list[dict[_Step, None]] = [{} for _ in range(n_sites)]  # ordered, each once

    def step(i: int, left: object, right: object, letter: str, coefficient: int) -> None:
        a = states[i].setdefault(left, len(states[i]))
        b = states[i + 1].setdefault(right, len(states[i + 1]))
        steps[i][a, b, "1XYZ".index(letter), coefficient] = None

    for t, (string, (first, last)) in enumerate(zip(strings, spans, strict=True), start=1):
        weighted, letters = min(max(first, middle), last), dict(string)
        keys = [
            ("begin", _cut(string, bond)[0]) if bond <= weighted else ("end", _cut(string, bond)[1])
            for bond in range(first, last + 2)
        ]
        for i, (left, right) in enumerate(pairwise(keys), start=first):
            step(i, left, right, letters.get(i, "1"), t if i == weighted else 0)
    for i in range(max(first for first, _ in spans)):  # strings that have not begun
        step(i, ("begin", ()), ("begin", ()), "1", 0)
    for i in range(min(last for _, last in spans) + 1, n_sites):  # strings that are over
        step(i, ("end", ()), ("end", ()), "1", 0)
    return [len(bond) for bond in states], [list(site) for site in steps]


def _middle(strings: Sequence[_String], n_sites: int) -> int:
    """The site for which states by beginnings to its left and by ends to its right are fewest."""
    begins: list[set[_String]] = [set() for _ in range(n_sites + 1)]
    ends: list[set[_String]] = [set() for _ in range(n_sites + 1)]
    for string in strings:
        for bond in range(string[0][0] + 1, string[-1][0] + 1) if string else ():
            begin, end = _cut(string, bond)
            begins[bond].add(begin)
            ends[bond].add(end)
    before = list(accumulate((len(s) ** 2 for s in begins), initial=0))
    after = list(accumulate((len(s) ** 2 for s in ends), initial=0))
    return min(range(n_sites), key=lambda m: before[m + 1] + after[-1] - after[m + 1])


def _cut(string: _String, bond: int) -> tuple[_String, _String]:
    """The letters before a bond and those after it."""
    count = sum(site < bond for site, _ in string)
    return string[:count], string[count:]
