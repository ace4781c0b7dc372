"""Codes beside others' quantisers at equal bytes, fitted elsewhere or to the passages searched.

Every query ranks the whole collection. nDCG@10 is the mean over collections, with its spread over
seeds: of the rotation and of the clusterings. "p" is of a paired randomisation test over queries of
the codes against that quantiser, seeds averaged, corrected by Holm's method for a table. "stored"
counts what must be kept beside the vectors, in kB, codebooks and parameters included. "limit" is an
ideal code of the same selection at Shannon's limit for Gaussian numbers, simulated by its noise.
Results go to a file as soon as they are known; the same command goes on where it was.

Example:
    python benchmarks/equal_bytes.py --test cranfield --test cisi --fit my-passages
"""

import argparse
import gzip
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from timing import print_table
from torch import Tensor
from torch.nn.functional import normalize

from mpsheads import MPSProjectionHead
from mpsheads.experiments.quantise import fewest_vectors, fit_quantiser, quantiser_sizes
from mpsheads.heads.amplitudes import code_layout
from mpsheads.retrieval import (
    EmbeddedCollection,
    Encoder,
    Passages,
    embed,
    encode_cached,
    holm,
    load_collection,
    paired_test,
    parse_dataset,
)

OURS = {
    "codes": {},
    "codes, 24 layers": {"mixing": 24},
    "codes, 1.5 bits": {"bits": 1.5},
    "codes, 2 bits": {"bits": 2},
}
LIMIT = "limit"
THEIRS = ("turboquant", "itq", "rabitq", "pq", "opq", "rq", "lsq")
_SIZES = (16, 24, 32, 48, 64, 96, 128)
Fitted = tuple[Callable[[EmbeddedCollection], dict[str, float]], int]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the file does not hold yet, and print the table."""
    options = _parser().parse_args(arguments)
    if options.report_only or not options.test:
        held = _read(options.output)
        _print(held, sorted({test for *_, test in held}))
        return
    encoder = Encoder(options.encoder, dtype=options.dtype)
    collections = [load_collection(*parse_dataset(name)[:2]) for name in options.test]
    tests = [embed(collection, encoder, progress=True) for collection in collections]
    elsewhere = None
    if options.fit:
        texts = [passage.text for passage in Passages(options.fit)]
        elsewhere = encode_cached(encoder, texts, kind="document", progress=True)
    held = _read(options.output)
    for key, method, size, seed in _wanted(options, tests[0].features):
        fitted = None
        for test in tests:
            fitted_to = test.documents if elsewhere is None else elsewhere
            if (*key, test.name) in held:
                continue
            if method in THEIRS and len(fitted_to) < fewest_vectors(method, test.features):
                continue
            if fitted is None or elsewhere is None:
                fitted = _fit(method, size, seed, fitted_to)
            scores, numbers = fitted
            line = {"method": method, "bytes": size, "seed": seed, "test": test.name}
            line |= {"numbers": numbers, "scores": scores(test)}
            opened = gzip.open if options.output.suffix == ".gz" else open
            with opened(options.output, "at", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    _print(_read(options.output), [test.name for test in tests])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--test", action="append", help="a BEIR folder, perhaps with :SPLIT; repeat"
    )
    parser.add_argument("--report-only", action="store_true", help="print what OUTPUT holds")
    parser.add_argument("--fit", help="passages to fit to; those of each test by default")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--dtype", default="float32", help="of the encoder (default float32)")
    parser.add_argument("--method", action="append", help="default: codes, limit, opq, pq, ...")
    parser.add_argument("--bytes", type=int, action="append", help="default: 16 to 128")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("equal-bytes.jsonl"))
    return parser


def _wanted(options: argparse.Namespace, features: int) -> Iterator[tuple[Any, str, int, int]]:
    """The trials: their key in the file, method, bytes and seed; what is quick comes first."""
    sizes = options.bytes or list(_SIZES)
    yield ("uncompressed", 4 * features, 0), "uncompressed", 4 * features, 0
    for method in options.method or ("codes", LIMIT, "turboquant", "itq", "rabitq", "pq", "opq"):
        own = quantiser_sizes(method, features, sizes) if method in THEIRS else sizes
        for seed in range(options.seeds):
            for size in own:
                yield (method, size, seed), method, size, seed


def _fit(method: str, size: int, seed: int, documents: Tensor) -> Fitted:
    """What scores a collection, and how many numbers are stored for it."""
    if method == "uncompressed":
        return lambda test: test.scores("nDCG@10"), 0
    generator = torch.Generator().manual_seed(seed)
    if method == LIMIT:
        return _limit(size, documents, generator), 0
    if method in OURS:
        features = documents.shape[1]
        head = MPSProjectionHead.for_bytes(features, size, generator=generator, **OURS[method])
        head.fit(documents).eval()
        return lambda test: test.scores("nDCG@10", head), head.num_parameters
    reconstruct, numbers = fit_quantiser(method, size, seed, documents)
    return lambda test: test.scores("nDCG@10", documents=reconstruct(test.documents)), numbers


def _limit(size: int, documents: Tensor, generator: torch.Generator) -> Any:
    """Codes at the rate-distortion bound: of x there is left (1 - D) x and noise of D (1 - D)."""
    numbers, bits = code_layout(documents.shape[1], size)
    distortion, x = 2 ** (-2 * bits), normalize(documents)
    mean = x.mean(0)
    _, axes = torch.linalg.eigh(((x - mean).T @ (x - mean)).double())
    axes = axes.float().flip(1)[:, :numbers]

    def scores(test: EmbeddedCollection) -> dict[str, float]:
        kept = (normalize(test.documents) - mean) @ axes
        spread = kept.square().mean(1, keepdim=True).sqrt()
        noise = torch.randn(kept.shape, generator=generator) * spread
        decoded = (1 - distortion) * kept + (distortion * (1 - distortion)) ** 0.5 * noise
        centre = mean @ axes
        queries = normalize(test.queries) @ axes
        return test.scores("nDCG@10", documents=decoded + centre, queries=queries)

    return scores


def _read(file: Path) -> dict[Any, dict[str, Any]]:
    if not file.exists():
        return {}
    with gzip.open(file, "rt") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    return {(r["method"], r["bytes"], r["seed"], r["test"]): r for r in records}


def _print(held: dict[Any, dict[str, Any]], tests: Sequence[str]) -> None:
    """Mean and spread over seeds, and the test against the codes of as many bytes."""
    rows: dict[Any, dict[int, dict[str, Any]]] = defaultdict(lambda: defaultdict(dict))
    for (method, size, seed, test), record in held.items():
        rows[method, size][seed][test] = record
    whole = {
        key: [by_test for by_test in seeds.values() if len(by_test) == len(tests)]
        for key, seeds in rows.items()
    }
    whole = {key: seeds for key, seeds in whole.items() if seeds}
    p = _p_values(whole, tests)
    base = _means(next(v for k, v in whole.items() if k[0] == "uncompressed"))[0]
    cells = []
    for (method, size), seeds in sorted(whole.items(), key=lambda item: (-item[0][1], item[0][0])):
        means = torch.tensor(_means(seeds))
        spread = f"{means.std():.4f}" if len(means) > 1 else "-"
        stored = 4 * next(iter(seeds[0].values()))["numbers"] / 1000
        kept, chance = f"{float(means.mean()) / base:.1%}", p.get((method, size))
        shown = "" if chance is None else f"{chance:.3f}"
        name = f"{method}, {size} bytes"
        mean = f"{float(means.mean()):.4f}"
        cells.append([name, mean, spread, str(len(means)), kept, shown, f"{stored:,.0f}"])
    print(f"mean nDCG@10 of {', '.join(tests)}")
    print_table(["method", "mean", "sd", "seeds", "kept", "p", "stored kB"], cells)


def _means(seeds: Sequence[dict[str, Any]]) -> list[float]:
    """For each seed the mean over collections of the mean over queries."""
    per_test = lambda record: sum(record["scores"].values()) / len(record["scores"])  # noqa: E731
    return [sum(map(per_test, by_test.values())) / len(by_test) for by_test in seeds]


def _p_values(whole: dict[Any, list[dict[str, Any]]], tests: Sequence[str]) -> dict[Any, float]:
    """Of codes against each quantiser of as many bytes, corrected for all of them."""
    keys = [key for key in whole if key[0] in THEIRS and ("codes", key[1]) in whole]
    values = []
    for key in keys:
        ours, theirs = (_by_query(whole[k], tests) for k in (("codes", key[1]), key))
        values.append(paired_test([ours[q] - theirs[q] for q in ours]))
    return dict(zip(keys, holm(values), strict=True))


def _by_query(seeds: Sequence[dict[str, Any]], tests: Sequence[str]) -> dict[Any, float]:
    """Each query's mean over seeds."""
    total: dict[Any, float] = defaultdict(float)
    for by_test in seeds:
        for test in tests:
            for query, score in by_test[test]["scores"].items():
                total[test, query] += score / len(seeds)
    return total


if __name__ == "__main__":
    main()
