"""How costs grow, each beside its peers, as numbers in JSON and as log-log plots.

Of a batch of MPS the time: brickwork circuits on more and more qubits (two layers, exact),
truncation of a random state to larger and larger bonds (of twice the bond), and larger and larger
batches. Of a search the time over more and more codes of 64 bytes, the ten nearest of 64 queries.
Of a training step the peak of memory at more and more embeddings.

Example:
    OMP_NUM_THREADS=1 python benchmarks/scaling.py --json scaling.json --plot scaling.svg
    OMP_NUM_THREADS=1 python benchmarks/scaling.py --qubits 64 256 1024 --peers seemps
"""

import argparse
import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from heads import peak_bytes, training_step
from peer_libraries import PEERS
from peers import OURS, WITH_GRADIENTS, random_problem, simulate, simulate_with_gradients
from timing import interleaved, print_table

from mpsheads import Codes, DenseHead, MPSProjectionHead, Truncation, cosine, top_k
from mpsheads.mps import compress, random_mps

Times = dict[str, dict[int, float]]
"""For each library the cost at each value of what is swept, in what `UNITS` says."""
UNITS = {
    "qubits": "ms a state",
    "bond dimension": "ms a state",
    "batch": "ms a state",
    "codes": "ns a code",
    "embeddings a step": "peak MB",
}
_SHOWN = {"ms a state": 1e3, "ns a code": 1e9, "peak MB": 1e-6}
_COPIES = 10  # of the embeddings: what a step is said to hold


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the three sweeps, print their tables, and write what was asked for."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    sweeps: dict[str, Times] = {name: {} for name in UNITS}
    for sites in options.qubits:
        _add(sweeps["qubits"], sites, _circuits(options, sites, options.batch[0]))
    for bond in options.bonds:
        _add(sweeps["bond dimension"], bond, _compression(options, bond))
    for batch in options.batch:
        _add(sweeps["batch"], batch, _circuits(options, options.qubits[0], batch, peers=False))
    for count in options.codes:
        _add(sweeps["codes"], count, _search(count, options))
    for count in options.embeddings:
        _add(sweeps["embeddings a step"], count, _memory(count))
    for name, times in sweeps.items():
        _print(name, times)
    if options.json:
        options.json.write_text(json.dumps(sweeps, indent=2) + "\n")
    if options.plot:
        _plot(sweeps, options.plot)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = ["seemps", "qiskit-aer", "quimb"]
    sizes = {"type": int, "nargs": "*"}
    parser.add_argument("--qubits", **sizes, default=[64, 256, 1024, 4096, 16384])
    parser.add_argument(
        "--bonds", **sizes, default=[2, 4, 8, 16, 32, 64], help="bonds to truncate to"
    )
    # the first batch is the usual one
    parser.add_argument("--batch", **sizes, default=[16, 1, 64, 1024, 16384])
    parser.add_argument("--codes", **sizes, default=[10**4, 10**5, 10**6, 10**7])
    parser.add_argument("--embeddings", **sizes, default=[64, 256, 1024, 4096, 16384])
    parser.add_argument("--float-codes", type=int, default=10**6, help="most beside floats (10^6)")
    parser.add_argument("--compressed-sites", type=int, default=64, help="for the bonds (64)")
    parser.add_argument("--repeats", type=int, default=3, help="measured rounds (default 3)")
    parser.add_argument("--warmup", type=int, default=1, help="rounds before them (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    parser.add_argument("--peers", nargs="*", default=default, choices=list(PEERS))
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--plot", type=Path, help="draw them to this file, SVG or PNG")
    return parser


def _circuits(
    options: argparse.Namespace, sites: int, batch: int, peers: bool = True
) -> dict[str, float]:
    problem = random_problem(sites, batch, layers=2, max_bond=None)
    functions: dict[str, Callable[[], object]] = {
        OURS: lambda: simulate(problem),
        WITH_GRADIENTS: lambda: simulate_with_gradients(problem),
    }
    counts = dict.fromkeys(functions, batch)
    for name in options.peers if peers else ():
        module, make = PEERS[name]
        if find_spec(module) is not None:
            run = make(problem)
            functions[name] = lambda run=run: run([0])
            counts[name] = 1
    seconds = interleaved(functions, options.repeats, options.warmup)
    return {name: min(values) / counts[name] for name, values in seconds.items()}


def _compression(options: argparse.Namespace, bond: int) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    batch = options.batch[0]
    state = random_mps(options.compressed_sites, 2 * bond, batch_size=batch, generator=generator)
    function = {OURS: lambda: compress(state, Truncation(bond))}
    seconds = interleaved(function, options.repeats, options.warmup)
    return {name: min(values) / batch for name, values in seconds.items()}


def _search(count: int, options: argparse.Namespace) -> dict[str, float]:
    """Random words: what they are does not matter. Floats take 16 times the memory."""
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(64, 256, generator=generator)
    packed = torch.randint(256, (count, 64), dtype=torch.uint8, generator=generator)
    codes = Codes(packed, 2.0, 256, "trellis", centre=torch.zeros(256))
    functions = {f"{OURS}, 64 bytes": lambda: top_k(queries, codes, 10, similarity=cosine)}
    if count <= options.float_codes:
        floats = torch.randn(count, 256, generator=generator)
        functions["torch, 1,024 bytes"] = lambda: (queries @ floats.T).topk(10)
    seconds = interleaved(functions, options.repeats, options.warmup)
    return {name: min(values) / count for name, values in seconds.items()}


def _memory(count: int) -> dict[str, float]:
    """Of a step with gradients of the embeddings, 768 to 256 numbers."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 768, generator=generator)
    heads = {OURS: MPSProjectionHead(768, 256), "Linear + tanh": DenseHead(768, 256)}
    peaks = {name: float(peak_bytes(training_step(head, x))) for name, head in heads.items()}
    return peaks | {f"{_COPIES} copies of the embeddings": 4.0 * _COPIES * x.numel()}


def _add(times: Times, value: int, seconds: dict[str, float]) -> None:
    for name, number in seconds.items():
        times.setdefault(name, {})[value] = number


def _print(name: str, times: Times) -> None:
    unit = UNITS[name]
    values = sorted({value for costs in times.values() for value in costs})
    print(f"\n{unit} against {name}\n")
    rows = [
        [library, *(f"{_SHOWN[unit] * costs[v]:.3g}" if v in costs else "" for v in values)]
        for library, costs in times.items()
    ]
    print_table([name, *(f"{value:,}" for value in values)], rows)


def _plot(sweeps: dict[str, Times], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    shown = {name: times for name, times in sweeps.items() if times}
    rows = -(-len(shown) // 3)
    figure, grid = plt.subplots(
        rows, 3, figsize=(12, 3.7 * rows), layout="constrained", squeeze=False
    )
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    for axes, (name, times) in zip(grid.flat, shown.items(), strict=False):
        for library, costs in times.items():
            values = sorted(costs)
            style = "o-" if library.startswith(OURS) else "s--"
            numbers = [_SHOWN[UNITS[name]] * costs[value] for value in values]
            axes.loglog(values, numbers, style, label=library, ms=4)
        swept = sorted({value for costs in times.values() for value in costs})
        axes.set_xticks(swept, [f"{value:,}" for value in swept], fontsize=8)
        axes.minorticks_off()
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, high / 30), max(high, 3 * low))
        axes.set(xlabel=name, ylabel=UNITS[name])
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
    main()
