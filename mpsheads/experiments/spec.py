"""What an experiment compares, read from TOML and checked before anything runs."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from mpsheads._checks import first_fault, list_of_texts
from mpsheads._files import as_path
from mpsheads._typing import PathLike
from mpsheads.retrieval import check_measures
from mpsheads.training import TrainingConfig

LEARNED = ("mps", "codes", "reference", "dense")
"""The heads that are trained, and take settings."""
UNCOMPRESSED = "uncompressed"
QUANTISERS = ("pq", "opq", "rq", "lsq", "rabitq", "itq", "turboquant")
_IN_BYTES = ("codes", *QUANTISERS)
BITS = (32, 8, 4, 2, 1)
MAX_TRIPLES = 1_000_000
MAX_SEEDS = 10_000
_LARGEST_FILE = 1 << 20  # bytes


def _unique(values: tuple) -> tuple:
    if len(set(values)) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise ValueError(f"holds {twice!r} twice")
    return values


Kind = (
    Literal["uncompressed", "mps", "codes", "reference", "dense", "pca", "truncation"]
    | Literal["pq", "opq", "rq", "lsq", "rabitq", "itq", "turboquant"]
)
Seed = Annotated[int, Field(strict=True, ge=0, lt=1 << 63)]
Positive = Annotated[int, Field(strict=True, ge=1)]
_SOME = Field(min_length=1), AfterValidator(_unique)
Sizes = Annotated[tuple[Positive, ...], *_SOME]
Text = Annotated[str, Field(strict=True)]
_CHECKED = ConfigDict(extra="forbid", strict=False)


@dataclass(frozen=True, config=_CHECKED)
class Method:
    """One row of a table.

    Attributes:
        label: Its name in tables and figures.
        head: None ("uncompressed"), a head, or a quantiser.
        trained: "nothing", "head" (on embeddings computed once), or "layers" (the encoder's last
            layers too); "" for "head" where `head` has something to train.
        similarity: How uncompressed embeddings are compared, "cosine" or "fidelity".
        settings: Settings of the head, as `make_head` takes them.
        training: Fields of `TrainingConfig` in which it differs from the experiment.
        fit: What a head is fitted to before it is trained: "documents" or "pairs" of the training
            collection; "" for pairs where codes are trained, else for documents.
        layers: How many of the encoder's last layers are trained, where they are.
        tokens: Tokens after which a text is cut there.
        sizes: Numbers a vector, or bytes, where they are not those of the experiment.
    """

    label: Text
    head: Kind
    trained: Literal["", "nothing", "head", "layers"] = ""
    similarity: Literal["cosine", "fidelity"] = "cosine"
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    fit: Literal["", "documents", "pairs"] = ""
    layers: Positive = 4
    tokens: Positive = 256
    sizes: Annotated[tuple[Positive, ...], AfterValidator(_unique)] = ()

    def __post_init__(self) -> None:
        default = "head" if self.head in LEARNED else "nothing"
        object.__setattr__(self, "trained", self.trained or default)
        free = self.trained == "layers" and self.head in (UNCOMPRESSED, *LEARNED)
        free |= self.trained == "nothing" and self.head in ("mps", "codes", "dense")
        if self.trained != default and not free:
            raise ValueError(
                f"`trained` cannot be {self.trained!r} for the method {self.label!r}: {self.head} "
                f"is not measured so."
            )
        pairs = self.head == "codes" and self.is_trained
        object.__setattr__(self, "fit", self.fit or ("pairs" if pairs else "documents"))
        if self.fit == "pairs" and self.head not in ("mps", "codes", "dense"):
            raise ValueError(
                f"`fit` cannot be 'pairs' for the method {self.label!r}: {self.head} is not fitted "
                f"to pairs."
            )
        if self.similarity != "cosine" and self.head != UNCOMPRESSED:
            raise ValueError(
                f"`similarity` is for uncompressed embeddings; the method {self.label!r} has a "
                f"head, which compares its vectors itself."
            )
        if self.settings and self.head not in LEARNED:
            raise ValueError(
                f"The method {self.label!r} has the setting `{next(iter(self.settings)):.80}`, but "
                f'`head = "{self.head}"` takes none.'
            )

    @property
    def is_trained(self) -> bool:
        """Whether it is trained on pairs."""
        return self.trained != "nothing"

    @property
    def is_random(self) -> bool:
        """Whether seeds differ."""
        return self.is_trained or self.head in ("mps", *_IN_BYTES)

    @property
    def needs_training_documents(self) -> bool:
        """Whether something is trained on, or fitted to, the training collection."""
        return self.is_trained or self.head not in (UNCOMPRESSED, "truncation")

    @property
    def needs_pairs(self) -> bool:
        """Whether pairs of the training collection are needed."""
        return self.is_trained or self.fit == "pairs"

    @property
    def is_quantiser(self) -> bool:
        """Whether it is none of our heads."""
        return self.head in QUANTISERS

    @property
    def in_bytes(self) -> bool:
        """Whether its size is a number of bytes."""
        return self.head in _IN_BYTES


@dataclass(frozen=True, config=_CHECKED)
class Experiment:
    """Methods, sizes, seeds and tests; every combination is a trial.

    Attributes:
        name: Its name in results and reports.
        methods: The rows.
        train: Where heads are trained: a BEIR folder or an ir_datasets id, with a split after a
            colon.
        tests: Where they are measured: `COLLECTION[:SPLIT][@POOL]`, with the pool of candidates
            "judged" by default, "all", or the path of a TREC run.
        encoders: Names of encoders.
        sizes: Numbers a vector, for each width of embeddings or for all.
        bits: Bits a number.
        seeds: One trial each for what is random.
        fractions: Parts of the training queries in (0, 1], or whole numbers of them above 1.
        each_epoch: Whether every epoch is measured, rather than the last (or best).
        select: "last" takes the weights of the last epoch; "best" those with the highest measure
            on held-out training queries.
        measure: What is measured, as `evaluate` calls it.
        training: Fields of `TrainingConfig`.
        triples: Where pairs and hard negatives come from: a file as `mpsheads mine` writes, or an
            ir_datasets id. By default those of `train` if it is an id that has some; else the
            judgments make pairs, and hard negatives are mined by the encoder.
        max_triples: Most triples, the first ones.
    """

    name: Text
    methods: Annotated[tuple[Method, ...], Field(min_length=1)]
    train: Text = "msmarco-passage/train/triples-small"
    tests: Annotated[tuple[Text, ...], *_SOME] = (
        "msmarco-passage/trec-dl-2019/judged",
        "msmarco-passage/trec-dl-2020/judged",
    )
    encoders: Annotated[tuple[Text, ...], *_SOME] = ("minilm",)
    sizes: Sizes | dict[int, Sizes] = field(
        default_factory=lambda: {768: (384, 256, 128, 64), 384: (192, 128, 64, 32)}
    )
    bits: Annotated[tuple[Literal[32, 8, 4, 2, 1], ...], *_SOME] = (32,)
    seeds: Annotated[tuple[Seed, ...], *_SOME, Field(max_length=MAX_SEEDS)] = tuple(range(20))
    fractions: Annotated[
        tuple[Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)], ...], *_SOME
    ] = (1.0,)
    each_epoch: Annotated[bool, Field(strict=True)] = False
    select: Literal["last", "best"] = "last"
    measure: Text = "nDCG@10"
    training: Mapping[str, Any] = field(default_factory=dict)
    triples: Text = ""
    max_triples: Positive = MAX_TRIPLES

    def __post_init__(self) -> None:
        check_measures([self.measure])
        rows = [f"{method.label} ({method.trained})" for method in self.methods]
        if len(set(rows)) < len(rows):
            twice = next(row for row in rows if rows.count(row) > 1)
            raise ValueError(f"`methods` of {self.name!r} holds {twice!r} twice.")
        for fraction in self.fractions:
            if fraction > 1 and fraction != int(fraction):
                raise ValueError(
                    f"`fractions` of {self.name!r} must be parts in (0, 1] or whole numbers of "
                    f"queries, got {fraction}."
                )
        for method in self.methods:
            self.config(method, 0)

    def config(self, method: Method, seed: int) -> TrainingConfig:
        """How a method is trained."""
        settings = {**self.training, **method.training}
        allowed = {f.name for f in fields(TrainingConfig)}
        unknown = next((name for name in settings if name not in allowed), None)
        if unknown is not None:
            raise ValueError(
                f"`training` of {self.name!r} has no setting {unknown!r}; there are "
                f"{', '.join(sorted(allowed))}."
            )
        return TrainingConfig(**{**settings, "seed": seed})

    def sizes_of(self, method: Method, features: int) -> tuple[int, ...]:
        """The sizes of a method for embeddings of this width.

        Raises:
            ValueError: If the experiment says nothing of the width.
        """
        if method.sizes:
            return method.sizes
        if not isinstance(self.sizes, Mapping):
            return self.sizes
        if features not in self.sizes:
            raise ValueError(
                f"`sizes` of {self.name!r} holds none for embeddings of {features} numbers, only "
                f"for {', '.join(map(str, self.sizes))}. Add some."
            )
        return self.sizes[features]

    def changed(self, **changes: Any) -> Self:
        """The experiment with other values where they are not `None` or empty, checked again."""
        with _one_line(self.name):
            given = {name: v for name, v in changes.items() if v is not None and v != []}
            return replace(self, **given)


def read_experiment(file: PathLike) -> Experiment:
    """Read an experiment from a TOML file.

    Its keys are the fields of `Experiment`; each `[[methods]]` has those of `Method`, and all
    other keys of it are settings of the head. `seeds` may be a number of seeds, from 0 on; there
    are at most `MAX_SEEDS`, and a file has at most 1 MiB.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not TOML, a key is unknown, or a value is out of range; one line that
            names the file and the key.
    """
    file = as_path(file)
    if not file.is_file():
        raise FileNotFoundError(f"There is no experiment {str(file)!r}.")
    if file.stat().st_size > _LARGEST_FILE:
        raise ValueError(f"{file} is larger than {_LARGEST_FILE:,} bytes.")
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is not TOML: {error}.") from error
    values = {"name": file.stem.replace("-", " "), **values}
    if type(values.get("seeds")) is int:
        values["seeds"] = range(min(values["seeds"], MAX_SEEDS + 1))
    if isinstance(values.get("methods"), list):
        values["methods"] = [_with_settings(entry) for entry in values["methods"]]
    with _one_line(str(file)):
        return TypeAdapter(Experiment).validate_python(values)


def _with_settings(entry: Any) -> Any:
    """A method's own keys as they are, all others as settings of its head."""
    if not isinstance(entry, dict):
        return entry
    own = {f.name for f in fields(Method)} - {"settings"}
    others = {key: value for key, value in entry.items() if key not in own}
    kept = {key: value for key, value in entry.items() if key in own}
    return {"label": entry.get("head"), **kept, "settings": others}


@contextmanager
def _one_line(place: str) -> Iterator[None]:
    """Turn what pydantic says into one line that begins with the place."""
    try:
        yield
    except TypeError as error:  # of what the experiment is made of
        raise TypeError(f"{place}: {error}") from error
    except ValidationError as error:
        raise ValueError(f"{place}: {first_fault(error)}") from error


def experiment_names() -> list[str]:
    """The experiments that come with mpsheads."""
    return list(_own_files())


def find_experiments(names: Sequence[str]) -> list[Experiment]:
    """Experiments by their names, "all" for every one that comes along, or by TOML files.

    Raises:
        FileNotFoundError: If there is no such experiment.
        ValueError: If a file is wrong, or two have one name.
    """
    files, known = list[Path](), _own_files()
    for name in list_of_texts("names", names):
        if name == "all":
            files += known.values()
        elif name in known or name.endswith(".toml"):
            files.append(known.get(name) or as_path(name))
        else:
            raise FileNotFoundError(
                f"There is no experiment {name!r}; there are {', '.join(known)}, all, "
                f"or give a .toml file."
            )
    by_name: dict[str, Path] = {}
    experiments = {file: read_experiment(file) for file in dict.fromkeys(files)}
    for file, experiment in experiments.items():
        other = by_name.setdefault(experiment.name, file)
        if other != file:
            raise ValueError(f"{other} and {file} are both named {experiment.name!r}.")
    return list(experiments.values())


def _own_files() -> dict[str, Path]:
    """The TOML files by name: beside this one if installed, else in the checkout."""
    here = Path(__file__).resolve().parent
    folders = here / "specs", here.parents[1] / "examples" / "experiments"
    return {file.stem: file for folder in folders for file in sorted(folder.glob("*.toml"))}
