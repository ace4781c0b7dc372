"""Heads in folders: a configuration with bounds, checked against the weights' header, then read.

Everything that a head's size follows from is checked before memory is taken for it: the numbers of
`config.json` by bounds, and the tensors that they imply against the header of `model.safetensors`,
which itself must fit the size of the file. Within the bounds a head takes at most 1 GB more than
its file, and seconds to build. They hold for heads that are written, too.

| bound | at most |
| --- | --- |
| `in_features`, `out_features` | 65,536 |
| gates of a circuit, before irredundant ones are merged | 32,768 |
| features to one kept qubit | 1,024 |
| numbers of scrambled codes | 8,192 |
"""

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import ConfigDict, Field, FiniteFloat, ValidationError, create_model
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mpsheads._checks import first_fault
from mpsheads._files import as_path, read_json, replacing_all
from mpsheads._typing import PathLike

FORMAT_VERSION = 1
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_LARGEST_CONFIG = 1 << 24  # bytes
_MOST_GATES = 1 << 15
_LONGEST_BLOCK = 1 << 10  # qubits that one kept qubit may depend on
_MOST_CODED = 1 << 13  # numbers of a vector whose scrambler is made on reading
_FLOATS = ("F16", "BF16", "F32", "F64")
# Options that heads of version 0.1 name, and the one value of each that is left.
_REMOVED = {"encoding": "angle", "grouping": "registers", "scale": "shared", "compact": False}

Module = TypeVar("Module", bound=nn.Module)
_CHECKED = ConfigDict(extra="forbid", strict=True)
_Site = Annotated[int, Field(ge=0, le=1 << 16)]
_Width = Annotated[int, Field(ge=1, le=1 << 16)]
_Operation = tuple[
    str,
    Annotated[list[_Site], Field(max_length=3)],
    Annotated[int, Field(ge=0, le=_MOST_GATES)],
    bool,
    list[list[tuple[FiniteFloat, FiniteFloat]]] | None,
]
_Circuit = create_model(
    "Circuit",
    __config__=_CHECKED,
    num_sites=(_Width, ...),
    operations=(Annotated[list[_Operation], Field(max_length=_MOST_GATES)], ...),
    values=(Annotated[list[FiniteFloat], Field(max_length=_MOST_GATES)], ...),
)
_BOUNDS: dict[str, Any] = {
    "in_features": _Width,
    "out_features": _Width,
    "bond_dim": Annotated[int, Field(ge=1, le=1 << 10)],
    "depth": Annotated[int, Field(ge=1, le=64)],
    "ansatz": Literal["staircase", "brickwork"] | _Circuit,
    "readout": Literal["probability", "direction", "state", "amplitude"],
    "mixing": Annotated[int, Field(ge=0, le=64)] | Literal["full"],
    "bits": Literal[None] | Annotated[float, Field(gt=0, le=8)],
    "scramble": Literal[None] | Annotated[int, Field(ge=0, lt=1 << 31)],
    "normalize": bool,
}
"""What an argument of a head's constructor may be in `config.json`."""


def write_head(
    path: PathLike,
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    kinds: Mapping[str, type[nn.Module]],
) -> None:
    """Write both files into the folder `path`; see `replacing_all`."""
    check_config(as_path(path) / _CONFIG, config, kinds)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    content = json.dumps({"format_version": FORMAT_VERSION, **config}, indent=2) + "\n"
    with replacing_all(path) as folder:
        (folder / _WEIGHTS).write_bytes(save(tensors))
        (folder / _CONFIG).write_text(content)


def read_head(path: PathLike, kinds: Mapping[str, type[Module]]) -> Module:
    """The head that `write_head` wrote, on the CPU; see `mpsheads.heads.load_head`."""
    folder = local_folder(path, allow_patterns=[_CONFIG, _WEIGHTS])
    name, config = _read_config(_existing(folder / _CONFIG), kinds)
    file = _existing(folder / _WEIGHTS)
    try:
        with safe_open(file, framework="pt") as weights:
            slices = {name: weights.get_slice(name) for name in weights.keys()}  # noqa: SIM118
            _check_header(slices, config, _shapes(name, config))
            head = kinds[name](**config)
            tensors = {key: weights.get_tensor(key) for key in slices}
        _check_values(tensors)
        head.load_state_dict(tensors)
    except (SafetensorError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"{file} does not fit its {_CONFIG}: {reason}") from error
    return head.to(next((t.dtype for t in tensors.values() if t.is_floating_point()), None))


def local_folder(path: PathLike, **download: Any) -> Path:
    """The folder `path`, or that of `owner/name` on the Hugging Face hub, which is fetched."""
    folder = as_path(path)
    if folder.is_dir():
        return folder
    parts = str(path).split("/")
    if folder.exists() or len(parts) != 2 or str(path).startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"`path` {str(path)!r} is not a folder. Give a folder that `save_pretrained` wrote."
        )
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(str(path), **download))
    except (OSError, ValueError) as error:  # the hub's errors are of these kinds
        raise FileNotFoundError(
            f"`path` {str(path)!r} is neither a folder here nor to be had from the hub."
        ) from error


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: this is not a saved head.")
    return file


def _read_config(file: Path, kinds: Mapping[str, type[nn.Module]]) -> tuple[str, dict[str, Any]]:
    if file.stat().st_size > _LARGEST_CONFIG:
        raise ValueError(
            f"{file} is larger than a head's configuration, {_LARGEST_CONFIG:,} bytes."
        )
    try:
        config = read_json(file)
        version, _ = config.pop("format_version"), config["head"]
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{file} is not the configuration of a saved head: {error!r}.") from error
    if version != FORMAT_VERSION:
        raise ValueError(f"{file} has format_version {version}; this mpsheads reads 1. Upgrade it.")
    return check_config(file, config, kinds)


def check_config(
    file: Path, config: Mapping[str, Any], kinds: Mapping[str, type[nn.Module]]
) -> tuple[str, dict[str, Any]]:
    """The name of a head and its constructor's arguments, each within its bounds."""
    config = {**config}
    name = config.pop("head", None)
    if name == "mps":
        config = {"mixing": 0, "bits": None, "scramble": None, **config}
    if not isinstance(name, str) or name not in kinds:
        raise ValueError(
            f"{file} names the head {name!r:.80}; known are {', '.join(sorted(kinds))}."
        )
    values = {key: config.pop(key, value) for key, value in _REMOVED.items()}
    for key, value in {**values, "readout": config.get("readout")}.items():
        if value != _REMOVED.get(key, value) or value == "bloch":
            raise ValueError(
                f"{file} names {key}={str(value)[:60]!r}, which this version of mpsheads does not "
                f"have any more. Load the head with the version that saved it."
            )
    arguments = inspect.signature(kinds[name]).parameters.keys() & _BOUNDS.keys()
    fields: dict[str, Any] = {argument: (_BOUNDS[argument], ...) for argument in arguments}
    try:
        schema = create_model(name, __config__=_CHECKED, **fields)
        checked = schema.model_validate_json(json.dumps(config)).model_dump()
    except ValidationError as error:
        fault = first_fault(error)
        raise ValueError(f"{file} does not fit {kinds[name].__name__}: {fault}") from error
    coded = checked["out_features"] if checked.get("scramble") is not None else 0
    for what, number, most in (
        ("numbers in codes", coded, _MOST_CODED),
        ("gates in the circuit", _gates_and_angles(checked)[0], _MOST_GATES),
        ("qubits in a block", _block(checked), _LONGEST_BLOCK),
    ):
        if number > most:
            raise ValueError(
                f"{file} does not fit {kinds[name].__name__}: {number:,} {what}, at most {most:,}."
            )
    return name, checked


def _block(config: Mapping[str, Any]) -> int:
    """The most qubits that one readout may depend on, of circuits that are evolved at all."""
    ansatz = config.get("ansatz")
    if config.get("readout") == "amplitude" or ansatz in (None, "brickwork"):
        return 0
    if isinstance(ansatz, Mapping):
        return ansatz["num_sites"]
    return 0 if config["readout"] == "state" else config["in_features"] // config["out_features"]


def _gates_and_angles(config: Mapping[str, Any]) -> tuple[int, int]:
    """The most gates that a head's circuit can have, and the fewest angles."""
    width, depth, ansatz = config["in_features"], config.get("depth", 0), config.get("ansatz")
    if config.get("readout") == "amplitude":  # the circuit is that of the mixing alone
        return 0, 0
    if isinstance(ansatz, Mapping):
        copies = width // ansatz["num_sites"]
        return copies * len(ansatz["operations"]), copies * len(ansatz["values"])
    staircase = ansatz == "staircase"
    return width * depth, (width - config["out_features"]) * min(depth, 2) * staircase


def _shapes(name: str, config: Mapping[str, Any]) -> dict[str, tuple[int | None, ...]]:
    """The tensors of a head, `None` where a length is known only when the head is built."""
    width, out = config["in_features"], config["out_features"]
    mixing, amplitude = config.get("mixing", 0), config.get("readout") == "amplitude"
    known = amplitude or isinstance(config.get("ansatz"), Mapping)
    angles = _gates_and_angles(config)[1] if known else None
    extra: dict[str, tuple[int | None, ...]] = {}
    if amplitude and config["bits"] is not None:
        extra |= {"amplitudes.mean": (width,), "amplitudes.span": ()}
    if mixing == "full":
        extra["mixing.weight"] = (out if amplitude else width, width)
    elif mixing:  # heads of version 0.1 have half of the features as pairs
        extra |= {"mixing.angles": (mixing, None), "mixing.orders": (mixing + 1, width)}
    return {
        "mps": {"angles": (angles,), "scale": (), **extra},
        "reference": {"angles_raw": (width // out - 1, 3, out, 4)},
        "dense": {"linear.weight": (out, width), "linear.bias": (out,)},
        "pca": {"mean": (width,), "components": (out, width)},
        "truncation": {},
    }[name]


def _check_header(
    slices: Mapping[str, Any],
    config: Mapping[str, Any],
    expected: Mapping[str, tuple[int | None, ...]],
) -> None:
    """Raise `ValueError` unless a file has just the tensors that a configuration implies."""
    if slices.keys() != expected.keys():
        raise ValueError(f"it has the tensors {sorted(slices)}, not {sorted(expected)}.")
    floats = set()
    for name, wanted in expected.items():
        shape, dtype = tuple(slices[name].get_shape()), slices[name].get_dtype()
        same = [b in (None, a) for a, b in zip(shape, wanted, strict=False)]
        if len(shape) != len(wanted) or not all(same):
            raise ValueError(f"`{name}` has shape {shape}, not {wanted}.")
        if dtype not in (("I64",) if name.endswith("orders") else _FLOATS):
            raise ValueError(f"`{name}` holds numbers of type {dtype}.")
        floats |= {dtype} - {"I64"}
    if len(floats) > 1:
        raise ValueError(f"its numbers are of several types, {', '.join(sorted(floats))}.")
    _, needed = _gates_and_angles(config)
    if "angles" in slices and slices["angles"].get_shape()[0] < needed:
        raise ValueError(f"`angles` has fewer numbers than the circuit needs, {needed}.")


def _check_values(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            if not tensor.isfinite().all():
                raise ValueError(f"`{name}` holds NaN or infinity.")
        elif not torch.equal(
            tensor.sort(1).values, torch.arange(tensor.shape[1]).expand_as(tensor)
        ):
            raise ValueError(f"`{name}` holds a row that is no permutation.")
