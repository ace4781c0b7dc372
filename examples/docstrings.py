"""Write the docstrings of what is installed as a BEIR folder: one corpus, three splits."""

# --8<-- [start:write]
import json
import sys
from pathlib import Path

from mpsheads.retrieval import docstring_collection

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docstrings")
limit = int(sys.argv[2]) if len(sys.argv) > 2 else 4000  # pairs, over all splits
packages = sys.argv[3:] or None  # all that are installed
(folder / "qrels").mkdir(parents=True, exist_ok=True)
lines = {"corpus": [], "queries": []}
for split, part in docstring_collection(packages, limit=limit).items():
    for name, texts in {"corpus": part.documents, "queries": part.queries}.items():
        lines[name] += [json.dumps({"_id": key, "text": text}) for key, text in texts.items()]
    judged = [f"{q}\t{d}\t{grade}" for q, row in part.qrels.items() for d, grade in row.items()]
    table = ["query-id\tcorpus-id\tscore", *judged]
    (folder / "qrels" / f"{split}.tsv").write_text("\n".join(table) + "\n")
for name, texts in lines.items():
    (folder / f"{name}.jsonl").write_text("\n".join(texts) + "\n")
print(f"{len(lines['corpus']):,} docstrings in {folder}")
# --8<-- [end:write]
