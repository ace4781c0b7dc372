"""A head in words, and the circuit of one of its blocks."""

from mpsheads.heads.base import ProjectionHead, head_size_in_bytes
from mpsheads.heads.projection import MPSProjectionHead
from mpsheads.mps import Circuit


def describe(head: ProjectionHead) -> str:
    """What a head is and costs, a line for each thing; for an MPS head with its circuit drawn."""
    lines = _circuit_lines(head) if isinstance(head, MPSProjectionHead) else {}
    if not lines:
        lines["kind"] = (type(head).__doc__ or head.name).split("\n")[0]
    lines |= {"parameters": _parameters(head), "bytes": _bytes(head)}
    width = max(map(len, lines)) + 2
    title = f"{type(head).__name__} {head.in_features} -> {head.out_features}"
    shown = [f"  {name.ljust(width)}{text}" for name, text in lines.items()]
    drawing = []
    if isinstance(head, MPSProjectionHead) and (circuit := block_circuit(head)).num_sites <= 16:
        drawing = ["", "The circuit of a block:", circuit.draw()]
    return "\n".join([title, *shown, *drawing])


def block_circuit(head: MPSProjectionHead, block: int = 0) -> Circuit:
    """The gates that the readout of a block depends on, on their own qubits."""
    sites = head.register.sites[block]
    cone, _ = head.circuit.light_cone(sites if head.readout.kind == "state" else sites[-1:])
    return cone


def _circuit_lines(head: MPSProjectionHead) -> dict[str, str]:
    blocks, ansatz = head.register.blocks, head.config["ansatz"]
    sizes = sorted({len(block) for block in blocks})
    name = f"{ansatz}, depth {head.config['depth']}" if isinstance(ansatz, str) else "of its own"
    qubits = _count(head.register.num_sites, "qubit")
    if head._observables is None:
        cone = f"all {qubits} at once"
    else:
        cone = f"an output depends on {' or '.join(map(str, head._observables.sizes))} qubits"
    return {
        **_mixing(head),
        "encoding": f"angles, {qubits}, scale {head.scale.item():.3g}",
        "blocks": f"{len(blocks):,} of {' or '.join(map(str, sizes))} feature"
        f"{'s' * (sizes[-1] > 1)}",
        "circuit": f"{name}, {_count(len(head.circuit), 'gate')}",
        "bonds": _bonds(head),
        "light cone": cone,
        "readout": f"{head.readout.name}, {_count(len(head.kept_sites), 'kept qubit')}",
    }


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _mixing(head: MPSProjectionHead) -> dict[str, str]:
    if head.mixing is None:
        return {}
    layers, angles = head.mixing.layers, head.mixing.angles.numel()
    shown = f"{_count(layers, 'layer')} of Givens rotations of features, {_count(angles, 'angle')}"
    return {"mixing": f"{shown}, {'' if head.mixing.is_fitted else 'not '}fitted to data"}


def _bonds(head: MPSProjectionHead) -> str:
    needed, allowed = max(head.needed_bonds, default=1), head.config["bond_dim"]
    if head.truncates:
        return f"needs {needed}, truncated to {allowed}: states are evolved, not observables"
    return f"exact: needs {needed} of the {allowed} allowed"


def _parameters(head: ProjectionHead) -> str:
    linear = head.in_features * head.out_features + head.out_features
    own = head.num_parameters
    times = f", {linear / own:.1f} times as many" if own else ""
    return f"{own:,} (a linear layer of the same size: {linear:,}{times})"


def _bytes(head: ProjectionHead) -> str:
    whole = f"{head.bytes_per_vector:,} a vector in float32"
    if head.compared_by == "cosine":
        return whole
    state = isinstance(head, MPSProjectionHead) and head.readout.kind == "state"
    sizes = {bits: head_size_in_bytes(head, bits) for bits in ((8, 4) if state else (8, 4, 2, 1))}
    coded = ", ".join(f"{size:,} at {bits}" for bits, size in sizes.items())
    return f"{whole}; in codes {coded} bits"
