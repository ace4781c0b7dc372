"""Draw the figures of the documentation, as SVG files beside this script.

Run it after a change: `.venv/bin/python docs/figures/draw.py`. A folder as its one argument takes
the files instead.
"""

import sys
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Arc, Circle, FancyBboxPatch, Polygon

INK, MUTED, FAINT = "#1e293b", "#64748b", "#cbd5e1"
BLUE, BLUE_FILL = "#3f51b5", "#e3e8fb"
TEAL, TEAL_FILL = "#0f766e", "#d5f0ec"
AMBER, AMBER_FILL = "#b45309", "#fdebd0"
GREY_FILL = "#f1f5f9"

STYLE = {
    "svg.hashsalt": "mpsheads",
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",
    "mathtext.fontset": "cm",
    "font.size": 11,
    "text.color": INK,
}


def canvas(width: float, height: float) -> Axes:
    """Axes in units of which about 0.55 make an inch, on white, without frame or ticks."""
    scale = 0.55
    figure = plt.figure(figsize=(width * scale, height * scale), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    return axes


def wire(ax: Axes, xs: tuple[float, float], ys: tuple[float, float], **style) -> None:
    """A straight line below everything else."""
    ax.plot(xs, ys, **{"color": INK, "lw": 1.3, "zorder": 1, "solid_capstyle": "round", **style})


def box(ax: Axes, x: float, y: float, text: str, w=0.9, h=0.9, edge=BLUE, fill=BLUE_FILL, **style):
    """A gate: a rounded box with its name, centred at (x, y)."""
    patch = FancyBboxPatch(
        (x - w / 2, y - h / 2),
        w,
        h,
        boxstyle="round,pad=0,rounding_size=0.16",
        facecolor=fill,
        edgecolor=edge,
        linewidth=1.4,
        zorder=3,
    )
    ax.add_patch(patch)
    ax.text(x, y, text, ha="center", va="center_baseline", zorder=4, **style)


def dot(ax: Axes, x: float, y: float, color=TEAL, radius=0.13) -> None:
    """The control of a controlled gate."""
    ax.add_patch(Circle((x, y), radius, color=color, zorder=4, lw=0))


def tensor(ax: Axes, x: float, y: float, text: str, edge=BLUE, fill=BLUE_FILL, radius=0.5) -> None:
    """A tensor: a circle with its name."""
    ax.add_patch(Circle((x, y), radius, facecolor=fill, edgecolor=edge, lw=1.4, zorder=3))
    ax.text(x, y, text, ha="center", va="center_baseline", zorder=4, fontsize=13)


def meter(ax: Axes, x: float, y: float) -> None:
    """A measurement."""
    box(ax, x, y, "", w=1.0, h=0.9, edge=AMBER, fill=AMBER_FILL)
    ax.add_patch(Arc((x, y - 0.18), 0.6, 0.6, theta1=15, theta2=165, color=AMBER, lw=1.4, zorder=4))
    wire(ax, (x, x + 0.24), (y - 0.18, y + 0.24), color=AMBER, lw=1.4, zorder=4)


def discard(ax: Axes, x: float, y: float) -> None:
    """A qubit that is traced out."""
    for i, half in enumerate((0.3, 0.2, 0.1)):
        wire(ax, (x + 0.13 * i, x + 0.13 * i), (y - half, y + half), lw=1.6)


def write(ax: Axes, x: float, y: float, text: str, size=11.0, color=INK, **style) -> None:
    """Text, centred unless said otherwise."""
    ax.text(
        x, y, text, **{"ha": "center", "va": "center", "fontsize": size, "color": color} | style
    )


def draw_block() -> Axes:
    """The circuit of one block of three qubits, two layers of the staircase."""
    ax = canvas(20.6, 6.7)
    rows = (4.6, 3.0, 1.4)
    names = (r"$x_{k+2n}$", r"$x_{k+n}$", r"$x_k$")
    for site, (y, name) in enumerate(zip(rows, names, strict=True)):
        wire(ax, (1.9, 16.6), (y, y))
        write(ax, 0.75, y, name, 14)
        box(ax, 2.6, y, r"$|\theta\rangle$", w=1.1, edge=INK, fill=GREY_FILL, fontsize=13)
        write(ax, 3.55, y + 0.28, f"site {site}", 8.5, MUTED)
    for layer, start in enumerate((4.9, 10.7)):
        for y in rows:
            box(ax, start, y, "$R$", fontsize=14)
        for i in (0, 1):
            x = start + 1.6 + 1.5 * i
            wire(ax, (x, x), (rows[i], rows[i + 1]), color=TEAL, lw=1.6)
            dot(ax, x, rows[i])
            box(ax, x, rows[i + 1], "$U$", edge=TEAL, fill=TEAL_FILL, fontsize=14)
        wire(ax, (start - 0.6, start + 3.7), (5.75, 5.75), color=MUTED, lw=1.0)
        write(ax, start + 1.55, 6.1, f"layer {layer + 1}", 10.5, MUTED)
    write(ax, 2.6, 6.1, "encode", 10.5, MUTED)
    write(ax, 16.7, 6.1, "read out", 10.5, MUTED)
    for y in rows[:2]:
        discard(ax, 16.6, y)
        write(ax, 17.15, y, "traced out", 9.5, MUTED, ha="left")
    meter(ax, 16.5, rows[2])
    write(ax, 17.2, rows[2], r"$z_k = 2\,\arcsin\sqrt{p_1}$", 14, AMBER, ha="left")
    write(
        ax,
        10.3,
        0.35,
        r"$R = R_z(\beta)\,R_y(\gamma)\,R_z(\delta)$,      "
        r"$U = e^{i\alpha}R_z(\beta)\,R_y(\gamma)\,R_z(\delta)$,     each gate has its own angles",
        13,
        MUTED,
    )
    return ax


def draw_rank_two_gate() -> Axes:
    """A controlled gate on two sites of an MPS, split along a bond of two, and absorbed."""
    ax = canvas(20.0, 6.6)
    write(ax, 3.2, 6.1, "apply controlled-$U$", 11, MUTED)
    write(ax, 10.0, 6.1, "split it: exact, rank 2", 11, MUTED)
    write(ax, 16.8, 6.1, "absorb: the bond doubles", 11, MUTED)
    for shift in (0.0, 6.8):
        a, b = 2.0 + shift, 4.4 + shift
        wire(ax, (a - 1.35, b + 1.35), (1.9, 1.9))
        for x, name in ((a, "$A$"), (b, "$B$")):
            wire(ax, (x, x), (1.9, 5.3))
            tensor(ax, x, 1.9, name)
        write(ax, (a + b) / 2, 1.5, r"$\chi$", 12)
    dot(ax, 2.0, 4.0, radius=0.16)
    wire(ax, (2.0, 4.4), (4.0, 4.0), color=TEAL, lw=1.6)
    box(ax, 4.4, 4.0, "$U$", w=1.0, h=1.0, edge=TEAL, fill=TEAL_FILL, fontsize=14)
    wire(ax, (8.8, 11.2), (4.0, 4.0), color=AMBER, lw=3.0)
    tensor(ax, 8.8, 4.0, "$P_j$", TEAL, TEAL_FILL, 0.55)
    tensor(ax, 11.2, 4.0, "$U^j$", TEAL, TEAL_FILL, 0.55)
    write(ax, 10.0, 4.42, "$j = 0, 1$", 11, AMBER)
    for x in (6.6, 13.4):
        write(ax, x, 3.0, "$=$", 18)
    wire(ax, (14.25, 19.35), (1.9, 1.9))
    wire(ax, (15.6, 18.0), (1.9, 1.9), color=AMBER, lw=3.6)
    for x, name in ((15.6, "$A'$"), (18.0, "$B'$")):
        wire(ax, (x, x), (1.9, 3.6))
        tensor(ax, x, 1.9, name)
    write(ax, 16.8, 1.35, r"$2\chi$", 12, AMBER)
    write(ax, 16.8, 4.75, r"$A'_{l,\,p,\,(r\,j)} = \delta_{pj}\,A_{l,\,p,\,r}$", 12.5)
    write(ax, 16.8, 4.15, r"$B'_{(l\,j),\,q,\,r} = \sum_{s}\,(U^j)_{qs}\,B_{l,\,s,\,r}$", 12.5)
    write(
        ax,
        10.0,
        0.4,
        r"$C_U = P_0\otimes 1 + P_1\otimes U$,      $P_0=|0\rangle\langle 0|$,   "
        r"$P_1=|1\rangle\langle 1|$:   no SVD, nothing is cut off",
        13,
        MUTED,
    )
    return ax


def draw_light_cone() -> Axes:
    """Which gates a kept qubit depends on, in a brickwork chain and in blocks."""
    ax = canvas(20.0, 8.7)
    bricks = [[(i, i + 1) for i in range(row % 2, 11, 2)] for row in range(4)]
    _circuit_with_cone(ax, [0.85 + 0.86 * i for i in range(12)], bricks, kept=5)
    write(ax, 5.6, 8.25, "brickwork: the cone widens with every row of gates", 11)
    blocks = [[(i + row % 2, i + row % 2 + 1) for i in (0, 3, 6)] for row in range(4)]
    xs = [11.75 + 0.86 * i + 0.42 * (i // 3) for i in range(9)]
    _circuit_with_cone(ax, xs, blocks, kept=5)
    for i, name in ((1, "$k-1$"), (4, "$k$"), (7, "$k+1$")):
        write(ax, xs[i], 0.72, f"block {name}", 10, MUTED)
    write(ax, (xs[0] + xs[-1]) / 2, 8.25, "staircase in blocks: the cone is the block", 11)
    write(ax, 5.6, 0.72, "inputs", 10, MUTED)
    write(ax, 10.0, 0.15, "grey gates cancel against their inverses", 10, MUTED)
    return ax


def _circuit_with_cone(ax: Axes, xs: list[float], rows: list[list], kept: int) -> None:
    """Rows of gates on wires at `xs`, first row lowest, with the light cone of one wire."""
    levels = [2.1 + row for row in range(len(rows))]
    top = {kept: 6.3}  # how far up each wire of the cone matters
    outline = [(kept, kept, 6.3)]
    touched = set()
    for row in reversed(range(len(rows))):  # from the readout down
        for pair in rows[row]:
            if set(pair) & set(top):
                touched.add((row, pair))
                for site in pair:
                    top.setdefault(site, levels[row])
        outline.append((min(top), max(top), levels[row]))
    outline.append((min(top), max(top), 1.1))
    shade = [(xs[low] - 0.42, y) for low, _, y in outline]
    shade += [(xs[high] + 0.42, y) for _, high, y in reversed(outline)]
    ax.add_patch(Polygon(shade, facecolor=TEAL_FILL, alpha=0.5, lw=0, zorder=0))
    for i, x in enumerate(xs):
        wire(ax, (x, x), (1.1, 6.3), color=FAINT, lw=1.1)
        wire(ax, (x, x), (1.1, top.get(i, 1.1)), lw=1.1, zorder=2)
        ax.add_patch(Circle((x, 1.1), 0.15, color=BLUE if i in top else FAINT, zorder=4, lw=0))
    for row, pairs in enumerate(rows):
        for a, b in pairs:
            edge, fill = (TEAL, TEAL_FILL) if (row, (a, b)) in touched else (FAINT, "white")
            width = xs[b] - xs[a] + 0.5
            box(ax, (xs[a] + xs[b]) / 2, levels[row], "", w=width, h=0.54, edge=edge, fill=fill)
    meter(ax, xs[kept], 6.75)
    write(ax, xs[kept], 7.55, "$z_k$", 14, AMBER)


def draw_heisenberg() -> Axes:
    """The observable of a block, evolved once, then contracted with the inputs of every text."""
    ax = canvas(20.0, 6.9)
    write(ax, 6.2, 6.5, "once a forward pass: evolve the observable", 11)
    write(ax, 16.3, 6.5, "for every text: contract", 11)
    legs = (1.6, 2.8, 4.0)
    for x in legs:
        wire(ax, (x, x), (0.75, 5.85))
    for y, name in ((4.75, r"$U^\dagger$"), (1.85, "$U$")):
        box(ax, 2.8, y, name, w=3.5, h=1.1, edge=TEAL, fill=TEAL_FILL, fontsize=15)
    box(ax, 4.0, 3.3, "$Z$", edge=AMBER, fill=AMBER_FILL, fontsize=14)
    write(ax, 5.75, 3.3, "$=$", 18)
    row = (7.2, 8.9, 10.6)
    _pauli_vector(ax, row, (3.3, 1.6))
    for x in row:
        write(ax, x, 1.2, r"$1, X, Z$", 11, MUTED)
    write(ax, 8.9, 4.5, r"$\sum_{ijk}\, c_{ijk}\;\sigma_i\otimes\sigma_j\otimes\sigma_k$", 13)
    row = (14.1, 15.8, 17.5)
    _pauli_vector(ax, row, (4.1, 2.1))
    for x, site in zip(row, range(3), strict=True):
        tensor(ax, x, 2.1, f"$b_{site}$", BLUE, BLUE_FILL, 0.55)
    write(ax, 18.35, 3.1, r"$=\,\langle Z\rangle$", 15, ha="left")
    write(ax, 15.8, 0.95, r"$b = (1,\;-\sin\theta,\;\cos\theta)$", 13)
    write(ax, 15.8, 5.35, "27 numbers a block of three", 10.5, MUTED)
    wire(ax, (12.35, 12.35), (0.7, 6.0), color=FAINT)
    return ax


def _pauli_vector(ax: Axes, xs: tuple[float, ...], ys: tuple[float, float]) -> None:
    """An operator as a chain of tensors with one leg a site, from `ys[0]` to `ys[1]`."""
    wire(ax, (xs[0], xs[-1]), (ys[0], ys[0]), color=AMBER, lw=3.0)
    for x in xs:
        wire(ax, (x, x), ys)
        tensor(ax, x, ys[0], "$c$", AMBER, AMBER_FILL, 0.55)


def draw_one_particle() -> Axes:
    """A particle on a chain of sites: what a bond knows of it, and a gate that lets it hop."""
    ax = canvas(17.0, 8.3)
    xs = [2.0 + 2.6 * i for i in range(6)]
    write(ax, 8.5, 7.85, "Givens gates let the particle hop, and never make a second one", 11)
    for x in xs:
        wire(ax, (x, x), (4.1, 7.2), color=FAINT)
    hops = [(0, 1, 6.6), (2, 3, 6.6), (4, 5, 6.6), (1, 4, 5.65), (0, 2, 4.7), (3, 5, 4.7)]
    for a, b, y in hops:
        wire(ax, (xs[a], xs[b]), (y, y), color=TEAL, lw=1.6, zorder=2)
        dot(ax, xs[a], y)
        dot(ax, xs[b], y)
    wire(ax, (xs[0], xs[-1]), (2.4, 2.4), lw=3.0)
    for i, x in enumerate(xs):
        wire(ax, (x, x), (2.4, 3.6))
        write(ax, x, 3.8, f"$x_{i + 1}$", 12, BLUE)
        tensor(ax, x, 2.4, "$A$", radius=0.5)
    for left, right in pairwise(xs):
        write(ax, (left + right) / 2, 2.75, "2", 11, AMBER)
    write(ax, 8.5, 1.25, "each bond: the particle is to the left, or it is not", 11, MUTED)
    write(ax, 8.5, 0.5, "two states, so a bond dimension of 2 at any depth", 11, AMBER)
    return ax


def draw_trellis() -> Axes:
    """Bits of a word with the windows over them, and the chain of tensors that is the codebook."""
    ax = canvas(17.0, 7.6)
    bits, left, step = "0110100111010010", 1.2, 0.92
    places = [left + step * i for i in range(len(bits))]
    for x, bit in zip(places, bits, strict=True):
        box(ax, x, 5.5, bit, w=0.72, h=0.72, edge=INK, fill=GREY_FILL)
    write(ax, 8.2, 7.2, "windows of a ring of bits: each moves on by the bits of a step", 11)
    rows = ((4, 12, 6.35, TEAL), (6, 14, 4.65, AMBER))
    for first, last, y, colour in rows:
        ends = places[first] - 0.36, places[last - 1] + 0.36
        wire(ax, ends, (y, y), color=colour, lw=2.4)
        for x in ends:
            wire(ax, (x, x), (y - 0.14, y + 0.14), color=colour, lw=2.4)
    xs = [2.6 + 2.5 * i for i in range(6)]
    wire(ax, (xs[0] - 1.4, xs[-1] + 1.4), (2.2, 2.2), lw=3.0)
    for i, x in enumerate(xs):
        wire(ax, (x, x), (2.2, 3.5))
        edge, fill = {2: (TEAL, TEAL_FILL), 3: (AMBER, AMBER_FILL)}.get(i, (BLUE, BLUE_FILL))
        tensor(ax, x, 2.2, "$T$", edge, fill, 0.55)
        write(ax, x, 3.7, f"values {i + 1}", 9.5, MUTED)
    write(ax, (xs[2] + xs[3]) / 2, 2.65, "shared bits", 9, INK)
    write(
        ax, 8.85, 0.95, "one table for all steps; a bond holds the bits that two windows share", 11
    )
    write(ax, 8.85, 0.3, "(+, ×): all words        (min, +): the nearest word", 11, MUTED)
    return ax


FIGURES = {
    "block": draw_block,
    "rank-two-gate": draw_rank_two_gate,
    "light-cone": draw_light_cone,
    "heisenberg": draw_heisenberg,
    "one-particle": draw_one_particle,
    "trellis": draw_trellis,
}


def main(folder: Path) -> None:
    """Write every figure into `folder`."""
    with mpl.rc_context(STYLE):
        for name, draw in FIGURES.items():
            figure = draw().figure
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
            plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
