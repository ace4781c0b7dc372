"""A head in words, and the circuit of one of its blocks."""

from mpsheads.heads.base import ProjectionHead, head_size_in_bytes
from mpsheads.heads.projection import MPSProjectionHead
from mpsheads.mps import Circuit


def describe(head: ProjectionHead) -> str:
    """What a head is and costs, a line for each thing; for an MPS head with its circuit drawn."""
    drawing = []
    if isinstance(head, MPSProjectionHead) and head.amplitudes is not None:
        lines = _amplitude_lines(head)
    elif isinstance(head, MPSProjectionHead):
        lines = _circuit_lines(head)
        if (circuit := block_circuit(head)).num_sites <= 16:
            drawing = ["", "The circuit of a block:", circuit.draw()]
    else:
        lines = {"kind": (type(head).__doc__ or head.name).split("\n")[0]}
    linear, own = head.in_features * head.out_features + head.out_features, head.num_parameters
    times = f", {linear / own:.1f} times as many" if own else ""
    lines["parameters"] = f"{own:,} (a linear layer of the same size: {linear:,}{times})"
    kind = "codes" if head.config.get("bits") else "float32"
    lines["bytes"] = f"{head.bytes_per_vector:,} a vector in {kind}"
    if head.compared_by != "cosine":
        state = isinstance(head, MPSProjectionHead) and head.readout.kind == "state"
        sizes = {bits: head_size_in_bytes(head, bits) for bits in (8, 4, 2, 1)[: 2 if state else 4]}
        coded = ", ".join(f"{size:,} at {bits}" for bits, size in sizes.items())
        lines["bytes"] += f"; in codes {coded} bits"
    width = max(map(len, lines)) + 2
    title = f"{type(head).__name__} {head.in_features} -> {head.out_features}"
    shown = [f"  {name.ljust(width)}{text}" for name, text in lines.items()]
    return "\n".join([title, *shown, *drawing])


def block_circuit(head: MPSProjectionHead, block: int = 0) -> Circuit:
    """The gates that the readout of a block depends on, on their own qubits."""
    sites = head.register.sites[block]
    cone, _ = head.circuit.light_cone(sites if head.readout.kind == "state" else sites[-1:])
    return cone


def _mixing_line(head: MPSProjectionHead) -> dict[str, str]:
    if head.mixing is None:
        return {}
    numbers = sum(parameter.numel() for parameter in head.mixing.parameters())
    if head.config["mixing"] == "full":
        return {"mixing": f"any rotation of the features, {numbers:,} numbers"}
    fitted = "fitted" if head.is_fitted else "not fitted"
    layers = f"{head.config['mixing']} layers of Givens rotations of features"
    return {"mixing": f"{layers}, {numbers:,} angles, {fitted} to data"}


def _amplitude_lines(head: MPSProjectionHead) -> dict[str, str]:
    """What a head without entangling gates is."""
    lines = {
        **_mixing_line(head),
        "state": f"one particle on {head.in_features:,} sites, exact with bonds of 2",
        "readout": f"amplitude, {head.out_features:,} kept sites",
    }
    if bits := head.config["bits"]:
        seed = head.config["scramble"]
        lines["codes"] = f"{bits:g} bits a number on a trellis, scrambled by seed {seed}"
    return lines


def _circuit_lines(head: MPSProjectionHead) -> dict[str, str]:
    config, blocks = head.config, head.register.blocks
    sizes = sorted({len(block) for block in blocks})
    named = isinstance(config["ansatz"], str)
    name = f"{config['ansatz']}, depth {config['depth']}" if named else "of its own"
    qubits = f"{head.register.num_sites:,} qubits"
    cone = f"all {qubits} at once"
    if head._observables is not None:
        cone = f"an output depends on {' or '.join(map(str, head._observables.sizes))} qubits"
    needed, allowed = max(head.needed_bonds, default=1), config["bond_dim"]
    bonds = f"exact: needs {needed} of the {allowed} allowed"
    if head.truncates:
        bonds = f"needs {needed}, truncated to {allowed}: states are evolved, not observables"
    return {
        **_mixing_line(head),
        "encoding": f"angles, {qubits}, scale {head.scale.item():.3g}",
        "blocks": f"{len(blocks):,} of {' or '.join(map(str, sizes))} features",
        "circuit": f"{name}, {len(head.circuit):,} gates",
        "bonds": bonds,
        "light cone": cone,
        "readout": f"{config['readout']}, {len(head.kept_sites):,} kept qubits",
    }
