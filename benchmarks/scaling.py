"""How the time of a batch of MPS grows with qubits, bond dimension and batch, against the peers.

Three sweeps from one middle point: brickwork circuits on more and more qubits (two layers, exact),
truncation of a random state to larger and larger bonds (of twice the bond), and larger and larger
batches. Writes the numbers as JSON and draws them as a log-log plot.

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
from peer_libraries import PEERS
from peers import OURS, WITH_GRADIENTS, random_problem, simulate, simulate_with_gradients
from timing import interleaved, print_table

from mpsheads.mps import Truncation, compress, random_mps

Times = dict[str, dict[int, float]]
"""For each library seconds a state at each value of what is swept."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the three sweeps, print their tables, and write what was asked for."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    sweeps = {"qubits": {}, "bond dimension": {}, "batch": {}}
    for sites in options.qubits:
        _add(sweeps["qubits"], sites, _circuits(options, sites, options.batch[0]))
    for bond in options.bonds:
        _add(sweeps["bond dimension"], bond, _compression(options, bond))
    for batch in options.batch:
        _add(sweeps["batch"], batch, _circuits(options, options.qubits[0], batch, peers=False))
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
    sizes = {"type": int, "nargs": "+"}
    parser.add_argument("--qubits", **sizes, default=[64, 128, 256, 512, 1024, 2048, 4096])
    parser.add_argument("--bonds", **sizes, default=[2, 4, 8, 16, 32], help="bonds to truncate to")
    parser.add_argument("--batch", **sizes, default=[16, 1, 4, 64, 256], help="the first is usual")
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


def _add(times: Times, value: int, seconds: dict[str, float]) -> None:
    for name, number in seconds.items():
        times.setdefault(name, {})[value] = number


def _print(name: str, times: Times) -> None:
    values = sorted(times[OURS])
    print(f"\nms a state against {name}\n")
    rows = [
        [library, *(f"{1e3 * seconds[value]:.3g}" for value in values)]
        for library, seconds in times.items()
    ]
    print_table([name, *map(str, values)], rows)


def _plot(sweeps: dict[str, Times], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(sweeps), figsize=(12, 4), layout="constrained")
    for axes, (name, times) in zip(panels, sweeps.items(), strict=True):
        for library, seconds in times.items():
            values = sorted(seconds)
            style = "o-" if library.startswith(OURS) else "s--"
            axes.loglog(values, [1e3 * seconds[v] for v in values], style, label=library, ms=4)
        axes.set(xlabel=name, ylabel="ms a state")
        axes.set_xticks(sorted(times[OURS]), [str(v) for v in sorted(times[OURS])], fontsize=8)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    figure.savefig(path)
    plt.close(figure)


if __name__ == "__main__":
    main()
