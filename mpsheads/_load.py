"""Loading of whatever mpsheads saved, without running foreign code."""

from typing import Any

import torch

from mpsheads._arrays import door
from mpsheads._checks import as_device
from mpsheads._files import read_json
from mpsheads._typing import PathLike
from mpsheads.heads import load_head

_MODULES, _CONFIG = "modules.json", "config.json"


@door
def load(
    path: PathLike,
    *,
    device: torch.device | str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
    **options: Any,
) -> Any:
    """Load what mpsheads saved: a sentence-transformers model, an `MPSHeadModel`, or a head.

    What it is shows in the folder: `modules.json`, or the `config.json` of a model or of a head. No
    code of the folder is run: it loads as with `trust_remote_code=False`, and the modules of a
    sentence-transformers model must come from sentence-transformers or mpsheads. So you need to
    trust nothing but these packages and transformers.

    Args:
        path: A folder, or `owner/name` on the Hugging Face hub.
        device: Where it is put; the CPU if `None`.
        revision: Branch, tag or commit on the hub.
        token: Token for the hub.
        options: Passed on to `SentenceTransformer` (such as `similarity_fn_name`, `truncate_dim`,
            `model_kwargs`) or to `MPSHeadModel.from_pretrained` (such as `dtype`).

    Returns:
        A `SentenceTransformer`, an `MPSHeadModel` or a `ProjectionHead`, in evaluation mode.

    Raises:
        FileNotFoundError: If `path` is neither a folder nor to be had from the hub.
        TypeError: If `options` ask to trust code.
        ValueError: If the folder holds none of the three, asks for a module of foreign code, or
            `device` is not to be had.
        ImportError: If the package that the model needs is missing.
    """
    from mpsheads.heads.saving import local_folder  # which needs pydantic

    for place in (options, *(v for v in options.values() if isinstance(v, dict))):
        if "trust_remote_code" in place:
            raise TypeError("`load` runs no foreign code, and takes no `trust_remote_code`.")
    other = ["*.onnx", "*.ot", "*.h5"]  # formats of weights that are not read
    folder = local_folder(path, revision=revision, token=token, ignore_patterns=other).resolve()
    device = str(as_device(device or "cpu"))
    if (folder / _MODULES).is_file():
        from mpsheads.sentence_transformers import load_model

        return load_model(folder, device=device, **options).eval()
    config = read_json(folder / _CONFIG) if (folder / _CONFIG).is_file() else {}
    config = config if isinstance(config, dict) else {}
    if config.get("model_type") == "mps_head":
        from mpsheads.transformers import MPSHeadModel

        return MPSHeadModel.from_pretrained(folder, **options).to(device).eval()
    if "head" in config:
        if options:
            raise TypeError(f"A head takes no options, got {', '.join(map(repr, options))}.")
        return load_head(folder, device=device)
    raise ValueError(
        f"`path` {str(path)!r} holds nothing that mpsheads saved: neither {_MODULES} nor a "
        f"{_CONFIG} of a head or an MPSHeadModel."
    )
