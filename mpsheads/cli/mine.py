"""`mpsheads mine`: hard negatives of each query and relevant document, in a file of triples."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpsheads.cli.options import DataOptions, RunOptions
from mpsheads.cli.output import console, print_json, table

if TYPE_CHECKING:
    from mpsheads.training import MinedTriples

_FEW = 0.01  # of pairs without negatives that are not worth a word


@dataclass(frozen=True)
class MiningOptions:
    """What ranks the documents, and which of them are taken."""

    by: str = "both"
    count: int = 5
    skip: int = 0
    depth: int = 100
    margin: float = 0.05
    no_filter: bool = False
    language: str = "english"


def mine(
    data: DataOptions,
    mining: MiningOptions,
    run: RunOptions,
    output: Path,
) -> None:
    """Find documents that look relevant but are not, for each query and relevant document.

    They rank high by BM25, by the encoder's cosine, or by both. Documents judged relevant and
    copies are left out, and so is what scores about as high as the relevant document, as it may
    be relevant too. Train on them with: mpsheads train --triples FILE.

    [bold]Example[/bold]

    [cyan]mpsheads mine --dataset nfcorpus --split train --by both --count 5
    --output triples.tsv.gz[/cyan]
    """
    from mpsheads.cli import data as inputs
    from mpsheads.retrieval import write_triples
    from mpsheads.training import mine_triples

    device = inputs.pick_device(run.device)
    if output.is_dir():
        raise ValueError(f"`output` {output} is a folder. Give the name of a file.")
    data = inputs.with_training_split(data)
    collection, pool = inputs.read_collection(data)
    doc_ids = inputs.documents_to_train_on(collection, pool)
    encoder, source = None, collection
    if mining.by != "bm25" or not mining.no_filter:
        encoder = inputs.make_encoder(data, run.device)
        source = inputs.embed_collection(data, encoder, collection, document_ids=doc_ids)
    elif pool is not None:
        documents = {doc_id: collection.documents[doc_id] for doc_id in doc_ids}
        source = replace(collection, documents=documents)
    mined = mine_triples(
        source,
        mining.by,
        mining.count,
        margin=None if mining.no_filter else mining.margin,
        skip=mining.skip,
        depth=mining.depth,
        language=None if mining.language == "none" else mining.language,
        device=device,
        progress=inputs.show_progress(),
    )
    _check_some(mined, collection.name)
    write_triples(mined.triples, output)
    encoded = None if encoder is None else data.encoder
    report = {"dataset": collection.name, "encoder": encoded, **_report(mined, mining, output)}
    print_json(report) if run.as_json else _print(report)


def _check_some(mined: "MinedTriples", name: str) -> None:
    if not mined.triples:
        raise ValueError(
            f"No pair of {name} has a negative: of {mined.candidates:,} candidates "
            f"{mined.filtered:,} are too near to the relevant document. Lower `margin`, or raise "
            f"`depth`."
        )


def _report(mined: "MinedTriples", mining: MiningOptions, output: Path) -> dict[str, Any]:
    return {
        "by": mining.by,
        "count": mining.count,
        "margin": None if mining.no_filter else mining.margin,
        **{name: value for name, value in asdict(mined).items() if name != "triples"},
        "negatives": len(mined.triples),
        "output": str(output),
    }


def _print(report: dict[str, Any]) -> None:
    out = console()
    rows = [
        ["pairs of a query and a relevant document", f"{report['pairs']:,}"],
        [f"  with fewer than {report['count']} negatives", f"{report['short_pairs']:,}"],
        ["  with none, left out", f"{report['empty_pairs']:,}"],
        ["candidates", f"{report['candidates']:,}"],
        ["  too near to the relevant document, left out", f"{report['filtered']:,}"],
        ["negatives", f"{report['negatives']:,}"],
    ]
    if report["mean_margin"] is not None:
        rows.append(["mean margin of cosine", f"{report['mean_margin']:.3f}"])
    out.print(table([f"{report['dataset']}, by {report['by']}", ""], rows))
    if report["empty_pairs"] > _FEW * report["pairs"]:
        way_out = "a larger --depth" if report["by"] != "encoder" else "--by both or more --depth"
        out.print(f"pairs without negatives are not trained on; {way_out} keeps more of them")
    out.print(f"written to {report['output']}")
