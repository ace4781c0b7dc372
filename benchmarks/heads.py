"""Speed of the heads against the paper's way of simulating its circuit.

Example:
    OMP_NUM_THREADS=1 python benchmarks/heads.py --batch 384 --out-features 256 64
"""

import argparse
import copy
from collections.abc import Callable, Sequence

import plain_reference
import torch
from timing import interleaved_medians, print_table
from torch import Tensor

from mpsheads.heads import DenseHead, MPSProjectionHead, ReferenceHead

PLAIN = "plain reference"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one table for each width."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    for out_features in options.out_features:
        _compare(options.in_features, out_features, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=384, help="embeddings a call (default 384)")
    parser.add_argument("--in-features", type=int, default=768, help="default 768")
    parser.add_argument("--out-features", type=int, nargs="+", default=[256, 64])
    parser.add_argument("--depth", type=int, default=2, help="layers of the MPS head (default 2)")
    parser.add_argument("--repeats", type=int, default=15, help="measured rounds (default 15)")
    parser.add_argument("--warmup", type=int, default=3, help="rounds before them (default 3)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default 1)")
    return parser


def _compare(in_features: int, out_features: int, options: argparse.Namespace) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(options.batch, in_features, generator=generator)
    mps = MPSProjectionHead(
        in_features, out_features, 2**options.depth, options.depth, generator=generator
    )
    reference = ReferenceHead(in_features, out_features, generator=generator)
    dense = DenseHead(in_features, out_features, generator=generator)
    raw = reference.angles_raw
    assert raw is not None

    def plain(inputs: Tensor) -> Tensor:
        return plain_reference.amplitudes(inputs, raw)

    calls: dict[str, Callable[[Tensor], Tensor]] = {
        PLAIN: plain,
        "ReferenceHead": reference,
        f"MPSProjectionHead, depth {options.depth}": mps,
        "DenseHead": dense,
    }
    parameters = [raw.numel()] + [head.num_parameters for head in (reference, mps, dense)]
    difference = _difference(reference, x)
    functions = {}
    for name, call in calls.items():
        functions[f"{name} forward"] = _forward(call, x)
        functions[f"{name} both"] = _forward_and_backward(call, x)
    medians = interleaved_medians(functions, options.repeats, options.warmup)
    rows = []
    for name, count in zip(calls, parameters, strict=True):
        forward, both = medians[f"{name} forward"], medians[f"{name} both"]
        ratios = (medians[f"{PLAIN} forward"] / forward, medians[f"{PLAIN} both"] / both)
        times = (f"{1e3 * forward:.2f}", f"{1e3 * both:.2f}")
        rows.append([name, f"{count:,}", *times, *(f"{ratio:.1f}x" for ratio in ratios)])
    print(
        f"\n{options.batch} embeddings, {in_features} -> {out_features}, float32, "
        f"{options.threads} thread(s), medians of {options.repeats}.\n"
        f"Largest difference of ReferenceHead from the plain reference: {difference:.1e} "
        f"in an amplitude, float64.\n"
    )
    header = ["head", "parameters", "forward ms", "with backward ms", "plain/it", "with backward"]
    print_table(header, rows)


def _forward(call: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    def forward() -> None:
        with torch.no_grad():
            call(x)

    return forward


def _forward_and_backward(call: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    """Gradients reach the parameters and the embeddings, as if an encoder were trained along."""
    inputs = x.clone().requires_grad_()
    return lambda: call(inputs).sum().backward()


def _difference(head: ReferenceHead, x: Tensor) -> float:
    """In float64: the square root of a small probability magnifies rounding errors."""
    head, x = copy.deepcopy(head).double(), x.double()
    assert head.angles_raw is not None
    with torch.no_grad():
        angles = head(x)
        amplitudes = torch.stack([(angles / 2).cos(), (angles / 2).sin()], dim=-1)
        return float((amplitudes - plain_reference.amplitudes(x, head.angles_raw)).abs().max())


if __name__ == "__main__":
    main()
