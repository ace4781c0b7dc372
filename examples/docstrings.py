"""Write the docstrings of what is installed as a BEIR folder: one corpus, three splits.

It needs `pip install -e ".[retrieval]"`.
"""

import argparse
import json
from pathlib import Path


def main(folder: Path, limit: int, packages: list[str] | None) -> None:
    """Write the folder."""
    from mpsheads.retrieval import docstring_collection

    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {"corpus": [], "queries": []}
    for split, part in docstring_collection(packages, limit=limit).items():
        for name, texts in {"corpus": part.documents, "queries": part.queries}.items():
            lines[name] += [json.dumps({"_id": key, "text": text}) for key, text in texts.items()]
        judged = [f"{q}\t{d}\t{grade}" for q, row in part.qrels.items() for d, grade in row.items()]
        table = ["query-id\tcorpus-id\tscore", *judged]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(table) + "\n")
    for name, texts in lines.items():
        (folder / f"{name}.jsonl").write_text("\n".join(texts) + "\n")
    print(f"{len(lines['corpus']):,} docstrings in {folder}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docstrings"))
    parser.add_argument("--limit", type=int, default=4000, help="docstrings, over all splits")
    parser.add_argument("--package", action="append", help="only of this one; may be repeated")
    arguments = parser.parse_args()
    main(arguments.folder, arguments.limit, arguments.package)
