"""Pack what a run on a card needs and cannot fetch: an encoder in half precision, pairs of texts.

Example:
    python benchmarks/gpu/parcel.py --encoder sentence-transformers/all-MiniLM-L6-v2 \
        --dataset train-pairs:train --output parcel
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

ENCODER, PAIRS = "encoder", "pairs.jsonl"


def read_pairs(parcel: Path) -> tuple[list[str], list[str]]:
    """Queries, and the document of each."""
    lines = (parcel / PAIRS).read_text(encoding="utf-8").splitlines()
    pairs = [json.loads(line) for line in lines]
    return [pair["query"] for pair in pairs], [pair["document"] for pair in pairs]


def pack(
    encoder: str,
    dataset: str,
    output: Path,
    count: int,
    *,
    characters: int = 1000,
    most: int = 60 << 20,
) -> int:
    """Write the folder; returns its bytes.

    Args:
        encoder: A folder or a name that transformers loads.
        dataset: `COLLECTION[:SPLIT]`, as every command of mpsheads takes it.
        output: A new folder, or an empty one.
        count: At most so many queries, the first ones, each with a document that is relevant.
        characters: Documents are cut after so many.
        most: Bytes of the folder, at most.

    Raises:
        ValueError: If it is larger.
        FileExistsError: If it holds something already.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    from mpsheads.retrieval import load_collection, parse_dataset

    if output.exists() and any(output.iterdir()):
        raise FileExistsError(f"`output` {output} holds something. Name a new folder.")
    name, split, _ = parse_dataset(dataset)
    collection = load_collection(name, split=split)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".parcel-", dir=output.parent) as temporary:
        folder = Path(temporary) / "parcel"  # so that a killed call leaves no half of one
        network = AutoModel.from_pretrained(encoder, dtype=torch.float16)
        network.save_pretrained(folder / ENCODER)
        AutoTokenizer.from_pretrained(encoder).save_pretrained(folder / ENCODER)
        with (folder / PAIRS).open("w") as file:
            for query, judged in list(collection.qrels.items())[:count]:
                document = collection.documents[max(judged, key=judged.__getitem__)]
                pair = {"query": collection.queries[query], "document": document[:characters]}
                file.write(json.dumps(pair) + "\n")
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if size > most:
            raise ValueError(f"`output` takes {size:,} bytes, more than {most:,}: fewer pairs fit.")
        folder.rename(output)
    return size


def main(arguments: Sequence[str] | None = None) -> None:
    """Pack the folder, and print its size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", required=True, help="folder or name of a transformers encoder")
    parser.add_argument("--dataset", required=True, help="COLLECTION[:SPLIT]")
    parser.add_argument("--output", type=Path, default=Path("parcel"), help="default: parcel")
    parser.add_argument("--count", type=int, default=10_000, help="queries (default 10,000)")
    options = parser.parse_args(arguments)
    size = pack(options.encoder, options.dataset, options.output, options.count)
    print(f"{options.output}: {size / (1 << 20):.1f} MiB")


if __name__ == "__main__":
    main()
