"""The interface of every head, and how a head is written to and read from a folder."""

import json
import shutil
import tempfile
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpsheads._checks import check_equal, check_positive, check_vectors
from mpsheads._typing import PathLike
from mpsheads.similarity import Codes

Head = TypeVar("Head", bound="ProjectionHead")

FORMAT_VERSION = 1
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


class ProjectionHead(nn.Module, ABC):
    """A layer that turns embeddings into shorter vectors, and knows how these are compared.

    A subclass sets `name` (its entry in `config.json`), calls `super().__init__` with every one of
    its constructor's arguments, and defines `forward` and `similarity`.

    Attributes:
        name: Short name of the kind of head, unique among heads.
        in_features: Width of the embeddings it takes.
        out_features: Width of the vectors it returns.
        compared_by: What `similarity` returns: "log_fidelity", whose exponential is in [0, 1], or
            "cosine".
    """

    name: ClassVar[str]
    compared_by: ClassVar[Literal["log_fidelity", "cosine"]] = "log_fidelity"
    in_features: int
    out_features: int

    _kinds: ClassVar[dict[str, type["ProjectionHead"]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in vars(cls):
            ProjectionHead._kinds[cls.name] = cls

    def __init__(self, in_features: int, out_features: int, **config: Any) -> None:
        super().__init__()
        check_positive(in_features=in_features, out_features=out_features)
        self.in_features = in_features
        self.out_features = out_features
        self.config = {"in_features": in_features, "out_features": out_features, **config}

    @property
    def logit_scale(self) -> float:
        """By what a loss usually multiplies similarities: 20 where they spread like cosines.

        1 for log-fidelities that are a sum over all qubits, tens apart for different texts.
        """
        return 20.0 if self.compared_by == "cosine" else 1.0

    @abstractmethod
    def forward(self, x: Float[Tensor, "batch _"]) -> Float[Tensor, "batch {self.out_features}"]:
        """Compress embeddings `(batch, in_features)` to vectors `(batch, out_features)`."""

    @abstractmethod
    def similarity(
        self,
        zq: Float[Tensor, "queries _"],
        zd: Float[Tensor, "documents _"],
        *,
        pairwise: bool = False,
    ) -> Float[Tensor, "*pairs"]:
        """Similarity of all pairs of compressed vectors, or of rows with rows; higher is closer."""

    def quantize(self, z: Float[Tensor, "batch {self.out_features}"], bits: int) -> Codes:
        """Compressed vectors in few bits a number, which `similarity` takes as it takes vectors.

        Args:
            z: Compressed vectors `(batch, out_features)`.
            bits: 8, 4, 2 or 1.

        Raises:
            ValueError: If the head's vectors have no known range, or `bits` is not possible.
        """
        raise ValueError(
            f"Vectors of {type(self).__name__} have no range known beforehand, so they need "
            f"calibration: quantise them with a library for that, such as FAISS."
        )

    @property
    def num_parameters(self) -> int:
        """How many real numbers the head stores: trained parameters and fitted buffers.

        Integers, which say what meets what, are not counted.
        """
        stored = self.state_dict().values()
        return sum(tensor.numel() for tensor in stored if tensor.is_floating_point())

    @property
    def bytes_per_vector(self) -> int:
        """Bytes of one compressed vector as it is stored, in float32."""
        return 4 * self.out_features

    def extra_repr(self) -> str:
        """The constructor's arguments, for `print(head)`."""
        return ", ".join(f"{key}={value!r}" for key, value in self.config.items())

    def save_pretrained(self, path: PathLike) -> None:
        """Write `config.json` and `model.safetensors` into the folder `path`, made if absent.

        Each file is written under a temporary name and renamed, the weights first, so a killed
        process leaves either the old head or the new one.
        """
        from safetensors.torch import save

        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        config = {"format_version": FORMAT_VERSION, "head": self.name, **self.config}
        tensors = {k: v.detach().contiguous() for k, v in self.state_dict().items()}
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as scratch:
            (Path(scratch) / _WEIGHTS).write_bytes(save(tensors))
            (Path(scratch) / _CONFIG).write_text(json.dumps(config, indent=2) + "\n")
            for file in (_WEIGHTS, _CONFIG):
                shutil.move(Path(scratch) / file, folder / file)

    @classmethod
    def from_pretrained(
        cls: type[Head], path: PathLike, *, device: torch.device | str = "cpu"
    ) -> Head:
        """Read a head from a folder, or from a repository on the Hugging Face hub.

        Args:
            path: A folder that `save_pretrained` wrote, or `owner/name` on the hub.
            device: Where the head's tensors are put.

        Raises:
            FileNotFoundError: If the folder or one of its two files is missing.
            ValueError: If the folder holds another kind of head, a newer format, or weights that
                do not fit the configuration.
        """
        head = load_head(path, device=device)
        if not isinstance(head, cls):
            raise ValueError(
                f"`path` {str(path)!r} holds a {type(head).__name__}, not a {cls.__name__}. "
                f"Load it with `load_head`, which takes every kind."
            )
        return head


def load_head(path: PathLike, *, device: torch.device | str = "cpu") -> ProjectionHead:
    """Read a head of any kind from a folder that `save_pretrained` wrote, or from the hub.

    Raises:
        FileNotFoundError: If the folder or one of its two files is missing.
        ValueError: If the files are not those of a head, or do not fit each other.
    """
    folder = _local_folder(path)
    kind, config = _read_config(folder / _CONFIG)
    try:
        head = kind(**config)
    except TypeError as error:
        raise ValueError(f"{folder / _CONFIG} does not fit {kind.__name__}: {error}") from error
    _load_weights(head, folder / _WEIGHTS)
    return head.to(device).eval()


def _local_folder(path: PathLike) -> Path:
    folder = Path(path)
    if folder.is_dir():
        return folder
    parts = str(path).split("/")
    if folder.exists() or len(parts) != 2 or str(path).startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"`path` {str(path)!r} is not a folder. Give a folder that `save_pretrained` wrote."
        )
    import huggingface_hub

    try:
        return Path(
            huggingface_hub.snapshot_download(str(path), allow_patterns=[_CONFIG, _WEIGHTS])
        )
    except (OSError, ValueError) as error:  # the hub's errors are of these kinds
        raise FileNotFoundError(
            f"`path` {str(path)!r} is neither a folder here nor to be had from the hub."
        ) from error


def _read_config(file: Path) -> tuple[type[ProjectionHead], dict[str, Any]]:
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: this is not a saved head.")
    try:
        config = json.loads(file.read_text())
        version, name = config.pop("format_version"), config.pop("head")
    except (json.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{file} is not the configuration of a saved head: {error!r}.") from error
    if version != FORMAT_VERSION:
        raise ValueError(f"{file} has format_version {version}; this mpsheads reads 1. Upgrade it.")
    if name not in ProjectionHead._kinds:
        known = ", ".join(sorted(ProjectionHead._kinds))
        raise ValueError(f"{file} names the head {name!r}; known are {known}.")
    return ProjectionHead._kinds[name], config


def _load_weights(head: ProjectionHead, file: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: this is not a saved head.")
    try:
        tensors = load_file(file)
        head.load_state_dict(tensors, strict=True)
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"{file} does not fit its {_CONFIG}: {reason}") from error
    real = next((tensor for tensor in tensors.values() if tensor.is_floating_point()), None)
    if real is not None:
        head.to(real.dtype)


@torch.no_grad()
def compress(head: ProjectionHead, vectors: Tensor, rows: int = 8192) -> Tensor:
    """Any number of embeddings compressed, some thousand at a time, on the head's device.

    Args:
        head: The head.
        vectors: Embeddings `(n, in_features)`, in any floating dtype, on any device.
        rows: How many at a time.

    Returns:
        `(n, out_features)`, in the head's dtype, without gradient.
    """
    like = next(iter([*head.parameters(), *head.buffers()]), vectors)
    return torch.cat([head(part.to(like.device, like.dtype)) for part in vectors.split(rows)])


def check_input(head: ProjectionHead, x: Tensor) -> None:
    """Raise unless `x` is `(batch, in_features)`, on the device of the head and no more precise."""
    check_vectors("x", x, head.in_features)
    own = next(chain(head.parameters(), head.buffers()), x)
    check_equal("device", x=x.device, head=own.device)
    fits = torch.promote_types(x.dtype, own.dtype) == own.dtype
    if not fits and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(
            f"`x` must have the head's dtype {own.dtype} or a less precise one, got {x.dtype}. "
            f"Convert one of them: `x.to({own.dtype})` or `head.to({x.dtype})`."
        )


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """What to compute within, so that autocast does not take away precision."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return nullcontext()


def check_pair(head: ProjectionHead, zq: Tensor | Codes, zd: Tensor | Codes) -> None:
    """Raise unless `zq` and `zd` are two sets of `head`'s vectors, or codes, on one device."""
    for name, z in (("zq", zq), ("zd", zd)):
        if isinstance(z, Codes):
            check_equal("number of features", **{name: z.width, "head": head.out_features})
        else:
            check_vectors(name, z, head.out_features)
    check_equal("device", zq=zq.device, zd=zd.device)
