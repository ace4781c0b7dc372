"""Search over codes beside faiss, and the memory of encoding without end.

Times are of the ten closest of random codes, for many queries at once and for one, as ratios to a
float32 matmul of `(queries, numbers) @ (numbers, documents)` in the same round. faiss searches its
own codes of as many bytes. With --encode N, N short texts are encoded by an encoder that costs
nothing, and the peak of memory is printed as it grows.

Example:
    OMP_NUM_THREADS=1 python benchmarks/search.py --documents 1000000 --encode 1000000
"""

import argparse
import resource
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from timing import interleaved_medians, print_table
from torch import Tensor
from torch.nn.functional import normalize

from mpsheads import MPSProjectionHead
from mpsheads.retrieval import Passages
from mpsheads.search import Index, codes_of, encode_passages
from mpsheads.similarity import Codes, cosine, top_k

MATMUL = "float32 matmul"
_FEATURES, _BYTES, _NUMBERS, _TRAINED = 384, 64, 256, 20_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    if options.vectors is not None:
        vectors = torch.from_numpy(np.load(options.vectors)).float()
        _compare_engines(vectors, options.queries)
        return
    functions = dict(_searches(options.documents))
    rows = []
    for queries in (64, 1):
        x = torch.randn(queries, _NUMBERS)
        seconds = interleaved_medians(
            {name: lambda f=f, x=x: f(x) for name, f in functions.items()}, options.repeats, 1
        )
        base = seconds[MATMUL]
        rows += [
            [f"{name}, {queries} at once", f"{1e3 * value:,.0f}", f"{value / base:.2f}"]
            for name, value in seconds.items()
        ]
    print(f"{options.documents:,} passages, {options.threads} threads")
    print_table(["top 10", "ms", "matmul = 1"], rows)
    if options.encode:
        _encode(options.encode)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=200_000, help="default 200,000")
    parser.add_argument("--encode", type=int, default=0, help="texts to encode (default none)")
    parser.add_argument("--vectors", type=Path, help="a .npy file of embeddings to search")
    parser.add_argument("--queries", type=int, default=200, help="of its rows (default 200)")
    parser.add_argument("--repeats", type=int, default=5, help="measured rounds (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="of torch and faiss (default 1)")
    return parser


def _searches(documents: int) -> Iterator[tuple[str, Callable[[Tensor], Any]]]:
    """Name and search of compressed queries."""
    generator = torch.Generator().manual_seed(0)
    head = MPSProjectionHead.for_bytes(_FEATURES, _BYTES, generator=generator)
    head.fit(torch.randn(2000, _FEATURES, generator=generator))
    some = head.code(torch.randn(1, _FEATURES, generator=generator))
    assert isinstance(some, Codes)
    packed = torch.randint(0, 256, (documents, _BYTES), generator=generator).to(torch.uint8)
    codes = replace(some, packed=packed)
    x = torch.randn(documents, _NUMBERS, generator=generator)
    pq = faiss.IndexPQ(_NUMBERS, _BYTES, 8)
    pq.train(x[:_TRAINED].numpy())
    scalar = faiss.IndexScalarQuantizer(_NUMBERS, faiss.ScalarQuantizer.QT_8bit_direct)
    for index in (pq, scalar):
        index.add(x.numpy())
    yield MATMUL, lambda q: q @ x.T
    yield "matmul and topk", lambda q: (q @ x.T).topk(10)
    yield "exact, 64-byte codes", lambda q: top_k(q, codes, 10, similarity=head.similarity)
    yield "faiss IndexPQ, 64 bytes", lambda q: pq.search(q.numpy(), 10)
    yield "faiss 8-bit scalars, 256 bytes", lambda q: scalar.search(q.numpy(), 10)


def _compare_engines(x: Tensor, queries: int) -> None:
    """Print recall and speed of the engines, and of IVFPQ at several numbers of lists visited."""
    generator = torch.Generator().manual_seed(0)
    asked = torch.randperm(len(x), generator=generator)[:queries]
    q, truth = x[asked], _others(top_k(x[asked], x, 11, similarity=cosine)[1], asked)
    rows = []

    def measure(name: str, search: Callable[[Tensor], Tensor], whole: Tensor | None) -> Tensor:
        found = _others(search(q), asked)
        began = time.perf_counter()
        for row in q.split(1):
            search(row)
        speed = queries / (time.perf_counter() - began)
        against = "" if whole is None else f"{_recall(found, whole):.3f}"
        rows.append([name, against, f"{_recall(found, truth):.3f}", f"{speed:,.0f}"])
        return found

    head = MPSProjectionHead.for_bytes(x.shape[1], _BYTES, own=True, generator=generator).fit(x)
    codes, whole = codes_of(head, x), None
    for engine in ("exact", "lists", "usearch", "faiss"):
        index = Index.build(codes, head, engine=engine)
        found = measure(engine, lambda q, i=index: i.search_rows(q, 11)[0], whole)
        whole = found if whole is None else whole
    unit, lists = normalize(x).numpy(), round(4 * len(x) ** 0.5)
    peer = faiss.IndexIVFPQ(faiss.IndexFlatL2(x.shape[1]), x.shape[1], lists, _BYTES, 8)
    peer.train(unit[:_TRAINED])
    peer.add(unit)

    def ivfpq(rows: Tensor) -> Tensor:
        return torch.from_numpy(peer.search(normalize(rows).numpy(), 11)[1])

    whole = None
    for visited in (lists, 64, 16, 4):
        peer.nprobe = visited
        found = measure(f"faiss IVFPQ, {visited} lists", ivfpq, whole)
        whole = found if whole is None else whole
    print(f"{len(x):,} passages, {queries} queries, 64 bytes each")
    columns = ["", "recall of own codes", "of uncompressed", "queries/s, one at a time"]
    print_table(columns, rows)


def _others(found: Tensor, asked: Tensor) -> Tensor:
    """The first ten of each row that are not the query itself."""
    kept = [row[row != own][:10] for row, own in zip(found, asked, strict=True)]
    return torch.stack(kept)


def _recall(found: Tensor, wanted: Tensor) -> float:
    return float((found[:, :, None] == wanted[:, None]).any(2).float().mean())


@dataclass
class _Free:
    """Random vectors by the checksums of texts, at once for all of them."""

    features: int = _FEATURES
    settings: dict[str, Any] = field(default_factory=dict)

    def fingerprint(self) -> str:
        return "free"

    def encode(self, texts: Sequence[str]) -> Tensor:
        seed = zlib.crc32(texts[0].encode())
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(len(texts), self.features, generator=generator)


class _Texts(Sequence[str]):
    """So many short texts, made as they are read."""

    def __init__(self, count: int) -> None:
        self.texts = count

    def __len__(self) -> int:
        return self.texts

    def __getitem__(self, place: Any) -> Any:
        if place >= self.texts:
            raise IndexError
        if place and place % (self.texts // 10) == 0:
            print(f"{place:>12,} passages: at most {_peak():,.0f} MB so far")
        return f"passage number {place} of many"


def _encode(count: int) -> None:
    print(f"before encoding: at most {_peak():,.0f} MB so far")
    with tempfile.TemporaryDirectory() as folder:
        encode_passages(Passages(_Texts(count)), _Free(), folder, bytes=16)
    print(f"{count:>12,} passages: at most {_peak():,.0f} MB")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
