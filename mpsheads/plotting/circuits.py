"""Circuits as pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpsheads._typing import PathLike
from mpsheads.heads import MPSProjectionHead, block_circuit
from mpsheads.mps import Circuit, Operation
from mpsheads.mps.drawing import CONTROL, NOT, SWAP, moments, symbols
from mpsheads.plotting.style import INK, check_format, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIRE = "#9AA0A6"
_FIXED = ("#ECEEF1", "#5F6670")  # fill and edge of gates without parameters
_TRAINED = ("#D6E6F5", "#0072B2")  # of those with parameters
_JOINED = ("#D7EEE5", "#008060")  # of those with parameters that join sites
_MARKS = {
    CONTROL: {"marker": "o", "ms": 6},
    NOT: {"marker": r"$\oplus$", "ms": 15},
    SWAP: {"marker": "x", "ms": 9, "mew": 1.4},
}
_TEXT = {"va": "center", "fontsize": 12, "color": INK, "zorder": 4}
_GAP = 0.34  # between columns; wires are 1 apart
_WIDTH = 24.0  # of a line; longer circuits go on below
_INCH = 0.48  # one unit


def draw_circuit(circuit: Circuit, path: PathLike) -> Path:
    """Draw a circuit: wires from top to bottom, time from left to right.

    Blue boxes are gates of one site with parameters, green ones join sites, grey ones are fixed.

    Args:
        circuit: What to draw.
        path: Where the picture goes; the ending, such as .png, .svg or .pdf, gives the format.

    Raises:
        ValueError: If the format is unknown.
        ImportError: If matplotlib is missing.
    """
    check_format(path)
    figure = new_figure("", "")
    axes = figure.add_axes((0, 0, 1, 1))
    draw_circuit_on(circuit, axes)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    figure.set_size_inches(_INCH * (right - left), _INCH * (top - bottom))
    return save_figure(figure, path)


def draw_head(head: MPSProjectionHead, path: PathLike, block: int = 0) -> Path:
    """Draw the gates that the readout of one block of a head depends on; see `draw_circuit`."""
    return draw_circuit(block_circuit(head, block), path)


def draw_circuit_on(circuit: Circuit, axes: "Axes") -> None:
    """Draw a circuit into axes of matplotlib: sets their limits and aspect, removes their frame."""
    lines: list[list[list[Operation]]] = [[]]
    for column in moments(circuit):
        if lines[-1] and sum(map(_step, [*lines[-1], column])) > _WIDTH:
            lines.append([])
        lines[-1].append(column)
    end = max(sum(map(_step, line)) for line in lines) + _GAP
    high = circuit.num_sites + 0.6
    for row, line in enumerate(lines):
        for site in range(circuit.num_sites):
            y = -row * high - site
            axes.plot([0, end], [y, y], color=_WIRE, linewidth=1.1, zorder=1)
            axes.text(-0.18, y, str(site), ha="right", **_TEXT)
        x = _GAP
        for column in line:
            for operation in column:
                _draw_operation(axes, operation, x + (_step(column) - _GAP) / 2, -row * high)
            x += _step(column)
    axes.set_xlim(-0.35 - 0.2 * len(str(circuit.num_sites - 1)), end + 0.2)
    axes.set_ylim(-len(lines) * high + 1, 0.6)
    axes.set_aspect("equal")
    axes.axis("off")


def _step(column: Sequence[Operation]) -> float:
    """Width of a column, which is that of its widest symbol, and the gap after it."""
    return _GAP + max(_width(symbol) for operation in column for symbol in symbols(operation))


def _width(symbol: str) -> float:
    narrow = sum(character in "†₀₁₂" for character in symbol)
    return 0.4 if symbol in _MARKS else 0.4 + 0.23 * (len(symbol) - narrow) + 0.13 * narrow


def _draw_operation(axes: Any, operation: Operation, x: float, top: float) -> None:
    """One gate, its middle at `x`, on wires below `top`."""
    joined = len(operation.sites) > 1
    fill, edge = (_JOINED if joined else _TRAINED) if operation.num_parameters else _FIXED
    ends = (top - min(operation.sites), top - max(operation.sites))
    axes.plot([x, x], ends, color=edge, linewidth=1.4, zorder=2)
    box = {"boxstyle": "round,pad=0.3", "facecolor": fill, "edgecolor": edge, "linewidth": 1.2}
    for site, symbol in zip(operation.sites, symbols(operation), strict=True):
        if symbol in _MARKS:
            axes.plot(x, top - site, color=edge, zorder=3, **_MARKS[symbol])
        else:
            axes.text(x, top - site, symbol, ha="center", bbox=box, **_TEXT)
