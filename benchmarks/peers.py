"""Speed of a batch of MPS against libraries that simulate one state at a time.

Product inputs, all different, go through brickwork layers: a gate on every qubit, then controlled
gates on all even bonds, then on all odd ones. The peers loop over the states.

Example:
    OMP_NUM_THREADS=1 python benchmarks/peers.py --sites 64 --batch 16 --layers 2
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from timing import interleaved_medians, print_table
from torch import Tensor

from mpsheads.mps import MPS, apply_controlled, apply_gate, log_fidelity, product_state
from mpsheads.mps.gates import controlled, unitary

OURS = "mpsheads"


@dataclass(frozen=True)
class Problem:
    """Input amplitudes `(batch, sites, 2)` and gates `(layers, sites, 2, 2)`, both complex."""

    amplitudes: Tensor
    rotations: Tensor
    controlled: Tensor

    @property
    def n_sites(self) -> int:
        """Length of the chain."""
        return self.amplitudes.shape[1]

    def bonds(self) -> list[int]:
        """Left sites of the bonds of a layer, in the order of application."""
        return [*range(0, self.n_sites - 1, 2), *range(1, self.n_sites - 1, 2)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Check that all agree, then print the table."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    problem = _random_problem(options)
    state = simulate(problem)
    print(
        f"\n{options.batch} states of {options.sites} qubits, {options.layers} layer(s), "
        f"{options.dtype}, {options.threads} thread(s), medians of {options.repeats}.\n"
        f"Largest bond: {max(state.bond_dims)}.\n"
    )
    functions: dict[str, Callable[[], object]] = {OURS: lambda: simulate(problem)}
    agreement = {OURS: "-"}
    for name, peer in {"quimb": with_quimb, "tensornetwork": with_tensornetwork}.items():
        if name in options.peers:
            worst = _worst_log_fidelity(peer(problem), state)
            agreement[name] = f"{-worst:.1e}"
            functions[name] = lambda peer=peer: peer(problem)
    medians = interleaved_medians(functions, options.repeats, options.warmup)
    rows = []
    for name, median in medians.items():
        per_state = f"{1e3 * median / options.batch:.3f}"
        rows.append([name, per_state, f"{median / medians[OURS]:.1f}x", agreement[name]])
    print_table(["library", "ms a state", "it/mpsheads", "largest -log fidelity"], rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sites", type=int, default=64, help="qubits (default 64)")
    parser.add_argument("--batch", type=int, default=16, help="different states (default 16)")
    parser.add_argument("--layers", type=int, default=2, help="brickwork layers (default 2)")
    parser.add_argument("--dtype", choices=["complex64", "complex128"], default="complex128")
    parser.add_argument("--repeats", type=int, default=5, help="measured rounds (default 5)")
    parser.add_argument("--warmup", type=int, default=1, help="rounds before them (default 1)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    parser.add_argument("--peers", nargs="*", default=["quimb", "tensornetwork"])
    return parser


def _random_problem(options: argparse.Namespace) -> Problem:
    generator = torch.Generator().manual_seed(0)
    dtype = getattr(torch, options.dtype)
    angles = 6 * torch.rand(2, options.layers, options.sites, 4, generator=generator)
    inputs = torch.randn(options.batch, options.sites, 2, generator=generator).to(dtype)
    inputs = inputs / inputs.norm(dim=-1, keepdim=True)
    rotations, controlled_gates = unitary(angles.double()).to(dtype)
    return Problem(inputs, rotations, controlled_gates)


def simulate(problem: Problem) -> MPS:
    """All states at once."""
    state = product_state(problem.amplitudes)
    for rotations, gates in zip(problem.rotations, problem.controlled, strict=True):
        for site in range(problem.n_sites):
            state = apply_gate(state, rotations[site], site)
        for left in problem.bonds():
            state = apply_controlled(state, gates[left], left, left + 1)
    return state


def with_quimb(problem: Problem) -> list[list[Tensor]]:
    """Site tensors `(left, phys, right)` of each state, from quimb's CircuitMPS."""
    import quimb.tensor as qtn

    rotations = problem.rotations.numpy()
    gates = controlled(problem.controlled).numpy()
    states = []
    for amplitudes in problem.amplitudes.numpy():
        circuit = qtn.CircuitMPS(psi0=qtn.MPS_product_state(list(amplitudes)))
        for layer in range(len(rotations)):
            for site in range(problem.n_sites):
                circuit.apply_gate_raw(rotations[layer, site], (site,))
            for left in problem.bonds():
                circuit.apply_gate_raw(gates[layer, left], (left, left + 1))
        psi = circuit.psi
        psi.permute_arrays("lpr")
        tensors = [torch.from_numpy(array) for array in psi.arrays]
        states.append([tensors[0][None], *tensors[1:-1], tensors[-1][..., None]])
    return states


def with_tensornetwork(problem: Problem) -> list[list[Tensor]]:
    """The same from TensorNetwork's FiniteMPS, its centre moved along so that it may truncate."""
    import tensornetwork as tn

    rotations = problem.rotations.numpy()
    gates = controlled(problem.controlled).unflatten(-1, (2, 2)).unflatten(-3, (2, 2)).numpy()
    states = []
    for amplitudes in problem.amplitudes.numpy():
        tensors = [vector.reshape(1, 2, 1) for vector in amplitudes]
        mps = tn.FiniteMPS(tensors, center_position=0, canonicalize=True, backend="numpy")
        for layer in range(len(rotations)):
            for site in range(problem.n_sites):
                mps.apply_one_site_gate(rotations[layer, site], site)
            for left in problem.bonds():
                mps.position(left)
                mps.apply_two_site_gate(
                    gates[layer, left],
                    left,
                    left + 1,
                    max_truncation_err=1e-7,  # a norm: the weight is 1e-14
                    center_position=left + 1,
                )
        states.append([torch.from_numpy(tensor) for tensor in mps.tensors])
    return states


def _worst_log_fidelity(states: list[list[Tensor]], ours: MPS) -> float:
    """The smallest log-fidelity of a peer's state with ours; 0 if all agree."""
    worst = 0.0
    for i, tensors in enumerate(states):
        theirs = MPS(tuple(tensor[None].to(ours.dtype) for tensor in tensors), ours.log_norm[:1])
        mine = MPS(tuple(site[i : i + 1] for site in ours.sites), ours.log_norm[i : i + 1])
        worst = min(worst, float(log_fidelity(mine, theirs)))
    return worst


if __name__ == "__main__":
    main()
