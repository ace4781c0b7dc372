"""All pairs of compressed vectors by every similarity: time, and its ratio to a float32 matmul.

The matmul has the shape of the angles, `(queries, numbers) @ (numbers, documents)`; what takes
fewer documents is compared by time a pair. Each round calls all functions once, so a busy machine
slows all alike. The error is the largest distance from the exact log-fidelity in double precision,
on a few of the pairs; for codes from that of the vectors they were made of.

Example:
    OMP_NUM_THREADS=1 python benchmarks/similarity.py --queries 64 --documents 100000 --numbers 256
"""

import argparse
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from timing import interleaved, print_table
from torch import Tensor

from mpsheads import approximate_log_fidelity, log_fidelity, quantize, top_k
from mpsheads import state_log_fidelity as compare_states
from mpsheads.mps import random_mps
from mpsheads.similarity import pack_state

MATMUL = "float32 matmul"
_CHECKED = 100  # documents whose error is looked at
Pairs = Callable[[Tensor], Tensor]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write it as JSON if asked for."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(0)
    zq, zd = (
        math.pi / 2 + options.spread * (torch.rand(n, options.numbers, generator=generator) - 0.5)
        for n in (options.queries, options.documents)
    )
    functions, pairs, errors = _angles(options, zq, zd)
    for name, function, documents in _states(options, generator):
        functions[name], pairs[name] = function, options.queries * documents
    seconds = interleaved(functions, options.repeats, options.warmup)
    best = {name: min(times) for name, times in seconds.items()}
    base = best[MATMUL] / pairs[MATMUL]
    result = {
        name: {
            "ms": 1e3 * best[name],
            "ratio": best[name] / pairs[name] / base,
            "error": errors.get(name),
        }
        for name in functions
    }
    _print(options, result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=64, help="rows (default 64)")
    parser.add_argument("--documents", type=int, default=100_000, help="columns (default 100,000)")
    parser.add_argument("--numbers", type=int, default=256, help="of a vector (default 256)")
    parser.add_argument(
        "--spread", type=float, default=math.pi, help="width of the angles' range (default pi)"
    )
    parser.add_argument("--few", type=int, default=2000, help="documents of slow rows")
    parser.add_argument("--repeats", type=int, default=7, help="measured rounds (default 7)")
    parser.add_argument("--warmup", type=int, default=1, help="rounds before them (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads (default 1)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    return parser


def _angles(
    options: argparse.Namespace, zq: Tensor, zd: Tensor
) -> tuple[dict[str, Callable[[], object]], dict[str, int], dict[str, float]]:
    """What is measured on angles, pairs of each, and errors."""
    few = zd[:_CHECKED]
    exact = 2 * ((zq.double()[:, None] - few.double()) / 2).cos().log().sum(-1)
    all_pairs: dict[str, Callable[[], Tensor]] = {"exact": lambda: log_fidelity(zq, zd)}
    errors = {"exact": _distance(log_fidelity(zq, few), exact)}
    all_pairs["approximate"] = lambda: approximate_log_fidelity(zq, zd)
    errors["approximate"] = _distance(approximate_log_fidelity(zq, few), exact)
    for bits in (8, 4, 2, 1):
        codes = quantize(zd, bits)
        all_pairs[f"{bits}-bit codes"] = lambda c=codes: log_fidelity(zq, c)
        errors[f"{bits}-bit codes"] = _distance(log_fidelity(zq, codes[:_CHECKED]), exact)
    functions: dict[str, Callable[[], object]] = {MATMUL: lambda: zq @ zd.T, **all_pairs}
    functions["exact, top 10"] = lambda: top_k(zq, zd, 10)
    pairs = dict.fromkeys(functions, zq.shape[0] * zd.shape[0])
    part = zd[: options.few].clone().requires_grad_()
    queries = zq.clone().requires_grad_()
    weight = torch.rand(zq.shape[0], part.shape[0])

    def gradients() -> object:
        return torch.autograd.grad(log_fidelity(queries, part), (queries, part), weight)

    functions["exact, with gradients"] = gradients
    pairs["exact, with gradients"] = weight.numel()
    return functions, pairs, errors


def _states(
    options: argparse.Namespace, generator: torch.Generator
) -> list[tuple[str, Callable[[], object], int]]:
    """States of bond 1 of as many numbers as there are angles, and of bond 2 of as many qubits."""
    qubits = max(1, options.numbers // 4)
    rows = []
    for bond, documents in ((1, options.documents), (2, options.few)):
        states = [
            random_mps(qubits, bond, batch_size=n, generator=generator)
            for n in (options.queries, documents)
        ]
        zq, zd = map(pack_state, states)
        bonds = states[0].bond_dims
        rows.append(
            (
                f"state of {qubits} qubits, bond {bond}",
                lambda q=zq, d=zd, b=bonds: compare_states(q, d, b),
                documents,
            )
        )
    return rows


def _distance(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).abs().max())


def _print(options: argparse.Namespace, result: dict[str, dict]) -> None:
    print(
        f"\n{options.queries} x {options.documents} pairs of {options.numbers} numbers, angles "
        f"within {options.spread:.3g}, {options.threads} thread(s), best of {options.repeats}.\n"
    )
    rows = [
        [
            name,
            f"{row['ms']:.4g}",
            f"{row['ratio']:.2f}x",
            "" if row["error"] is None else f"{row['error']:.1e}",
        ]
        for name, row in result.items()
    ]
    print_table(["similarity", "ms", "of the matmul, a pair", "error"], rows)


if __name__ == "__main__":
    main()
