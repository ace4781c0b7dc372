"""What an experiment compares, checked before anything runs."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

from mpsheads._checks import check_choice, check_positive
from mpsheads.heads import MPSProjectionHead
from mpsheads.retrieval.evaluation import parse_measure
from mpsheads.training import FinetuneConfig, TrainingConfig

HEADS = ("uncompressed", "mps", "reference", "dense", "pca", "truncation", "pq", "opq")
"""The kinds of compression: none, the heads, and two product quantisers."""

SETTINGS = {
    "mps": (*tuple(inspect.signature(MPSProjectionHead).parameters)[2:-1], "fitted"),
    "reference": ("normalize", "compact"),
    "dense": ("start",),
}
"""The arguments of heads that an experiment may choose.

Also `fitted = false` for an mps head that does not start from the training documents, and
`start = "pca"` for a dense one that starts from their principal axes.
"""

TRAINED = ("nothing", "head", "layers")
BITS = (32, 8, 4, 2, 1)
MAX_TRIPLES = 1_000_000
_LEARNED = ("mps", "reference", "dense")
_UNTRAINED = tuple(head for head in HEADS if head not in _LEARNED)


@dataclass(frozen=True)
class Method:
    """One row of a table.

    Attributes:
        label: Its name in tables and figures.
        head: One of `HEADS`.
        trained: "nothing", "head" (on embeddings computed once), or "layers" (the encoder's last
            layers too).
        similarity: How uncompressed embeddings are compared, "cosine" or "fidelity".
        settings: Arguments of the head, see `SETTINGS`.
        training: Fields of `TrainingConfig` or `FinetuneConfig` in which it differs.
    """

    label: str
    head: str
    trained: str = ""
    similarity: str = "cosine"
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("head", self.head, HEADS)
        default = "nothing" if self.head in _UNTRAINED else "head"
        object.__setattr__(self, "trained", self.trained or default)
        check_choice("trained", self.trained, TRAINED)
        check_choice("similarity", self.similarity, ("cosine", "fidelity"))
        free = self.trained == "layers" and self.head in ("uncompressed", *_LEARNED)
        free |= self.trained == "nothing" and self.head == "mps"
        if self.trained != default and not free:
            raise ValueError(
                f"`trained` cannot be {self.trained!r} for the method {self.label!r}: {self.head} "
                f"is not measured so."
            )
        if self.similarity != "cosine" and self.head != "uncompressed":
            raise ValueError(
                f"`similarity` is for uncompressed embeddings; the method {self.label!r} has a "
                f"head, which compares its vectors itself."
            )
        unknown = [name for name in self.settings if name not in SETTINGS.get(self.head, ())]
        if unknown:
            known = ", ".join(SETTINGS.get(self.head, ())) or "no settings"
            raise ValueError(
                f"The method {self.label!r} has the setting `{unknown[0]}`, but "
                f'`head = "{self.head}"` takes {known}.'
            )

    @property
    def is_trained(self) -> bool:
        """Whether it is trained on pairs."""
        return self.trained != "nothing"

    @property
    def is_random(self) -> bool:
        """Whether seeds differ."""
        return self.is_trained or self.head == "mps"

    @property
    def is_trained_head(self) -> bool:
        """Whether it has a head that is trained, alone or with layers."""
        return self.head in _LEARNED

    @property
    def needs_training_documents(self) -> bool:
        """Whether something is trained on, or fitted to, the training collection."""
        return self.is_trained or self.head not in ("uncompressed", "truncation")

    @property
    def is_quantiser(self) -> bool:
        """Whether its size is a number of bytes, each a code of its own."""
        return self.head in ("pq", "opq")


@dataclass(frozen=True)
class Experiment:
    """Methods, sizes, seeds and tests; every combination is a run.

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
        seeds: One run each for what is random.
        fractions: Parts of the training queries in (0, 1], or whole numbers of them above 1.
        each_epoch: Whether every epoch is measured, rather than the last (or best).
        select: "last" takes the weights of the last epoch; "best" those with the highest measure
            on held-out training queries.
        measure: What is measured, as `evaluate` calls it.
        training: Fields of `TrainingConfig`, or of `FinetuneConfig` where layers are trained.
        triples: Where pairs and hard negatives come from: a file as `mpsheads mine` writes, or an
            ir_datasets id. By default those of `train` if it is an id that has some; else the
            judgments make pairs, and hard negatives are mined by the encoder.
        max_triples: Most triples, the first ones.
    """

    name: str
    methods: tuple[Method, ...]
    train: str = "msmarco-passage/train/triples-small"
    tests: tuple[str, ...] = (
        "msmarco-passage/trec-dl-2019/judged",
        "msmarco-passage/trec-dl-2020/judged",
    )
    encoders: tuple[str, ...] = ("minilm",)
    sizes: Mapping[int, tuple[int, ...]] | tuple[int, ...] = field(
        default_factory=lambda: {768: (384, 256, 128, 64), 384: (192, 128, 64, 32)}
    )
    bits: tuple[int, ...] = (32,)
    seeds: tuple[int, ...] = tuple(range(20))
    fractions: tuple[float, ...] = (1.0,)
    each_epoch: bool = False
    select: str = "last"
    measure: str = "nDCG@10"
    training: Mapping[str, Any] = field(default_factory=dict)
    triples: str = ""
    max_triples: int = MAX_TRIPLES

    def __post_init__(self) -> None:
        for name in ("methods", "tests", "encoders", "bits", "seeds", "fractions"):
            values = getattr(self, name)
            if not values:
                raise ValueError(f"`{name}` of {self.name!r} must hold at least one.")
            shown = list(values)
            if name == "methods":
                shown = [f"{method.label} ({method.trained})" for method in self.methods]
            twice = next((value for value in shown if shown.count(value) > 1), None)
            if twice is not None:
                raise ValueError(
                    f"`{name}` of {self.name!r} holds {twice!r} twice; once is enough."
                )
        check_choice("select", self.select, ("last", "best"))
        parse_measure(self.measure)
        check_positive(max_triples=self.max_triples)
        for bits in self.bits:
            check_choice("bits", str(bits), tuple(map(str, BITS)))
        least = min(self.seeds)
        if least < 0:
            raise ValueError(f"`seeds` of {self.name!r} must be at least 0, got {least}.")
        for fraction in self.fractions:
            if fraction <= 0 or (fraction > 1 and fraction != int(fraction)):
                raise ValueError(
                    f"`fractions` of {self.name!r} must be parts in (0, 1] or whole numbers of "
                    f"queries, got {fraction}."
                )
        for sizes in self.sizes.values() if isinstance(self.sizes, Mapping) else [self.sizes]:
            check_positive(**{f"sizes[{i}]": size for i, size in enumerate(sizes)})
            if not sizes or len(set(sizes)) < len(sizes):
                raise ValueError(
                    f"`sizes` of {self.name!r} must hold at least one, and none twice, got "
                    f"{', '.join(map(str, sizes)) or 'none'}."
                )
        for method in self.methods:
            self.config(method, 0)

    def config(self, method: Method, seed: int) -> TrainingConfig | FinetuneConfig:
        """How a method is trained: a `FinetuneConfig` if the encoder's layers are."""
        kind = FinetuneConfig if method.trained == "layers" else TrainingConfig
        known = {f.name for f in fields(kind)}
        given = {**self.training, **method.training}
        unknown = next((name for name in given if name not in known), None)
        if unknown is not None:
            raise ValueError(
                f"`training` of {self.name!r} has no setting {unknown!r}; there are "
                f"{', '.join(sorted(known))}."
            )
        return kind(**{**given, "seed": seed})

    def sizes_of(self, features: int) -> tuple[int, ...]:
        """The sizes for embeddings of this width.

        Raises:
            ValueError: If the experiment says nothing of the width.
        """
        if not isinstance(self.sizes, Mapping):
            return self.sizes
        if features not in self.sizes:
            raise ValueError(
                f"`sizes` of {self.name!r} holds none for embeddings of {features} numbers, only "
                f"for {', '.join(map(str, self.sizes))}. Add some, or give `size`."
            )
        return self.sizes[features]

    def changed(self, **given: Any) -> Self:
        """The experiment with other values where they are not `None`."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})
