"""What the figures share: colours, fonts, headings, axes, and how a figure becomes a file."""

from pathlib import Path
from typing import Any

from mpsheads._files import replacing
from mpsheads._optional import optional_import
from mpsheads._typing import PathLike

INK, QUIET, GRID = "#222222", "#6B6B6B", "#E6E6E6"
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7A7A7A"  # Okabe and Ito
SHADES = ("#0072B2", "#E69F00", "#009E73", "#B5488B", "#56B4E9", "#D55E00", "#5D3A9B")
COLOUR_MAP = "Blues"  # lightness alone tells values apart
FONT = 14
_DPI = 160


def new_figure(title: str, subtitle: str, *, width: float = 11.0, height: float = 6.0) -> Any:
    """A white figure, inches wide and high, with a bold heading and a quiet line below it."""
    module = optional_import("matplotlib.figure", "retrieval")
    figure = module.Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    left = 0.22 / width
    figure.text(
        left, 1 - 0.42 / height, title, fontsize=FONT + 6, fontweight="bold", color=INK, va="center"
    )
    figure.text(left, 1 - 0.8 / height, subtitle, fontsize=FONT, color=QUIET, va="center")
    return figure


def tidy(axes: Any, *, title: str = "", xlabel: str = "", ylabel: str = "") -> None:
    """Large labels, no ticks, only the lower edge of the frame, and a quiet grid of heights."""
    axes.set_title(title, loc="left", fontsize=FONT, color=INK, pad=10)
    axes.set_xlabel(xlabel, fontsize=FONT, color=INK, labelpad=6)
    axes.set_ylabel(ylabel, fontsize=FONT, color=INK, labelpad=6)
    axes.tick_params(labelsize=FONT - 1, length=0, colors=INK, pad=6)
    axes.grid(axis="y", color=GRID, linewidth=1)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color("#B0B0B0")


def whole_numbers(axis: Any, most: int) -> None:
    """At most `most` ticks, at whole numbers."""
    ticker = optional_import("matplotlib.ticker", "retrieval")
    axis.set_major_locator(ticker.MaxNLocator(most, integer=True))


def save_figure(figure: Any, path: PathLike) -> Path:
    """Write a figure in the format that the ending of `path` names, which the caller has checked.

    The file appears when it is complete.
    """
    path = Path(path)
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix.lower().lstrip("."))
    return path
