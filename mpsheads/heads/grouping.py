"""An order of features fitted on data, so that those that belong together share a block."""

import torch
from jaxtyping import Float
from torch import Tensor

from mpsheads._checks import check_choice, check_finite, check_positive, check_vectors

MEASURES = ("correlation", "mutual_information")
_CHUNK = 64  # features whose joint histograms with all others are held at a time


@torch.no_grad()
def fit_grouping(
    x: Float[Tensor, "samples features"],
    num_blocks: int,
    *,
    measure: str = "correlation",
    bins: int = 8,
) -> list[int]:
    """Order features for `grouping=` of `MPSProjectionHead`: dependent ones share a block.

    Blocks are found by halving the features along the Fiedler vector of their dependence, again
    and again, then by swapping features of two blocks while that brings dependence into blocks. As
    sites are ordered in DMRG, features follow their block's Fiedler vector, which puts dependent
    ones next to each other and keeps entanglement low; blocks are ordered likewise. The same data
    give the same order.

    Args:
        x: Embeddings `(samples, features)`, a thousand or more. Scale and shift of a feature do
            not matter.
        num_blocks: Blocks of the head: its kept qubits, `out_features` with the readout
            "probability". Sizes differ by at most one feature.
        measure: "correlation": the squared correlation, which sees linear dependence.
            "mutual_information": of features cut into `bins` equally filled cells, in nats, less
            its expected value for independent features; sees any dependence.
        bins: Cells of a feature, for the mutual information.

    Returns:
        All features, each once: block after block, as `MPSProjectionHead` cuts them.

    Raises:
        TypeError: If `x` is not a floating-point tensor.
        ValueError: If `x` is not finite or has fewer than two samples, there are fewer features
            than blocks, a feature has fewer samples than `bins`, or a name is unknown.

    Source: Fiedler vector as order of sites: Barcza et al. 2011 (arXiv:1008.4607), sec. III.
        Swaps: Kernighan and Lin 1970. Cost: O(samples * features**2), times `bins**2` for the
        mutual information; O(features**2) a swap.
    """
    check_vectors("x", x, x.shape[-1] if isinstance(x, Tensor) and x.ndim else 0)
    check_finite("x", x)
    check_positive(num_blocks=num_blocks, bins=bins)
    check_choice("measure", measure, MEASURES)
    samples, features = x.shape
    if num_blocks > features:
        raise ValueError(
            f"`num_blocks` is {num_blocks}, but `x` has {features} features: there is at least "
            "one for each block."
        )
    least = 2 if measure == "correlation" else max(2, bins)
    if samples < least:
        raise ValueError(f"`x` needs at least {least} rows for the {measure}, got {samples}.")
    x = x.detach().double()
    dependence = _correlation(x) if measure == "correlation" else _mutual_information(x, bins)
    small, larger = divmod(features, num_blocks)
    blocks = _halved(list(range(features)), num_blocks, small, dependence)
    blocks = _swapped(blocks, dependence, small + (larger > 0))
    return [feature for block in _ordered(blocks, dependence) for feature in block]


def _correlation(x: Tensor) -> Tensor:
    """Squared correlations; 0 for a constant feature and on the diagonal."""
    x = x - x.mean(0)
    size = x.norm(dim=0)
    x = x / torch.where(size > 0, size, 1.0)
    return (x.mT @ x).square().fill_diagonal_(0)


def _mutual_information(x: Tensor, bins: int) -> Tensor:
    """Mutual information of ranks in equally filled cells, less its mean where there is none."""
    samples, features = x.shape
    # equal values share a cell: that of the first of them in order
    ranks = torch.searchsorted(x.mT.sort(1).values.contiguous(), x.mT.contiguous())
    cells = torch.nn.functional.one_hot(ranks * bins // samples, bins).float()
    cells = cells.permute(1, 0, 2)  # samples, features, bins
    flat = cells.reshape(samples, -1)
    entropy = _entropy(cells.double().mean(0))
    filled = (cells.sum(0) > 0).sum(-1)  # fewer than `bins` where values repeat
    bias = (filled[:, None] - 1) * (filled - 1) / (2 * samples)  # Miller and Madow 1955
    found = x.new_empty(features, features)
    for start in range(0, features, _CHUNK):
        some = slice(start, start + _CHUNK)
        joint = (cells[:, some].reshape(samples, -1).mT @ flat).double() / samples
        joint = joint.reshape(-1, bins, features, bins).permute(0, 2, 1, 3).flatten(2)
        found[some] = entropy[some, None] + entropy - _entropy(joint)
    found = (found - bias).clamp_min(0)
    return ((found + found.mT) / 2).fill_diagonal_(0)


def _entropy(probabilities: Tensor) -> Tensor:
    return torch.special.entr(probabilities).sum(-1)


def _fiedler(dependence: Tensor) -> list[int]:
    """Order along the eigenvector of the Laplacian's second lowest eigenvalue.

    Of the two directions, the one that ends where the dependence is larger.
    """
    count = len(dependence)
    if count < 3:
        return list(range(count))
    degrees = dependence.sum(1)
    vector = torch.linalg.eigh(degrees.diag() - dependence).eigenvectors[:, 1]
    order = vector.argsort(stable=True)
    half = count // 2
    if degrees[order[:half]].sum() > degrees[order[-half:]].sum():
        order = order.flip(0)
    return order.tolist()


def _halved(
    features: list[int], num_blocks: int, small: int, dependence: Tensor
) -> list[list[int]]:
    """Cut features into blocks of `small` or one more, each time where least dependence is cut."""
    if num_blocks == 1:
        return [features]
    order = [features[k] for k in _fiedler(dependence[features][:, features])]
    half = num_blocks // 2
    larger = len(features) - num_blocks * small
    fewest, most = max(0, larger - (num_blocks - half)), min(half, larger)
    cuts = [half * small + k for k in range(fewest, most + 1)]
    cut = min(cuts, key=lambda c: float(dependence[order[:c]][:, order[c:]].sum()))
    left = _halved(sorted(order[:cut]), half, small, dependence)
    return left + _halved(sorted(order[cut:]), num_blocks - half, small, dependence)


def _swapped(blocks: list[list[int]], dependence: Tensor, size: int) -> list[list[int]]:
    """Swap features, the best pair first, while the dependence inside blocks grows.

    Blocks below `size` hold one empty place, which is swapped like a feature; two of them in a
    block cost more than any swap gains.
    """
    features = len(dependence)
    places = [number for number, block in enumerate(blocks) if len(block) < size]
    count = features + len(places)
    whole = dependence.new_zeros(count, count)
    whole[:features, :features] = dependence
    whole[features:, features:] = -2 * float(dependence.sum()) - 1
    whole.fill_diagonal_(0)
    home = torch.empty(count, dtype=torch.long, device=dependence.device)
    for number, block in enumerate(blocks):
        home[block] = number
    home[features:] = torch.tensor(places, dtype=torch.long)
    # to[f, b]: dependence of feature f on those of block b
    to = whole @ torch.nn.functional.one_hot(home, len(blocks)).to(whole)
    least = 1e-9 * float(dependence.sum()) / features
    for _ in range(10 * count):
        gain = to[:, home] - to.gather(1, home[:, None])
        gain = gain + gain.mT - 2 * whole
        gain.masked_fill_(home == home[:, None], 0)
        i, j = divmod(int(gain.argmax()), count)
        if float(gain[i, j]) <= least:
            break
        change = whole[:, j] - whole[:, i]
        a, b = int(home[i]), int(home[j])
        to[:, a] += change
        to[:, b] -= change
        home[i], home[j] = b, a
    home = home[:features]
    return [(home == number).nonzero()[:, 0].tolist() for number in range(len(blocks))]


def _ordered(blocks: list[list[int]], dependence: Tensor) -> list[list[int]]:
    """Blocks in an order in which dependent ones are near, larger ones first; so their features."""
    member = torch.zeros(len(blocks), len(dependence)).to(dependence)
    for number, block in enumerate(blocks):
        member[number, block] = 1 / len(block)
    between = (member @ dependence @ member.mT).fill_diagonal_(0)  # means over pairs
    order = _fiedler(between)
    order.sort(key=lambda k: -len(blocks[k]))  # stable: blocks of one size stay in order
    return [[blocks[k][p] for p in _fiedler(dependence[blocks[k]][:, blocks[k]])] for k in order]
