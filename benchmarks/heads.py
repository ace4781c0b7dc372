"""Speed and memory of the heads against the paper's way of simulating its circuit.

Each round calls all heads once, so a busy machine slows all alike. Times are medians; memory is the
largest sum of what torch holds during a training step beyond what it held before.

Example:
    OMP_NUM_THREADS=1 python benchmarks/heads.py --batch 384 --out-features 256 64
"""

import argparse
import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import plain_reference
import torch
from timing import interleaved_medians, print_table
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from mpsheads.heads import DenseHead, MPSProjectionHead, ProjectionHead, ReferenceHead

PLAIN, DENSE = "paper's way", "DenseHead"
Call = Callable[[Tensor], Tensor]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one table for each width."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    found = [_compare(options.in_features, size, options) for size in options.out_features]
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=384, help="embeddings a call (default 384)")
    parser.add_argument("--in-features", type=int, default=768, help="default 768")
    parser.add_argument("--out-features", type=int, nargs="+", default=[256, 64])
    parser.add_argument("--depth", type=int, nargs="+", default=[1, 2], help="of MPS heads (1 2)")
    parser.add_argument("--repeats", type=int, default=15, help="measured rounds (default 15)")
    parser.add_argument("--warmup", type=int, default=3, help="rounds before them (default 3)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    return parser


def _compare(in_features: int, out_features: int, options: argparse.Namespace) -> dict:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(options.batch, in_features, generator=generator).to(options.device)
    reference = ReferenceHead(in_features, out_features, generator=generator)
    raw = reference.angles_raw
    heads: dict[str, ProjectionHead] = {
        "ReferenceHead": reference,
        **{
            f"MPSProjectionHead, depth {depth}": MPSProjectionHead(
                in_features, out_features, 2**depth, depth, generator=generator
            )
            for depth in options.depth
        },
        "MPSProjectionHead, no mixing": MPSProjectionHead(
            in_features, out_features, mixing=0, generator=generator
        ),
        DENSE: DenseHead(in_features, out_features, generator=generator),
    }
    difference = _difference(reference, x)
    raw.data = raw.data.to(options.device)
    calls: dict[str, Call] = {PLAIN: lambda inputs: plain_reference.amplitudes(inputs, raw)}
    calls |= {name: head.to(options.device) for name, head in heads.items()}
    parameters = {PLAIN: raw.numel()} | {n: head.num_parameters for n, head in heads.items()}
    steps = {name: training_step(call, x) for name, call in calls.items()}
    functions = {f"{name} forward": _forward(call, x) for name, call in calls.items()}
    functions |= {f"{name} both": step for name, step in steps.items()}
    if x.is_cuda:
        functions = {name: _synchronised(function) for name, function in functions.items()}
    times = interleaved_medians(functions, options.repeats, options.warmup)
    rows = [
        {
            "head": name,
            "parameters": parameters[name],
            "forward_ms": 1e3 * times[f"{name} forward"],
            "both_ms": 1e3 * times[f"{name} both"],
            "forward_ratio": times[f"{PLAIN} forward"] / times[f"{name} forward"],
            "both_ratio": times[f"{PLAIN} both"] / times[f"{name} both"],
            "dense_ratio": times[f"{name} both"] / times[f"{DENSE} both"],
            "peak_mb": peak_bytes(steps[name]) / 1e6,
        }
        for name in calls
    ]
    print(
        f"\n{options.batch} embeddings, {in_features} -> {out_features}, float32, "
        f"{options.device}, {options.threads} thread(s), medians of {options.repeats}.\n"
        f"Largest difference of ReferenceHead from the paper's way: {difference:.1e} "
        f"in an amplitude, float64.\n"
    )
    header = ["head", "parameters", "forward ms", "with backward", "paper's/it", "with backward"]
    header += ["it/Dense, with backward", "peak MB"]
    print_table(header, [_cells(row) for row in rows])
    return {"in_features": in_features, "out_features": out_features, "rows": rows}


def _cells(row: dict) -> list[str]:
    return [
        row["head"],
        f"{row['parameters']:,}",
        f"{row['forward_ms']:.2f}",
        f"{row['both_ms']:.2f}",
        f"{row['forward_ratio']:.1f}x",
        f"{row['both_ratio']:.1f}x",
        f"{row['dense_ratio']:.2f}x",
        f"{row['peak_mb']:.1f}",
    ]


def _forward(call: Call, x: Tensor) -> Callable[[], object]:
    def forward() -> None:
        with torch.no_grad():
            call(x)

    return forward


def training_step(call: Call, x: Tensor) -> Callable[[], object]:
    """Gradients reach the parameters and the embeddings, as if an encoder were trained along."""
    inputs = x.clone().requires_grad_()
    return lambda: call(inputs).sum().backward()


def _synchronised(function: Callable[[], object]) -> Callable[[], object]:
    def call() -> None:
        function()
        torch.cuda.synchronize()

    return call


def peak_bytes(function: Callable[[], object]) -> int:
    """The most that torch holds at once while a function runs, beyond what it held before."""
    function()  # gradients are there
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        if grown := torch.cuda.max_memory_allocated() - before:
            return grown
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    assert profiler.profiler is not None
    results = profiler.profiler.kineto_results
    assert results is not None
    now = peak = 0
    for event in sorted(results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            now += event.nbytes()  # pyright: ignore[reportAttributeAccessIssue]
            peak = max(peak, now)
    return peak


def _difference(head: ReferenceHead, x: Tensor) -> float:
    """In float64: the square root of a small probability magnifies rounding errors."""
    head, x = copy.deepcopy(head).double().to(x.device), x.double()
    with torch.no_grad():
        angles = head(x)
        amplitudes = torch.stack([(angles / 2).cos(), (angles / 2).sin()], dim=-1)
        return float((amplitudes - plain_reference.amplitudes(x, head.angles_raw)).abs().max())


if __name__ == "__main__":
    main()
