"""Circuits drawn as text."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from mpsheads._checks import check_positive
from mpsheads.mps.operation import Operation

CONTROL, NOT, SWAP = PLAIN = "●", "⊕", "×"
"""Symbols that stand on a wire without a box."""

_SYMBOLS: dict[str, tuple[str, ...]] = {  # one for each site, in the order of the gate
    "rx": ("Rx",),
    "ry": ("Ry",),
    "rz": ("Rz",),
    "sdg": ("S†",),
    "tdg": ("T†",),
    "id": ("1",),
    "cp": (CONTROL, "P"),
    "crx": (CONTROL, "Rx"),
    "cry": (CONTROL, "Ry"),
    "crz": (CONTROL, "Rz"),
    "cx": (CONTROL, NOT),
    "cz": (CONTROL, CONTROL),
    "ccx": (CONTROL, CONTROL, NOT),
    "swap": (SWAP, SWAP),
    "controlled-unitary": (CONTROL, "U"),
    "rxx": ("XX", "XX"),
    "ryy": ("YY", "YY"),
    "rzz": ("ZZ", "ZZ"),
    "iswap": ("iSWAP", "iSWAP"),
    "fsim": ("fSim", "fSim"),
    "givens": ("G₀", "G₁"),
    "su4": ("SU4₀", "SU4₁"),
}


def symbols(operation: Operation) -> tuple[str, ...]:
    """What stands on each of an operation's sites, in its order.

    Sites of a gate that is not symmetric in them are numbered; an adjoint has a dagger.
    """
    name = "M" if operation.gate == "matrix" else operation.gate.upper()
    numbers = "₀₁₂"[: len(operation.sites)] if len(operation.sites) > 1 else [""]
    marks = _SYMBOLS.get(operation.gate, tuple(name + number for number in numbers))
    if operation.adjoint:
        return tuple(m if m in PLAIN else f"{m}†".removesuffix("††") for m in marks)
    return marks


def moments(operations: Iterable[Operation]) -> list[list[Operation]]:
    """Operations in columns, as far left as they can stand without their lines crossing."""
    free: dict[int, int] = defaultdict(int)  # the first free column on each wire
    columns: list[list[Operation]] = []
    for operation in operations:
        span = range(min(operation.sites), max(operation.sites) + 1)
        column = max(free[site] for site in span)
        for site in span:
            free[site] = column + 1
        if column == len(columns):
            columns.append([])
        columns[column].append(operation)
    return columns


def draw(operations: Iterable[Operation], num_sites: int, width: int) -> str:
    """Operations on a register as text; see `Circuit.draw`."""
    check_positive(width=width)
    names = [f"{site}: " for site in range(num_sites)]
    margin = max(map(len, names))
    left = [text for name in names for text in (name.rjust(margin), " " * margin)]
    blocks, lines = [], list(left)
    for column in moments(operations):
        cells = _column(column, num_sites)
        if len(lines[0]) + len(cells[0]) > width and len(lines[0]) > margin:
            blocks.append(lines)
            lines = list(left)
        lines = [line + cell for line, cell in zip(lines, cells, strict=True)]
    blocks.append(lines)
    return "\n\n".join(
        "\n".join(line.rstrip() for line in block[:-1]) for block in blocks
    )  # without the gap below the last wire


def _column(operations: Sequence[Operation], num_sites: int) -> list[str]:
    """One column: for each site its wire, and the gap below it."""
    marks: dict[int, str] = {}
    crossed: set[int] = set()  # gaps, numbered by the site above, through which a line runs
    for operation in operations:
        for site, symbol in zip(operation.sites, symbols(operation), strict=True):
            marks[site] = symbol if symbol in PLAIN else f"┤{symbol}├"
        crossed.update(range(min(operation.sites), max(operation.sites)))
    width = max(map(len, marks.values()))
    middle = (width - 1) // 2
    gap = " " * (middle + 1) + "│" + " " * (width - middle)
    cells = []
    for site in range(num_sites):
        mark = marks.get(site, "┼" if site in crossed else "─")
        before = (width - len(mark)) // 2
        cells.append("─" * (before + 1) + mark + "─" * (width - len(mark) - before + 1))
        cells.append(gap if site in crossed else " " * (width + 2))
    return cells
