"""What a frontier measures: methods, sizes and bits, within its limits of bytes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mpsheads._checks import check_choice
from mpsheads._optional import optional_import
from mpsheads.experiments.results import Line, key_of, read_results
from mpsheads.experiments.running import Runner, with_relevant
from mpsheads.experiments.spec import BITS, QUANTISERS, UNCOMPRESSED, Experiment, Method
from mpsheads.experiments.trials import name_of
from mpsheads.retrieval import candidate_pool, has_split, load_collection, parse_dataset

EXPERIMENT = "frontier"
BYTES = (8, 3072)
DIVISORS = (1, 2, 3, 6, 12)
TRAINING = {"loss": "both", "hard_negatives": 2, "epochs": 2}
_PLAIN = (UNCOMPRESSED, "truncation", "pca", "pq", "opq", "dense", "reference", "mps")
FRONTIER_METHODS = {
    **{name: Method(name, name) for name in _PLAIN},
    "mps, untrained": Method("mps, untrained", "mps", trained="nothing"),
    "mps, depth 2": Method("mps, depth 2", "mps", settings={"depth": 2}),
}
"""Label -> method; all that a frontier measures."""
DEFAULT_METHODS = (*_PLAIN, "mps, untrained")
"""The methods that are measured unless others are asked for."""
_LEAST_QUERIES = 20  # from which on some are held out to choose the epoch
_LEAST_FITTED = 256  # vectors for the 256 centroids of a code
_ENOUGH_FITTED = 39 * 256  # what faiss asks for
_LEAST_PART = {"pq": 2, "opq": 4}  # numbers a code; shorter parts take minutes to fit


@dataclass(frozen=True)
class Grid:
    """What a frontier is asked for; each combination of 8 to 3,072 bytes a vector is measured.

    Attributes:
        tests: Where heads are measured: `COLLECTION[:SPLIT][@POOL]`, the pool "all" by default.
        train: Where heads are trained, and PCA and quantisers fitted: `COLLECTION[:SPLIT]`; the
            split train of the tests' collection if `None`.
        untrained: Train nothing, and fit on the documents of the first test.
        methods: Labels, of `FRONTIER_METHODS`; empty for `DEFAULT_METHODS`. Uncompressed vectors
            always join.
        sizes: Numbers a vector; empty for the features divided by 1, 2, 3, 6 and 12.
        bits: Bits a number; empty for 32, 8, 4, 2, 1.
        seeds: One trial each for what is random.

    Raises:
        ValueError: If a label or a combination of options is wrong.
    """

    tests: tuple[str, ...] = ()
    train: str | None = None
    untrained: bool = False
    methods: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    bits: tuple[Any, ...] = ()
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for label in self.methods:
            check_choice("method", label, tuple(FRONTIER_METHODS))
            if self.untrained and FRONTIER_METHODS[label].is_trained:
                raise ValueError(
                    f"`method` {label!r} is trained, but `untrained` leaves training out."
                )
        if self.train and self.untrained:
            raise ValueError("Give either `train` or `untrained`.")
        tests = tuple(test if "@" in test else f"{test}@all" for test in self.tests)
        object.__setattr__(self, "tests", tests)

    @property
    def labels(self) -> list[str]:
        """The labels that are measured, uncompressed vectors first, what is trained last."""
        labels = dict.fromkeys([UNCOMPRESSED, *(self.methods or DEFAULT_METHODS)])
        trained = [label for label in labels if FRONTIER_METHODS[label].is_trained]
        return [name for name in labels if name not in trained] + trained * (not self.untrained)

    @property
    def train_dataset(self) -> str:
        """Where heads are trained; with `untrained`, where PCA and quantisers are fitted.

        Raises:
            ValueError: If it is not plain.
        """
        if not self.tests:
            raise ValueError(
                "Give `dataset`: the folder of a BEIR collection or an ir_datasets id."
            )
        sources = list(dict.fromkeys(parse_dataset(test)[0] for test in self.tests))
        if self.untrained:
            return self.tests[0]
        if self.train:
            source, split, pool = parse_dataset(self.train)
            plain = split is None and pool is None and has_split(source, "train")
            return f"{source}:train" if plain else self.train
        if len(sources) > 1:
            raise ValueError(
                f"Give `train`: of {len(sources)} collections, none goes before the others. Or "
                f"take `untrained`."
            )
        if not has_split(sources[0], "train"):
            raise ValueError(
                f"`dataset` {sources[0]} has no split train to train heads on. Give `train` with "
                f"another collection, or take `untrained`: what is fitted to its documents alone."
            )
        return f"{sources[0]}:train@all"


@dataclass(frozen=True)
class FrontierPlan:
    """What a frontier runs.

    Attributes:
        train: Where heads are trained, as `mpsheads train` takes it.
        experiments: One for each method, those that train nothing first; all have one name.
        notes: What was left out, and why.
    """

    train: str
    experiments: tuple[Experiment, ...]
    notes: tuple[str, ...]


def plan_frontier(grid: Grid, runner: Runner, budget: int = BYTES[1]) -> FrontierPlan:
    """The experiments of a grid; nothing is embedded yet.

    Raises:
        ValueError: If nothing fits the budget or the limits of bytes, `train` is missing, or the
            tests are what heads are trained on.
        ImportError: If product quantisers alone are asked for, and faiss is missing.
    """
    features = runner.encoder.features
    base, n_documents = _base(grid, features)
    if grid.methods and set(grid.methods) <= set(QUANTISERS):
        optional_import("faiss", "experiments")
    notes, experiments = [], []
    for label in grid.labels:
        method, bits = FRONTIER_METHODS[label], base.bits
        sizes, note = _sizes(grid, method, features, n_documents)
        notes += [note] if note else []
        if method.is_quantiser:
            bits = (8,)
        elif label == UNCOMPRESSED:
            asked = bits if label in (grid.methods or [label]) else ()
            bits = tuple(dict.fromkeys([32, *asked]))
        if sizes:
            experiments.append(replace(base, methods=(method,), sizes=sizes, bits=bits))
    lines = [
        line for made in experiments for trial in runner.trials(made) for line in trial.results
    ]
    labels = {line["method"] for line in lines}
    if grid.methods and not labels & set(grid.methods):
        raise ValueError(
            " ".join(["`method`, `size` and `bits` leave nothing to measure.", *notes])
        )
    least = min(line["bytes"] for line in lines)
    if least > budget:
        raise ValueError(
            f"Nothing fits `budget` {budget}, in bytes a vector: the smallest vector to be "
            f"measured has {least}. Give a larger one, or fewer numbers with `size` or `bits`."
        )
    return FrontierPlan(base.train, tuple(experiments), tuple(notes))


def run_frontier(
    grid: Grid, runner: Runner, budget: int = BYTES[1]
) -> tuple[FrontierPlan, list[Line]]:
    """Plan a frontier, run what is missing, and return the plan and all its result lines."""
    plan = plan_frontier(grid, runner, budget)
    runner.run_all(plan.experiments, EXPERIMENT)
    trials = [trial for experiment in plan.experiments for trial in runner.trials(experiment)]
    keys = {key_of(line) for trial in trials for line in trial.results}
    return plan, [line for line in read_results(runner.file) if key_of(line) in keys]


def written_lines(grid: Grid, lines: Sequence[Line], encoder: str) -> list[Line]:
    """The result lines that a grid asks for; what it does not name may be anything.

    Args:
        grid: What is asked for.
        lines: All lines of a file.
        encoder: What results call the encoder.

    Raises:
        ValueError: If there are none, or they are of several training collections.
    """
    tests = [name_of(test) for test in grid.tests]
    named = grid.train or (grid.untrained and tests)
    train = name_of(grid.train_dataset if tests else grid.train or "") if named else None
    plain = [UNCOMPRESSED]
    chosen = [
        line
        for line in lines
        if line["experiment"] == EXPERIMENT
        and line["encoder"] == encoder
        and (not tests or line["test"] in tests)
        and (train is None or line["train"] == train)
        and (not grid.methods or line["method"] in [*grid.methods, *plain])
        and (not grid.sizes or line["size"] in grid.sizes or line["method"] in plain)
        and (not grid.bits or line["bits"] in grid.bits or line["method"] in plain)
    ]
    trains = list(dict.fromkeys(line["train"] for line in chosen))
    if len(trains) != 1:
        held = dict.fromkeys(
            f"{line['encoder']} on {line['test']} trained on {line['train']}"
            for line in lines
            if line["experiment"] == EXPERIMENT
        )
        raise ValueError(
            f"The file must hold such results of one training collection; there are "
            f"{', '.join(held) or 'none'}. Give `encoder`, `dataset` or `train`."
        )
    return chosen


def quantiser_notes(lines: Iterable[Line]) -> list[str]:
    """What to know of product quantisers that were fitted to few vectors; empty if there are none.

    Args:
        lines: Result lines.
    """
    fitted = [line for line in lines if line.get("fitted", _ENOUGH_FITTED) < _ENOUGH_FITTED]
    if not fitted:
        return []
    count = min(line["fitted"] for line in fitted)
    numbers = max(line["parameters"] for line in fitted)
    return [
        f"pq and opq are fitted to {count:,} vectors, fewer than the {_ENOUGH_FITTED:,} that their "
        f"256 centroids ask for. They partly remember these: documents that come later will be "
        f"found less well. Their parameters, up to {numbers:,} numbers, are as much as "
        f"{-(-4 * numbers // count):,} bytes for each of the vectors."
    ]


def _base(grid: Grid, features: int) -> tuple[Experiment, int]:
    """What the experiments of a grid have in common, and the number of training documents."""
    source, split, pool = parse_dataset(grid.train_dataset)
    training = load_collection(source, split)
    candidates = candidate_pool(training, pool or "judged")
    documents = set(training.documents)
    if candidates is not None:
        documents = {doc_id for ids in candidates.values() for doc_id in ids}
    for test in grid.tests if not grid.untrained else ():
        other = load_collection(*parse_dataset(test)[:2])
        if (training.name, training.folder) == (other.name, other.folder):
            raise ValueError(
                f"`dataset` {test} is what heads are trained on. Measure on another split, as in "
                f"FOLDER:test, or give another `train`."
            )
    enough = len(with_relevant(training.qrels, documents)) >= _LEAST_QUERIES
    base = Experiment(
        EXPERIMENT,
        (FRONTIER_METHODS[UNCOMPRESSED],),
        train=grid.train_dataset,
        tests=grid.tests,
        sizes=(features,),
        bits=grid.bits or BITS,
        seeds=grid.seeds,
        select="best" if enough and not grid.untrained else "last",
        training=TRAINING,
        bytes=BYTES,
    )
    return base, len(documents)


def _sizes(
    grid: Grid, method: Method, features: int, documents: int
) -> tuple[tuple[int, ...], str]:
    """The sizes at which a method is measured, and a note of what it cannot have."""
    every = grid.sizes or [features // d for d in DIVISORS if d <= features]
    if max(every) > features:
        raise ValueError(f"`size` must be at most the {features} numbers of the embeddings.")
    if method.head == UNCOMPRESSED:
        return (features,), ""
    if method.is_quantiser:
        try:
            optional_import("faiss", "experiments")
        except ImportError as error:
            return (), f"{method.label} is left out. {error}"
        if documents < _LEAST_FITTED:
            rule = f"it is fitted to at least {_LEAST_FITTED} vectors, and there are {documents}."
            return (), f"{method.label} is left out: {rule}"
        most = min(BYTES[1], features // _LEAST_PART[method.head])
        codes = {-(-size * bits // 8) for size in every for bits in grid.bits or BITS}
        wanted = {code for code in codes if BYTES[0] <= code <= most and features % code == 0}
        return tuple(sorted(wanted, reverse=True)), ""
    sizes = sorted(set(every), reverse=True)
    wrong, rule = [], ""
    if method.head in ("truncation", "reference"):  # at all numbers they change nothing
        sizes = [size for size in sizes if size < features]
    if method.head == "reference":
        wrong, rule = [s for s in sizes if features % s], f"its size divides {features} features"
    if method.head == "pca":
        wrong = [size for size in sizes if size >= documents]
        rule = f"it is fitted to more vectors than it has numbers, here {documents}"
    names = ", ".join(map(str, wrong))
    note = f"Left out at {names} numbers: {method.label}: {rule}." if wrong else ""
    return tuple(size for size in sizes if size not in wrong), note
