"""A head in words."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpsheads.heads.projection import MPSProjectionHead

_BITS = (8, 4, 2, 1)


def describe(head: "MPSProjectionHead") -> str:
    """What a head is and costs, a line for each thing, and a drawing of its circuit."""
    lines = {
        **_mixing(head),
        "encoding": _encoding(head),
        "blocks": _blocks(head),
        "circuit": _circuit(head),
        "bonds": _bonds(head),
        "light cone": _light_cone(head),
        "readout": f"{head.readout.name}, {_count(len(head.kept_sites), 'kept qubit')}",
        "parameters": _parameters(head),
        "bytes": _bytes(head),
    }
    width = max(map(len, lines)) + 2
    title = f"{type(head).__name__} {head.in_features} -> {head.out_features}"
    shown = [f"  {name.ljust(width)}{text}" for name, text in lines.items()]
    circuit = head.block_circuit()
    drawing = ["", "The circuit of a block:", circuit.draw()] if circuit.num_sites <= 16 else []
    return "\n".join([title, *shown, *drawing])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _mixing(head: "MPSProjectionHead") -> dict[str, str]:
    if head.mixing is None:
        return {}
    layers, angles = head.mixing.layers, head.mixing.angles.numel()
    shown = f"{_count(layers, 'layer')} of Givens rotations of features, {_count(angles, 'angle')}"
    return {"mixing": f"{shown}, {'' if head.mixing.is_fitted else 'not '}fitted to data"}


def _encoding(head: "MPSProjectionHead") -> str:
    scale = ""
    if head.scale is not None:
        shared = head.scale.ndim == 0
        scale = f", scale {head.scale.item():.3g}" if shared else ", a scale for each feature"
    return f"{head.config['encoding']}, {_count(head.register.num_sites, 'qubit')}{scale}"


def _blocks(head: "MPSProjectionHead") -> str:
    sizes = sorted({len(block) for block in head.register.blocks})
    grouping = head.config["grouping"]
    how = grouping if isinstance(grouping, str) else "an order of its own"
    each = " or ".join(map(str, sizes))
    return f"{len(head.register.blocks):,} of {each} feature{'s' * (sizes[-1] > 1)}, {how}"


def _circuit(head: "MPSProjectionHead") -> str:
    ansatz = head.config["ansatz"]
    name = f"{ansatz}, depth {head.config['depth']}" if isinstance(ansatz, str) else "of its own"
    return f"{name}, {_count(len(head.circuit), 'gate')}"


def _bonds(head: "MPSProjectionHead") -> str:
    needed, allowed = max(head.needed_bonds, default=1), head.config["bond_dim"]
    if head.truncates:
        return f"needs {needed}, truncated to {allowed}: states are evolved, not observables"
    return f"exact: needs {needed} of the {allowed} allowed"


def _light_cone(head: "MPSProjectionHead") -> str:
    sizes = sorted({len(letters) for letters in head.cone_letters()})
    if not sizes:
        return f"all {_count(head.register.num_sites, 'qubit')} at once"
    return f"an output depends on {' or '.join(map(str, sizes))} qubits"


def _parameters(head: "MPSProjectionHead") -> str:
    linear = head.in_features * head.out_features + head.out_features
    own = head.num_parameters
    return (
        f"{own:,} (a linear layer of the same size: {linear:,}, {linear / own:.1f} times as many)"
    )


def _bytes(head: "MPSProjectionHead") -> str:
    coded = ", ".join(f"{-(-head.out_features * bits // 8):,} at {bits}" for bits in _BITS)
    return f"{head.bytes_per_vector:,} a vector in float32; in codes {coded} bits"
