"""The MPS head: blocks of entangled qubits, of which one each is kept."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpsheads._checks import check_choice, check_finite, check_positive
from mpsheads._optional import optional_import
from mpsheads._typing import PathLike
from mpsheads.encodings import Blocks, Encoding, equalise_norm, real_strings
from mpsheads.heads.base import ProjectionHead, check_input, check_pair, without_autocast
from mpsheads.heads.circuits import (
    circuit_from_config,
    circuit_to_config,
    head_circuit,
    needed_bonds,
)
from mpsheads.heads.description import describe
from mpsheads.heads.mixing import Mixing
from mpsheads.heads.readouts import READOUTS, LocalReadout, StateReadout
from mpsheads.heads.register import deal
from mpsheads.mps import MPS, Circuit, Truncation, apply_circuit, bloch_vectors, from_dense
from mpsheads.mps.lightcone import Cones, Observable, evolve_cones, find_cones, meet_inputs
from mpsheads.mps.products import Rows
from mpsheads.mps.state import product_state
from mpsheads.similarity import Codes, quantize

if TYPE_CHECKING:
    from mpsheads.heads.frozen import FrozenHead

_INITIAL_ANGLE = 0.05
_LARGEST = 6  # qubits whose entangled inputs are met by all Pauli strings
_INITIAL_SCALE = 0.35  # features of size 1 stay where tanh is nearly straight


class Projection(NamedTuple):
    """What a head makes of a batch.

    Attributes:
        vectors: `(batch, out_features)`.
        discarded_weight: What truncation cut off each state, `(batch,)`: the sum over all cuts, 0
            where the head is exact. Add its mean to the loss to train a circuit that needs less.
    """

    vectors: Tensor
    discarded_weight: Tensor


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
            readouts "probability" and "direction", three with "bloch", the site tensors with
            "state". Blocks may differ by one feature, so it need not divide `in_features`.
        bond_dim: Largest bond dimension. A cut with k qubits on its shorter side needs
            min(2**depth, 2**k); where that is more, states are truncated.
        depth: Layers of the circuit.
        ansatz: "staircase": each block is a chain of controlled rotations that ends at the kept
            qubit. "brickwork": all even, then all odd bonds of the whole register. Both without
            redundant parameters, see `mpsheads.ansatz.irredundant`. Or a circuit of yours, on the
            qubits of a block or on all of them, which starts from its own angles.
        readout: "probability": each kept qubit's probability of 1 as an angle in [0, pi].
            "direction": the direction of the vector of all of these, as angles. "bloch": each kept
            qubit's Bloch vector. "state": the kept qubits' state where all others are projected
            on 0.
        encoding: "angle": a feature a qubit. "dense_angle": two features a qubit. "amplitude": the
            features of a block are the amplitudes of its qubits.
        grouping: How features are dealt to blocks. "registers": every `n`-th feature, as in the
            paper; "neighbours": in their order; or an order of the features, cut into
            blocks, such as `fit_grouping` finds in data.
        scale: "shared": one learned number multiplies all features; "feature": one for each.
        mixing: Layers of Givens rotations of pairs of features before they are encoded: after l
            layers a feature depends on 2**l of the embedding's, at `in_features / 2` angles a
            layer. `fit` chooses the pairs from data.
        generator: Source of the initial parameters; torch's default one if `None`.

    Attributes:
        angles: Gate parameters, block after block, in radians, small at first: the untrained head
            nearly passes on the kept features.
        mixing: The rotations of the features, `None` without any.
        scale: What multiplies embeddings brought to norm `sqrt(in_features)`; `None` for the
            encoding "amplitude", which does not depend on it.
        circuit: The circuit on all qubits.
        kept_sites: The qubits that are read out, in the order of the output.
        truncates: Whether the circuit needs more than `bond_dim`.

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
        encoding: str = "angle",
        grouping: str | Sequence[int] = "registers",
        scale: str = "shared",
        mixing: int = 2,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        if isinstance(ansatz, Mapping):
            ansatz = circuit_from_config(ansatz)
        super().__init__(
            in_features,
            out_features,
            bond_dim=bond_dim,
            depth=depth,
            ansatz=circuit_to_config(ansatz) if isinstance(ansatz, Circuit) else ansatz,
            readout=readout,
            encoding=encoding,
            grouping=grouping if isinstance(grouping, str) else [int(f) for f in grouping],
            scale=scale,
            mixing=mixing,
        )
        check_positive(bond_dim=bond_dim, depth=depth)
        if isinstance(mixing, bool) or not isinstance(mixing, int) or mixing < 0:
            raise ValueError(f"`mixing` must be a number of layers, 0 or more, got {mixing!r}.")
        check_choice("readout", readout, tuple(READOUTS))
        check_choice("scale", scale, ("shared", "feature"))
        self.readout = READOUTS[readout]
        between = 1 if ansatz == "staircase" else min(bond_dim, 2**depth)
        kept = self.readout.num_kept(out_features, between)
        if kept > in_features:
            raise ValueError(
                f"`out_features` {out_features} needs {kept} kept qubits, but `in_features` is "
                f"{in_features}: there is at least one feature for each."
            )
        self.register = deal(in_features, kept, grouping, encoding)
        seen = "probability" if self.readout.letters == "Z" else readout
        self.circuit = head_circuit(ansatz, self.register, depth, seen)
        self.kept_sites = self.register.kept
        self.needed_bonds = needed_bonds(self.circuit, self.register)
        self.truncates = max(self.needed_bonds, default=1) > bond_dim
        self.bond_dims: tuple[int, ...] = ()
        if isinstance(self.readout, StateReadout):
            self.bond_dims = self.readout.bond_dims(kept, between)
        self._cones = self._find_cones()
        self._kept: Sequence[int] = [0, 1, 2, 3] if "Y" in self._encoding.letters else [0, 1, 3]
        if not self._encoding.product:
            self._kept = real_strings(self._group)
        start = self.circuit.parameters()
        if not start.any():
            start = _INITIAL_ANGLE * torch.randn(len(start), generator=generator)
        self.angles = nn.Parameter(start)
        self.scale: nn.Parameter | None = None
        if self._encoding.scaled:
            shape = () if scale == "shared" else (in_features,)
            self.scale = nn.Parameter(torch.full(shape, _INITIAL_SCALE))
        self.mixing: Mixing | None = None
        if mixing:
            self.mixing = Mixing(
                self.register.places, mixing, spread=_INITIAL_ANGLE, generator=generator
            )
        self._compute_constants()

    @property
    def _encoding(self) -> Encoding:
        return self.register.encoding

    @property
    def _blocks(self) -> Blocks:
        return self.register.blocks

    def _find_cones(self) -> list[tuple[list[Cones], list[list[Rows]], list[int]]]:
        """For each letter of the readout the light cones, their inputs, and their order."""
        if self.truncates or not isinstance(self.readout, LocalReadout):
            return []
        rows = self._encoding.row_of_sites(self._blocks)
        places = tuple((site,) for site in self.kept_sites)
        found = []
        for letter in self.readout.letters:
            cones = find_cones(self.circuit, letter, places, self._group)
            if self._group > 1 and max(len(cone.letters) for cone in cones) > _LARGEST:
                return []
            windows = [cone.window_rows(rows, self._group) for cone in cones]
            order = [row for cone in cones for row in cone.rows]
            found.append((cones, windows, order))
        return found

    @torch.no_grad()
    def _compute_constants(self) -> None:
        """Use all that a forward pass uses once, so that none of it is first met by a tracer."""
        with torch.device("cpu"):
            one = torch.ones(1, self.in_features)
            scale = torch.ones(()) if self._encoding.scaled else None
            if self._cones:
                self.meet(one, scale, self.observables(torch.zeros(self.circuit.num_parameters)))

    @property
    def _group(self) -> int:
        """Neighbouring qubits whose inputs are entangled."""
        return 1 if self._encoding.product else len(self.register.sites[0])

    def forward(self, x: Float[Tensor, "batch _"]) -> Float[Tensor, "batch {self.out_features}"]:
        """Compress embeddings.

        Args:
            x: `(batch, in_features)`, any real numbers; their norm does not matter. Single
                precision is the least that is computed in, also under autocast.

        Returns:
            `(batch, out_features)` in the head's dtype; angles in [0, pi], Bloch components in
            [-1, 1], or site tensors of norm 1.
        """
        return self.project(x).vectors

    def project(self, x: Float[Tensor, "batch _"]) -> Projection:
        """`forward`, with what truncation discarded."""
        check_input(self, x)
        with without_autocast(x):
            x, scale, angles = self._in_working_precision(x)
            if self._cones:
                vectors = self.meet(x, scale, self.observables(angles))
                weight = x.new_zeros(x.shape[0])
            else:
                vectors, weight = self._schroedinger(x, scale, angles)
        return Projection(vectors.to(self.angles.dtype), weight.to(self.angles.dtype))

    def observables(self, angles: Float[Tensor, " _"]) -> list[list[Observable]]:
        """The readouts evolved backwards: for each letter those of each form of light cone."""
        return [
            [evolve_cones(cone, cone.own(angles), self._kept, self._group) for cone in cones]
            for cones, _, _ in self._cones
        ]

    def meet(
        self, x: Tensor, scale: Tensor | None, observables: list[list[Observable]]
    ) -> Float[Tensor, "batch {self.out_features}"]:
        """The vectors of embeddings, from the observables."""
        components = self._encoding.components(x, scale, self._blocks)
        values = []
        for (_, windows, order), evolved in zip(self._cones, observables, strict=True):
            found = [
                meet_inputs(observable, components, rows)
                for observable, rows in zip(evolved, windows, strict=True)
            ]
            if len(found) > 1:
                place = sorted(range(len(order)), key=order.__getitem__)
                index = torch.tensor(place, device=x.device)
                found = [torch.cat(found).index_select(0, index)]
            values.append(found[0])
        assert isinstance(self.readout, LocalReadout)
        return self.readout.vector(torch.stack(values) if len(values) > 1 else values[0][None])

    def freeze(self) -> "FrozenHead":
        """The head for inference: its observables evolved once, so only inputs are left to meet.

        Faster for small batches, and simple to export: the observables are real numbers.

        Raises:
            ValueError: If the head evolves states rather than observables: one that truncates, or
                has the readout "state".
        """
        from mpsheads.heads.frozen import FrozenHead

        return FrozenHead(self)

    def _schroedinger(
        self, x: Tensor, scale: Tensor | None, angles: Tensor
    ) -> tuple[Tensor, Tensor]:
        state = self._state(x, scale, angles)
        if isinstance(self.readout, StateReadout):
            vectors = self.readout.vector(state, self.kept_sites, self.bond_dims)
        else:
            assert isinstance(self.readout, LocalReadout)
            numbers = ["XYZ".index(letter) for letter in self.readout.letters]
            values = bloch_vectors(state)[:, self.kept_sites][..., numbers]
            vectors = self.readout.vector(values.permute(2, 1, 0))
        return vectors, state.discarded_weight.sum(-1)

    def state(self, x: Float[Tensor, "batch _"]) -> MPS:
        """The states behind the output: the whole register after the circuit, before measurement.

        Args:
            x: `(batch, in_features)`.

        Returns:
            MPS of `batch` states on the qubits of the register, complex, with bonds of at most
            `bond_dim`. The blocks follow each other; `kept_sites` are the last of each.

        Cost: that of `apply_circuit`, O(batch * in_features * bond_dim**2 * depth).
        """
        check_input(self, x)
        with without_autocast(x):
            return self._state(*self._in_working_precision(x))

    def _in_working_precision(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Mixed input and parameters in the head's dtype, or float32 if that is less precise."""
        dtype = torch.promote_types(self.angles.dtype, torch.float32)
        scale = None if self.scale is None else self.scale.to(dtype)
        x = x.to(dtype)
        return x if self.mixing is None else self.mixing(x), scale, self.angles.to(dtype)

    def _state(self, x: Tensor, scale: Tensor | None, angles: Tensor) -> MPS:
        amplitudes = self._encoding.amplitudes(x, scale, self._blocks)
        if self._encoding.product:
            start = product_state(torch.stack(amplitudes, 1))
        else:
            blocks = [from_dense(block).sites for block in amplitudes]
            start = MPS(tuple(site for block in blocks for site in block), x.new_zeros(len(x)))
        truncation = Truncation(self.config["bond_dim"]) if self.truncates else None
        return apply_circuit(start, self.circuit, angles, truncation)

    @property
    def logit_scale(self) -> float:
        """20 for the readout "direction", whose log-fidelities spread like cosines; else 1."""
        return 20.0 if self.readout.name == "direction" else super().logit_scale

    def quantize(self, z: Float[Tensor, "batch {self.out_features}"], bits: int) -> Codes:
        """Compressed vectors in few bits a number, which `similarity` takes as it takes vectors.

        Args:
            z: Compressed vectors `(batch, out_features)`.
            bits: 8, 4, 2 or 1; 8 or 4 for the readout "state".
        """
        span = self.readout.span(bits, self.out_features) if bits in (8, 4, 2, 1) else 1.0
        return quantize(z, bits, kind=self.readout.kind, bond_dims=self.bond_dims, span=span)

    def similarity(
        self,
        zq: Float[Tensor, "queries _"] | Codes,
        zd: Float[Tensor, "documents _"] | Codes,
        *,
        pairwise: bool = False,
    ) -> Float[Tensor, "*pairs"]:
        """Log-fidelity of all pairs, at most 0; higher is closer.

        Args:
            zq: Compressed queries `(queries, out_features)`, or their codes.
            zd: Compressed documents `(documents, out_features)`, or their codes.
            pairwise: Compare each query with the document in the same row.

        Returns:
            `(queries, documents)`, or `(queries,)` if `pairwise`.
        """
        check_pair(self, zq, zd)
        return self.readout.similarity(zq, zd, self.bond_dims, pairwise=pairwise)

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
            ValueError: If there is nothing to fit, or `x` has fewer than two rows, NaN or infinity.

        Source: see `mpsheads.heads.mixing`. Cost: O(samples * in_features**2), in float64.
        """
        check_input(self, x)
        if self.mixing is None and self.scale is None:
            raise ValueError("A head without `mixing` and without scale has nothing to fit.")
        check_finite("x", x)
        if len(x) < 2:
            raise ValueError(f"`x` must hold two rows, better some thousand, got {len(x)}.")
        centred = equalise_norm(x.to(self.angles.device).double())
        centred -= centred.mean(0)
        if self.mixing is None:
            largest = centred[:, self.register.places[: len(self.kept_sites)]].var(0).max()
        else:
            largest = self.mixing.fit(centred.T @ centred / len(x))[0]
        if self.scale is not None:
            self.scale.fill_(_INITIAL_SCALE / max(1.0, math.sqrt(float(largest))))
        return self

    def describe(self) -> str:
        """The head in words: circuit, parameters, bytes, exactness, light cone."""
        return describe(self)

    def draw(self, path: PathLike | None = None, block: int = 0) -> Any:
        """The circuit as a figure: that of one block, or for circuits across blocks its light cone.

        Args:
            path: Where the picture goes; the ending gives the format. `None` returns a matplotlib
                figure.
            block: Which block.

        Raises:
            ImportError: If matplotlib is missing.
        """
        from mpsheads.plotting import draw_circuit, draw_circuit_on

        circuit = self.block_circuit(block)
        if path is not None:
            return draw_circuit(circuit, path)
        figure = optional_import("matplotlib.figure", "retrieval").Figure()
        draw_circuit_on(circuit, figure.add_subplot())
        return figure

    def cone_letters(self) -> list[str]:
        """The observables that are evolved, each on its light cone; none where states are."""
        return [cone.letters for cones, _, _ in self._cones for cone in cones]

    def block_circuit(self, block: int = 0) -> Circuit:
        """The gates that the readout of a block depends on, on their own qubits."""
        sites = self.register.sites[block]
        cone, _ = self.circuit.light_cone(sites if self.readout.name == "state" else sites[-1:])
        return cone
