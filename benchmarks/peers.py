"""Speed of a batch of MPS against libraries that simulate one state at a time.

Product inputs, all different, go through brickwork layers: a rotation of every qubit, then
controlled gates on all even bonds, then on all odd ones. The peers loop over a few of the states
(`quimb-vmap` takes all of them at once). Those that are not installed are left out:
`pip install -e ".[benchmarks]"`.

Example:
    OMP_NUM_THREADS=1 python benchmarks/peers.py --sites 768 --batch 64 --layers 2
    OMP_NUM_THREADS=1 python benchmarks/peers.py --sites 768 --batch 64 --layers 4 --max-bond 4
    OMP_NUM_THREADS=1 python benchmarks/peers.py --sites 768 --batch 64 --peers quimb-vmap

quimb keeps what it learnt of NumPy arrays, which breaks its torch arrays in the same process: time
`quimb-vmap` by itself.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import torch
from peer_libraries import PEERS, Arrays, Problem
from timing import interleaved, print_table

from mpsheads.ansatz import brickwork
from mpsheads.mps import MPS, apply_circuit, log_fidelity, product_state

OURS = "mpsheads"
DOUBLE = torch.complex128
WITH_GRADIENTS = "mpsheads, with gradients"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare all with the exact states, then print a table for each number of threads."""
    options = _parser().parse_args(arguments)
    if {"quimb", "quimb-vmap"} <= set(options.peers):
        raise SystemExit("Time `quimb` and `quimb-vmap` in two runs: see --help.")
    problem = random_problem(options.sites, options.batch, options.layers, options.max_bond)
    problem = replace(problem, amplitudes=problem.amplitudes.to(getattr(torch, options.dtype)))
    state = simulate(problem)
    most = max(options.peer_states, 1)
    exact = replace(problem, amplitudes=problem.amplitudes[:most].to(DOUBLE), max_bond=None)
    reference = simulate(exact)
    functions: dict[str, Callable[[], object]] = {
        OURS: lambda: simulate(problem),
        WITH_GRADIENTS: lambda: simulate_with_gradients(problem, options.checkpoint),
    }
    counts: dict[str, int] = {name: options.batch for name in functions}  # noqa: C420
    losses = {OURS: float((-log_fidelity(reference, state[:most].to(DOUBLE))).max())}
    for name in options.peers:
        module, make = PEERS[name]
        if find_spec(module) is None:
            print(f"{name} is not installed and left out.")
            continue
        members = range(options.batch if name == "quimb-vmap" else options.peer_states)
        run = make(problem)
        losses[name] = largest_loss(run(members)[:most], reference)
        functions[name] = lambda run=run, members=members: run(members)
        counts[name] = len(members)
    results = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        seconds = interleaved(functions, options.repeats, options.warmup)
        per_state = {name: [s / counts[name] for s in seconds[name]] for name in seconds}
        _print(options, threads, state, per_state, losses)
        results.append({"threads": threads, "seconds_per_state": per_state})
    if options.json:
        settings = {key: getattr(options, key) for key in ("sites", "batch", "layers", "max_bond")}
        record = {**settings, "minus_log_fidelity": losses, "results": results}
        options.json.write_text(json.dumps(record, indent=2) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = [name for name in PEERS if name != "quimb-vmap"]
    parser.add_argument("--sites", type=int, default=64, help="qubits (default 64)")
    parser.add_argument("--batch", type=int, default=16, help="different states (default 16)")
    parser.add_argument("--layers", type=int, default=2, help="brickwork layers (default 2)")
    parser.add_argument("--max-bond", type=int, help="truncate to this bond (default: exact)")
    parser.add_argument("--dtype", choices=["complex64", "complex128"], default="complex64")
    parser.add_argument("--checkpoint", action="store_true", help="gradients in less memory")
    parser.add_argument("--repeats", type=int, default=5, help="measured rounds (default 5)")
    parser.add_argument("--warmup", type=int, default=1, help="rounds before them (default 1)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="one table for each")
    parser.add_argument("--peers", nargs="*", default=default, choices=list(PEERS))
    parser.add_argument("--peer-states", type=int, default=1, help="states a peer gets (default 1)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    return parser


def random_problem(sites: int, batch: int, layers: int, max_bond: int | None) -> Problem:
    """Normalised random inputs in complex64, and random angles."""
    generator = torch.Generator().manual_seed(0)
    circuit = brickwork(sites, layers)
    parameters = 6 * torch.rand(circuit.num_parameters, generator=generator)
    inputs = torch.randn(batch, sites, 2, dtype=torch.complex64, generator=generator)
    return Problem(torch.nn.functional.normalize(inputs, dim=-1), circuit, parameters, max_bond)


@torch.no_grad()
def simulate(problem: Problem) -> MPS:
    """All states at once."""
    start = product_state(problem.amplitudes)
    return apply_circuit(start, problem.circuit, problem.parameters, problem.truncation)


def simulate_with_gradients(problem: Problem, checkpoint: bool = False) -> torch.Tensor:
    """All states, and the gradient of a sum over the tensors in the middle of the chain."""
    parameters = problem.parameters.detach().clone().requires_grad_()
    state = apply_circuit(
        product_state(problem.amplitudes),
        problem.circuit,
        parameters,
        problem.truncation,
        checkpoint=checkpoint,
    )
    seeds = [torch.ones_like(site) for site in state.sites]
    inner = [i for i, site in enumerate(state.sites) if site.requires_grad]
    sites, seeds = [state.sites[i] for i in inner], [seeds[i] for i in inner]
    return torch.autograd.grad(sites, parameters, seeds)[0]


def largest_loss(states: Arrays, reference: MPS) -> float:
    """The largest `-log(fidelity)` of a library's states with the exact ones."""
    losses = []
    for i, arrays in enumerate(states):
        sites = tuple(torch.from_numpy(np.array(array))[None].to(DOUBLE) for array in arrays)
        found = MPS(sites, torch.zeros(1, dtype=torch.float64))
        losses.append(float(-log_fidelity(reference[i], found)))
    return max(losses)


def _print(
    options: argparse.Namespace,
    threads: int,
    state: MPS,
    per_state: dict[str, list[float]],
    losses: dict[str, float],
) -> None:
    limit = "exact" if options.max_bond is None else f"truncated to bond {options.max_bond}"
    print(
        f"\n{options.batch} states of {options.sites} qubits, {options.layers} layer(s), {limit}, "
        f"ours in {options.dtype}, {threads} thread(s), {options.repeats} rounds.\n"
        f"Largest bond {state.max_bond}. The last column compares with the exact state.\n"
    )
    ours = per_state[OURS]
    rows = []
    for name, seconds in per_state.items():
        ratios = f"{min(seconds) / min(ours):.1f}x", f"{median(seconds) / median(ours):.1f}x"
        times = f"{1e3 * min(seconds):.4g}", f"{1e3 * median(seconds):.4g}"
        rows.append([name, *times, *ratios, f"{losses[name]:.2g}" if name in losses else "-"])
    header = ["library", "ms a state, min", "median", "it/mpsheads, min", "median", "-log fidelity"]
    print_table(header, rows)


if __name__ == "__main__":
    main()
