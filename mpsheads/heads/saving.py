"""Heads in folders: a configuration with bounds, checked against the weights' header, then read.

Everything that a head's size follows from is checked before memory is taken for it: the numbers of
`config.json` by a schema, and what tensors these imply against the header of `model.safetensors`,
which itself must fit the size of the file.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mpsheads._files import replacing
from mpsheads._typing import PathLike

FORMAT_VERSION = 1
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_LARGEST_CONFIG = 1 << 24  # bytes
_MOST_GATES = 1 << 18
_FLOATS = ("F16", "BF16", "F32", "F64")
# Options that all heads of version 0.1 name, and the one value of each that is left.
_REMOVED = {"encoding": "angle", "grouping": "registers", "scale": "shared"}

Module = TypeVar("Module", bound=nn.Module)
Shapes = dict[str, tuple[int | None, ...]]
_Width = Annotated[int, Field(ge=1, le=1 << 16)]
_Matrix = list[list[tuple[FiniteFloat, FiniteFloat]]]
_Operation = tuple[
    str,
    Annotated[list[Annotated[int, Field(ge=0, le=1 << 16)]], Field(max_length=3)],
    Annotated[int, Field(ge=0, le=_MOST_GATES)],
    bool,
    _Matrix | None,
]


class _Config(BaseModel):
    """What `config.json` of every head holds.

    The schema of a kind adds its own arguments and `shapes`: those of the tensors that go with it,
    `None` where a length is known only when the head is built.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    in_features: _Width
    out_features: _Width

    def shapes(self) -> Shapes:
        return {}


class _Circuit(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    num_sites: _Width
    operations: Annotated[list[_Operation], Field(max_length=_MOST_GATES)]
    values: Annotated[list[FiniteFloat], Field(max_length=_MOST_GATES)]


class _MPSConfig(_Config):
    bond_dim: Annotated[int, Field(ge=1, le=1 << 10)]
    depth: Annotated[int, Field(ge=1, le=64)]
    ansatz: Literal["staircase", "brickwork"] | _Circuit
    readout: Literal["probability", "direction", "state"]
    mixing: Annotated[int, Field(ge=0, le=64)] = 0

    def shapes(self) -> Shapes:
        shapes: Shapes = {"angles": (None,), "scale": ()}
        gates = self.in_features * self.depth
        if isinstance(self.ansatz, _Circuit):
            copies = self.in_features // self.ansatz.num_sites
            gates = copies * len(self.ansatz.operations)
            shapes["angles"] = (copies * len(self.ansatz.values),)
        if gates > _MOST_GATES:
            raise ValueError(f"a circuit of more than {_MOST_GATES:,} gates")
        if self.mixing:
            shapes["mixing.angles"] = (self.mixing, self.in_features // 2)
            shapes["mixing.orders"] = (self.mixing + 1, self.in_features)
        return shapes


class _ReferenceConfig(_Config):
    normalize: bool
    compact: bool = False

    def shapes(self) -> Shapes:
        steps = (self.in_features // self.out_features - 1, 3, self.out_features)
        return {"directions": (*steps, 2)} if self.compact else {"angles_raw": (*steps, 4)}


class _DenseConfig(_Config):
    def shapes(self) -> Shapes:
        weight = (self.out_features, self.in_features)
        return {"linear.weight": weight, "linear.bias": (self.out_features,)}


class _PCAConfig(_Config):
    def shapes(self) -> Shapes:
        components = (self.out_features, self.in_features)
        return {"mean": (self.in_features,), "components": components}


_SCHEMAS: dict[str, type[_Config]] = {
    "mps": _MPSConfig,
    "reference": _ReferenceConfig,
    "dense": _DenseConfig,
    "pca": _PCAConfig,
    "truncation": _Config,
}


def write_head(path: PathLike, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """Write both files into the folder `path`, the weights first, each under a temporary name."""
    folder = Path(path)
    tensors = {name: tensor.detach().contiguous() for name, tensor in state.items()}
    content = json.dumps({"format_version": FORMAT_VERSION, **config}, indent=2) + "\n"
    with replacing(folder / _CONFIG) as config_file, replacing(folder / _WEIGHTS) as weights_file:
        weights_file.write_bytes(save(tensors))
        config_file.write_text(content)


def read_head(path: PathLike, kinds: Mapping[str, type[Module]]) -> Module:
    """The head that `write_head` wrote, on the CPU; see `mpsheads.heads.load_head`.

    Args:
        path: A folder, or `owner/name` on the Hugging Face hub.
        kinds: The heads by name.
    """
    folder = local_folder(path, allow_patterns=[_CONFIG, _WEIGHTS])
    name, config = _read_config(folder / _CONFIG, kinds)
    file = folder / _WEIGHTS
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: this is not a saved head.")
    try:
        with safe_open(file, framework="pt") as weights:
            _check_header(weights, config)
            head = kinds[name](**config.model_dump())
            tensors = {key: weights.get_tensor(key) for key in weights.keys()}  # noqa: SIM118
        _check_values(tensors)
        head.load_state_dict(tensors, strict=True)
    except (SafetensorError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"{file} does not fit its {_CONFIG}: {reason}") from error
    return head.to(next((t.dtype for t in tensors.values() if t.is_floating_point()), None))


def local_folder(path: PathLike, **download: Any) -> Path:
    """The folder `path`, or that of a repository on the Hugging Face hub, which is fetched.

    Args:
        path: A folder, or `owner/name` on the hub.
        download: Passed on to `huggingface_hub.snapshot_download`, such as `revision`.

    Raises:
        FileNotFoundError: If it is neither.
    """
    folder = Path(path).expanduser()
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


def _read_config(file: Path, kinds: Mapping[str, type[nn.Module]]) -> tuple[str, _Config]:
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: this is not a saved head.")
    if file.stat().st_size > _LARGEST_CONFIG:
        raise ValueError(
            f"{file} is larger than a head's configuration, {_LARGEST_CONFIG:,} bytes."
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        version, _ = config.pop("format_version"), config["head"]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"{file} is not the configuration of a saved head: {error!r}.") from error
    return check_config(file, config, kinds, version)


def check_config(
    file: Path,
    config: dict[str, Any],
    kinds: Mapping[str, type[nn.Module]],
    version: int = FORMAT_VERSION,
) -> tuple[str, _Config]:
    """The name of a head and its arguments, checked by the schema of its kind.

    Args:
        file: Where the configuration stands, for messages.
        config: The entry `head`, and the arguments.
        kinds: The heads by name.
        version: Of the format.

    Raises:
        ValueError: If it is none of a head, is out of bounds, or names what is not there any more.
    """
    config = dict(config)
    name = config.pop("head")
    if version != FORMAT_VERSION:
        raise ValueError(f"{file} has format_version {version}; this mpsheads reads 1. Upgrade it.")
    if name not in kinds or name not in _SCHEMAS:
        raise ValueError(f"{file} names the head {name!r}; known are {', '.join(sorted(kinds))}.")
    if name == "mps":
        _drop_removed(file, config)
    try:
        schema = _SCHEMAS[name].model_validate_json(json.dumps(config))
        schema.shapes()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"`{where}`: {first['msg']}, got {str(first['input'])[:60]}"
        raise ValueError(f"{file} does not fit {kinds[name].__name__}: {reason}.") from error
    except ValueError as error:
        raise ValueError(f"{file} does not fit {kinds[name].__name__}: {error}.") from error
    return name, schema


def _drop_removed(file: Path, config: dict[str, Any]) -> None:
    """Take options away that heads of version 0.1 name; raise where they are not the default."""
    values = {key: config.pop(key, value) for key, value in _REMOVED.items()}
    for key, value in {**values, "readout": config.get("readout")}.items():
        if value != _REMOVED.get(key, value) or value == "bloch":
            raise ValueError(
                f"{file} names {key}={str(value)[:60]!r}, which this version of mpsheads does not "
                f"have any more. Load the head with the version that saved it."
            )


def _check_header(weights: Any, config: _Config) -> None:
    """Raise `ValueError` unless the file has just the tensors that a configuration implies."""
    slices = {name: weights.get_slice(name) for name in weights.keys()}  # noqa: SIM118
    expected = config.shapes()
    if slices.keys() != expected.keys():
        raise ValueError(f"it has the tensors {sorted(slices)}, not {sorted(expected)}.")
    floats = set()
    for name, shape in expected.items():
        found, dtype = tuple(slices[name].get_shape()), slices[name].get_dtype()
        same = [b in (None, a) for a, b in zip(found, shape, strict=False)]
        if len(found) != len(shape) or not all(same):
            raise ValueError(f"`{name}` has shape {found}, not {shape}.")
        if dtype not in (("I64",) if name.endswith("orders") else _FLOATS):
            raise ValueError(f"`{name}` holds numbers of type {dtype}.")
        floats |= {dtype} - {"I64"}
    if len(floats) > 1:
        raise ValueError(f"its numbers are of several types, {', '.join(sorted(floats))}.")
    if isinstance(config, _MPSConfig) and config.ansatz == "staircase":
        gates = (config.in_features - config.out_features) * min(config.depth, 2)  # one angle each
        if slices["angles"].get_shape()[0] < gates:
            raise ValueError(f"`angles` has fewer numbers than the circuit has gates, {gates}.")


def _check_values(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            if not tensor.isfinite().all():
                raise ValueError(f"`{name}` holds NaN or infinity.")
        elif not torch.equal(
            tensor.sort(1).values, torch.arange(tensor.shape[1]).expand_as(tensor)
        ):
            raise ValueError(f"`{name}` holds a row that is no permutation.")
