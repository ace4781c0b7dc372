"""Fidelities of all pairs of two batches of MPS: time a pair, and share of the matmul peak.

Random states of one bond dimension, queries against documents. The peers take one pair at a time,
so they are given a few pairs only. The peak is a large matrix product in the same dtype, measured
in the same rounds; a pair counts 32 * sites * bond**3 operations if complex, 8 * sites * bond**3 if
real. Peers that are not installed are left out (`pip install seemps quimb`).

Example:
    OMP_NUM_THREADS=1 python benchmarks/pairs.py --sites 256 --bond 4 --threads 1 2
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import torch
from timing import print_table

from mpsheads.mps import MPS, fidelity_matrix, overlap_matrix, random_mps

OURS = "mpsheads"
PEAK = "matmul"
Function = Callable[[], object]


def main(arguments: Sequence[str] | None = None) -> None:
    """Check that all agree, then print a table for each number of threads."""
    options = _parser().parse_args(arguments)
    queries, documents = _random_states(options)
    pairs = len(queries) * len(documents)
    functions: dict[str, Function] = {
        OURS: lambda: fidelity_matrix(queries, documents, chunk=options.chunk)
    }
    counts = {OURS: pairs}
    for name, make in {"seemps": _seemps_overlaps, "quimb": _quimb_overlaps}.items():
        if name in options.peers and find_spec(name):
            functions[name] = make(queries[:1], documents[: options.peer_pairs])
            counts[name] = min(options.peer_pairs, len(documents))
            _check(functions[name](), overlap_matrix(queries[:1], documents[: counts[name]]), name)
    square = torch.randn(options.matmul, options.matmul, dtype=queries.dtype)
    functions[PEAK] = lambda: square @ square
    results = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        seconds = _interleaved(functions, options.repeats, options.warmup)
        results.append(_result(options, threads, seconds, counts))
        _print(options, results[-1])
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sites", type=int, default=256, help="qubits (default 256)")
    parser.add_argument("--bond", type=int, default=4, help="bond dimension (default 4)")
    parser.add_argument("--queries", type=int, default=32, help="states of the rows (default 32)")
    parser.add_argument("--documents", type=int, default=1000, help="of the columns (default 1000)")
    parser.add_argument("--dtype", choices=["complex64", "float32"], default="complex64")
    parser.add_argument("--chunk", type=int, help="documents at once (default: the library's)")
    parser.add_argument("--repeats", type=int, default=7, help="measured rounds (default 7)")
    parser.add_argument("--warmup", type=int, default=1, help="rounds before them (default 1)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="one table for each")
    parser.add_argument("--matmul", type=int, default=1024, help="size of the peak's matrices")
    parser.add_argument("--peer-pairs", type=int, default=10, help="pairs a peer gets (default 10)")
    parser.add_argument("--peers", nargs="*", default=["seemps", "quimb"])
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    return parser


def _random_states(options: argparse.Namespace) -> tuple[MPS, MPS]:
    """Random queries, and documents near the first one: its overlaps fit into floats.

    Overlaps of unlike states of hundreds of sites do not, and a peer would meet numbers of reduced
    precision, which are slow, and zeros.
    """
    generator = torch.Generator().manual_seed(0)
    dtype = getattr(torch, options.dtype)
    queries, noise = (
        random_mps(options.sites, options.bond, batch_size=n, dtype=dtype, generator=generator)
        for n in (options.queries, options.documents)
    )
    sites = (q[:1] + 0.1 * d for q, d in zip(queries.sites, noise.sites, strict=True))
    return queries, MPS(tuple(sites), noise.log_norm)


def _arrays(states: MPS) -> list[list]:
    """Site tensors `(left, phys, right)` of each state, as NumPy arrays."""
    by_site = [site.numpy() for site in states.sites]
    return [[site[i] for site in by_site] for i in range(len(states))]


def _seemps_overlaps(query: MPS, documents: MPS) -> Function:
    """Overlaps of one query with some documents, from seemps."""
    from seemps.state import MPS as SeempsMPS  # pyright: ignore[reportMissingImports]
    from seemps.state import scprod  # pyright: ignore[reportMissingImports]

    bra = SeempsMPS(_arrays(query)[0])
    kets = [SeempsMPS(arrays) for arrays in _arrays(documents)]
    return lambda: [scprod(bra, ket) for ket in kets]


def _quimb_overlaps(query: MPS, documents: MPS) -> Function:
    """The same from quimb."""
    import quimb.tensor as qtn

    def state(arrays: list) -> qtn.MatrixProductState:
        if len(arrays) > 1:
            arrays = [arrays[0][0], *arrays[1:-1], arrays[-1][..., 0]]
        return qtn.MatrixProductState(arrays, shape="lpr")

    bra = state(_arrays(query)[0]).H
    kets = [state(arrays) for arrays in _arrays(documents)]
    return lambda: [bra @ ket for ket in kets]


def _check(theirs: object, ours: torch.Tensor, name: str) -> None:
    """Stop where a peer computes something else."""
    expected = torch.as_tensor(theirs)[None]
    scale = ours.abs().max()
    error = (expected.to(ours.dtype) - ours).abs().max() / torch.where(scale > 0, scale, 1)
    if not error < 1e-3:  # single precision over hundreds of sites
        raise SystemExit(f"{name} gives other overlaps: they differ by {error:.1e} of the largest.")


def _interleaved(
    functions: dict[str, Function], repeats: int, warmup: int
) -> dict[str, list[float]]:
    """Seconds of each call; every round calls each function once."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(warmup + repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _result(
    options: argparse.Namespace,
    threads: int,
    seconds: dict[str, list[float]],
    counts: dict[str, int],
) -> dict:
    real = 1 if options.dtype == "float32" else 4
    peak = 2 * real * options.matmul**3 / min(seconds[PEAK])
    rows = {}
    for name, count in counts.items():
        per_pair = {"min": min(seconds[name]) / count, "median": median(seconds[name]) / count}
        flops = 8 * real * options.sites * options.bond**3 / per_pair["min"]
        rows[name] = {
            "us_per_pair": {key: 1e6 * value for key, value in per_pair.items()},
            "percent_of_peak": 100 * flops / peak,
        }
    sizes = ("sites", "bond", "queries", "documents", "dtype")
    return {
        **{key: getattr(options, key) for key in sizes},
        "threads": threads,
        "matmul_gflops": peak / 1e9,
        "libraries": rows,
    }


def _print(options: argparse.Namespace, result: dict) -> None:
    print(
        f"\n{options.queries} x {options.documents} pairs of {options.sites} sites, bond "
        f"{options.bond}, {options.dtype}, {result['threads']} thread(s), {options.repeats} "
        f"rounds.\nMatmul peak: {result['matmul_gflops']:.0f} GFLOP/s.\n"
    )
    ours = result["libraries"][OURS]["us_per_pair"]
    rows = []
    for name, numbers in result["libraries"].items():
        us = numbers["us_per_pair"]
        share = f"{numbers['percent_of_peak']:.2g}%"
        ratio = f"{us['min'] / ours['min']:.1f}x"
        rows.append([name, f"{us['min']:.4g}", f"{us['median']:.4g}", ratio, share])
    header = ["library", "us a pair, min", "median", "it/mpsheads", "of the peak"]
    print_table(header, rows)


if __name__ == "__main__":
    main()
