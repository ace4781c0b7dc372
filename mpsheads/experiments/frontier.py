"""Quality against bytes: what was measured, its Pareto front, and what to take for a budget."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpsheads._checks import check_positive
from mpsheads.experiments.rows import UNCOMPRESSED, Line, Row, Table, make_tables
from mpsheads.experiments.sentences import LEVEL, number, signed
from mpsheads.experiments.statistics import Comparison, Scores, compare, correct, mean_interval

MARGIN = 0.01
"""A row counts as tied with the best only if its measure is less than this below."""
_SAMPLES = 10_000
_NAMED = 4  # tied rows that a sentence names


@dataclass(frozen=True)
class Point:
    """A row of the frontier with how sure it is.

    Attributes:
        row: The row; `kept` is the part of the uncompressed float32 vectors' mean.
        interval: 95% bootstrap interval over queries of its mean.
        p_uncompressed: P-value against uncompressed float32 vectors, corrected by Holm's method
            for the number of rows; `None` for these, and where there is no test.
        p_pca: The same against PCA of as many bytes: of the row's own size and bits if it was
            measured, else of the most numbers.
    """

    row: Row
    interval: tuple[float, float]
    p_uncompressed: float | None
    p_pca: float | None


@dataclass(frozen=True)
class Recommendation:
    """What to take for a budget.

    Attributes:
        budget: Bytes a vector.
        row: What to take.
        best: The row of the highest mean within the budget.
        tied: The other rows that are not told apart from `best`; `row` may be one.
        kept: The mean of `row` as a part of that of uncompressed vectors; `None` without these.
        interval: 95% bootstrap interval over queries of `kept`.
        comparison: `row` with `best`, corrected for all rows within the budget; `None` if it is it.
        sentence: All of this in words.
    """

    budget: int
    row: Row
    best: Row
    tied: tuple[Row, ...]
    kept: float | None
    interval: tuple[float, float] | None
    comparison: Comparison | None
    sentence: str


def frontier_table(lines: Iterable[Line]) -> Table:
    """The table of result lines of one encoder and one training collection.

    Rows without all tests or without a number of bytes are left out, and `kept` is the part of
    uncompressed float32 vectors' mean.

    Raises:
        ValueError: If there are no lines, or those of several encoders or training collections.
    """
    tables = make_tables(lines, UNCOMPRESSED)
    if len(tables) != 1:
        held = ", ".join(f"{table.encoder} on {table.train or 'nothing'}" for table in tables)
        raise ValueError(
            f"`lines` must hold the results of one encoder and one training collection, got "
            f"{held or 'none'}."
        )
    table = tables[0]
    whole = [row for row in table.rows if row.mean is not None and row.bytes is not None]
    plain = uncompressed_row(whole)
    kept = [_mean(row) / _mean(plain) if plain and plain.mean else None for row in whole]
    rows = (replace(row, kept=k, comparison=None) for row, k in zip(whole, kept, strict=True))
    return replace(table, rows=tuple(rows), curves=())


def uncompressed_row(rows: Sequence[Row]) -> Row | None:
    """The row of uncompressed float32 vectors, `None` if it is not there."""
    found = (row for row in rows if row.method == UNCOMPRESSED and (row.bits or 32) == 32)
    return next(found, None)


def pareto_front(rows: Sequence[Row]) -> list[Row]:
    """The rows that no other beats, by their bytes.

    A row is beaten if another has at least its mean at no more bytes, and is better in one of
    them; rows that are equal in both stay. Rows without a mean or bytes are left out.
    """
    front: list[Row] = []
    highest = -np.inf
    known = [row for row in rows if row.mean is not None and row.bytes is not None]
    for row in sorted(known, key=lambda row: (_bytes(row), -_mean(row))):
        equal = front and (_bytes(row), _mean(row)) == (_bytes(front[-1]), _mean(front[-1]))
        if _mean(row) > highest or equal:
            front.append(row)
            highest = _mean(row)
    return front


def measure_points(rows: Sequence[Row]) -> list[Point]:
    """Each row with its interval and tests, in their order."""
    plain = uncompressed_row(rows)
    against = [plain if row is not plain else None for row in rows]
    pca = [_pca_of(row, rows) for row in rows]
    intervals = (mean_interval(row.scores) for row in rows)
    columns = zip(rows, intervals, _tests(rows, against), _tests(rows, pca), strict=True)
    return [Point(*columns) for columns in columns]


def recommend(rows: Sequence[Row], budget: int, *, margin: float = MARGIN) -> Recommendation:
    """The row to take for a budget of bytes.

    The best is that of the highest mean within the budget. A row is tied with it if a paired
    randomisation test over queries does not tell the two apart (Holm's method corrects for all rows
    within the budget) and its mean is at most `margin` below: with few queries a test alone tells
    nothing apart. Of the best and the tied, the one of fewest parameters is taken, then of fewest
    bytes, then of the highest mean.

    Args:
        rows: As in the table of `frontier_table`.
        budget: Most bytes a vector.
        margin: See above, in units of the measure.

    Raises:
        ValueError: If no row fits the budget.
    """
    check_positive(budget=budget)
    known = [row for row in rows if row.mean is not None and row.bytes is not None]
    within = [row for row in known if _bytes(row) <= budget]
    if not within:
        least = min((_bytes(row) for row in known), default=None)
        way_out = f"the smallest vector measured has {least:,}" if least else "nothing was measured"
        raise ValueError(
            f"Nothing fits `budget` {budget}, in bytes a vector: {way_out}. Give a larger one, or "
            f"measure fewer numbers or bits."
        )
    best = min(within, key=lambda row: (-_mean(row), *_cost(row)))
    others = [row for row in within if row is not best]
    found = correct([compare(row.scores, best.scores) for row in others])
    comparisons = dict(zip(map(id, others), found, strict=True))
    tied = [row for row in others if _is_tied(comparisons[id(row)], margin)]
    row = min([best, *tied], key=lambda row: (*_cost(row), -_mean(row)))
    plain = uncompressed_row(rows)
    kept, interval = None, None
    if plain is not None and plain.mean:
        kept, interval = _mean(row) / plain.mean, _ratio_interval(row.scores, plain.scores)
    tied.sort(key=lambda row: -_mean(row))
    chosen = Recommendation(
        budget, row, best, tuple(tied), kept, interval, comparisons.get(id(row)), ""
    )
    return replace(chosen, sentence=_sentence(chosen))


def label_of(row: Row) -> str:
    """A row in short, such as "mps 128 x 4": method, numbers, bits."""
    return f"{row.label} {row.size}×{row.bits or 32}"


def describe(row: Row) -> str:
    """A row in words, such as "mps with 128 numbers of 4 bits"."""
    what = "codes" if row.method in ("pq", "opq") else "numbers"
    bits = row.bits or 32
    return f"{row.label} with {row.size} {what} of {bits} bit{'s' * (bits > 1)}"


def percentage(part: float) -> str:
    """A part in percent with one decimal."""
    return f"{100 * part:.1f}%"


def _sentence(chosen: Recommendation) -> str:
    row = chosen.row
    count = row.parameters or 0
    parameters = f"{count:,} parameter{'s' * (count != 1)}" if count else "no parameters"
    text = f"Within {chosen.budget:,} bytes take {describe(row)} ({_bytes(row):,} bytes, "
    text += f"{parameters}): "
    if chosen.kept is None or chosen.interval is None:
        text += f"it has {number(row.mean)}"
    else:
        low, high = (percentage(value) for value in chosen.interval)
        text += f"it keeps {percentage(chosen.kept)} [{low}, {high}] of the uncompressed quality"
    others = [other for other in chosen.tied if other is not row]
    if chosen.comparison is not None:
        difference = signed(chosen.comparison.difference)
        text += f", is not told apart from the best, {label_of(chosen.best)} ({difference})"
        text += f", nor are {_listed(others)}" if len(others) > 1 else ""
        text += f", nor is {_listed(others)}" if len(others) == 1 else ""
    elif others:
        text += f"; it is the best measured, and {_listed(others)} "
        text += f"{'is' if len(others) == 1 else 'are'} not told apart from it"
    else:
        text += "; it is the best measured, and none is tied with it"
    return f"{text}."


def _listed(rows: Sequence[Row]) -> str:
    named = [label_of(row) for row in rows[:_NAMED]]
    if len(rows) > _NAMED:
        return f"{', '.join(named)} and {len(rows) - _NAMED} more"
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def _is_tied(comparison: Comparison, margin: float) -> bool:
    p = comparison.p_queries
    return (p is None or p >= LEVEL) and comparison.difference >= -margin - 1e-12


def _cost(row: Row) -> tuple[int, int]:
    return row.parameters or 0, _bytes(row)


def _bytes(row: Row) -> int:
    assert row.bytes is not None
    return row.bytes


def _mean(row: Row) -> float:
    assert row.mean is not None
    return row.mean


def _pca_of(row: Row, rows: Sequence[Row]) -> Row | None:
    """PCA of as many bytes, of the same size if there is one."""
    equal = [other for other in rows if other.method == "pca" and other.bytes == row.bytes]
    if row.method in ("pca", UNCOMPRESSED) or not equal:
        return None
    same = [other for other in equal if (other.size, other.bits) == (row.size, row.bits)]
    return max(same or equal, key=lambda other: other.size)


def _tests(rows: Sequence[Row], against: Sequence[Row | None]) -> list[float | None]:
    pairs = zip(rows, against, strict=True)
    found = [compare(row.scores, other.scores) if other else None for row, other in pairs]
    corrected = iter(correct([comparison for comparison in found if comparison]))
    return [next(corrected).p_queries if comparison else None for comparison in found]


def _ratio_interval(a: Scores, b: Scores, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap of the ratio of two means over tests; both see the same queries."""
    random = np.random.default_rng(seed)
    above, below = np.zeros(_SAMPLES), np.zeros(_SAMPLES)
    first, second = _by_query(a), _by_query(b)
    for test, queries in first.items():
        x = np.array(list(queries.values()))
        y = np.array([second[test][query_id] for query_id in queries])
        counts = random.multinomial(len(x), np.full(len(x), 1 / len(x)), size=_SAMPLES)
        above += counts @ x / len(x)
        below += counts @ y / len(x)
    ratio = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    low, high = np.quantile(ratio, [0.025, 0.975])
    return float(low), float(high)


def _by_query(scores: Scores) -> dict[str, dict[str, float]]:
    """The mean over seeds: test -> query_id -> score."""
    found: dict[str, dict[str, list[float]]] = {}
    for tests in scores.values():
        for test, queries in tests.items():
            for query_id, score in queries.items():
                found.setdefault(test, {}).setdefault(query_id, []).append(score)
    return {
        test: {query_id: float(np.mean(values)) for query_id, values in queries.items()}
        for test, queries in sorted(found.items())
    }
