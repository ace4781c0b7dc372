"""`mpsheads mine`: hard negatives of each query and relevant document, in a file of triples."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from mpsheads.cli import options
from mpsheads.cli.options import Model, Texts, option
from mpsheads.cli.output import console, print_json, table

_OUTPUT = "Tab-separated triples, gzipped if the name ends in .gz."
_BY = "What ranks the documents; both take turns."
_MARGIN = "How far a negative's cosine must stay below the relevant document's; -2 takes all."
_LANGUAGE = "Whose stems and stop words BM25 takes; none for words as they are."


def mine(
    output: Annotated[Path, option(_OUTPUT, metavar="FILE")],
    texts: Texts,
    model: Model,
    by: Annotated[str, option(_BY, "Mining", "bm25|encoder|both")] = "both",
    count: Annotated[int, option("Negatives a pair, at most.", "Mining")] = 5,
    depth: Annotated[int, option("Last place of a ranking taken.", "Mining")] = 100,
    margin: Annotated[float, option(_MARGIN, "Mining")] = 0.05,
    language: Annotated[str, option(_LANGUAGE, "Mining")] = "english",
    as_json: options.AsJson = False,
) -> None:
    """Find documents that look relevant but are not, for each query and relevant document.

    They rank high by BM25, by the encoder's cosine, or by both. Documents judged relevant and
    copies are left out, and so is what scores about as high as the relevant document, as it may
    be relevant too. Train on them with: mpsheads train --triples FILE.

    [bold]Example[/bold]

    [cyan]mpsheads mine --dataset nfcorpus:train --by both --count 5
    --output triples.tsv.gz[/cyan]
    """
    from mpsheads._files import locked
    from mpsheads.cli import data as inputs
    from mpsheads.retrieval import write_triples
    from mpsheads.training import mine_triples

    where = inputs.pick_device(model.device)
    if output.is_dir():
        raise ValueError(f"`output` {output} is a folder. Give the name of a file.")
    source = inputs.read_source(texts, default_split="train")
    encoder, name = inputs.make_encoder(model, texts), source.collection.name
    with locked(output, is_file=True):
        mined = mine_triples(
            source.embed(encoder),
            by,  # pyright: ignore[reportArgumentType]  # checked there
            count,
            margin=margin,
            depth=depth,
            language=None if language == "none" else language,
            device=where,
            progress=inputs.show_progress(),
        )
        if not mined.triples:
            raise ValueError(
                f"No pair of {name} has a negative: {mined.filtered:,} of "
                f"{mined.candidates:,} candidates are too near. Lower `margin`, or raise `depth`."
            )
        write_triples(mined.triples, output)
    report = {"dataset": name, "encoder": encoder and model.encoder, "by": by, "count": count}
    report |= {name: value for name, value in asdict(mined).items() if name != "triples"}
    report |= {"margin": margin, "negatives": len(mined.triples), "output": str(output)}
    print_json(report) if as_json else _print(report)


def _print(report: dict[str, Any]) -> None:
    out = console()
    rows = [
        ["pairs of a query and a relevant document", f"{report['pairs']:,}"],
        [f"  with fewer than {report['count']} negatives", f"{report['short_pairs']:,}"],
        ["  with none, left out", f"{report['empty_pairs']:,}"],
        ["candidates", f"{report['candidates']:,}"],
        ["  too near to the relevant document, left out", f"{report['filtered']:,}"],
        ["negatives", f"{report['negatives']:,}"],
        ["mean margin of cosine", f"{report['mean_margin']:.3f}"],
    ]
    out.print(table([f"{report['dataset']}, by {report['by']}", ""], rows))
    out.print(f"written to {report['output']}")
