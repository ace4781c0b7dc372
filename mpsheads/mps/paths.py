"""Einsum strings along the cheapest path, which is found once for each set of shapes.

opt_einsum finds the path. Its steps are kept as plain numbers: which operands meet, and how each
pair becomes one batched matrix product. `einsum` replays them on any device, for autograd,
`torch.func` and `torch.compile` alike.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from math import prod
from operator import index

import opt_einsum
import torch
from torch import Tensor

from mpsheads._checks import as_integers

Shapes = tuple[tuple[int, ...], ...]
Product = tuple[tuple[int, ...], ...]
Step = tuple[tuple[int, ...], str, Product | None]


@dataclass(frozen=True)
class ContractionPath:
    """The order in which an einsum is contracted, and what it costs.

    Attributes:
        subscripts: The whole contraction.
        positions: Which operands each step takes from the list; its result goes to the end.
        steps: The contraction of each step.
        flops: Additions and multiplications of numbers; a complex one is worth 2 or 6 real ones.
        largest_intermediate: Numbers in the largest tensor that is made, the result included.
    """

    subscripts: str
    positions: tuple[tuple[int, ...], ...]
    steps: tuple[str, ...]
    flops: int
    largest_intermediate: int


def einsum(subscripts: str, *operands: Tensor) -> Tensor:
    """`torch.einsum` along the cheapest path, which is found once for each set of shapes.

    Args:
        subscripts: As for `torch.einsum`, with letters for all axes and the result spelled out.
        operands: The tensors, all of one dtype and device.

    Raises:
        ValueError: If axes of one letter differ in length; an axis of length 1 does not broadcast.
    """
    shapes = tuple([tuple(x.shape) for x in operands])
    if torch.compiler.is_compiling():  # symbolic lengths become numbers, and guards
        shapes = tuple([tuple([index(n) for n in shape]) for shape in shapes])
    tensors = list(operands)
    for positions, step, product in _plan(subscripts, shapes):
        taken = [tensors.pop(i) for i in positions][::-1]
        if product is None:
            tensors.append(torch.einsum(step, *taken))
        else:
            order_a, shape_a, order_b, shape_b, shape, order = product
            a = taken[0].permute(order_a) if order_a else taken[0]
            b = taken[1].permute(order_b) if order_b else taken[1]
            c = torch.bmm(a.reshape(shape_a), b.reshape(shape_b)).view(shape)
            tensors.append(c.permute(order) if order else c)
    return tensors[0]


def contraction_path(subscripts: str, *shapes: tuple[int, ...]) -> ContractionPath:
    """The path that `einsum` takes for operands of these shapes.

    Args:
        subscripts: As for `einsum`.
        shapes: One shape per operand.

    Raises:
        ValueError: If axes of one letter differ in length.
    """
    shapes = tuple(as_integers("shapes", shape) for shape in shapes)
    _sizes(subscripts, shapes)
    _, info = opt_einsum.contract_path(subscripts, *shapes, shapes=True)
    return ContractionPath(
        subscripts,
        tuple(tuple(contraction[0]) for contraction in info.contraction_list),
        tuple(contraction[2] for contraction in info.contraction_list),
        int(info.opt_cost),
        int(info.largest_intermediate),
    )


@lru_cache(maxsize=4096)
def _cached_plan(subscripts: str, shapes: Shapes) -> tuple[Step, ...]:
    path, sizes = contraction_path(subscripts, *shapes), _sizes(subscripts, shapes)
    inputs, _, result = subscripts.partition("->")
    terms, plan = inputs.split(","), []
    for positions, step in zip(path.positions, path.steps, strict=True):
        descending = tuple(sorted(positions, reverse=True))
        taken = [terms.pop(i) for i in descending][::-1]
        terms.append(_natural_order(taken, step) if terms else result)
        step = f"{','.join(taken)}->{terms[-1]}"
        plan.append((descending, step, _product(step, sizes)))
    return tuple(plan)


def _plan(subscripts: str, shapes: Shapes) -> tuple[Step, ...]:
    """The steps as plain numbers; a constant for the compiler."""
    return _cached_plan(subscripts, shapes)


# What `torch.compiler.assume_constant_result` does, which would import the compiler here.
_plan._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _natural_order(taken: list[str], step: str) -> str:
    """The letters that a step leaves, in the order in which a matrix product leaves them."""
    left = step.partition("->")[2]
    shared = [x for x in taken[0] if x in left and x in taken[-1]]
    return "".join(dict.fromkeys([*shared, *(x for x in "".join(taken) if x in left)]))


def _sizes(subscripts: str, shapes: Shapes) -> dict[str, int]:
    """Length of each letter's axis, which must be the same in all operands."""
    inputs, arrow, _ = subscripts.partition("->")
    terms = inputs.split(",")
    if not arrow or "." in subscripts or [*map(len, terms)] != [*map(len, shapes)]:
        raise ValueError(
            f"`subscripts` must name all axes of operands of the shapes {shapes} and the result, "
            f"without '...', got {subscripts!r}."
        )
    sizes: dict[str, int] = {}
    for letter, size in zip("".join(terms), chain.from_iterable(shapes), strict=True):
        if sizes.setdefault(letter, size) != size:
            raise ValueError(
                f"Axes named {letter!r} in `subscripts`, {subscripts!r}, must have one length, got "
                f"{sizes[letter]} and {size}."
            )
    return sizes


def _product(step: str, sizes: dict[str, int]) -> Product | None:
    """The orders and shapes that make a step of two operands one batched matrix product.

    An order that changes nothing is empty. `None` for other numbers of operands, and where a letter
    repeats within one operand or is summed in one alone: `torch.einsum` does those.
    """
    inputs, _, result = step.partition("->")
    terms = inputs.split(",")
    if len(terms) != 2 or any(len(set(term)) < len(term) for term in terms):
        return None
    a, b = terms
    batch = [x for x in a if x in b and x in result]
    summed = [x for x in a if x in b and x not in result]
    rows = [x for x in a if x not in b]
    columns = [x for x in b if x not in a]
    if not set(rows + columns) <= set(result):
        return None
    letters = batch + rows + columns  # as the product leaves them

    def size(some: list[str]) -> int:
        return prod(sizes[x] for x in some)

    def order(old: list[str], new: list[str]) -> tuple[int, ...]:
        return () if old == new else tuple(old.index(x) for x in new)

    return (
        order(list(a), batch + rows + summed),
        (size(batch), size(rows), size(summed)),
        order(list(b), batch + summed + columns),
        (size(batch), size(summed), size(columns)),
        tuple(sizes[x] for x in letters),
        order(letters, list(result)),
    )
