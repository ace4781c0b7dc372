"""The interface of every head, and what is done with any of them."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpsheads._arrays import takes_arrays
from mpsheads._checks import as_device, check_equal, check_positive, check_shape, check_vectors
from mpsheads._typing import PathLike
from mpsheads.similarity import Codes, cosine, log_fidelity, quantize
from mpsheads.similarity.codes import code_bytes

Head = TypeVar("Head", bound="ProjectionHead")


class ProjectionHead(nn.Module, ABC):
    """A layer that turns embeddings into shorter vectors, and knows how these are compared.

    A subclass sets `name` (its entry in `config.json`), calls `super().__init__` with every one of
    its constructor's arguments, and defines `forward`. To be saved and read it has a schema in
    `mpsheads.heads.saving`.

    Attributes:
        name: Short name of the kind of head, its key in `HEADS`.
        in_features: Width of the embeddings it takes.
        out_features: Width of the vectors it returns.
        config: The constructor's arguments, in terms of JSON.
        compared_by: What `similarity` returns: "log_fidelity", whose exponential is in [0, 1], or
            "cosine".
    """

    name: ClassVar[str]
    compared_by: Literal["log_fidelity", "cosine"] = "log_fidelity"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in vars(cls):
            HEADS[cls.name] = cls

    def __init__(self, in_features: int, out_features: int, **config: Any) -> None:
        super().__init__()
        check_positive(in_features=in_features, out_features=out_features)
        config = {"in_features": in_features, "out_features": out_features, **config}
        self.config = {k: v.item() if isinstance(v, np.generic) else v for k, v in config.items()}
        self.in_features = int(in_features)
        self.out_features = int(out_features)

    @property
    def logit_scale(self) -> float:
        """By what a loss usually multiplies similarities: 20 where they spread like cosines.

        1 for log-fidelities that are a sum over all qubits, tens apart for different texts.
        """
        return 20.0 if self.compared_by == "cosine" else 1.0

    @abstractmethod
    def forward(self, x: Float[Tensor, "batch _"]) -> Float[Tensor, "batch {self.out_features}"]:
        """Compress embeddings `(batch, in_features)` to vectors `(batch, out_features)`."""

    def encode(self, x: Float[Tensor, "batch _"]) -> Float[Tensor, "batch {self.out_features}"]:
        """`forward`, under the name by which whatever can be trained makes its vectors."""
        return self(x)

    @takes_arrays
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """`forward`, also of a NumPy array."""
        return super().__call__(*args, **kwargs)

    @takes_arrays
    def similarity(
        self,
        zq: Float[Tensor, "queries _"] | Codes,
        zd: Float[Tensor, "documents _"] | Codes,
        *,
        pairwise: bool = False,
    ) -> Float[Tensor, "*pairs"]:
        """Similarity of all pairs of compressed vectors, or of rows with rows; higher is closer.

        Args:
            zq: Compressed queries `(queries, out_features)`, or their codes.
            zd: Compressed documents `(documents, out_features)`, or their codes.
            pairwise: Compare each query with the document in the same row.

        Returns:
            `(queries, documents)`, or `(queries,)` if `pairwise`: log-fidelities, at most 0, or
            cosines in [-1, 1].
        """
        for name, z in (("zq", zq), ("zd", zd)):
            if isinstance(z, Codes):
                check_equal("number of features", **{name: z.width, "head": self.out_features})
            else:
                check_shape(name, z, self.out_features)
        return self._compare(zq, zd, pairwise)

    def _compare(self, zq: Any, zd: Any, pairwise: bool) -> Tensor:
        compare = cosine if self.compared_by == "cosine" else log_fidelity
        return compare(zq, zd, pairwise=pairwise)

    @takes_arrays
    def quantize(self, z: Float[Tensor, "batch {self.out_features}"], bits: int) -> Codes:
        """Compressed vectors in few bits a number, which `similarity` takes as it takes vectors.

        Args:
            z: Compressed vectors `(batch, out_features)`.
            bits: 8, 4, 2 or 1.

        Raises:
            ValueError: If the head's vectors have no known range, or `bits` is not possible.
        """
        check_shape("z", z, self.out_features)
        if self.compared_by == "log_fidelity":
            return quantize(z, bits)
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
        """Bytes of one compressed vector as it is stored: in the head's codes, or in float32."""
        bits = self.config.get("bits")
        if bits is None:
            return head_size_in_bytes(self, 32)
        return code_bytes(self.out_features, bits, trellis=True)

    @takes_arrays
    def code(self, x: Float[Tensor, "batch _"]) -> Tensor | Codes:
        """Embeddings of documents as they are stored: in the head's codes if it has some.

        Args:
            x: Any number of embeddings `(batch, in_features)`; some thousand are taken at a time.

        Returns:
            Codes, or compressed vectors `(batch, out_features)`, without gradient.
        """
        z = compress_vectors(self, x)
        return z if self.config.get("bits") is None else self.quantize(z, self.config["bits"])

    def extra_repr(self) -> str:
        """The constructor's arguments, for `print(head)`."""
        return ", ".join(f"{key}={value!r}" for key, value in self.config.items())

    def save_pretrained(self, path: PathLike) -> None:
        """Write `config.json` and `model.safetensors` into the folder `path`, made if absent.

        Each file is written under a temporary name and renamed, the weights first, so a killed
        process leaves either the old head or the new one.
        """
        from mpsheads.heads.saving import write_head

        write_head(path, {"head": self.name, **self.config}, self.state_dict(), HEADS)

    @classmethod
    def from_pretrained(
        cls: type[Head], path: PathLike, *, device: torch.device | str = "cpu"
    ) -> Head:
        """`load_head` for one kind of head.

        Raises:
            FileNotFoundError: If the folder or one of its two files is missing.
            ValueError: If the folder holds another kind of head, or what `load_head` refuses.
        """
        head = load_head(path, device=device)
        if not isinstance(head, cls):
            raise ValueError(
                f"`path` {str(path)!r} holds a {type(head).__name__}, not a {cls.__name__}. "
                f"Load it with `load_head`, which takes every kind."
            )
        return head


HEADS: dict[str, type[ProjectionHead]] = {}
"""The kinds of heads by name."""


def load_head(path: PathLike, *, device: torch.device | str = "cpu") -> ProjectionHead:
    """Read a head of any kind from a folder that `save_pretrained` wrote, or from the hub.

    The configuration is checked by a schema with bounds, and against the header of the weights,
    before any memory is taken; so a folder from a stranger does no harm.

    Args:
        path: A folder, or `owner/name` on the Hugging Face hub.
        device: Where the head's tensors are put.

    Returns:
        The head, in evaluation mode and in the dtype in which it was saved.

    Raises:
        FileNotFoundError: If the folder or one of its two files is missing.
        ValueError: If the files are not those of a head, are out of bounds, do not fit each other,
            or name an option that this version does not have; if `device` is not to be had.
    """
    from mpsheads.heads.saving import read_head

    device = as_device(device)
    head = read_head(path, HEADS)
    assert isinstance(head, ProjectionHead)
    return head.to(device).eval()


@torch.no_grad()
def compress_vectors(head: ProjectionHead | None, vectors: Tensor, rows: int = 8192) -> Tensor:
    """Any number of embeddings compressed, some thousand at a time, on the head's device.

    Args:
        head: The head; `None` leaves vectors as they are.
        vectors: Embeddings `(n, in_features)`, in any floating dtype, on any device.
        rows: How many at a time.

    Returns:
        `(n, out_features)`, in the head's dtype and on its device, without gradient.

    Raises:
        ValueError: If an embedding is not finite, or the head gives NaN or infinity.
    """
    if head is None:
        return vectors
    check_vectors("x", vectors, head.in_features)
    check_positive(rows=rows)
    like = next(iter([*head.parameters(), *head.buffers()]), vectors)
    result = torch.cat([head(part.to(like.device, like.dtype)) for part in vectors.split(rows)])
    if not torch.isfinite(result).all():
        raise ValueError(
            f"`head` of kind {head.name} gives NaN or infinity: are its weights sound?"
        )
    return result


def head_size_in_bytes(head: ProjectionHead, bits: int) -> int:
    """Bytes of one compressed vector at so many bits a number; 32 for float32."""
    check_positive(bits=bits)
    return -(-head.out_features * bits // 8)


def check_input(head: ProjectionHead, x: Tensor, name: str = "x") -> None:
    """Raise unless `x` is `(batch, in_features)`, finite, on the head's device, no more precise."""
    check_vectors(name, x, head.in_features)
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
