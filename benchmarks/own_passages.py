"""Does training without labels help codes that are fitted to the very passages searched?

Passages ask for each other: the codes' ranking of some passages is brought near that of the
uncompressed vectors. 150 passages are held back: where their ten nearest agree best with the
uncompressed ones, training stops. Prints nDCG@10 of real queries before and after, a line a seed,
and the mean difference with its spread.

Example:
    python benchmarks/own_passages.py --test cranfield --test cisi --bytes 32 --bytes 16
"""

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from timing import print_table
from torch import Tensor
from torch.nn.functional import normalize

from mpsheads import MPSProjectionHead
from mpsheads.retrieval import EmbeddedCollection, Encoder, embed, load_collection, parse_dataset
from mpsheads.search import codes_of
from mpsheads.similarity import cosine, top_k
from mpsheads.training import distillation_loss

_HELD, _NEAR = 150, 10
_QUERIES, _DOCUMENTS = 64, 256  # passages of a step
_EVERY = 25  # steps between two looks at those held back


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and print."""
    options = _parser().parse_args(arguments)
    encoder = Encoder(options.encoder, dtype="float32")
    rows = []
    for name in options.test:
        test = embed(load_collection(*parse_dataset(name)[:2]), encoder, progress=True)
        for size in options.bytes:
            before, after = zip(
                *(_trial(test, size, seed, options) for seed in range(options.seeds)), strict=True
            )
            gains = [b - a for a, b in zip(before, after, strict=True)]
            rows.append([test.name, str(size), *map(_spread, (before, after, gains))])
            print(*rows[-1], flush=True)
    print_table(["collection", "bytes", "fitted", "trained", "difference"], rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--test", action="append", required=True, help="collection; may be repeated"
    )
    parser.add_argument("--bytes", action="append", type=int, required=True, help="a vector")
    parser.add_argument("--encoder", default="minilm", help="default minilm")
    parser.add_argument("--seeds", type=int, default=5, help="default 5")
    parser.add_argument("--steps", type=int, default=200, help="default 200")
    parser.add_argument("--rate", type=float, default=1e-3, help="of Adam, default 0.001")
    parser.add_argument("--temperature", type=float, default=0.02, help="of cosines, default 0.02")
    return parser


def _spread(values: Sequence[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):+.4f} ± {deviation:.4f}"


def _trial(
    test: EmbeddedCollection, size: int, seed: int, options: argparse.Namespace
) -> tuple[float, float]:
    """nDCG@10 of a seed before and after training."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # of the codes' error in training
    x = test.documents
    head = MPSProjectionHead.for_bytes(x.shape[1], size, own=True, generator=generator).fit(x)
    before = _quality(test, head)
    order = torch.randperm(len(x), generator=generator)
    held, others = order[:_HELD], order[_HELD:]
    truth = _nearest(x[held], x, held, similarity=cosine)
    best, weights = _agreement(head, x, held, truth), _copy(head)
    scale = torch.nn.Parameter(torch.tensor(1 / options.temperature).log())
    optimiser = torch.optim.Adam([*head.parameters(), scale], lr=options.rate)
    unit = normalize(x)
    for step in range(options.steps):
        for group in optimiser.param_groups:
            group["lr"] = options.rate * (1 - step / options.steps)
        q = others[torch.randperm(len(others), generator=generator)[:_QUERIES]]
        d = torch.randperm(len(x), generator=generator)[:_DOCUMENTS]
        same = q[:, None] == d
        teacher = (unit[q] @ unit[d].T / options.temperature).masked_fill(same, -1e4)
        scores = head.train().similarity(head(x[q]), head(x[d])) * scale.exp()
        optimiser.zero_grad()
        distillation_loss(scores.masked_fill(same, -1e4), teacher).backward()
        optimiser.step()
        if (step + 1) % _EVERY == 0 and (now := _agreement(head, x, held, truth)) > best:
            best, weights = now, _copy(head)
    head.load_state_dict(weights)
    return before, _quality(test, head)


def _quality(test: EmbeddedCollection, head: MPSProjectionHead) -> float:
    with torch.no_grad():
        queries, codes = head.eval()(test.queries), codes_of(head, test.documents)
    how: Any = {"queries": queries, "documents": codes, "similarity": head.similarity}
    return statistics.mean(test.scores("nDCG@10", **how).values())


def _nearest(queries: Tensor, documents: Any, own: Tensor, **how: Any) -> Tensor:
    rows = top_k(queries, documents, _NEAR + 1, **how)[1]
    return torch.stack([r[r != i][:_NEAR] for r, i in zip(rows, own, strict=True)])


@torch.no_grad()
def _agreement(head: MPSProjectionHead, x: Tensor, held: Tensor, truth: Tensor) -> float:
    """How many of the ten nearest passages are those of the uncompressed vectors."""
    codes = codes_of(head.eval(), x)
    near = _nearest(head(x[held]), codes, held, similarity=head.similarity)
    return float((near[:, :, None] == truth[:, None]).any(2).float().mean())


def _copy(head: MPSProjectionHead) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in head.state_dict().items()}


if __name__ == "__main__":
    main()
