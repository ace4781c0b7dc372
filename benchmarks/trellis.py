"""The errors of the trellis codes, and how their tables are made.

`python benchmarks/trellis.py` prints what each table leaves of Gaussian numbers, beside rounding
and Shannon's limit, and the time to code a vector. With `--make FILE` it makes the tables anew, by
rounds of Lloyd's algorithm: some ten minutes.
"""

import argparse
import math
import time

import torch
from safetensors.torch import save_file
from torch import Tensor

from mpsheads._threads import torch_threads
from mpsheads.mps import Trellis, codewords, nearest_codewords, standard_trellis
from mpsheads.mps.trellis import RATES

WIDTH, TRAIN, TEST, ROUNDS = 256, 3072, 512, 16
SHAPES = {1.0: (2, 2), 1.5: (3, 2), 2.0: (4, 2), 3.0: (3, 1), 4.0: (4, 1)}  # shift, values a step
WINDOW = 10


def made(bits: float) -> Tensor:
    """A table: each window the mean of the Gaussian numbers that are coded by it."""
    if bits == 8:  # a scalar quantiser: levels by the cube root of the density
        places = (torch.arange(256).double() + 0.5) / 128 - 1
        return (torch.erfinv(places) * math.sqrt(6)).float()[:, None]
    (shift, values), generator = SHAPES[bits], torch.Generator().manual_seed(0)
    table = torch.randn(2**WINDOW, values, generator=generator)
    x = torch.randn(TRAIN, WIDTH, generator=generator)
    numbers = torch.arange(2**WINDOW, dtype=torch.float32)[:, None].expand(-1, values)
    for _ in range(ROUNDS):
        words = nearest_codewords(x, Trellis(table, shift))
        windows = codewords(words, Trellis(numbers, shift))[:, ::values].flatten().long()
        total = torch.zeros_like(table).index_add_(0, windows, x.reshape(-1, values))
        count = torch.bincount(windows, minlength=len(table))[:, None]
        table = torch.where(count > 0, total / count.clamp_min(1), table)
    return table


def scalar_error(bits: float) -> float:
    """What is left of Gaussian numbers by the best levels of whole bits (Lloyd and Max)."""
    x = torch.erfinv(torch.linspace(-1, 1, 1 << 16)[1:-1].double()) * 2**0.5
    levels = torch.quantile(x[::16], (torch.arange(2**bits) + 0.5).double() / 2**bits)
    cells = torch.zeros_like(x, dtype=torch.long)
    for _ in range(300):
        cells = torch.bucketize(x, (levels[1:] + levels[:-1]) / 2)
        levels = torch.stack([x[cells == cell].mean() for cell in range(len(levels))])
    return float((x - levels[cells]).square().mean())


def main() -> None:
    """Print the table of errors, or make the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--make", metavar="FILE", help="write new tables here")
    file = parser.parse_args().make
    with torch_threads(1):
        if file:
            save_file({str(bits): made(bits).contiguous() for bits in RATES}, file)
            return
        x = torch.randn(TEST, WIDTH, generator=torch.Generator().manual_seed(1))
        print("bits   error    limit    rounding   ms a vector of 256")
        for bits in RATES[:-1]:
            trellis, began = standard_trellis(bits), time.perf_counter()
            words = nearest_codewords(x, trellis)
            took = (time.perf_counter() - began) / TEST * 1e3
            error = float((codewords(words, trellis) - x).square().mean())
            rounding = f"{scalar_error(bits):.4f}" if bits == int(bits) else "–"
            print(
                f"{bits:<4g}{error:>9.4f}{4.0**-bits:>9.4f}{rounding:>11}{took:>12.2f}", flush=True
            )


if __name__ == "__main__":
    main()
