"""What the figures share: colours, fonts, axes, panels, and how a figure becomes a file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mpsheads._files import as_path, replacing
from mpsheads._optional import optional_import
from mpsheads._typing import PathLike

INK, QUIET, GRID = "#222222", "#6B6B6B", "#E6E6E6"
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7A7A7A"  # Okabe and Ito
COLOUR_MAP = "Blues"  # lightness alone tells values apart
FONT = 14
DOTTED = (0, (1, 2))
_COLOURS = {
    "mps": BLUE,
    "reference": ORANGE,
    "dense": GREEN,
    "pca": "#B5488B",
    "truncation": GREY,
    "uncompressed": INK,
}
_MORE = ("#A67700", "#5D3A9B", "#1B93A8", "#882255", "#2F4F4F")  # dark enough for names
_DPI = 160


def colour_of(method: str, among: Sequence[str] = ()) -> str:
    """The colour of a method, the same in all figures of mpsheads.

    Args:
        method: Its name.
        among: All methods of the figure: those without a colour of their own take some in turn.
    """
    others = [other for other in dict.fromkeys([*among, method]) if other not in _COLOURS]
    return _COLOURS.get(method) or _MORE[others.index(method) % len(_MORE)]


def new_figure(title: str, subtitle: str, *, width: float = 11.0, height: float = 6.0) -> Any:
    """A white figure, inches wide and high, with a bold heading and a quiet line below it."""
    module = optional_import("matplotlib.figure", "retrieval")
    figure = module.Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    look = {"va": "center", "x": 0.22 / width}
    figure.text(
        **look, y=1 - 0.42 / height, s=title, fontsize=FONT + 6, fontweight="bold", color=INK
    )
    figure.text(**look, y=1 - 0.8 / height, s=subtitle, fontsize=FONT, color=QUIET)
    return figure


def draw_panels(
    panels: Sequence[Callable[[Any], None]],
    path: PathLike,
    *,
    title: str,
    subtitle: str = "",
    wide: float = 5.7,
) -> Path:
    """Draw panels side by side, and write them to a picture.

    Args:
        panels: Each draws into the axes of matplotlib that it is given.
        path: Where the picture goes; the ending, such as .png, .svg or .pdf, gives the format. It
            appears when it is complete.
        title: Heading.
        subtitle: A second, quieter line, such as the name of the collection.
        wide: Inches of a panel with its labels.

    Returns:
        The path.

    Raises:
        ValueError: If the format is unknown.
        ImportError: If matplotlib is missing.
    """
    width, height = len(panels) * wide, 6.05
    figure = new_figure(title, subtitle, width=width, height=height)
    size = ((wide - 1.25) / width, 3.45 / height)
    for place, draw in enumerate(panels):
        draw(figure.add_axes(((place * wide + 0.9) / width, 0.85 / height, *size)))
    return save_figure(figure, path)


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


def check_format(path: PathLike) -> None:
    """Raise `ValueError` unless the ending of `path` is that of a picture format."""
    module = optional_import("matplotlib.backend_bases", "retrieval")
    formats = module.FigureCanvasBase.get_supported_filetypes()
    if as_path(path).suffix.lower().lstrip(".") not in formats:
        raise ValueError(f"`path` {str(path)!r} must end in one of .{', .'.join(sorted(formats))}.")


def save_figure(figure: Any, path: PathLike) -> Path:
    """Write a figure in the format that the ending of `path` names; it appears when complete."""
    path = as_path(path)
    check_format(path)
    ending = path.suffix.lower().lstrip(".")
    dated = {"metadata": {"Date": None}} if ending == "svg" else {}  # else no two files are equal
    same = {"svg.hashsalt": "mpsheads"}  # nor would names of parts be
    with replacing(path) as file, optional_import("matplotlib", "retrieval").rc_context(same):
        figure.savefig(file, format=ending, **dated)
    return path
