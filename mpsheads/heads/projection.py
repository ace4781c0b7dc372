"""The MPS head: blocks of entangled qubits, of which one each is kept."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from mpsheads import similarity
from mpsheads._arrays import takes_arrays
from mpsheads._checks import (
    check_choice,
    check_equal,
    check_integers,
    check_positive,
    check_sample,
    check_shape,
)
from mpsheads._constants import indices
from mpsheads.encodings import amplitudes, components, equalise_norm
from mpsheads.heads.amplitudes import Amplitudes, code_layout
from mpsheads.heads.base import ProjectionHead, check_input, without_autocast
from mpsheads.heads.circuits import (
    KeptObservables,
    Register,
    bond_between,
    circuit_from_config,
    circuit_to_config,
    head_circuit,
    needed_bonds,
    pays_to_evolve,
)
from mpsheads.heads.mixing import Mixing, Rotation
from mpsheads.heads.readouts import READOUTS, project_state
from mpsheads.mps import MPS, Circuit, Truncation, apply_circuit, bloch_vectors
from mpsheads.mps.state import one_particle_state, product_state
from mpsheads.mps.trellis import RATES
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
            qubits' state where all others are projected on 0. "amplitude": the embedding is one
            particle on all sites, the circuit is that of `mixing` alone, and the particle's
            amplitudes on the kept sites are returned, compared by cosine; `bond_dim`, `depth` and
            `ansatz` do not matter.
        mixing: Layers of Givens rotations, each of pairs of a kept and a dropped feature, before
            features are encoded, at `min(out_features, in_features - out_features)` angles a layer;
            or "full" for any rotation of all features. `fit` chooses pairs and angles from data.
        bits: With the readout "amplitude": bits a number of codes, 1, 1.5, 2, 3, 4 or 8. Training
            then goes through the codes: in training mode `similarity` adds their error to
            documents, as noise.
        scramble: Seed of the circuit that scrambles amplitudes for codes; drawn from the generator
            by default if there are `bits`.
        generator: Source of the initial parameters; torch's default one if `None`.

    Attributes:
        angles: Gate parameters, block after block, in radians, small at first: the untrained head
            nearly passes on the kept features.
        mixing: The rotations of the features, `None` without any.
        amplitudes: What the readout "amplitude" needs besides them; `None` with another.
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
        mixing: int | str = 2,
        *,
        bits: int | float | None = None,
        scramble: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if isinstance(ansatz, Mapping):
            ansatz = circuit_from_config(ansatz)
        named = circuit_to_config(ansatz) if isinstance(ansatz, Circuit) else ansatz
        config = {"bond_dim": bond_dim, "depth": depth, "ansatz": named}
        config |= {"readout": readout, "mixing": mixing}
        if readout == "amplitude":
            if bits is not None and scramble is None:
                scramble = int(torch.randint(1 << 31, (), generator=generator))
            config |= {"bits": bits, "scramble": scramble}
        super().__init__(in_features, out_features, **config)
        _check_arguments(self.config, bits)
        self.readout = READOUTS[readout]
        between = min(bond_dim, bond_between(ansatz, in_features, depth))
        kept = self.readout.num_kept(out_features, between)
        if kept > in_features:
            raise ValueError(
                f"`out_features` {out_features} needs {kept} kept qubits, but `in_features` is "
                f"{in_features}: there is at least one feature for each."
            )
        self.register = Register(in_features, kept)
        self.kept_sites = self.register.kept
        seen = "state" if self.readout.kind == "state" else "probability"
        self.amplitudes: Amplitudes | None = None
        if readout == "amplitude":
            self.amplitudes = Amplitudes(in_features, out_features, bits, scramble)
            self.compared_by = "cosine"
            ansatz = Circuit(in_features, ())
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
        self.mixing = self._make_mixing(generator)

    def _make_mixing(self, generator: torch.Generator | None) -> Mixing | Rotation | None:
        features, kept, mixing = self.in_features, len(self.kept_sites), self.config["mixing"]
        if mixing == "full":
            return Rotation(features, kept if self.amplitudes else features, generator=generator)
        if not mixing:
            return None
        return Mixing(features, kept, mixing, spread=_INITIAL_ANGLE, generator=generator)

    def _find_observables(self) -> KeptObservables | None:
        """Those that are evolved, used once, so that no tracer is the first to meet a constant."""
        states = self.amplitudes or self.readout.kind == "state" or self.truncates
        if states or not pays_to_evolve(self.circuit, self.needed_bonds, self.kept_sites):
            return None
        observables = KeptObservables(self.circuit, self.register)
        zeros = torch.zeros(self.circuit.num_parameters, dtype=torch.float32)
        x = torch.ones(1, self.in_features, dtype=torch.float32)
        observables.meet(observables.evolve(zeros), components(x, x[0, 0]))
        return observables

    def forward(self, x: Float[Tensor, "batch _"]) -> Float[Tensor, "batch {self.out_features}"]:
        """Compress embeddings.

        Args:
            x: `(batch, in_features)`, any real numbers; their norm does not matter. Single
                precision is the least that is computed in, also under autocast.

        Returns:
            `(batch, out_features)` in the head's dtype: angles in [0, pi], site tensors of norm 1,
            or amplitudes of norm 1 at most.
        """
        check_input(self, x)
        with without_autocast(x):
            if self.amplitudes is not None:
                dtype = torch.promote_types(self.angles.dtype, torch.float32)
                kept = normalize(x.to(dtype)) @ self._kept_rows().to(dtype).T
                return kept.to(self.angles.dtype)
            x, scale, angles = self._in_working_precision(x)
            if self._observables is not None:
                z = self._observables.meet(self._observables.evolve(angles), components(x, scale))
                vectors = self.readout.vector(z)
            else:
                state = self._state(x if len(x) else pad(x, (0, 0, 0, 1)), scale, angles)
                if self.readout.kind == "state":
                    vectors = project_state(state, self.kept_sites, self.bond_dims)
                else:
                    z = bloch_vectors(state)[:, self.kept_sites, 2].T
                    vectors = self.readout.vector(z)
                vectors = vectors[: len(x)]
            return vectors.to(self.angles.dtype)

    def state(self, x: Float[Tensor, "batch _"]) -> MPS:
        """The states behind the output: the whole register after the circuit, before measurement.

        Args:
            x: `(batch, in_features)`.

        Returns:
            MPS of `batch` states on the qubits of the register, complex, with bonds of at most
            `bond_dim`. The blocks follow each other; `kept_sites` are the last of each. Add the
            mean of its `discarded_weight` to the loss to train a circuit that needs less. With the
            readout "amplitude" the particle on the kept sites alone, real, with bonds of 2.

        Cost: that of `apply_circuit`, O(batch * in_features * bond_dim**2 * depth).
        """
        check_input(self, x)
        if not len(x):
            raise ValueError("`x` must hold one embedding or more: there is no state of none.")
        if self.amplitudes is not None:
            return one_particle_state(self(x))
        with without_autocast(x):
            return self._state(*self._in_working_precision(x))

    def _in_working_precision(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mixed input and parameters in the head's dtype, or float32 if that is less precise."""
        dtype = torch.promote_types(self.angles.dtype, torch.float32)
        x = x.to(dtype)
        x = x if self.mixing is None else self.mixing(x)
        return x, self.scale.to(dtype), self.angles.to(dtype)

    def _kept_rows(self) -> Float[Tensor, "{self.out_features} {self.in_features}"]:
        """The matrix from embeddings to amplitudes."""
        assert self.amplitudes is not None
        return self.amplitudes.matrix(self.mixing, self.out_features, self.angles)

    def _state(self, x: Tensor, scale: Tensor, angles: Tensor) -> MPS:
        features = indices(self.register.features, x)
        start = product_state(amplitudes(x, scale).index_select(1, features))
        truncation = Truncation(self.config["bond_dim"]) if self.truncates else None
        return apply_circuit(start, self.circuit, angles, truncation)

    @property
    def logit_scale(self) -> float:
        """20 for "direction" and "amplitude", whose similarities spread like cosines; else 1."""
        return self.readout.logit_scale

    @takes_arrays
    def quantize(
        self, z: Float[Tensor, "batch {self.out_features}"], bits: int | float | None = None
    ) -> Codes:
        """Compressed vectors in few bits a number, which `similarity` takes as it takes vectors.

        Args:
            z: Compressed vectors `(batch, out_features)`.
            bits: 8, 4, 2 or 1; 8 or 4 for the readout "state". For "amplitude" 1, 1.5, 2, 3, 4 or 8
                on a trellis, as the head was made for by default.
        """
        check_shape("z", z, self.out_features)
        if self.amplitudes is not None:
            return self.amplitudes.quantize(z, bits, self.mixing)
        if bits is None:
            raise ValueError("Give `bits`, one of 8, 4, 2 and 1.")
        span = self.readout.span(int(bits), self.out_features) if bits in (8, 4, 2, 1) else 1.0
        how: Any = {"bits": bits, "kind": self.readout.kind, "bond_dims": self.bond_dims}
        return similarity.quantize(z, span=span, **how)

    @classmethod
    def for_bytes(
        cls,
        in_features: int,
        bytes: int,
        *,
        mixing: int | str = "full",
        bits: int | float | None = None,
        own: bool = False,
        generator: torch.Generator | None = None,
    ) -> "MPSProjectionHead":
        """The head that keeps most of embeddings in so many bytes a vector; `fit` it.

        It selects the amplitudes that matter, scrambles them, and codes them on a trellis.

        Args:
            in_features: Width of the embeddings.
            bytes: Most bytes a vector, 8 or more. Past one byte a feature nothing is gained.
            mixing: "full", or how many layers of Givens rotations select: fewer parameters.
            bits: Bits a number; by default the fewest of which two thirds of the features fill the
                bytes.
            own: Whether `fit` takes the very passages that are searched. Then `bits` is 1.5 at
                least: fewer numbers of more bits keep more of these, and less of others.
            generator: Source of the seed that scrambles, and of the initial parameters.
        """
        out_features, bits = code_layout(in_features, bytes, bits, own=own)
        return cls(
            in_features,
            out_features,
            readout="amplitude",
            mixing=mixing if out_features < in_features else 0,
            bits=bits,
            generator=generator,
        )

    def _compare(self, zq: Any, zd: Any, pairwise: bool) -> Tensor:
        if self.amplitudes is not None:
            if self.training and self.amplitudes.bits is not None and isinstance(zd, Tensor):
                zd = self.amplitudes.through_codes(zd, self.mixing)
            return similarity.cosine(zq, zd, pairwise=pairwise)
        if self.readout.kind != "state" or isinstance(zq, Codes) or isinstance(zd, Codes):
            return similarity.log_fidelity(zq, zd, pairwise=pairwise)
        return similarity.state_log_fidelity(zq, zd, self.bond_dims, pairwise=pairwise)

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` has set the pairs that meet in `mixing`."""
        return self.mixing is not None and self.mixing.is_fitted

    @takes_arrays
    @torch.no_grad()
    def fit(
        self,
        x: Float[Tensor, "samples _"],
        queries: Float[Tensor, "_samples _"] | None = None,
    ) -> "MPSProjectionHead":
        """Start from data: let what is kept hold what matters most; returns the head itself.

        Without queries that is what varies most: the mixing turns to the principal axes of the
        documents, in as many layers as it has. With queries it is what queries and their documents
        have in common: the axes of M = (Q^T D + D^T Q) / 2 of both centred, which maximise the mean
        inner product of pairs less that of strangers. Features of kept qubits come in this order.
        The scale is set so that the first of them stays where tanh is nearly straight; gates keep
        their angles. A fitted head compresses well before any training, and trains at a smaller
        rate.

        Args:
            x: Embeddings `(samples, in_features)` of documents, some thousand or more; no labels
                are needed. No more of them than numbers kept raise a warning.
            queries: Embeddings of queries, row i of one that row i of `x` answers.

        Raises:
            ValueError: If `x` has fewer than two rows, rows of one direction, or a row that is not
                finite, or `queries` has other rows.

        Source: see `mpsheads.heads.mixing`. Cost: O(samples * in_features**2), in float64, and
        O(in_features**3) for a "full" mixing.
        """
        sides = [self._sample("x", x)]
        if queries is not None:
            sides.append(self._sample("queries", queries))
            check_equal("number of rows", x=len(x), queries=len(queries))
        centred = [side - side.mean(0) for side in sides]
        held = centred[0].T @ centred[-1] / len(x)
        held = (held + held.T) / 2
        if self.mixing is None:
            largest = held.diagonal()[: len(self.kept_sites)].max()
        else:
            largest = self.mixing.fit(held)[0]
        if self.amplitudes is not None:
            self.amplitudes.fit(sides[0] / math.sqrt(self.in_features), self._kept_rows())
        self.scale.fill_(_INITIAL_SCALE / math.sqrt(max(1.0, float(largest))))
        return self

    def _sample(self, name: str, x: Tensor) -> Tensor:
        """Embeddings to fit to, checked, of one norm, in float64 on the head's device."""
        check_input(self, x, name)
        sample = equalise_norm(x.double())
        check_sample(name, sample, len(self.kept_sites))
        return sample


def _check_arguments(config: Mapping[str, Any], bits: int | float | None) -> None:
    """Raise `ValueError` on sizes and names that no head has."""
    check_positive(bond_dim=config["bond_dim"], depth=config["depth"])
    check_choice("readout", config["readout"], tuple(READOUTS))
    if config["mixing"] != "full":
        check_integers(0, mixing=config["mixing"])
    if config.get("scramble") is not None:
        check_integers(0, scramble=config["scramble"])
    if bits is not None:
        check_choice("readout", config["readout"], ("amplitude",))
        check_choice("bits", bits, RATES)
