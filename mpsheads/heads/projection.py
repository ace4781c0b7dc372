"""The MPS head: blocks of entangled qubits, of which one each is kept."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpsheads._checks import check_choice, check_positive
from mpsheads.ansatz import ANSATZE
from mpsheads.encodings import bloch_components, equalise_norm, feature_angles, qubit_amplitudes
from mpsheads.heads.angles import FidelityHead
from mpsheads.heads.base import check_input
from mpsheads.heads.readouts import probability_angle
from mpsheads.mps import MPS, apply_circuit, product_state
from mpsheads.mps.heisenberg import (
    evolve_observable,
    pauli_string,
    product_expectation,
    real_components,
)

_INITIAL_ANGLE = 0.05
_INITIAL_SCALE = 0.35  # features of size 1 stay where tanh is nearly straight


class MPSProjectionHead(FidelityHead):
    """Compress embeddings by an entangled circuit whose state is an MPS of bounded bond dimension.

    Block k holds features k, k+n, k+2n, ... (n = out_features), one qubit each: a chain with the
    last feature's qubit at its far end and the first one's, which is kept, at its near end. A
    circuit acts on each block, and the head returns each kept qubit's probability of 1 as an angle.
    The entanglement stays through all layers, and nothing is truncated.

    Args:
        in_features: Width of the embeddings.
        out_features: Width of the compressed vectors; divides `in_features`.
        bond_dim: Largest bond dimension allowed. A cut with k qubits on its shorter side needs
            min(2**depth, 2**k).
        depth: Layers of the circuit.
        ansatz: Name of a family of circuits in `mpsheads.ansatz`.
        readout: "probability": one angle `2 asin(sqrt(p1))` for each kept qubit.
        generator: Source of the initial parameters; torch's default one if `None`.

    Attributes:
        angles: Gate parameters `(out_features, num_parameters of a block)`, in radians, small at
            first: the untrained head nearly passes on the kept features.
        scale: One number, which multiplies embeddings brought to norm `sqrt(in_features)`.

    Raises:
        ValueError: If `out_features` does not divide `in_features`, if a name is unknown, or if the
            circuit needs a larger bond dimension than `bond_dim`.

    Source: the circuit of Kankeu et al. 2025 (arXiv:2501.04591) with its entanglement kept.
    Cost: the observables are evolved once per forward pass, then contracted with the inputs:
    O(batch * in_features * bond_dim**4) at most, 27 multiply-adds an output in blocks of three.
    """

    name = "mps"

    def __init__(
        self,
        in_features: int = 768,
        out_features: int = 256,
        bond_dim: int = 4,
        depth: int = 2,
        ansatz: str = "staircase",
        readout: str = "probability",
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            in_features,
            out_features,
            bond_dim=bond_dim,
            depth=depth,
            ansatz=ansatz,
            readout=readout,
        )
        check_positive(bond_dim=bond_dim, depth=depth)
        check_choice("ansatz", ansatz, tuple(ANSATZE))
        check_choice("readout", readout, ("probability",))
        needed = min(2**depth, 2 ** (self.registers // 2))
        if needed > bond_dim:
            fits = bond_dim.bit_length() - 1
            raise ValueError(
                f"`bond_dim` must be at least {needed} for blocks of {self.registers} qubits at "
                f"depth {depth}, got {bond_dim}: less would need truncation, which a head does not "
                f"do. Use bond_dim={needed}{f', or depth={fits}' if fits else ''}."
            )
        self.circuit = ANSATZE[ansatz](self.registers, depth)
        shape = (out_features, self.circuit.num_parameters)
        self.angles = nn.Parameter(_INITIAL_ANGLE * torch.randn(shape, generator=generator))
        self.scale = nn.Parameter(torch.tensor(_INITIAL_SCALE))

    def forward(self, x: Float[Tensor, "batch _"]) -> Float[Tensor, "batch {self.out_features}"]:
        """Compress embeddings to angles in [0, pi].

        Computed in the Heisenberg picture: `<Z>` of each kept qubit is one observable per block,
        evolved backwards through the circuit and contracted with the product state of the inputs.

        Args:
            x: `(batch, in_features)`, any real numbers; their norm does not matter.

        Returns:
            `(batch, out_features)`: `2 asin(sqrt(p1))` of each kept qubit.
        """
        inputs = bloch_components(self._block_angles(x))  # site block component batch
        observable = pauli_string(
            "1" * (self.registers - 1) + "Z", self.out_features, dtype=x.dtype
        ).to(x.device)
        observable = evolve_observable(observable, self.circuit, self.angles)
        return probability_angle(product_expectation(real_components(observable), inputs)).T

    def state(self, x: Float[Tensor, "batch _"]) -> MPS:
        """The states behind the output: the whole register after the circuit, before measurement.

        Args:
            x: `(batch, in_features)`.

        Returns:
            MPS of `batch` states on `in_features` sites, complex. The blocks follow each other,
            with bond dimension 1 between them; site `registers * k + registers - 1` is the kept
            qubit of block k (see `kept_sites`).

        Cost: O(batch * in_features * bond_dim**2 * depth).
        """
        angles = self._block_angles(x).permute(2, 1, 0)  # batch block site
        amplitudes = qubit_amplitudes(angles).flatten(0, 1)
        blocks = product_state(torch.complex(amplitudes, torch.zeros_like(amplitudes)))
        blocks = apply_circuit(blocks, self.circuit, self.angles.repeat(len(x), 1))
        by_block = [site.unflatten(0, (len(x), -1)).unbind(1) for site in blocks.sites]
        sites = tuple(site for block in zip(*by_block, strict=True) for site in block)
        return MPS(sites, x.new_zeros(len(x)))

    @property
    def kept_sites(self) -> range:
        """Sites of `state` that are read out, in the order of the output."""
        return range(self.registers - 1, self.in_features, self.registers)

    def _block_angles(self, x: Float[Tensor, "batch _"]) -> Float[Tensor, "sites blocks batch"]:
        """Angle of each feature's qubit, far end of each block first."""
        check_input(self, x)
        angles = feature_angles(self.scale * equalise_norm(x))
        return angles.T.unflatten(0, (self.registers, self.out_features)).flip(0)
