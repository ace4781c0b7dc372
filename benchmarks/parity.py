"""Does the entangling circuit matter? A search that no linear map can do, and one that all can.

Each text has 48 features of size about 1, in 16 groups of three. A query and its document share the
sign of the product of each group, and nothing else ("parity"); or the sign of the first feature of
each group, and nothing else ("sign"). Run it: `python benchmarks/parity.py`, some minutes.
"""

import argparse
import statistics

import torch
from torch import Tensor, nn

from mpsheads import DenseHead, MPSProjectionHead
from mpsheads._threads import torch_threads
from mpsheads.heads import ProjectionHead
from mpsheads.training import contrastive_loss

FEATURES, KEPT, TRAIN, TEST = 48, 16, 4000, 500
STEPS, BATCH, RATE = 800, 256, 3e-2


class MLPHead(ProjectionHead):
    """Two layers, to see what any nonlinearity does."""

    name = "mlp"
    compared_by = "cosine"

    def __init__(self, in_features: int, out_features: int, hidden: int) -> None:
        super().__init__(in_features, out_features, hidden=hidden)
        self.layers = nn.Sequential(
            nn.Linear(in_features, hidden), nn.GELU(), nn.Linear(hidden, out_features)
        )

    def forward(self, x: Tensor) -> Tensor:
        """The two layers."""
        return self.layers(x)


HEADS = {
    "linear and tanh": lambda g: DenseHead(FEATURES, KEPT, generator=g),
    "two layers of 64": lambda g: MLPHead(FEATURES, KEPT, 64),
    "two layers of 512": lambda g: MLPHead(FEATURES, KEPT, 512),
    "staircase, depth 1": lambda g: mps(g, 1),
    "staircase, depth 2": lambda g: mps(g, 2),
}


def mps(generator: torch.Generator, depth: int) -> MPSProjectionHead:
    """The head whose blocks are the groups; from large angles, as near none no gradient leads."""
    head = MPSProjectionHead(FEATURES, KEPT, depth=depth, mixing=0, generator=generator)
    with torch.no_grad():
        head.angles.copy_(1.5 * torch.randn(len(head.angles), generator=generator))
        head.scale.fill_(1.0)
    return head


def pairs(task: str, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Queries and their documents, `(count, 48)` each; group k has features k, k + 16, k + 32."""
    signs = torch.randint(2, (2, count, 3, KEPT), generator=generator).double() * 2 - 1
    shared = torch.randint(2, (count, KEPT), generator=generator).double() * 2 - 1
    for side in signs:
        side[:, 0] = shared * (side[:, 1] * side[:, 2] if task == "parity" else 1)
    size = 1 + 0.2 * torch.randn(signs.shape, generator=generator)
    queries, documents = (signs * size).flatten(2).float()
    return queries, documents


def recall(head: ProjectionHead, queries: Tensor, documents: Tensor) -> float:
    """The part of the queries whose document comes first."""
    with torch.no_grad():
        best = head.similarity(head(queries), head(documents)).argmax(1)
    return (best == torch.arange(len(queries))).float().mean().item()


def run(label: str, task: str, seed: int) -> float:
    """Train a head, and measure it on other texts."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    queries, documents = pairs(task, TRAIN, generator)
    test = pairs(task, TEST, generator)
    head = HEADS[label](generator)
    scale = nn.Parameter(torch.tensor(20.0).log())
    optimiser = torch.optim.Adam([*head.parameters(), scale], lr=RATE)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1 - step / STEPS)
        rows = torch.randint(TRAIN, (BATCH,), generator=generator)
        similarity = head.similarity(head(queries[rows]), head(documents[rows]))
        loss = contrastive_loss(scale.exp() * similarity, torch.arange(BATCH))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return recall(head, *test)


def main() -> None:
    """Print a table: the part of the queries whose document comes first, mean and spread."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds (5)")
    seeds = range(parser.parse_args().seeds)
    print(f"{'head':<28}{'parameters':>12}{'sign':>16}{'parity':>16}")
    with torch_threads(1):
        for label, make in HEADS.items():
            count = make(torch.Generator()).num_parameters
            cells = []
            for task in ("sign", "parity"):
                scores = [run(label, task, seed) for seed in seeds]
                spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
                cells.append(f"{statistics.mean(scores):.3f} ± {spread:.3f}")
            print(f"{label:<28}{count:>12,}{cells[0]:>16}{cells[1]:>16}", flush=True)


if __name__ == "__main__":
    main()
