"""Pack what a run on a card needs and cannot fetch: an encoder in half precision, pairs of texts.

Example:
    python benchmarks/gpu/parcel.py --encoder sentence-transformers/all-MiniLM-L6-v2 \
        --pairs train-pairs.jsonl --output parcel
"""

import argparse
import json
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
    pairs: Path,
    output: Path,
    count: int,
    *,
    characters: int = 1000,
    most: int = 60 << 20,
) -> int:
    """Write the folder; returns its bytes.

    Args:
        encoder: A folder or a name that transformers loads.
        pairs: Lines of JSON with "query" and "document" (or "text" or "positive").
        output: A new folder, or an empty one.
        count: At most so many pairs, the first ones.
        characters: Documents are cut after so many.
        most: Bytes of the folder, at most.

    Raises:
        ValueError: If it is larger.
        FileExistsError: If it holds something already.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    if output.exists() and any(output.iterdir()):
        raise FileExistsError(f"`output` {output} holds something. Name a new folder.")
    output.mkdir(parents=True, exist_ok=True)
    AutoModel.from_pretrained(encoder, dtype=torch.float16).save_pretrained(output / ENCODER)
    AutoTokenizer.from_pretrained(encoder).save_pretrained(output / ENCODER)
    with pairs.open(encoding="utf-8") as lines, (output / PAIRS).open("w") as file:
        for _, line in zip(range(count), lines, strict=False):
            row = json.loads(line)
            text = next(row[name] for name in ("document", "text", "positive") if name in row)
            pair = {"query": row["query"], "document": text[:characters]}
            file.write(json.dumps(pair) + "\n")
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    if size > most:
        raise ValueError(f"`output` takes {size:,} bytes, more than {most:,}. Take fewer pairs.")
    return size


def main(arguments: Sequence[str] | None = None) -> None:
    """Pack the folder, and print its size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", required=True, help="folder or name of a transformers encoder")
    parser.add_argument("--pairs", type=Path, required=True, help="JSON lines: query, document")
    parser.add_argument("--output", type=Path, default=Path("parcel"), help="default: parcel")
    parser.add_argument("--count", type=int, default=10_000, help="pairs (default 10,000)")
    options = parser.parse_args(arguments)
    size = pack(options.encoder, options.pairs, options.output, options.count)
    print(f"{options.output}: {size / (1 << 20):.1f} MiB")


if __name__ == "__main__":
    main()
