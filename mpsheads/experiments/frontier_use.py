"""From a row of the frontier to the lines that make such vectors."""

import math
import shlex
from dataclasses import dataclass

from mpsheads.experiments.data import split_reference
from mpsheads.experiments.frontier_plan import METHODS, TRAINING
from mpsheads.experiments.rows import Row
from mpsheads.training import TrainingConfig

_FLAGS = {"loss": "loss", "hard_negatives": "hard-negatives", "epochs": "epochs"}
_BATCH = TrainingConfig.batch_size


@dataclass(frozen=True)
class Usage:
    """How vectors of a row are made.

    Attributes:
        command: The command that trains the head; `None` where nothing is trained.
        code: Lines of Python that load or fit it and compress `x`, embeddings of documents; those
            of queries stay float32.
    """

    command: str | None
    code: str


def usage(
    row: Row,
    *,
    features: int,
    train: str,
    encoder: str,
    pairs: int | None = None,
    device: str | None = None,
) -> Usage:
    """How vectors of a row are made.

    Args:
        row: Of a method in `METHODS`.
        features: Numbers of an uncompressed vector.
        train: Where heads are trained: `COLLECTION[:SPLIT][@POOL]`.
        encoder: The encoder, as `mpsheads train` takes it.
        pairs: How many pairs of the training collection the head was trained on; `None` for many.
        device: The device asked for, `None` for the fastest.
    """
    method, bits = METHODS[row.method], row.bits or 32
    if method.is_quantiser:
        factory = f"PQ{row.size}x8np"  # no polysemous codes: they take long and are not measured
        if method.head == "opq":
            factory = f"OPQ{row.size},{factory}"
        lines = [
            f'index = faiss.index_factory({features}, "{factory}", faiss.METRIC_INNER_PRODUCT)',
            "index.train(normalize(x).numpy())",
            "index.add(normalize(x).numpy())  # measured: the cosine with what it decodes",
        ]
        return Usage(None, "\n".join(lines))
    if not method.is_trained:
        return Usage(None, "\n".join(_fitted(method.head, row.size, features, bits)))
    folder = f"{method.head}-{row.size}"
    lines = [f'head = load_head("{folder}")', "z = head(x)"]
    if method.head == "dense":
        lines += _cells(bits)
    elif bits < 32:
        lines.append(f"codes = head.quantize(z, {bits})  # {row.bytes} bytes a vector")
    given = _options(row, train, encoder, pairs, device)
    given = ["--head", method.head, "--out-features", str(row.size), *given]
    if "depth" in method.settings:
        given += ["--depth", str(method.settings["depth"])]
    words = ["mpsheads", "train", *given, "--output", folder]
    return Usage(shlex.join(words), "\n".join(lines))


def _options(
    row: Row, train: str, encoder: str, pairs: int | None, device: str | None
) -> list[str]:
    source, split, pool = split_reference(train)
    found = ["--dataset", source]
    found += ["--split", split] if split else []
    found += ["--pool", pool] if pool != "judged" else []
    found += ["--encoder", encoder]
    for name, value in TRAINING.items():
        found += [f"--{_FLAGS[name]}", str(value)]
    if pairs is not None and pairs < _BATCH / 0.9:  # others may be held out there
        found += ["--batch-size", str(max(2, 2 ** int(math.log2(0.9 * pairs))))]
    found += ["--seed", str(row.seeds[0])] if row.seeds[0] else []
    return found + (["--device", device] if device else [])


def _fitted(head: str, size: int, features: int, bits: int) -> list[str]:
    if head == "mps":
        code = f"codes = head.quantize(z, {bits})"
        made = f"head = MPSProjectionHead({features}, {size}).fit(x)"
        return [made, "z = head(x)", *([code] if bits < 32 else [])]
    if head == "pca":
        return [f"head = PCAHead({features}, {size}).fit(x)", "z = head(x)", *_cells(bits)]
    cut = f"z = x[:, :{size}]" if size < features else "z = x"
    return [cut, *_cells(bits)]


def _cells(bits: int) -> list[str]:
    """Equal cells between two quantiles of each number, as they were measured."""
    if bits == 32:
        return []
    return [
        "low, high = torch.quantile(normalize(z), torch.tensor([0.005, 0.995]), dim=0)",
        f"cells = ((normalize(z) - low) / (high - low) * {2**bits}).floor()"
        f".clamp(0, {2**bits - 1}).byte()",
        f"back = low + (cells + 0.5) / {2**bits} * (high - low)  # ranked by the cosine",
    ]
