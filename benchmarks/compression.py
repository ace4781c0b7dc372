r"""Quality against bytes: heads trained on pairs, in 32 to 1 bits a number; product quantisers.

Heads are trained on one BEIR folder, its split `train` (the best epoch by its split `dev`), and
rank the judged documents of another. Queries stay float32. Angles are coded without calibration;
numbers of the other heads are brought to norm 1 and coded in equal cells between the 0.5 and the
99.5 percent quantile of each dimension over the training documents. Product quantisers (faiss) are
trained on the training documents, of the uncompressed vectors brought to norm 1.

One JSON line for each method, size, number of bits, seed and split goes to the file of results.
What is there already is not computed again. The summary has a line for each method, size and
number of bits, with p of two paired randomisation tests, query by query, scores averaged over
seeds, none corrected for their number: against the uncompressed vectors, and against PCA of as many
bytes (for a head that of its own size and bits, for a product quantiser that of most numbers).

Example:
    OMP_NUM_THREADS=1 python benchmarks/compression.py --train train-pairs --test trec-dl \\
        --splits dl19 dl20 --results results.jsonl --summary summary.jsonl \\
        --figure compression.png
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mpsheads import (
    DenseHead,
    MPSProjectionHead,
    PCAHead,
    ProjectionHead,
    ReferenceHead,
    TruncationHead,
    fit_grouping,
)
from mpsheads.cli.options import DataOptions
from mpsheads.cli.sources import Embedded, Source
from mpsheads.retrieval import Collection, evaluate, paired_test, rank
from mpsheads.similarity import cosine
from mpsheads.training import TrainingConfig, ranking_validation, train_head, training_data

MEASURE = "nDCG@10"
UNCOMPRESSED = "uncompressed"
BITS = (32, 8, 4, 2, 1)
Line = dict[str, Any]
Similarity = Callable[[Tensor, Any], Tensor]


@dataclass(frozen=True)
class Split:
    """A collection with its embeddings and the candidates of its queries."""

    name: str
    collection: Collection
    embedded: Embedded
    pool: Any

    @classmethod
    def load(cls, folder: str, name: str, options: argparse.Namespace) -> "Split":
        """Read it, and take its embeddings from the cache or make them."""
        data = DataOptions(dataset=folder, split=name, encoder=options.encoder)
        source = Source(data, "cpu", default_pool="judged", all_judged=True)
        return cls(name, source.collection, source.embed(), source.pool)

    def scores(self, zq: Tensor, zd: Any, similarity: Similarity) -> dict[str, float]:
        """The measure of each query when candidates are ranked by a similarity."""
        held = _Rows(zd)
        run = rank(
            zq,
            self.embedded.query_ids,
            held.rows,
            self.embedded.doc_ids,
            lambda q, rows: similarity(q, held[rows]),
            pool=self.pool,
        )
        found = evaluate(run, self.collection.qrels, (MEASURE,))
        return {query: values[MEASURE] for query, values in found.per_query.items()}


class _Rows:
    """Lets `rank` pick rows of anything: it sees their numbers as a column."""

    def __init__(self, held: Any) -> None:
        self.held = held
        self.rows = torch.arange(len(held), dtype=torch.float64)[:, None]

    def __getitem__(self, rows: Tensor) -> Any:
        return self.held[rows[:, 0].long()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill the file of results, print its table, and draw it."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    lines = _read(options.results)
    missing = [job for job in _jobs(options) if _key(job) not in {_key(line) for line in lines}]
    if missing:
        if options.results.exists() and not options.results.read_text().endswith("\n"):
            options.results.write_text("".join(json.dumps(line) + "\n" for line in lines))
        train = Split.load(options.train, "train", options)
        dev = Split.load(options.train, "dev", options)
        tests = [Split.load(options.test, name, options) for name in options.splits]
        for group in _by_model(missing):
            for line in _measure(group, train, dev, tests, options):
                lines.append(line)
                with options.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
    wanted = {_key(job) for job in _jobs(options)}
    table = summarise([line for line in lines if _key(line) in wanted], options.splits)
    print(_markdown(table, options.splits))
    if options.summary:
        text = "".join(json.dumps(row) + "\n" for row in table)
        options.summary.write_text(text, encoding="utf-8")
    if options.figure:
        draw(table, options.figure, options.splits)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", required=True, help="BEIR folder with splits train and dev")
    parser.add_argument("--test", required=True, help="BEIR folder to test on")
    parser.add_argument("--splits", nargs="+", default=["test"], help="its splits (default test)")
    parser.add_argument("--encoder", default="minilm", help="default minilm")
    parser.add_argument("--sizes", type=int, nargs="+", default=[192, 128, 64])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--epochs", type=int, default=2, help="of training (default 2)")
    parser.add_argument("--hard-negatives", type=int, default=2, help="a pair (default 2)")
    parser.add_argument("--results", type=Path, required=True, help="file of JSON lines")
    parser.add_argument("--summary", type=Path, help="also write the table, as JSON lines")
    parser.add_argument("--figure", type=Path, help="also draw the table")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    return parser


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _mps(x: Tensor, size: int, seed: int, **given: Any) -> MPSProjectionHead:
    return MPSProjectionHead(x.shape[1], size, generator=_seeded(seed), **given)


# from the training documents, size and seed
METHODS: dict[str, Callable[[Tensor, int, int], ProjectionHead] | None] = {
    UNCOMPRESSED: None,
    "mps": _mps,
    "mps, depth 1": lambda x, n, seed: _mps(x, n, seed, depth=1),
    "mps, fitted grouping": lambda x, n, seed: _mps(x, n, seed, grouping=fit_grouping(x[:8192], n)),
    "reference": lambda x, n, seed: ReferenceHead(
        x.shape[1], n, normalize=True, generator=_seeded(seed)
    ),
    "dense": lambda x, n, seed: DenseHead(x.shape[1], n, generator=_seeded(seed)),
    "pca": lambda x, n, seed: PCAHead(x.shape[1], n),
    "truncation": lambda x, n, seed: TruncationHead(x.shape[1], n),
    "pq": None,
    "opq": None,
}
_SEEDED = ("mps", "mps, depth 1", "mps, fitted grouping", "reference", "dense")


def _jobs(options: argparse.Namespace) -> Iterator[Line]:
    for method in options.methods:
        seeds = options.seeds if method in _SEEDED else [0]
        sizes = [0] if method == UNCOMPRESSED else options.sizes
        if method in ("pq", "opq"):  # bytes a vector, of eight bits each
            sizes = sorted({size * bits // 8 for size in options.sizes for bits in (8, 4, 2)})
        for seed in seeds:
            for size in sizes:
                for bits in (32,) if method == UNCOMPRESSED else BITS:
                    if method in ("pq", "opq") and bits != 8:
                        continue
                    for split in options.splits:
                        yield {
                            "method": method,
                            "size": size,
                            "bits": bits,
                            "seed": seed,
                            "split": split,
                        }


def _key(line: Line) -> tuple:
    return tuple(line[name] for name in ("method", "size", "bits", "seed", "split"))


def _by_model(jobs: list[Line]) -> list[list[Line]]:
    groups: dict[tuple, list[Line]] = {}
    for job in jobs:
        groups.setdefault((job["method"], job["size"], job["seed"]), []).append(job)
    return list(groups.values())


def _measure(
    jobs: list[Line], train: Split, dev: Split, tests: list[Split], options: argparse.Namespace
) -> Iterator[Line]:
    method, size, seed = jobs[0]["method"], jobs[0]["size"], jobs[0]["seed"]
    features = train.embedded.documents.shape[1]
    by_name = {test.name: test for test in tests}
    if method in ("pq", "opq"):
        quantiser = _product_quantiser(train.embedded.documents, size, seed, method == "opq")
        for job in jobs:
            test = by_name[job["split"]]
            zd = quantiser(normalize(test.embedded.documents))
            scores = test.scores(test.embedded.queries, zd, cosine)
            parameters = 256 * features + (features**2 if method == "opq" else 0)
            yield {**job, "parameters": parameters, "bytes": size, "scores": scores}
        return
    make = METHODS[method]
    if make is None:
        for job in jobs:
            test = by_name[job["split"]]
            scores = test.scores(test.embedded.queries, test.embedded.documents, cosine)
            yield {**job, "parameters": 0, "bytes": 4 * features, "scores": scores}
        return
    head = make(train.embedded.documents, size, seed)
    if isinstance(head, PCAHead):
        head.fit(train.embedded.documents)
    elif any(parameter.requires_grad for parameter in head.parameters()):
        head = _train(head, train, dev, seed, options)
    with torch.no_grad():
        known = head(train.embedded.documents)
        for job in jobs:
            test = by_name[job["split"]]
            zq, zd = head(test.embedded.queries), head(test.embedded.documents)
            if job["bits"] < 32:
                zd = _coded(head, zd, known, job["bits"])
            yield {
                **job,
                "parameters": head.num_parameters,
                "bytes": size * job["bits"] // 8,
                "scores": test.scores(zq, zd, head.similarity),
            }


def _train(
    head: ProjectionHead, train: Split, dev: Split, seed: int, options: argparse.Namespace
) -> ProjectionHead:
    pairs = training_data(
        train.collection,
        train.embedded.queries,
        train.embedded.documents,
        query_ids=train.embedded.query_ids,
        document_ids=train.embedded.doc_ids,
    )
    validation = ranking_validation(
        dev.collection,
        dev.embedded.queries,
        dev.embedded.documents,
        query_ids=dev.embedded.query_ids,
        document_ids=dev.embedded.doc_ids,
    )
    config = TrainingConfig(
        epochs=options.epochs,
        hard_negatives=options.hard_negatives,
        batch_size=min(128, len(pairs)),
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        return train_head(head, pairs, config, folder, validation=validation, progress=False).head


def _coded(head: ProjectionHead, zd: Tensor, known: Tensor, bits: int) -> Any:
    """Codes of angles; for other heads the middles of equal cells, as floats."""
    if head.name in ("mps", "reference"):
        return head.quantize(zd, bits)
    low, high = torch.quantile(normalize(known)[:8192], torch.tensor([0.005, 0.995]), dim=0)
    step = (high - low).clamp_min(1e-12) / 2**bits
    cells = ((normalize(zd) - low) / step).floor().clamp(0, 2**bits - 1)
    return low + (cells + 0.5) * step


def _product_quantiser(
    known: Tensor, size: int, seed: int, rotated: bool
) -> Callable[[Tensor], Tensor]:
    """From vectors to what is left of them in `size` bytes."""
    import faiss

    features = known.shape[1]
    if features % size:
        raise ValueError(f"{features} features do not divide into {size} parts for the quantiser.")
    quantiser = faiss.ProductQuantizer(features, size, 8)
    quantiser.cp.seed = seed
    x = normalize(known).numpy()
    rotation = None
    if rotated:
        rotation = faiss.OPQMatrix(features, size)
        rotation.niter = 20
        rotation.train(x[:8192])  # pyright: ignore[reportCallIssue]
        x = rotation.apply(x)
    quantiser.train(x)  # pyright: ignore[reportCallIssue]

    def reconstruct(vectors: Tensor) -> Tensor:
        y = vectors.numpy() if rotation is None else rotation.apply(vectors.numpy())
        y = quantiser.decode(quantiser.compute_codes(y))  # pyright: ignore[reportCallIssue]
        return torch.from_numpy(y if rotation is None else rotation.reverse_transform(y))

    return reconstruct


def _read(file: Path) -> list[Line]:
    """Lines of the file; one that a kill cut short is left out."""
    if not file.exists():
        return []
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return lines


def summarise(lines: list[Line], splits: Sequence[str]) -> list[Line]:
    """A row for each method, size and number of bits: means over splits, spread over seeds."""
    groups: dict[tuple, dict[tuple, Line]] = {}
    for line in lines:
        name = (line["method"], line["size"], line["bits"])
        groups.setdefault(name, {})[line["seed"], line["split"]] = line
    means = {name: _mean_scores(group) for name, group in groups.items()}
    rows = []
    for (method, size, bits), group in groups.items():
        seeds = sorted({seed for seed, _ in group})
        by_split = {
            split: [_mean(group[seed, split]["scores"]) for seed in seeds if (seed, split) in group]
            for split in splits
        }
        each = [statistics.mean(values) for values in zip(*by_split.values(), strict=True)]
        first = next(iter(group.values()))
        row = {
            "method": method,
            "size": size,
            "bits": bits,
            "seeds": len(seeds),
            "bytes": first["bytes"],
            "parameters": first["parameters"],
            "splits": {split: statistics.mean(values) for split, values in by_split.items()},
            "mean": statistics.mean(each),
            "sd": statistics.stdev(each) if len(each) > 1 else 0.0,
            "kept": None,
            "p": None,
            "p_pca": None,
        }
        if method != UNCOMPRESSED:
            mine = means[method, size, bits]
            row["p"] = _p_value(mine, means.get((UNCOMPRESSED, 0, 32)))
            if method != "pca":
                row["p_pca"] = _p_value(mine, _pca_of(method, size, bits, means))
        rows.append(row)
    base = next((row["mean"] for row in rows if row["method"] == UNCOMPRESSED), None)
    for row in rows:
        row["kept"] = row["mean"] / base if base else None
    return sorted(rows, key=lambda row: (-row["bytes"], row["method"]))


def _pca_of(
    method: str, size: int, bits: int, means: dict[tuple, dict[tuple[str, str], float]]
) -> dict[tuple[str, str], float] | None:
    """Scores of PCA at as many bytes."""
    if method in ("pq", "opq"):
        equal = [n for name, n, b in means if name == "pca" and n * b == size * bits]
        size, bits = max(equal, default=0), size * bits // max(equal, default=1)
    return means.get(("pca", size, bits))


def _p_value(
    mine: dict[tuple[str, str], float], other: dict[tuple[str, str], float] | None
) -> float | None:
    if other is None:
        return None
    queries = sorted(other)
    return paired_test([mine[q] for q in queries], [other[q] for q in queries]).p_value


def _mean(scores: dict[str, float]) -> float:
    return statistics.mean(scores.values())


def _mean_scores(group: dict[tuple, Line]) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], list[float]] = {}
    for (_, split), line in group.items():
        for query, value in line["scores"].items():
            found.setdefault((split, query), []).append(value)
    return {query: statistics.mean(values) for query, values in found.items()}


def _markdown(rows: list[Line], splits: Sequence[str]) -> str:
    names = ["method", "numbers", "bits", "bytes", "parameters", *splits, "mean ± sd"]
    names += ["kept", "p", "p, PCA"]
    lines = [f"| {' | '.join(names)} |", "| --- |" + " ---: |" * (len(names) - 1)]
    for row in rows:
        cells = [
            row["method"],
            row["size"] or "all",
            row["bits"],
            f"{row['bytes']:,}",
            f"{row['parameters']:,}",
            *(f"{row['splits'][split]:.3f}" for split in splits),
            f"{row['mean']:.3f}" + (f" ± {row['sd']:.3f}" if row["seeds"] > 1 else ""),
            "–" if row["kept"] is None else f"{100 * row['kept']:.1f}%",
            *("–" if p is None else f"{p:.2f}" for p in (row["p"], row["p_pca"])),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


_LOOK = {
    "mps": ("MPS head", "#0072B2"),
    "mps, depth 1": ("MPS head, depth 1", "#56B4E9"),
    "mps, fitted grouping": ("MPS head, fitted grouping", "#003B5C"),
    "reference": ("paper's head", "#D55E00"),
    "dense": ("Linear + tanh", "#009E73"),
    "pca": ("PCA", "#B5488B"),
    "truncation": ("truncation", "#7A7A7A"),
    "pq": ("product quantisation", "#E69F00"),
    "opq": ("OPQ", "#5D3A9B"),
}
_MARKS = {32: "o", 8: "s", 4: "D", 2: "^", 1: "v"}


def draw(rows: list[Line], file: Path, splits: Sequence[str]) -> None:
    """The measure against bytes a vector, a panel for each size; quantisers are in all of them."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    quantisers = ("pq", "opq")
    sizes = sorted({r["size"] for r in rows if r["size"] and r["method"] not in quantisers})
    sizes = sizes[::-1] or [0]
    figure = Figure(figsize=(1 + 4.6 * len(sizes), 5.6), dpi=110)
    panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    whole = next((row["mean"] for row in rows if row["method"] == UNCOMPRESSED), None)
    lines: dict[str, Line2D] = {}
    for axes, size in zip(panels, sizes, strict=True):
        for method, (label, colour) in _LOOK.items():
            found = [r for r in rows if r["method"] == method]
            if method not in quantisers:
                found = [r for r in found if r["size"] == size]
            found.sort(key=lambda r: r["bytes"])
            x, y = [r["bytes"] for r in found], [r["mean"] for r in found]
            dashes = "--" if method in quantisers else "-"
            if found:
                axes.errorbar(x, y, [r["sd"] for r in found], color=colour, capsize=2, ls=dashes)
                lines[label] = Line2D([], [], color=colour, ls=dashes, label=label)
            for row in found:
                mark = "." if method in quantisers else _MARKS[row["bits"]]
                axes.plot(row["bytes"], row["mean"], mark, color=colour, markersize=5)
        if whole:
            lines[UNCOMPRESSED] = axes.axhline(
                whole, color="#222222", ls=":", lw=1, label=UNCOMPRESSED
            )
        axes.set_xscale("log", base=2)
        ticks = sorted({8 * 2**k for k in range(8)})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_title(f"{size} numbers" if size else "")
        axes.set_xlabel("bytes a vector (log scale)")
        axes.grid(axis="y", color="#E3E3E3")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel(f"{MEASURE}, mean of {' and '.join(splits)}")
    panels[0].legend(handles=lines.values(), frameon=False, loc="lower right", fontsize=8)
    marks = [
        Line2D([], [], color="#555555", ls="", marker=mark, label=f"{bits} bit" + "s" * (bits > 1))
        for bits, mark in _MARKS.items()
    ]
    panels[-1].legend(handles=marks, frameon=False, loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(file)


if __name__ == "__main__":
    main()
