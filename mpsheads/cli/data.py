"""From the options to a device, an encoder and an embedded collection."""

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mpsheads.cli.options import Model, Texts

if TYPE_CHECKING:
    import torch

    from mpsheads.retrieval import Collection, EmbeddedCollection, Encoder, Pool


def pick_device(device: str | None) -> "torch.device":
    """Where heads run: as asked, else CUDA if there is any, else the CPU.

    Raises:
        ValueError: If there is no such device.
    """
    import torch

    from mpsheads._checks import as_device

    return as_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def show_progress() -> bool:
    """Whether somebody watches the progress bars."""
    return sys.stderr.isatty()


@dataclass(frozen=True)
class Source:
    """A collection that the options name, and the candidates of each query."""

    texts: Texts
    collection: "Collection"
    pool: "Pool | None"

    def width(self, encoder: "Encoder | None") -> int:
        """How many numbers an embedding has, before anything is encoded."""
        from mpsheads.retrieval import load_vectors

        if self.texts.document_vectors is not None:
            return load_vectors(self.texts.document_vectors, name="documents")[0].shape[1]
        assert encoder is not None
        return encoder.features

    @property
    def named_pool(self) -> str | None:
        """The pool that the options name."""
        from mpsheads.retrieval import parse_dataset

        return parse_dataset(str(self.texts.dataset))[2]

    def embed(
        self,
        encoder: "Encoder | None",
        *,
        triples: str | None = None,
        max_triples: int | None = None,
    ) -> "EmbeddedCollection":
        """Encode, or read from the cache or the files of vectors; with triples what they name."""
        from mpsheads.retrieval import embed, embed_dataset

        progress = show_progress()
        if triples is not None:
            assert encoder is not None
            how = {"triples": triples, "max_triples": max_triples, "progress": progress}
            return embed_dataset(str(self.texts.dataset), encoder, **how)
        files = {n: getattr(self.texts, n) for n in ("query_vectors", "document_vectors")}
        return embed(self.collection, encoder, pool=self.pool, progress=progress, **files)


def read_source(
    texts: Texts,
    *,
    default_split: str = "",
    default_pool: str = "all",
    ignore_identical_ids: bool | None = None,
) -> Source:
    """The collection that the options name, of the default split if it has that.

    Raises:
        ValueError, FileNotFoundError: If the collection or the pool cannot be read.
    """
    from mpsheads.retrieval import candidate_pool, load_collection, parse_dataset, with_split

    if texts.dataset is None:
        raise ValueError("Give `dataset`: the folder of a BEIR collection or an ir_datasets id.")
    dataset = with_split(texts.dataset, default_split) if default_split else texts.dataset
    source, split, pool = parse_dataset(dataset)
    collection = load_collection(source, split, ignore_identical_ids=ignore_identical_ids)
    pools = candidate_pool(collection, pool or default_pool)
    return Source(replace(texts, dataset=dataset), collection, pools)


def make_encoder(model: Model, texts: Texts | None = None) -> "Encoder | None":
    """The encoder that the options describe; `None` if both kinds of vectors come from files."""
    from mpsheads.retrieval import Encoder

    if texts and texts.query_vectors and texts.document_vectors:
        return None
    return Encoder(
        model.encoder,
        pooling=model.pooling,  # pyright: ignore[reportArgumentType]  # checked there
        max_length=model.max_length,
        device=model.device,
        query_prefix=model.query_prefix,
        document_prefix=model.document_prefix,
    )
