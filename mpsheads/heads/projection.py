"""The MPS head: blocks of entangled qubits, of which one each is kept."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpsheads import similarity
from mpsheads._checks import check_choice, check_finite, check_positive
from mpsheads.encodings import amplitudes, components, equalise_norm
from mpsheads.heads.base import ProjectionHead, check_input, without_autocast
from mpsheads.heads.circuits import (
    KeptObservables,
    Register,
    circuit_from_config,
    circuit_to_config,
    fits_memory,
    head_circuit,
    needed_bonds,
)
from mpsheads.heads.mixing import Mixing
from mpsheads.heads.readouts import READOUTS, project_state
from mpsheads.mps import MPS, Circuit, Truncation, apply_circuit, bloch_vectors
from mpsheads.mps.state import product_state
from mpsheads.similarity import Codes

_INITIAL_ANGLE = 0.05
_INITIAL_SCALE = 0.35  # features of size 1 stay where tanh is nearly straight


class MPSProjectionHead(ProjectionHead):
    """Compress embeddings by an entangled circuit whose state is an MPS of bounded bond dimension.

    Features are dealt to blocks and encoded in qubits; a circuit acts on them; the last qubit of
    each block is read out. The entanglement stays through all layers. Where `bond_dim` allows what
    the circuit needs, the head is exact, and computed in the Heisenberg picture: the observable of
    each kept qubit is evolved backwards once per forward pass and met with the product states of
    the inputs. Else states are evolved and truncated.

    Args:
        in_features: Width of the embeddings.
        out_features: Width of the compressed vectors: one number for each kept qubit with the
            readouts "probability" and "direction", the site tensors with "state". Blocks may differ
            by one feature, so it need not divide `in_features`.
        bond_dim: Largest bond dimension. A cut with k qubits on its shorter side needs
            min(2**depth, 2**k); where that is more, states are truncated.
        depth: Layers of the circuit.
        ansatz: "staircase": each block is a chain of controlled rotations that ends at the kept
            qubit. "brickwork": all even, then all odd bonds of the whole register. Both without
            redundant parameters, see `mpsheads.ansatz.irredundant`. Or a circuit of yours, on the
            qubits of a block or on all of them, which starts from its own angles.
        readout: "probability": each kept qubit's probability of 1 as an angle in [0, pi].
            "direction": the direction of the vector of all of these, as angles. "state": the kept
            qubits' state where all others are projected on 0.
        mixing: Layers of Givens rotations of pairs of features before they are encoded: after l
            layers a feature depends on 2**l of the embedding's, at `in_features / 2` angles a
            layer. `fit` chooses the pairs from data.
        generator: Source of the initial parameters; torch's default one if `None`.

    Attributes:
        angles: Gate parameters, block after block, in radians, small at first: the untrained head
            nearly passes on the kept features.
        mixing: The rotations of the features, `None` without any.
        scale: What multiplies embeddings brought to norm `sqrt(in_features)`, one number.
        circuit: The circuit on all qubits.
        kept_sites: The qubits that are read out, in the order of the output.
        bond_dims: The bonds of the vectors with the readout "state", else empty.
        needed_bonds: The bond dimension that each cut of the register needs.
        truncates: Whether one of them is more than `bond_dim`.

    Raises:
        ValueError: If sizes or names do not fit.

    Source: the circuit of Kankeu et al. 2025 (arXiv:2501.04591) with its entanglement kept.
    Cost: O(batch * in_features * bond_dim**4) at most, 27 multiply-adds an output in blocks of
    three; that of `apply_circuit` on `batch` states where states are evolved.
    """

    name = "mps"

    def __init__(
        self,
        in_features: int = 768,
        out_features: int = 256,
        bond_dim: int = 4,
        depth: int = 1,
        ansatz: str | Circuit | Mapping[str, Any] = "staircase",
        readout: str = "direction",
        mixing: int = 2,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        if isinstance(ansatz, Mapping):
            ansatz = circuit_from_config(ansatz)
        named = circuit_to_config(ansatz) if isinstance(ansatz, Circuit) else ansatz
        config = {"bond_dim": bond_dim, "depth": depth, "ansatz": named}
        super().__init__(in_features, out_features, **config, readout=readout, mixing=mixing)
        check_positive(bond_dim=bond_dim, depth=depth, **{"mixing": mixing} if mixing else {})
        check_choice("readout", readout, tuple(READOUTS))
        self.readout = READOUTS[readout]
        between = 1 if ansatz == "staircase" else min(bond_dim, 2**depth)
        kept = self.readout.num_kept(out_features, between)
        if kept > in_features:
            raise ValueError(
                f"`out_features` {out_features} needs {kept} kept qubits, but `in_features` is "
                f"{in_features}: there is at least one feature for each."
            )
        self.register = Register(in_features, kept)
        self.kept_sites = self.register.kept
        seen = "state" if self.readout.kind == "state" else "probability"
        self.circuit = head_circuit(ansatz, self.register, depth, seen)
        self.bond_dims = self.readout.bond_dims(kept, between)
        with torch.device("cpu"), torch.no_grad():
            self.needed_bonds = needed_bonds(self.circuit)
            self.truncates = max(self.needed_bonds, default=1) > bond_dim
            self._observables = self._find_observables()
        start = self.circuit.parameters()
        if not any(self.circuit.values):
            start = _INITIAL_ANGLE * torch.randn(len(start), generator=generator)
        self.angles = nn.Parameter(start)
        self.scale = nn.Parameter(torch.full((), _INITIAL_SCALE))
        self.mixing: Mixing | None = None
        if mixing:
            self.mixing = Mixing(in_features, mixing, spread=_INITIAL_ANGLE, generator=generator)

    def _find_observables(self) -> KeptObservables | None:
        """Those that are evolved, used once, so that no tracer is the first to meet a constant."""
        if self.readout.kind == "state" or self.truncates or not fits_memory(self.needed_bonds):
            return None
        observables = KeptObservables(self.circuit, self.register)
        evolved = observables.evolve(torch.zeros(self.circuit.num_parameters))
        observables.meet(evolved, components(torch.ones(1, self.in_features), torch.ones(())))
        return observables

    def forward(self, x: Float[Tensor, "batch _"]) -> Float[Tensor, "batch {self.out_features}"]:
        """Compress embeddings.

        Args:
            x: `(batch, in_features)`, any real numbers; their norm does not matter. Single
                precision is the least that is computed in, also under autocast.

        Returns:
            `(batch, out_features)` in the head's dtype: angles in [0, pi], or site tensors of norm
            1.
        """
        check_input(self, x)
        with without_autocast(x):
            x, scale, angles = self._in_working_precision(x)
            if self._observables is not None:
                z = self._observables.meet(self._observables.evolve(angles), components(x, scale))
                vectors = self.readout.vector(z)
            elif self.readout.kind == "state":
                state = self._state(x, scale, angles)
                vectors = project_state(state, self.kept_sites, self.bond_dims)
            else:
                bloch = bloch_vectors(self._state(x, scale, angles))
                vectors = self.readout.vector(bloch[:, self.kept_sites, 2].T)
            return vectors.to(self.angles.dtype)

    def state(self, x: Float[Tensor, "batch _"]) -> MPS:
        """The states behind the output: the whole register after the circuit, before measurement.

        Args:
            x: `(batch, in_features)`.

        Returns:
            MPS of `batch` states on the qubits of the register, complex, with bonds of at most
            `bond_dim`. The blocks follow each other; `kept_sites` are the last of each. Add the
            mean of its `discarded_weight` to the loss to train a circuit that needs less.

        Cost: that of `apply_circuit`, O(batch * in_features * bond_dim**2 * depth).
        """
        check_input(self, x)
        with without_autocast(x):
            return self._state(*self._in_working_precision(x))

    def _in_working_precision(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mixed input and parameters in the head's dtype, or float32 if that is less precise."""
        dtype = torch.promote_types(self.angles.dtype, torch.float32)
        x = x.to(dtype)
        x = x if self.mixing is None else self.mixing(x)
        return x, self.scale.to(dtype), self.angles.to(dtype)

    def _state(self, x: Tensor, scale: Tensor, angles: Tensor) -> MPS:
        start = product_state(amplitudes(x, scale)[:, self.register.features])
        truncation = Truncation(self.config["bond_dim"]) if self.truncates else None
        return apply_circuit(start, self.circuit, angles, truncation)

    @property
    def logit_scale(self) -> float:
        """20 for the readout "direction", whose log-fidelities spread like cosines; else 1."""
        return self.readout.logit_scale

    def quantize(self, z: Float[Tensor, "batch {self.out_features}"], bits: int) -> Codes:
        """Compressed vectors in few bits a number, which `similarity` takes as it takes vectors.

        Args:
            z: Compressed vectors `(batch, out_features)`.
            bits: 8, 4, 2 or 1; 8 or 4 for the readout "state".
        """
        span = self.readout.span(bits, self.out_features) if bits in (8, 4, 2, 1) else 1.0
        return similarity.quantize(
            z, bits, kind=self.readout.kind, bond_dims=self.bond_dims, span=span
        )

    def _compare(self, zq: Any, zd: Any, pairwise: bool) -> Tensor:
        if self.readout.kind != "state" or isinstance(zq, Codes) or isinstance(zd, Codes):
            return similarity.log_fidelity(zq, zd, pairwise=pairwise)
        return similarity.state_log_fidelity(zq, zd, self.bond_dims, pairwise=pairwise)

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` has set the pairs that meet in `mixing`."""
        return self.mixing is not None and self.mixing.is_fitted

    @torch.no_grad()
    def fit(self, x: Float[Tensor, "samples _"]) -> "MPSProjectionHead":
        """Start from data: let the kept qubits hold what varies most; returns the head itself.

        Each layer of `mixing` pairs the features of largest covariance and turns each pair to its
        principal axes; the features of largest variance that come of it are those of the kept
        qubits, in the order of the output. The scale is set so that the first of them stays where
        tanh is nearly straight. Gates keep their angles. A fitted head compresses well before any
        training, and trains at a smaller rate.

        Args:
            x: Embeddings `(samples, in_features)` of documents, some thousand or more; no labels
                are needed.

        Raises:
            ValueError: If `x` has fewer than two rows, NaN or infinity.

        Source: see `mpsheads.heads.mixing`. Cost: O(samples * in_features**2), in float64.
        """
        check_input(self, x)
        check_finite("x", x)
        if len(x) < 2:
            raise ValueError(f"`x` must hold two rows, better some thousand, got {len(x)}.")
        centred = equalise_norm(x.to(self.angles.device).double())
        centred -= centred.mean(0)
        if self.mixing is None:
            largest = centred[:, : len(self.kept_sites)].var(0).max()
        else:
            largest = self.mixing.fit(centred.T @ centred / len(x))[0]
        self.scale.fill_(_INITIAL_SCALE / max(1.0, math.sqrt(float(largest))))
        return self
