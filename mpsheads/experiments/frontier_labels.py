"""Names beside marks: each where it covers the least."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mpsheads._optional import optional_import

_Box = tuple[float, float, float, float]  # left, low, right, high, in pixels
_RADIUS = 7.0  # of a mark, in points


@dataclass(frozen=True)
class Label:
    """A name and its mark.

    Attributes:
        text: The name.
        at: The mark, in data coordinates.
        colour: Of the name.
        is_bold: Whether it is set in bold.
    """

    text: str
    at: tuple[float, float]
    colour: str
    is_bold: bool = False


@dataclass
class _Room:
    """What a name shall not cover, in pixels."""

    marks: list[Any]
    frame: Any
    level: float | None
    wall: float
    taken: list[_Box] = field(default_factory=list)

    def cost(self, box: _Box, radius: float) -> float:
        """Over other names, marks or lines, or out of the axes."""
        left, low, right, high = box
        others = sum(left < c and a < right and low < d and b < high for a, b, c, d in self.taken)
        marks = sum(
            left - radius < x < right + radius and low - radius < y < high + radius
            for x, y in self.marks
        )
        cost = 100.0 * others + 8.0 * marks
        cost += 4.0 * (self.level is not None and low < self.level < high)
        cost += 3.0 * (left < self.wall < right)
        frame = self.frame
        outside = left < frame.x0 or right > frame.x1 or low < frame.y0 or high > frame.y1
        return cost + 200.0 * outside


def place_labels(
    axes: Any,
    labels: Sequence[Label],
    *,
    avoid: Sequence[tuple[float, float]],
    level: float | None,
    wall: float,
    size: float,
) -> None:
    """Write names into axes, one after the other, each where it covers the least; above is better.

    Text that is there already is not covered either.

    Args:
        axes: With their final limits.
        labels: The names.
        avoid: All marks, in data coordinates.
        level: Height of a horizontal line, `None` if there is none.
        wall: Place of a vertical line.
        size: Of the font, in points.
    """
    figure = axes.figure
    backend = optional_import("matplotlib.backends.backend_agg", "retrieval")
    renderer = backend.FigureCanvasAgg(figure).get_renderer()
    pixel = figure.dpi / 72
    to_pixels = axes.transData.transform
    low = axes.get_ylim()[0]
    room = _Room(
        marks=[to_pixels(mark) for mark in avoid],
        frame=axes.get_window_extent(renderer),
        level=None if level is None else float(to_pixels((wall, level))[1]),
        wall=float(to_pixels((wall, low))[0]),
    )
    for text in axes.texts:
        extent = text.get_window_extent(renderer)
        room.taken.append((extent.x0, extent.y0, extent.x1, extent.y1))
    for label in labels:
        text = _write(axes, label, size)
        extent = text.get_window_extent(renderer)
        half, tall = extent.width / 2 + 2 * pixel, extent.height / 2 + pixel
        x, y = to_pixels(label.at)
        best, least, box = (0.0, 0.0), math.inf, (x, y, x, y)
        for right, up in _offsets(extent.width / pixel):
            a, b = x + right * pixel, y + up * pixel
            tried = (a - half, b - tall, a + half, b + tall)
            cost = room.cost(tried, _RADIUS * pixel) + math.hypot(right, up) / 20 + 3 * (up < 0)
            if cost < least:
                best, least, box = (right, up), cost, tried
        text.set_position(best)
        room.taken.append(box)


def _write(axes: Any, label: Label, size: float) -> Any:
    return axes.annotate(
        label.text,
        label.at,
        xytext=(0, 0),
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=size,
        fontweight="bold" if label.is_bold else "normal",
        color=label.colour,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
        arrowprops={
            "arrowstyle": "-",
            "color": label.colour,
            "linewidth": 0.9,
            "alpha": 0.7,
            "shrinkA": 2,
            "shrinkB": 8,
        },
        zorder=5,
    )


def _offsets(width: float) -> Iterator[tuple[float, float]]:
    """Where the middle of a name may lie from its mark, in points."""
    for sign in (1, -1):
        for step in range(16):
            for side in (-width / 2 - 4, -width / 4, 0.0, width / 4, width / 2 + 4):
                yield side, sign * (18.0 + 10.0 * step)
