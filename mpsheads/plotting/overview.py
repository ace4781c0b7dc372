"""One picture of all that the others show."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from mpsheads._typing import PathLike
from mpsheads.mps import MPS
from mpsheads.plotting.angles import Bits, angle_histogram_on, code_bits_on
from mpsheads.plotting.distances import distance_distributions_on
from mpsheads.plotting.entanglement import block_entropy_on, entanglement_entropy_on
from mpsheads.plotting.learned import CODE_BITS, EntropyProfile, PairDistances, entropy_profile
from mpsheads.plotting.quality import check_format, quality_vs_bytes_on
from mpsheads.plotting.style import FONT, INK, new_figure, save_figure

_COLUMNS = 3
_WIDE, _HIGH = 4.7, 3.9  # inches of a panel with its labels
_HEADING = 1.15


def overview(
    path: PathLike,
    *,
    states: MPS | Iterable[MPS] | EntropyProfile | None = None,
    z: Tensor | None = None,
    output_range: tuple[float, float] | None = None,
    distances: Sequence[PairDistances] = (),
    results: Sequence[Mapping[str, Any]] = (),
    measure: str = "nDCG@10",
    output_name: str = "angle",
    bits: Bits = CODE_BITS,
    title: str = "What the head has learned",
    subtitle: str = "",
) -> Path:
    """Draw the panels of all figures side by side; what is not given is left out.

    Args:
        path: Where the picture goes; the ending, such as .png, .svg or .pdf, gives the format. It
            appears when it is complete.
        states: As in `entanglement_entropy`.
        z: Outputs of a head for some texts, `(texts, outputs)`.
        output_range: Lower and upper end of an output; by default those in `z`, and then the use
            of codes is not shown, since it depends on the range.
        distances: As in `distance_distributions`.
        results: As in `quality_vs_bytes`.
        measure: Which measure of the results is drawn.
        output_name: What an output is.
        bits: Widths of codes whose use is shown.
        title: Heading.
        subtitle: A second, quieter line, such as the name of the collection.

    Returns:
        The path.

    Raises:
        ValueError: If there is nothing to draw, or the format is unknown.
        ImportError: If matplotlib is missing.
    """
    check_format(Path(path))
    panels: list[tuple[str | None, Callable[[Any], None]]] = []
    if states is not None:
        profile = states if isinstance(states, EntropyProfile) else entropy_profile(states)
        in_blocks = len(profile.blocks) > 1
        draw = block_entropy_on if in_blocks else entanglement_entropy_on
        panels.append(
            ("entanglement inside the blocks" if in_blocks else None, partial(draw, profile))
        )
    if z is not None:
        low, high = output_range or (float(z.min()), float(z.max()))
        histogram = partial(angle_histogram_on, z, low=low, high=high, name=output_name)
        panels.append(("outputs", histogram))
        if output_range:
            panels.append((None, partial(code_bits_on, z, bits=bits, low=low, high=high)))
    panels += [(None, partial(distance_distributions_on, panel)) for panel in distances]
    if results:
        panels.append((None, partial(quality_vs_bytes_on, results, measure=measure)))
    if not panels:
        raise ValueError("Give at least one of `states`, `z`, `distances` and `results`.")
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    width, height = columns * _WIDE, rows * _HIGH + _HEADING
    figure = new_figure(title, subtitle, width=width, height=height)
    for place, (name, draw) in enumerate(panels):
        row, column = divmod(place, columns)
        left = (column * _WIDE + 0.9) / width
        bottom = ((rows - 1 - row) * _HIGH + 0.85) / height
        axes = figure.add_axes((left, bottom, (_WIDE - 1.1) / width, (_HIGH - 1.45) / height))
        draw(axes)
        if name is not None:
            axes.set_title(name, loc="left", fontsize=FONT, color=INK, pad=10)
    return save_figure(figure, path)
