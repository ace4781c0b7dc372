"""Candidates for kernels of the library, in Triton: each beside what it would replace.

A kernel moves into the package where a card has shown that it wins by half or more. Until then it
stands here, held to the library's own results by tests under Triton's interpreter, which needs no
card (`TRITON_INTERPRET=1`).
"""

import math
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from mpsheads.heads import FrozenHead, MPSProjectionHead, freeze
from mpsheads.mps import Trellis
from mpsheads.similarity import Codes

_INPUTS = 4  # embeddings that a feature depends on after two layers of mixing


@dataclass(frozen=True)
class FusedHead:
    """A frozen head of short blocks as one pass over the embeddings.

    Attributes:
        places: `(kept, window, inputs)`, the embedding's features that each qubit of a light cone
            is mixed of.
        weights: As large: by how much.
        observables: `(strings, kept)`, over (1, X, Z) of each qubit.
        scale: By which embeddings of norm 1 are multiplied.
    """

    places: Tensor
    weights: Tensor
    observables: Tensor
    scale: float

    @classmethod
    def of(cls, head: MPSProjectionHead) -> "FusedHead":
        """The plan of a head with two layers of mixing at most, and cones of one form.

        Raises:
            ValueError: If the head is another.
        """
        frozen: FrozenHead = freeze(head)
        observables = frozen.head._observables
        if observables is None or len(observables._cones) != 1 or frozen.head.mixing is None:
            raise ValueError("Only a head with mixing, whose light cones are alike, is fused.")
        cones, device = observables._cones[0], head.angles.device
        features = torch.tensor(head.register.features, device=device)
        windows = features[torch.tensor(cones.sites, device=device)]
        matrix = frozen.head.mixing.matrix()
        weights, places = matrix.abs().topk(min(_INPUTS, matrix.shape[1]))
        weights = matrix.gather(1, places)
        if not torch.allclose(weights.square().sum(1), torch.ones_like(weights[:, 0]), atol=1e-5):
            raise ValueError("Each feature may be mixed of four at most.")
        table = frozen.get_buffer("observable_0")
        order = torch.argsort(torch.tensor(cones.rows, device=device))
        return cls(
            places[windows][order].int().contiguous(),
            weights[windows][order].contiguous(),
            table[:, order].contiguous(),
            float(head.scale.detach()) * math.sqrt(head.in_features),
        )

    def __call__(self, x: Tensor) -> Tensor:
        """The vectors of the readout "direction", `(batch, kept)`."""
        kept, window, _ = self.places.shape
        z = torch.empty(len(x), kept, device=x.device, dtype=torch.float32)
        rows = 16
        _fused_head[(triton.cdiv(len(x), rows),)](
            x,
            self.places,
            self.weights,
            self.observables,
            z,
            len(x),
            self.scale,
            FEATURES=x.shape[1],
            KEPT=kept,
            WINDOW=window,
            INPUTS=self.places.shape[2],
            ROWS=rows,
            COLUMNS=32,
            WIDTH=triton.next_power_of_2(x.shape[1]),
        )
        return z


@triton.jit
def _qubit(x, places, weights, row, first, stretch, mask, FEATURES: tl.constexpr,
           INPUTS: tl.constexpr):  # fmt: skip
    """Expectation values of X and Z in one qubit of each cone, whose inputs begin at `first`."""
    mixed = tl.zeros(mask.shape, dtype=tl.float32)
    for i in tl.static_range(INPUTS):
        at = first + i
        place, weight = tl.load(places + at), tl.load(weights + at)
        value = tl.load(x + row[:, None] * FEATURES + place[None, :], mask=mask, other=0.0)
        mixed += weight[None, :] * value.to(tl.float32)
    angle = 3.141592653589793 * tl.sigmoid(2.0 * mixed * stretch[:, None])
    return -tl.sin(angle), tl.cos(angle)


@triton.jit
def _fused_head(x, places, weights, observables, out, count, scale, FEATURES: tl.constexpr,
                KEPT: tl.constexpr, WINDOW: tl.constexpr, INPUTS: tl.constexpr,
                ROWS: tl.constexpr, COLUMNS: tl.constexpr, WIDTH: tl.constexpr):  # fmt: skip
    """Norm, mixing, encoding, observables and direction of some rows; windows of three or fewer."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    here, column = row < count, tl.arange(0, WIDTH)
    whole = tl.load(
        x + row[:, None] * FEATURES + column[None, :],
        mask=here[:, None] & (column < FEATURES)[None, :],
        other=0.0,
    ).to(tl.float32)
    norm = tl.sqrt(tl.sum(whole * whole, axis=1))
    stretch = scale / tl.maximum(norm, 1e-12)
    length = tl.zeros((ROWS,), dtype=tl.float32)
    for start in range(0, KEPT, COLUMNS):
        kept = start + tl.arange(0, COLUMNS)
        mask = here[:, None] & (kept < KEPT)[None, :]
        own = tl.minimum(kept, KEPT - 1)
        first = own * WINDOW * INPUTS
        value = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
        if WINDOW == 1:
            x0, z0 = _qubit(x, places, weights, row, first, stretch, mask, FEATURES, INPUTS)
            value += tl.load(observables + own)[None, :]
            value += tl.load(observables + KEPT + own)[None, :] * x0
            value += tl.load(observables + 2 * KEPT + own)[None, :] * z0
        elif WINDOW == 2:
            x0, z0 = _qubit(x, places, weights, row, first, stretch, mask, FEATURES, INPUTS)
            x1, z1 = _qubit(
                x, places, weights, row, first + INPUTS, stretch, mask, FEATURES, INPUTS
            )
            for a in tl.static_range(3):
                at = observables + 3 * a * KEPT + own
                inner = tl.load(at)[None, :] + tl.load(at + KEPT)[None, :] * x1
                inner += tl.load(at + 2 * KEPT)[None, :] * z1
                value += inner if a == 0 else inner * x0 if a == 1 else inner * z0
        else:
            x0, z0 = _qubit(x, places, weights, row, first, stretch, mask, FEATURES, INPUTS)
            x1, z1 = _qubit(
                x, places, weights, row, first + INPUTS, stretch, mask, FEATURES, INPUTS
            )
            x2, z2 = _qubit(
                x, places, weights, row, first + 2 * INPUTS, stretch, mask, FEATURES, INPUTS
            )
            for a in tl.static_range(3):
                middle = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
                for b in tl.static_range(3):
                    at = observables + 3 * (3 * a + b) * KEPT + own
                    inner = tl.load(at)[None, :] + tl.load(at + KEPT)[None, :] * x2
                    inner += tl.load(at + 2 * KEPT)[None, :] * z2
                    middle += inner if b == 0 else inner * x1 if b == 1 else inner * z1
                value += middle if a == 0 else middle * x0 if a == 1 else middle * z0
        value = tl.where(mask, value, 0.0)
        length += tl.sum(value * value, axis=1)
        tl.store(out + row[:, None] * KEPT + kept[None, :], value, mask=mask)
    tl.debug_barrier()
    turn = 1.0 / tl.maximum(tl.sqrt(length), 1e-3)
    for start in range(0, KEPT, COLUMNS):
        kept = start + tl.arange(0, COLUMNS)
        mask = here[:, None] & (kept < KEPT)[None, :]
        at = out + row[:, None] * KEPT + kept[None, :]
        value = tl.load(at, mask=mask, other=0.0)
        tl.store(at, 1.5707963267948966 * (1.0 - value * turn[:, None]), mask=mask)


def log_fidelity(zq: Tensor, zd: Tensor) -> Tensor:
    """`mpsheads.log_fidelity` of all pairs of angles, products in registers."""
    out = torch.empty(len(zq), len(zd), device=zq.device, dtype=torch.float32)
    halves = [f(z.float() / 2).T.contiguous() for z in (zq, zd) for f in (torch.cos, torch.sin)]
    queries, documents = 32, 64
    grid = (triton.cdiv(len(zq), queries), triton.cdiv(len(zd), documents))
    _log_fidelity[grid](
        *halves, out, len(zq), len(zd), zq.shape[1], QUERIES=queries, DOCUMENTS=documents
    )
    return out


@triton.jit
def _log_fidelity(cos_q, sin_q, cos_d, sin_d, out, n_queries, n_documents, width,
                  QUERIES: tl.constexpr, DOCUMENTS: tl.constexpr):  # fmt: skip
    q = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)
    d = tl.program_id(1) * DOCUMENTS + tl.arange(0, DOCUMENTS)
    keep_q, keep_d = q < n_queries, d < n_documents
    total = tl.zeros((QUERIES, DOCUMENTS), dtype=tl.float32)
    product = tl.full((QUERIES, DOCUMENTS), 1.0, dtype=tl.float32)
    for i in range(width):
        cq = tl.load(cos_q + i * n_queries + q, mask=keep_q, other=1.0)
        sq = tl.load(sin_q + i * n_queries + q, mask=keep_q, other=0.0)
        cd = tl.load(cos_d + i * n_documents + d, mask=keep_d, other=1.0)
        sd = tl.load(sin_d + i * n_documents + d, mask=keep_d, other=0.0)
        overlap = tl.abs(cq[:, None] * cd[None, :] + sq[:, None] * sd[None, :])
        product *= tl.maximum(overlap, 1.1754944e-38)
        if i % 4 == 3:  # four factors of 1e-9 do not underflow; smaller ones are rare
            total += tl.log(tl.maximum(product, 1.1754944e-38))
            product = tl.full((QUERIES, DOCUMENTS), 1.0, dtype=tl.float32)
    total += tl.log(tl.maximum(product, 1.1754944e-38))
    at = out + q[:, None] * n_documents + d[None, :]
    tl.store(at, 2.0 * total, mask=keep_q[:, None] & keep_d[None, :])


def code_scores(queries: Tensor, codes: Codes, table: Tensor) -> Tensor:
    """Inner products of queries with the words of codes of 1, 2 or 4 bits, decoded on the way.

    `table` holds the values of each byte and the one before: `(65536, values)`, half precision.
    """
    out = torch.empty(len(queries), len(codes), device=queries.device, dtype=torch.float32)
    values, n_bytes = table.shape[1], codes.bytes_per_vector
    turned = torch.zeros(n_bytes * values, triton.next_power_of_2(max(16, len(queries))))
    turned = turned.to(queries.device, torch.float16)
    turned[: queries.shape[1], : len(queries)] = queries.T.half()
    documents = 64
    _code_scores[(triton.cdiv(len(codes), documents),)](
        turned,
        codes.packed,
        table,
        out,
        len(queries),
        len(codes),
        BYTES=n_bytes,
        VALUES=values,
        QUERIES=turned.shape[1],
        DOCUMENTS=documents,
        AT_ONCE=min(16, n_bytes),
    )
    return out


@triton.jit
def _code_scores(queries, packed, table, out, n_queries, n_documents, BYTES: tl.constexpr,
                 VALUES: tl.constexpr, QUERIES: tl.constexpr, DOCUMENTS: tl.constexpr,
                 AT_ONCE: tl.constexpr):  # fmt: skip
    d = tl.program_id(0) * DOCUMENTS + tl.arange(0, DOCUMENTS)
    q, keep = tl.arange(0, QUERIES), d < n_documents
    number = tl.arange(0, AT_ONCE * VALUES)
    total = tl.zeros((DOCUMENTS, QUERIES), dtype=tl.float32)
    for start in range(0, BYTES, AT_ONCE):
        byte = start + number // VALUES
        before = (byte + BYTES - 1) % BYTES
        at = packed + d[:, None] * BYTES
        high = tl.load(at + byte[None, :], mask=keep[:, None], other=0).to(tl.int32)
        low = tl.load(at + before[None, :], mask=keep[:, None], other=0).to(tl.int32)
        words = tl.load(table + (high * 256 + low) * VALUES + (number % VALUES)[None, :])
        rows = start * VALUES + number
        right = tl.load(queries + rows[:, None] * QUERIES + q[None, :])
        total += tl.dot(words, right)
    at = out + q[None, :] * n_documents + d[:, None]
    tl.store(at, total, mask=keep[:, None] & (q < n_queries)[None, :])


def nearest_codewords(x: Tensor, trellis: Trellis) -> Tensor:
    """`mpsheads.mps.nearest_codewords`, one vector a program; the ring is closed by two passes."""
    values = trellis.values.shape[1]
    steps = x.shape[1] // values
    fan, bond = 2**trellis.shift, trellis.bond_dim
    near = 5 * -(-trellis.window // trellis.shift)
    words = torch.empty(len(x), steps, dtype=torch.uint8, device=x.device)
    back = torch.empty(len(x), steps + 2 * near, bond, dtype=torch.uint8, device=x.device)
    _nearest[(len(x),)](
        x.float().contiguous(),
        trellis.values.to(x.device).float(),
        back,
        words,
        STEPS=steps,
        NEAR=near,
        VALUES=values,
        FAN=fan,
        BOND=bond,
        SHIFT=trellis.shift,
    )
    return words


@triton.jit
def _nearest(x, table, back, words, STEPS: tl.constexpr, NEAR: tl.constexpr, VALUES: tl.constexpr,
             FAN: tl.constexpr, BOND: tl.constexpr, SHIFT: tl.constexpr):  # fmt: skip
    """Costs of all bonds stay in registers; which window led to each goes to memory, a byte."""
    row = tl.program_id(0).to(tl.int64)
    x += row * STEPS * VALUES
    back += row * (STEPS + 2 * NEAR) * BOND
    bond = tl.arange(0, BOND)
    window = tl.arange(0, FAN * BOND)
    least = tl.zeros((BOND,), dtype=tl.float32)
    for step in range(2 * NEAR):  # around the seam, as if it lay in the middle of a long chain
        at = (step + NEAR * STEPS - NEAR) % STEPS
        least = _step(x + at * VALUES, table, back + step * BOND, least, bond, window, VALUES, FAN,
                      BOND)  # fmt: skip
    tl.debug_barrier()
    seen = tl.argmin(least, axis=0)
    for i in range(NEAR):
        seen = _before(back + (2 * NEAR - 1 - i) * BOND, seen, BOND, SHIFT)
    least = tl.where(bond == seen, 0.0, 1e30)
    for step in range(STEPS):
        least = _step(x + step * VALUES, table, back + (2 * NEAR + step) * BOND, least, bond,
                      window, VALUES, FAN, BOND)  # fmt: skip
    tl.debug_barrier()
    for i in range(STEPS):
        step = STEPS - 1 - i
        tl.store(words + row * STEPS + step, (seen & (FAN - 1)).to(tl.uint8))
        seen = _before(back + (2 * NEAR + step) * BOND, seen, BOND, SHIFT)


@triton.jit
def _step(x, table, back, least, bond, window, VALUES: tl.constexpr, FAN: tl.constexpr,
          BOND: tl.constexpr):  # fmt: skip
    """The least costs after one step, and the high bits of the windows that gave them."""
    distance = tl.zeros((FAN * BOND,), dtype=tl.float32)
    for i in tl.static_range(VALUES):
        away = tl.load(table + window * VALUES + i) - tl.load(x + i)
        distance += away * away
    cost = tl.reshape(tl.broadcast_to(least[:, None], (BOND, FAN)), (FAN * BOND,)) + distance
    cost = tl.reshape(cost, (FAN, BOND))
    tl.store(back + bond, tl.argmin(cost, axis=0).to(tl.uint8))
    return tl.min(cost, axis=0)


@triton.jit
def _before(back, seen, BOND: tl.constexpr, SHIFT: tl.constexpr):
    """The bond before a step, from the one after it."""
    high = tl.load(back + seen).to(tl.int32)
    return (high * BOND + seen) >> SHIFT
