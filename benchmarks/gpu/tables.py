"""The tables of a run on a card: what the library takes beside what it is measured against."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import mpsheads
from benchmarks.gpu.measure import (
    Function,
    Limits,
    failures,
    graphed,
    launches,
    peak_megabytes,
    seconds,
)
from benchmarks.gpu.report import Row
from mpsheads import DenseHead, MPSProjectionHead, ReferenceHead, mps
from mpsheads.ansatz import brickwork
from mpsheads.mps import Truncation
from mpsheads.similarity import quantize_trellis


@dataclass(frozen=True)
class Sizes:
    """How large the problems are; `tiny` is for a rehearsal."""

    batch: int = 4096
    features: int = 768
    kept: int = 256
    documents: int = 1_000_000
    queries: int = 64
    states: int = 4096
    sites: int = 768
    square: int = 8192
    encoded: int = 65_536

    @classmethod
    def tiny(cls) -> "Sizes":
        """All of it in seconds on a CPU."""
        return cls(8, 24, 8, 64, 3, 2, 12, 32, 1)


def limits(found: Limits) -> list[Row]:
    """What everything is a fraction of."""
    return [
        {"limit": "bandwidth, GB/s", "measured": found.bandwidth / 1e9},
        {"limit": "float32 products, TFLOP/s", "measured": found.float32 / 1e12},
        {"limit": "bfloat16 products, TFLOP/s", "measured": found.half / 1e12},
    ]


def heads(device: str, sizes: Sizes, limit: Limits) -> Iterator[Row]:
    """A training step of each head, with gradients of embeddings too, and the forward pass."""
    x = torch.randn(sizes.batch, sizes.features, device=device)
    shape = sizes.features, sizes.kept
    made: dict[str, nn.Module] = {
        "Linear + tanh": DenseHead(*shape),
        "default head": MPSProjectionHead(*shape),
        "without mixing": MPSProjectionHead(*shape, mixing=0),
        "depth 2": MPSProjectionHead(*shape, depth=2),
        "ReferenceHead": ReferenceHead(*shape),
        "64 bytes": MPSProjectionHead.for_bytes(sizes.features, 64),
    }
    steps, forwards = {}, {}
    for name, head in made.items():
        head = head.to(device)
        steps[name], forwards[name] = _step(head, x), _forward(head, x)
        if name in ("default head", "depth 2"):
            steps[f"{name}, CUDA graph"] = graphed(_step(head, x))
            forwards[f"{name}, CUDA graph"] = graphed(_forward(head, x))
    kernels, head = _kernels(), made["default head"]
    if kernels is not None and isinstance(head, MPSProjectionHead):
        fused = kernels.FusedHead.of(head)
        forwards["default head, Triton"] = lambda: fused(x)
    yield from _head_rows(steps, forwards, limit, 4 * (x.numel() + sizes.batch * sizes.kept))


def compiled(device: str, sizes: Sizes, limit: Limits) -> Iterator[Row]:
    """The default head by torch.compile."""
    x = torch.randn(sizes.batch, sizes.features, device=device)
    shape = sizes.features, sizes.kept
    linear = DenseHead(*shape).to(device)
    head = torch.compile(MPSProjectionHead(*shape).to(device))
    named = {"Linear + tanh": linear, "default head, compiled": head}
    steps = {name: _step(module, x) for name, module in named.items()}
    forwards = {name: _forward(module, x) for name, module in named.items()}
    yield from _head_rows(steps, forwards, limit, 4 * (x.numel() + sizes.batch * sizes.kept))


def _head_rows(steps: Mapping[str, Function], forwards: Mapping[str, Function], limit: Limits,
               moved: float) -> Iterator[Row]:  # fmt: skip
    with mpsheads.assume_finite():
        failed = failures(forwards) | failures(steps)
        steps, forwards = (
            {name: call for name, call in calls.items() if name not in failed}
            for calls in (steps, forwards)
        )
        both, once = seconds(steps), seconds(forwards)
        bound = moved / limit.bandwidth
        for name in forwards:
            step = steps.get(name)
            yield {
                "head": name,
                "forward ms": 1e3 * once[name],
                "of Linear": once[name] / once["Linear + tanh"],
                "of the bandwidth": bound / once[name],
                "with backward ms": 1e3 * both[name] if step else None,
                "of Linear's": both[name] / both["Linear + tanh"] if step else None,
                "launches": launches(forwards[name]),
                "launches of a step": launches(step) if step else None,
                "peak MB of a step": peak_megabytes(step) if step else None,
            }
    yield from ({"head": f"{name} failed: {why}"} for name, why in failed.items())


def _forward(head: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], Tensor]:
    def forward() -> Tensor:
        with torch.no_grad():
            return head(x)

    return forward


def _step(head: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], Tensor]:
    inputs = x.clone().requires_grad_()

    def step() -> Tensor:
        loss = head(inputs).square().sum()
        loss.backward()
        return loss

    return step


def similarities(device: str, sizes: Sizes, limit: Limits) -> Iterator[Row]:
    """All pairs of queries and a tenth of the documents by log-fidelity, beside a product."""
    count, width = max(16, sizes.documents // 10), sizes.kept
    zq, zd = (torch.rand(n, width, device=device) * math.pi for n in (sizes.queries, count))
    functions: dict[str, Function] = {
        "float32 product": lambda: zq @ zd.T,
        "log_fidelity": lambda: mpsheads.log_fidelity(zq, zd),
        "approximate_log_fidelity": lambda: mpsheads.approximate_log_fidelity(zq, zd),
        "top_k": lambda: mpsheads.top_k(zq, zd, 10),
    }
    kernels = _kernels()
    if kernels is not None:
        functions["log_fidelity, Triton"] = lambda: kernels.log_fidelity(zq, zd)
    with mpsheads.assume_finite():
        yield from _rows(functions, "float32 product", 2.0 * zq.numel() * count, limit.float32)


def codes(device: str, sizes: Sizes, limit: Limits) -> Iterator[Row]:
    """Scores of all codes of 64 bytes, and making codes."""
    width = 256 if sizes.documents > 1000 else 64
    queries = torch.randn(sizes.queries, width, device=device)
    z = torch.randn(min(sizes.encoded, sizes.documents), width, device=device)
    centre = torch.zeros(width, device=device)
    some = quantize_trellis(z, 2, centre=centre, span=1.0)
    made = mpsheads.Codes.cat([some] * max(1, sizes.documents // len(some)))
    plain = torch.randn(len(made), width, device=device, dtype=torch.bfloat16)
    half = queries.bfloat16()
    trellis = mps.standard_trellis(2)
    scores: dict[str, Function] = {
        "bfloat16 product of floats": lambda: half @ plain.T,
        "cosine with codes": lambda: mpsheads.cosine(queries, made),
        "top_k of codes": lambda: mpsheads.top_k(queries, made, 10, similarity=mpsheads.cosine),
    }
    encoding: dict[str, Function] = {
        "nearest_codewords": lambda: mps.nearest_codewords(z, trellis),
    }
    kernels = _kernels()
    if kernels is not None:
        from mpsheads.similarity.packing import _byte_table

        table = _byte_table(trellis, like=made.packed, dtype=torch.float16)
        scores["scores, Triton"] = lambda: kernels.code_scores(queries, made, table)
        encoding["nearest codewords, Triton"] = lambda: kernels.nearest_codewords(z, trellis)
    with mpsheads.assume_finite():
        work = 2.0 * queries.numel() * len(made)
        yield from _rows(scores, "bfloat16 product of floats", work, limit.half)
        for row in _rows(encoding, "nearest_codewords"):
            yield row | ({"a second": len(z) / row["ms"] * 1e3} if "ms" in row else {})


def circuits(device: str, sizes: Sizes, limit: Limits) -> Iterator[Row]:
    """Brickwork layers on all states: exact, with gradients, as a graph, and truncated."""
    for layers, bond in ((2, None), (4, 4)):
        circuit = brickwork(sizes.sites, layers)
        count = sizes.states if bond is None else max(1, sizes.states // 16)
        amplitudes = torch.randn(count, sizes.sites, 2, device=device, dtype=torch.complex64)
        angles = torch.rand(circuit.num_parameters, device=device)
        truncation = None if bond is None else Truncation(bond)
        run = _evolution(amplitudes, circuit, angles, truncation)
        functions: dict[str, Function] = {f"{layers} layers": run}
        if bond is None:
            functions[f"{layers} layers, CUDA graph"] = graphed(run)
            functions[f"{layers} layers, with gradients"] = _gradients(run, angles)
        with mpsheads.assume_finite(), torch.no_grad():
            state = mps.apply_circuit(mps.product_state(amplitudes), circuit, angles, truncation)
            written = sum(8.0 * site.numel() for site in state.sites)
            for row in _rows(functions, f"{layers} layers"):
                if "ms" not in row:
                    yield row
                    continue
                share = written / limit.bandwidth / row["ms"] * 1e3
                yield {**row, "of the limit": share, "us a state": row["ms"] / count * 1e3}


def _evolution(amplitudes: Tensor, circuit: mps.Circuit, angles: Tensor,
               truncation: Truncation | None) -> Callable[[], Tensor]:  # fmt: skip
    def run() -> Tensor:
        start = mps.product_state(amplitudes)
        state = mps.apply_circuit(start, circuit, angles, truncation)
        return state.sites[len(state.sites) // 2]

    return run


def _gradients(run: Callable[[], Tensor], angles: Tensor) -> Callable[[], Tensor]:
    def both() -> Tensor:
        with torch.enable_grad():
            angles.requires_grad_()
            return torch.autograd.grad(run().abs().sum(), angles)[0]

    return both


def pairs(device: str, sizes: Sizes, limit: Limits) -> Iterator[Row]:
    """Fidelities of all pairs of states of bond 4."""
    n = min(256, sizes.sites)
    many = {"dtype": torch.complex64, "device": device}
    queries = mps.random_mps(n, 4, batch_size=32 if n > 100 else 2, **many)
    documents = mps.random_mps(n, 4, batch_size=4096 if n > 100 else 5, **many)
    count = len(queries) * len(documents)
    functions: dict[str, Function] = {
        "fidelity_matrix": lambda: mps.fidelity_matrix(queries, documents)
    }
    with torch.no_grad():
        for row in _rows(functions, "fidelity_matrix", 32.0 * n * 4**3 * count, limit.float32):
            yield row | ({"us a pair": 1e3 * row["ms"] / count} if "ms" in row else {})


def _rows(functions: dict[str, Function], base: str, work: float = 0.0,
          limit: float = 1.0) -> Iterator[dict]:  # fmt: skip
    failed = failures(functions)
    functions = {name: call for name, call in functions.items() if name not in failed}
    taken = seconds(functions)
    for name, function in functions.items():
        yield {
            "what": name,
            "ms": 1e3 * taken[name],
            f"of {base}": taken[name] / taken[base],
            "of the limit": work / limit / taken[name] if work else None,
            "launches": launches(function),
            "peak MB": peak_megabytes(function),
        }
    yield from ({"what": f"{name} failed: {why}"} for name, why in failed.items())


def _kernels():
    try:
        from benchmarks.gpu import kernels
    except ImportError:  # no Triton
        return None
    return kernels
