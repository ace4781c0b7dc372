"""Circuits as pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpsheads._files import replacing
from mpsheads._optional import optional_import
from mpsheads._typing import PathLike
from mpsheads.mps import Circuit, Operation
from mpsheads.mps.drawing import CONTROL, NOT, SWAP, moments, symbols
from mpsheads.plotting.quality import check_format

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _QUIET = "#222222", "#9AA0A6"
_FIXED = ("#ECEEF1", "#5F6670")  # fill and edge of gates without parameters
_TRAINED = ("#D6E6F5", "#0072B2")  # of those with parameters
_JOINED = ("#D7EEE5", "#008060")  # of those with parameters that join sites
_FONT = 12
_BOX = 0.62  # height of a box; wires are 1 apart
_GAP = 0.34  # between columns
_INCH = 0.48  # one unit


def draw_circuit(circuit: Circuit, path: PathLike, *, width: float = 24.0) -> Path:
    """Draw a circuit: wires from top to bottom, time from left to right.

    Blue boxes are gates of one site with parameters, green ones join sites, grey ones are fixed.

    Args:
        circuit: What to draw.
        path: Where the picture goes; the ending, such as .png, .svg or .pdf, gives the format. It
            appears when it is complete.
        width: Length of a line in distances between wires; longer circuits go on below.

    Returns:
        The path.

    Raises:
        ValueError: If the format is unknown, or `width` is not positive.
        ImportError: If matplotlib is missing.
    """
    path = Path(path)
    check_format(path)
    figure_module = optional_import("matplotlib.figure", "retrieval")
    figure = figure_module.Figure(dpi=160, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    draw_circuit_on(circuit, axes, width=width)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    figure.set_size_inches(_INCH * (right - left), _INCH * (top - bottom))
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix.lower().lstrip("."))
    return path


def draw_circuit_on(circuit: Circuit, axes: "Axes", *, width: float = 24.0) -> None:
    """Draw a circuit into axes of matplotlib, as `draw_circuit` does.

    Args:
        circuit: What to draw.
        axes: Where; their limits and aspect are set, their frame is removed.
        width: Length of a line in distances between wires; longer circuits go on below.

    Raises:
        ValueError: If `width` is not positive.
    """
    if not width > 0:
        raise ValueError(f"`width` must be positive, got {width}.")
    lines = _break(moments(circuit), width)
    end = max(sum(_width(column) + _GAP for column in line) for line in lines) + _GAP
    margin = 0.35 + 0.2 * len(str(circuit.num_sites - 1))
    for row, line in enumerate(lines):
        top = -row * (circuit.num_sites + 0.6)
        for site in range(circuit.num_sites):
            y = top - site
            axes.plot([0, end], [y, y], color=_QUIET, linewidth=1.1, zorder=1)
            axes.text(-0.18, y, str(site), ha="right", va="center", fontsize=_FONT, color=_INK)
        x = _GAP
        for column in line:
            for operation in column:
                _draw_operation(axes, operation, x + _width(column) / 2, top)
            x += _width(column) + _GAP
    axes.set_xlim(-margin, end + 0.2)
    axes.set_ylim(-len(lines) * (circuit.num_sites + 0.6) + 1, 0.6)
    axes.set_aspect("equal")
    axes.axis("off")


def _break(columns: list[list[Operation]], width: float) -> list[list[list[Operation]]]:
    """Columns in lines of at most that width, and at least one column."""
    lines: list[list[list[Operation]]] = [[]]
    used = 0.0
    for column in columns:
        step = _width(column) + _GAP
        if lines[-1] and used + step > width:
            lines.append([])
            used = 0.0
        lines[-1].append(column)
        used += step
    return lines


def _width(operations: Sequence[Operation]) -> float:
    """Width of a column: that of its widest symbol."""
    return max(_symbol_width(s) for operation in operations for s in symbols(operation))


def _symbol_width(symbol: str) -> float:
    if symbol in (CONTROL, NOT, SWAP):
        return 0.4
    narrow = sum(character in "†₀₁₂" for character in symbol)
    return max(_BOX, 0.26 + 0.235 * (len(symbol) - narrow) + 0.13 * narrow)


def _draw_operation(axes: Any, operation: Operation, x: float, top: float) -> None:
    """One gate, its middle at `x`, on wires below `top`."""
    patches = optional_import("matplotlib.patches", "retrieval")
    joined = len(operation.sites) > 1
    fill, edge = _FIXED
    if operation.num_parameters:
        fill, edge = _JOINED if joined else _TRAINED
    if joined:
        ends = [top - min(operation.sites), top - max(operation.sites)]
        axes.plot([x, x], ends, color=edge, linewidth=1.4, zorder=2)
    for site, symbol in zip(operation.sites, symbols(operation), strict=True):
        y = top - site
        if symbol == CONTROL:
            axes.add_patch(patches.Circle((x, y), 0.1, color=edge, zorder=3))
        elif symbol == NOT:
            circle = {"facecolor": "white", "edgecolor": edge, "linewidth": 1.4, "zorder": 3}
            axes.add_patch(patches.Circle((x, y), 0.2, **circle))
            for step in ((0.2, 0), (0, 0.2)):
                _stroke(axes, x, y, step, edge)
        elif symbol == SWAP:
            for step in ((0.13, 0.13), (0.13, -0.13)):
                _stroke(axes, x, y, step, edge)
        else:
            wide = _symbol_width(symbol)
            box = patches.FancyBboxPatch(
                (x - wide / 2 + 0.06, y - _BOX / 2 + 0.06),
                wide - 0.12,
                _BOX - 0.12,
                boxstyle="round,pad=0.06",
                facecolor=fill,
                edgecolor=edge,
                linewidth=1.2,
                zorder=3,
            )
            axes.add_patch(box)
            axes.text(
                x, y - 0.015, symbol, ha="center", va="center", fontsize=_FONT, color=_INK, zorder=4
            )


def _stroke(axes: Any, x: float, y: float, step: tuple[float, float], color: str) -> None:
    """A short line through a point."""
    dx, dy = step
    axes.plot([x - dx, x + dx], [y - dy, y + dy], color=color, linewidth=1.4, zorder=4)
