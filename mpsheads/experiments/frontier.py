"""Quality against bytes: an experiment of all methods, its Pareto front, and what to take."""

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mpsheads._arrays import door
from mpsheads._checks import check_choice
from mpsheads._files import as_path
from mpsheads._typing import PathLike, Positive
from mpsheads.experiments.quantise import fewest_vectors
from mpsheads.experiments.report import write_page
from mpsheads.experiments.results import Line
from mpsheads.experiments.running import with_relevant
from mpsheads.experiments.spec import BITS, QUANTISERS, UNCOMPRESSED, Experiment, Method
from mpsheads.experiments.tables import Comparison, Row, Table, compare, compare_all, make_tables
from mpsheads.experiments.trials import trials_of
from mpsheads.experiments.wording import LEVEL, joined, number, percentage, signed
from mpsheads.plotting import QualityPoint, quality_vs_bytes
from mpsheads.retrieval import (
    Collection,
    candidate_pool,
    load_collection,
    parse_dataset,
    with_split,
)

FRONTIER_METHODS = {
    method.label: method
    for method in (
        *(Method(head, head) for head in (UNCOMPRESSED, "truncation", "pca", *QUANTISERS)),
        Method("mps, untrained", "mps", trained="nothing"),
        Method("codes, untrained", "codes", trained="nothing"),
        *(Method(head, head) for head in ("dense", "reference", "mps", "codes")),
    )
}
"""Label -> method: all that a frontier measures, what is trained last."""
_DIVISORS = (1, 2, 3, 6, 12)
_TRAINING = {"loss": "both", "hard_negatives": 2, "epochs": 2}
_MARGIN = 0.01  # a row is tied with the best only if its measure is at most this below
_LEAST_QUERIES = 20  # from which on some are held out to choose the epoch
_SLOW = ("rq", "lsq")  # take minutes to fit; only if they are asked for
_REMEMBERING = ("pq", "opq", *_SLOW)  # have a codebook
_ENOUGH_FITTED = 39 * 256  # what faiss asks for


def frontier_experiment(
    tests: Sequence[str],
    encoder: str,
    features: int,
    *,
    train: str | None = None,
    untrained: bool = False,
    methods: Sequence[str] = (),
    sizes: Sequence[int] = (),
    bits: Sequence[int] = BITS,
    seeds: Sequence[int] = (0,),
) -> tuple[Experiment, list[str]]:
    """The experiment that measures methods at many sizes and bits a vector.

    Args:
        tests: Where heads are measured: `COLLECTION[:SPLIT][@POOL]`, the pool "all" by default.
            Passages alone ask for each other; see `load_collection`.
        encoder: The encoder, as `Encoder` takes it.
        features: Width of its embeddings.
        train: Where heads are trained, and PCA and quantisers fitted: `COLLECTION[:SPLIT]`; the
            split train of the tests' collection if `None`.
        untrained: Train nothing, and fit on the documents of the first test.
        methods: Labels, of `FRONTIER_METHODS`; all but the slow "rq" and "lsq" if empty.
            Uncompressed vectors always join.
        sizes: Numbers a vector; empty for the features divided by 1, 2, 3, 6 and 12.
        bits: Bits a number.
        seeds: One trial each for what is random.

    Returns:
        The experiment, and notes of what was left out.

    Raises:
        ValueError: If an option is wrong, `train` is missing, or the tests are what heads are
            trained on.
    """
    for label in methods:
        check_choice("method", label, tuple(FRONTIER_METHODS))
    usual = methods or [label for label in FRONTIER_METHODS if label not in _SLOW]
    chosen = [m for m in FRONTIER_METHODS.values() if m.label in usual]
    chosen = [m for m in chosen if m.head != UNCOMPRESSED and not (untrained and m.is_trained)]
    sizes = sorted(set(sizes) or {features // d for d in _DIVISORS if d <= features}, reverse=True)
    if sizes[0] > features:
        raise ValueError(f"`size` must be at most the {features} numbers of the embeddings.")
    tests = tuple(test if "@" in test else f"{test}@all" for test in tests)
    train = _training_collection(tests, train, untrained)
    collections = {test: load_collection(*parse_dataset(test)[:2]) for test in tests}
    queries, documents = _count_training({} if untrained else collections, train)
    measured = [FRONTIER_METHODS[UNCOMPRESSED]]
    notes = [collection.note for collection in collections.values() if collection.note]
    for method in chosen:
        own, note = _possible_sizes(method, sizes, features, documents)
        measured += [method if method.in_bytes else replace(method, sizes=own)] if own else []
        notes += [note] if note else []
    experiment = Experiment(
        "frontier",
        tuple(measured),
        train=train,
        tests=tests,
        encoders=(encoder,),
        sizes=tuple(sizes),
        bits=tuple(bits),  # pyright: ignore[reportArgumentType]  # checked there
        seeds=tuple(seeds),
        select="best" if queries >= _LEAST_QUERIES and not untrained else "last",
        training=_TRAINING,
    )
    possible = {trial.method.label for trial in trials_of(experiment, encoder, features)}
    without = [method.label for method in measured if method.label not in possible]
    notes += [f"{label} can have none of these numbers of bytes." for label in without]
    if possible == {UNCOMPRESSED}:
        rule = "`method`, `size`, `bits` and `untrained` leave nothing to measure."
        raise ValueError(" ".join([rule, *notes]))
    return experiment, notes


def _training_collection(tests: Sequence[str], train: str | None, untrained: bool) -> str:
    """Where heads are trained; with `untrained`, where PCA and quantisers are fitted."""
    if not tests:
        raise ValueError("Give `dataset`: the folder of a BEIR collection or an ir_datasets id.")
    if train and untrained:
        raise ValueError("Give either `train` or `untrained`.")
    if untrained:
        return tests[0]
    sources = list(dict.fromkeys(parse_dataset(test)[0] for test in tests))
    if train:
        return with_split(train, "train")
    own = with_split(sources[0], "train")
    if len(sources) > 1 or own == sources[0]:
        raise ValueError(
            f"Give `train`, on which heads for {joined(sources)} are trained. Or take `untrained`: "
            f"what is fitted to documents alone."
        )
    return f"{own}@all"


def _count_training(tests: Mapping[str, Collection], train: str) -> tuple[int, int]:
    """The numbers of training queries and documents; raise if a test is what is trained on."""
    source, split, pool = parse_dataset(train)
    training = load_collection(source, split)
    for test, other in tests.items():
        if (training.name, training.folder) == (other.name, other.folder):
            raise ValueError(
                f"`dataset` {test} is what heads are trained on. Measure on another split, as in "
                f"FOLDER:test, or give another `train`."
            )
    candidates = candidate_pool(training, pool or "judged")
    documents = set(training.documents)
    if candidates is not None:
        documents = {doc_id for ids in candidates.values() for doc_id in ids}
    return len(with_relevant(training.qrels, documents)), len(documents)


def _possible_sizes(
    method: Method, sizes: Sequence[int], features: int, documents: int
) -> tuple[tuple[int, ...], str]:
    """The sizes that a method can have, and a note of what it cannot have."""
    if method.is_quantiser:
        if importlib.util.find_spec("faiss") is None:
            return (), f'{method.label} needs `pip install "mpsheads[experiments]"`.'
        if documents < (needed := fewest_vectors(method.head, features)):
            return (), f"{method.label} needs {needed} vectors, and there are {documents}."
        few = method.head in _REMEMBERING and documents < _ENOUGH_FITTED
        note = f"{method.label} is fitted to few vectors, {documents:,}, and partly remembers them."
        return tuple(sizes), note * few
    if method.head in ("truncation", "reference"):  # at all numbers they change nothing
        sizes = [size for size in sizes if size < features]
    possible = {
        "reference": lambda size: features % size == 0,
        "pca": lambda size: size < documents,  # and so are its axes
    }.get(method.head, lambda _: True)
    wrong = ", ".join(str(size) for size in sizes if not possible(size))
    note = f"{method.label} cannot have {wrong} numbers." if wrong else ""
    return tuple(filter(possible, sizes)), note


@dataclass(frozen=True)
class Recommendation:
    """What to take for a budget.

    Attributes:
        budget: Bytes a vector.
        row: What to take.
        best: The row of the highest mean within the budget.
        tied: The other rows that are not told apart from `best`; `row` may be one.
        comparison: `row` with `best`, corrected for all rows within the budget; `None` if it is it.
        kept_interval: 95% bootstrap interval over queries of `row.kept`, by that of the paired
            difference; `None` without uncompressed vectors.
    """

    budget: int
    row: Row
    best: Row
    tied: tuple[Row, ...]
    comparison: Comparison | None
    kept_interval: tuple[float, float] | None

    @property
    def sentence(self) -> str:
        """All of this in words."""
        row, method = self.row, FRONTIER_METHODS.get(self.row.method)
        what = f" with {row.size} numbers of {row.bits} bit{'s' if row.bits > 1 else ''}"
        if method and method.in_bytes:
            what = ""
        parts = [
            f"Within {self.budget:,} bytes take {row.label}{what} ({row.bytes:,} bytes, "
            f"{row.parameters:,} parameters): it has {number(row.mean)}"
        ]
        if self.kept_interval:
            low, high = map(percentage, self.kept_interval)
            parts.append(f", {percentage(row.kept)} [{low}, {high}] of the uncompressed quality")
        if self.comparison is None:
            parts.append(". It is the best measured")
        else:
            difference = signed(self.comparison.difference)
            parts.append(f". It is not told apart from the best, {self.best} ({difference})")
        if others := [str(each) for each in self.tied if each is not row]:
            more = [f"{len(others) - 4} more"] if len(others) > 4 else []
            parts.append(f". Also not told apart from the best: {joined([*others[:4], *more])}")
        return "".join([*parts, "."])


@door
def recommend(rows: Sequence[Row], budget: Positive) -> Recommendation:
    """The row to take for a budget of bytes.

    The best is that of the highest mean within the budget. A row is tied with it if a paired
    randomisation test over queries does not tell the two apart (Holm's method corrects for all rows
    within the budget) and its mean is at most 0.01 below: with few queries a test alone tells
    nothing apart. Of the best and the tied, the one of fewest parameters is taken, then of fewest
    bytes, then of the highest mean.

    Args:
        rows: As in the table of `frontier_table`.
        budget: Most bytes a vector.

    Raises:
        ValueError: If no row fits the budget.
    """
    within = [row for row in rows if row.bytes <= budget]
    if not within:
        least = min((row.bytes for row in rows), default=0)
        raise ValueError(
            f"Nothing fits `budget` {budget}, in bytes a vector: the smallest vector measured has "
            f"{least:,}. Give a larger one, or measure fewer numbers or bits."
        )
    best = min(within, key=lambda row: (-_mean(row), row.parameters, row.bytes))
    others = [row for row in within if row is not best]
    compared = zip(others, compare_all(others, [best] * len(others)), strict=True)
    comparisons = {row: found for row, found in compared if found and _is_tied(found)}
    row = min([best, *comparisons], key=lambda row: (row.parameters, row.bytes, -_mean(row)))
    tied = tuple(sorted(comparisons, key=lambda row: -_mean(row)))
    plain = next((row for row in rows if row.method == UNCOMPRESSED and row.bits == 32), None)
    interval = None
    if plain is not None and plain.mean:
        low, high = compare(row, plain).interval
        interval = 1 + low / plain.mean, 1 + high / plain.mean
    return Recommendation(budget, row, best, tied, comparisons.get(row), interval)


def _mean(row: Row) -> float:
    assert row.mean is not None  # in the table of a frontier
    return row.mean


def _is_tied(comparison: Comparison) -> bool:
    p = comparison.p_queries
    return (p is None or p >= LEVEL) and comparison.difference >= -_MARGIN - 1e-12


def frontier_table(lines: Iterable[Line]) -> Table:
    """The table of result lines of one encoder and one training collection, compared with PCA.

    Rows without all tests are left out.

    Raises:
        ValueError: If there are no lines, or those of several encoders or training collections.
    """
    tables = make_tables(lines, "pca")
    if len(tables) != 1:
        held = ", ".join(f"{table.encoder} trained on {table.train}" for table in tables)
        raise ValueError(
            f"A frontier is of one encoder and one training collection, but the results are of "
            f"{held or 'none'}. Give `encoder`, `dataset` or `train`."
        )
    return replace(tables[0], rows=tuple(row for row in tables[0].rows if row.mean is not None))


def write_frontier(
    lines: Sequence[Line],
    table: Table,
    chosen: Recommendation,
    folder: PathLike,
    *,
    notes: Sequence[str] = (),
) -> list[Path]:
    """Write `report.md` and `frontier.svg`; what is there is replaced.

    Args:
        lines: The results.
        table: From `frontier_table`.
        chosen: From `recommend`.
        folder: Made if it is missing.
        notes: What was left out, from `frontier_experiment`.

    Returns:
        The paths.

    Raises:
        ImportError: If matplotlib or Jinja2 is missing.
    """
    points = [
        QualityPoint(r.label, r.bytes, _mean(r), r.interval, r.bits, str(r), r is chosen.row)
        for r in table.rows
    ]
    title, tests = f"{table.measure} against bytes a vector", joined(list(table.tests))
    how = {"measure": table.measure, "title": title, "front": True}
    how["subtitle"] = f"{table.encoder}, mean of {tests}; bold: for {chosen.budget:,} bytes"
    figure = quality_vs_bytes(points, as_path(folder) / "frontier.svg", **how)
    report, first = as_path(folder) / "report.md", [chosen.sentence, *notes]
    return [write_page(report, title, lines, [table], figure.name, first), figure]
