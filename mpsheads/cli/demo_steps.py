"""The steps of the demo; each keeps what it made in the cache, so a second run starts at once."""

import hashlib
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor

import mpsheads
from mpsheads._files import replacing
from mpsheads._threads import torch_threads
from mpsheads.cli.sources import Embedded, show_progress
from mpsheads.heads import (
    DenseHead,
    MPSProjectionHead,
    PCAHead,
    ProjectionHead,
    ReferenceHead,
    TruncationHead,
)
from mpsheads.retrieval import Collection, Encoder, default_cache_dir, encode_cached
from mpsheads.retrieval.docstrings import docstring_collection
from mpsheads.training import TrainingConfig, train_head, training_data
from mpsheads.training.validation import ranking_validation

MAX_LENGTH = 128
EPOCHS = 12
_SPLITS = ("train", "dev", "test")
_BATCH = 256  # vectors in the batch that is timed
_TIMED = 50  # batches


@dataclass(frozen=True)
class Material:
    """The docstrings and their embeddings, by split."""

    collections: dict[str, Collection]
    embedded: dict[str, Embedded]
    fingerprint: str


def collect(pairs: int, seed: int) -> dict[str, Collection]:
    """The docstring collection of this environment, from the cache if that has not changed."""
    installed = sorted({f"{d.name} {d.version}" for d in metadata.distributions()})
    state = [*installed, platform.python_version(), pairs, seed, _hash_of_code("retrieval")]
    file = _cache() / f"docstrings-{_digest(state)}.json"
    try:
        saved = json.loads(file.read_text(encoding="utf-8"))
        return {split: Collection(**saved[split]) for split in _SPLITS}
    except (OSError, ValueError, KeyError, TypeError):
        collections = docstring_collection(limit=pairs, seed=seed)
    with replacing(file) as temporary:
        content = {split: vars(collection) for split, collection in collections.items()}
        temporary.write_text(json.dumps(content), encoding="utf-8")
    return collections


def embed(collections: dict[str, Collection], encoder: Encoder) -> Material:
    """Embeddings of all queries and documents; texts in the cache are not encoded again."""
    vectors: dict[str, list[Tensor]] = {}
    texts: dict[str, list[list[str]]] = {
        "query": [list(collections[split].queries.values()) for split in _SPLITS],
        "document": [list(collections[split].documents.values()) for split in _SPLITS],
    }
    for kind in ("query", "document"):
        joined = [text for part in texts[kind] for text in part]
        encoded = encode_cached(encoder, joined, kind=kind, progress=show_progress())
        vectors[kind] = list(encoded.split([len(part) for part in texts[kind]]))
    embedded = {
        split: Embedded(
            list(collections[split].queries),
            vectors["query"][place],
            list(collections[split].documents),
            vectors["document"][place],
        )
        for place, split in enumerate(_SPLITS)
    }
    prints = [encoder.fingerprint("query"), encoder.fingerprint("document")]
    return Material(collections, embedded, _digest([texts, *prints]))


def sizes(features: int) -> tuple[int, int]:
    """The two lengths of compressed vectors: a third and an eighth of the features.

    Raises:
        ValueError: If these are not whole numbers.
    """
    if features % 24:
        raise ValueError(
            f"`encoder` must have a width that 24 divides, so that a third and an eighth of it are "
            f"whole; this one has {features}."
        )
    return features // 3, features // 8


def make_heads(
    material: Material, seed: int, device: torch.device, say: Callable[[str], None]
) -> dict[str, ProjectionHead | None]:
    """Label to head, trained or fitted: the uncompressed embeddings first, as `None`."""
    documents = material.embedded["train"].documents
    features = documents.shape[1]
    heads: dict[str, ProjectionHead | None] = {"uncompressed": None}
    for size in sizes(features):
        for head in (
            MPSProjectionHead(features, size, generator=_seeded(seed)).fit(documents),
            ReferenceHead(features, size, normalize=True, generator=_seeded(seed)),
            DenseHead(features, size, generator=_seeded(seed)),
        ):
            heads[f"{head.name} {size}"] = _train(head, material, seed, device, say)
        heads[f"pca {size}"] = PCAHead(features, size).fit(documents).to(device).eval()
        heads[f"truncation {size}"] = TruncationHead(features, size).to(device).eval()
    return heads


def _train(
    head: ProjectionHead,
    material: Material,
    seed: int,
    device: torch.device,
    say: Callable[[str], None],
) -> ProjectionHead:
    """The trained head; a run that the cache holds is finished, not begun again."""
    began = time.perf_counter()
    train, dev = material.embedded["train"], material.embedded["dev"]
    rate = 3e-2 if head.name == "mps" else None  # few steps, on texts of the kind that is searched
    config = TrainingConfig(
        epochs=EPOCHS, batch_size=min(128, len(train.query_ids)), learning_rate=rate, seed=seed
    )
    state = [material.fingerprint, vars(config), _hash_of_code("")]
    folder = _cache() / f"heads-{_digest(state)}" / f"{head.name}-{head.out_features}"
    known = (folder / "model.safetensors").is_file()
    with torch_threads(1):
        result = train_head(
            head,
            training_data(material.collections["train"], train.queries, train.documents),
            config,
            folder,
            validation=ranking_validation(material.collections["dev"], dev.queries, dev.documents),
            resume=True,
            progress=show_progress(),
            device=device,
        )
    how = "from the cache" if known else f"in {time.perf_counter() - began:.0f} s"
    score = f"nDCG@10 {result.best_validation:.3f} on the dev split"
    say(f"  {head.name} {head.out_features}: {head.num_parameters:,} parameters, {score}, {how}")
    return result.head


def encode_microseconds(head: ProjectionHead, vectors: Tensor) -> float:
    """Time of the head's forward pass per vector, on one thread: the median over batches of 256."""
    like = next(iter([*head.parameters(), *head.buffers()]), vectors)
    rows = torch.arange(_BATCH) % len(vectors)
    batch = vectors[rows].to(like.device)
    seconds = []
    with torch.no_grad(), torch_threads(1):
        for _ in range(_TIMED + 5):
            began = time.perf_counter()
            head(batch)
            if like.is_cuda:
                torch.cuda.synchronize(like.device)
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[5:]) / _BATCH * 1e6


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _cache() -> Path:
    return default_cache_dir() / "demo"


def _hash_of_code(room: str) -> str:
    """A hash of the sources of a room, or of all that decides what a trained head is."""
    root = Path(mpsheads.__file__).parent
    files = sorted((root / room).rglob("*.py"))
    shown = [file for file in files if file.relative_to(root).parts[0] not in ("cli", "plotting")]
    return _digest([file.read_text(encoding="utf-8") for file in shown])


def _digest(value: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(value, default=str).encode()).hexdigest()[:16]
