"""Loading of whatever mpsheads saved, without running foreign code."""

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from mpsheads._optional import optional_import
from mpsheads._typing import PathLike
from mpsheads.heads import load_head

_MODULES, _CONFIG = "modules.json", "config.json"
_OURS = ("mpsheads.sentence_transformers.Projection",)
_THEIRS = re.compile(r"sentence_transformers(\.[A-Za-z]\w*)+")
_TORCH = re.compile(r"torch\.nn(\.modules\.\w+)?\.[A-Za-z]\w*")
_CODE_KEYS = ("auto_map", "auto_mapping", "custom_pipelines")
_CLASS_KEYS = ("activation_function", "activation_fn", "tokenizer_class")
_CODE_SUFFIXES = (".py", ".pyc", ".so", ".pyd", ".dll")
_NO_CONFIGS = ("tokenizer.json", "vocab.json")  # large, and name no code
_WAY_OUT = (
    "If you have read that code and trust it, load the model with "
    "`SentenceTransformer(path, trust_remote_code=True)`."
)


def load(
    path: PathLike,
    *,
    device: torch.device | str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    **options: Any,
) -> Any:
    """Load what mpsheads saved: a sentence-transformers model, an `MPSHeadModel`, or a head.

    What it is shows in the folder: `modules.json`, or the `config.json` of a model or of a head.
    The modules of a sentence-transformers model must come from sentence-transformers or mpsheads,
    and the folder may neither hold nor name other code. Then the model is loaded without your
    having to trust anything but these two packages.

    Args:
        path: A folder, or `owner/name` on the Hugging Face hub, which is fetched as a whole before
            anything of it is looked at.
        device: Where it is put; the CPU if `None`.
        revision: Branch, tag or commit on the hub.
        token: Token for the hub.
        options: Passed on to `SentenceTransformer` (such as `similarity_fn_name`, `truncate_dim`,
            `model_kwargs`) or to `MPSHeadModel.from_pretrained` (such as `dtype`).

    Returns:
        A `SentenceTransformer`, an `MPSHeadModel` or a `ProjectionHead`, in evaluation mode.

    Raises:
        FileNotFoundError: If `path` is neither a folder nor to be had from the hub.
        ValueError: If the folder holds none of the three, or asks for foreign code.
        ImportError: If the package that the model needs is missing.
    """
    from mpsheads.heads.saving import local_folder  # which needs pydantic

    _check_options(options)
    other = ["*.onnx", "*.ot", "*.h5"]  # formats of weights that are not read
    folder = local_folder(path, revision=revision, token=token, ignore_patterns=other).resolve()
    device = "cpu" if device is None else str(device)
    if (folder / _MODULES).is_file():
        trust = check_pipeline(folder)
        package = optional_import("sentence_transformers", "sentence-transformers")
        options |= {"device": device, "trust_remote_code": trust}
        return package.SentenceTransformer(str(folder), **options).eval()
    config = _read_json(folder / _CONFIG) if (folder / _CONFIG).is_file() else {}
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind == "mps_head":
        _check_code(folder)
        models = import_module("mpsheads.transformers")
        return models.MPSHeadModel.from_pretrained(folder, **options).to(device).eval()
    if isinstance(config, dict) and "head" in config:
        if options:
            raise TypeError(f"A head takes no options, got {', '.join(map(repr, options))}.")
        return load_head(folder, device=device)
    raise ValueError(
        f"`path` {str(path)!r} holds nothing that mpsheads saved: neither {_MODULES} nor a "
        f"{_CONFIG} of a head or an MPSHeadModel."
    )


def check_pipeline(folder: Path) -> bool:
    """Raise `ValueError` if loading the sentence-transformers model in `folder` ran foreign code.

    Returns:
        Whether it has modules of mpsheads, for which sentence-transformers wants the flag
        `trust_remote_code`.
    """
    file = folder / _MODULES
    modules = _read_json(file)
    if not isinstance(modules, list) or not all(isinstance(m, dict) for m in modules):
        raise ValueError(f"{file} is not a list of modules.")
    types = [module.get("type") for module in modules]
    for _, config in _configs(folder):  # of routers, which list modules as modules.json does
        inside = config.get("types") if isinstance(config, dict) else None
        types += list(inside.values()) if isinstance(inside, dict) else []
    for kind in types:
        if isinstance(kind, str) and (kind in _OURS or _THEIRS.fullmatch(kind)):
            continue
        if isinstance(kind, str) and kind.startswith("mpsheads."):
            raise ValueError(f"{file} names {kind!r}, which this mpsheads lacks. Upgrade it.")
        raise ValueError(
            f"{file} asks for the code {kind!r}, which is neither of sentence-transformers nor of "
            f"mpsheads. {_WAY_OUT}"
        )
    _check_code(folder)
    return any(kind in _OURS for kind in types)


def _check_code(folder: Path) -> None:
    """Raise if the folder holds code, or a configuration in it names some."""
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in _CODE_SUFFIXES:
            raise ValueError(f"{file} is code, and code is not run from a folder. {_WAY_OUT}")
        if file.is_dir() and file.is_symlink():
            raise ValueError(f"{file} leads to another folder, which is not looked at. {_WAY_OUT}")
        if file.name == "adapter_config.json":
            raise ValueError(
                f"{file} names a base model elsewhere, which is not looked at. Merge the adapter "
                f"into the model and save that. {_WAY_OUT}"
            )
    for file, config in _configs(folder):
        for key, value in _entries(config):
            named = key in _CODE_KEYS and value
            if key in _CLASS_KEYS and isinstance(value, str) and "." in value:
                named = not (_TORCH.fullmatch(value) or _THEIRS.fullmatch(value))
            if named:
                raise ValueError(f"{file} names foreign code in its `{key}`: {value}. {_WAY_OUT}")


def _configs(folder: Path) -> Iterator[tuple[Path, Any]]:
    for file in sorted(folder.rglob("*.json")):
        if file.name not in _NO_CONFIGS:
            yield file, _read_json(file)


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value of nested objects."""
    if isinstance(value, dict):
        yield from value.items()
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _entries(item)


def _check_options(options: dict[str, Any]) -> None:
    for place in (options, *(v for v in options.values() if isinstance(v, dict))):
        if "trust_remote_code" in place or "code_revision" in place:
            raise TypeError(
                f"`load` runs no foreign code, and takes no `trust_remote_code`. {_WAY_OUT}"
            )


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not valid JSON: {error}.") from error
