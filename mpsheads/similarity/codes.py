"""Codes: vectors in few bits a number, rounded one by one or on a trellis, without codebooks."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from numbers import Real
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mpsheads._arrays import takes_arrays
from mpsheads._checks import (
    as_device,
    check_choice,
    check_equal,
    check_finite,
    check_integers,
    check_positive,
    check_shape,
    check_type,
    check_vectors,
    is_concrete,
)
from mpsheads._files import as_path, parse_json, replacing
from mpsheads._typing import PathLike
from mpsheads.mps.trellis import RATES, nearest_codewords, ring_steps, standard_trellis
from mpsheads.similarity.packing import decode_bytes, pack_words

_FORMAT = "mpsheads.codes.2"
_ABOUT = ("bits", "width", "kind", "bond_dims", "span")  # what the header of a file says
_RANGES = {"angle": (0.0, math.pi), "state": (-1.0, 1.0)}
_BITS = {"angle": (8, 4, 2, 1), "state": (8, 4), "trellis": RATES}
_ROUNDING = 1e-2  # of a range: half-precision vectors may lie outside by as much


@dataclass(frozen=True, eq=False, repr=False)
class Codes:
    """A batch of vectors in few bits; `quantize` and `quantize_trellis` make it.

    Of kind "angle" or "state" the range of a number is cut into 2**bits equal cells, and a number
    becomes the middle of its cell. Byte i of a row holds the numbers i, i + b, i + 2b, ... with b
    the bytes of a row, the first in its lowest bits. Of kind "trellis" a row is a word of
    `standard_trellis(bits)`, the first step in the highest bits of the first byte.

    Attributes:
        packed: `(rows, bytes)`, what is stored, contiguous.
        bits: Bits a number: 8, 4, 2 or 1; on a trellis one of `mps.trellis.RATES`.
        width: Numbers a vector.
        kind: `"angle"`, `"state"` or `"trellis"`.
        bond_dims: Inner bonds of states; empty for the others.
        span: Part of the range, in its middle, that the cells fill; on a trellis the size of a
            number, by which words are multiplied.
        centre: What is added to every word, `(width,)`; for a trellis alone.
    """

    packed: UInt8[Tensor, "rows bytes"]
    bits: int | float
    width: int
    kind: str = "angle"
    bond_dims: tuple[int, ...] = ()
    span: float = 1.0
    centre: Float[Tensor, " width"] | None = None

    def __post_init__(self) -> None:
        _check_cells(self.kind, self.bits, self.span)
        check_positive(width=self.width)
        kind = getattr(self.packed, "dtype", type(self.packed).__name__)
        if kind != torch.uint8 or self.packed.ndim != 2:
            raise ValueError(f"`packed` must be a matrix of uint8, got {kind}.")
        needed = code_bytes(self.width, self.bits, trellis=self.kind == "trellis")
        if self.packed.shape[1] != needed:
            raise ValueError(
                f"`packed` must have {needed} bytes a row for {self.width} numbers of {self.bits} "
                f"bits, got {self.packed.shape[1]}."
            )
        wanted = self.width if self.kind == "trellis" else None
        if wanted != (self.centre if self.centre is None else len(self.centre)):
            raise ValueError("`centre` must have as many numbers as a vector, on a trellis alone.")
        object.__setattr__(self, "packed", self.packed.contiguous())

    def __len__(self) -> int:
        return len(self.packed)

    def __repr__(self) -> str:
        return (
            f"Codes({len(self):,} x {self.packed.shape[1]} bytes, {self.kind}, {self.bits:g} bits)"
        )

    def __getitem__(self, rows: Any) -> "Codes":
        """Codes of some rows: a slice, or a tensor or list of indices."""
        if isinstance(rows, int):
            raise TypeError("Index codes with a slice or several rows, such as `codes[i : i + 1]`.")
        return replace(self, packed=self.packed[rows])

    @staticmethod
    def cat(parts: "Sequence[Codes]") -> "Codes":
        """One batch from several that were made alike, in their order.

        Raises:
            ValueError: If there is none, or they differ in anything but their rows.
        """
        if not parts:
            raise ValueError("`parts` must hold at least one batch of codes.")
        for part in parts[1:]:
            check_alike(first=parts[0], other=part)
        return replace(parts[0], packed=torch.cat([part.packed for part in parts]))

    @property
    def device(self) -> torch.device:
        """Where the codes live."""
        return self.packed.device

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, and numbers a vector."""
        return len(self), self.width

    @property
    def bytes_per_vector(self) -> int:
        """Bytes of one vector."""
        return self.packed.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return self.packed.numel()

    def to(self, device: torch.device | str) -> "Codes":
        """The same codes on another device."""
        centre = self.centre if self.centre is None else self.centre.to(device)
        return replace(self, packed=self.packed.to(device), centre=centre)

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Float[Tensor, "rows width"]:
        """What the codes stand for, `(rows, width)`: middles of cells, or words in their place."""
        if self.kind != "trellis":
            return self._middles(self.numbers().to(dtype))
        assert self.centre is not None
        words = self.words(dtype)
        return torch.add(self.centre.to(words), words, alpha=self.span)

    def words(self, dtype: torch.dtype = torch.float32) -> Float[Tensor, "rows width"]:
        """The words of a trellis before `span` and `centre` bring them to their place."""
        return decode_bytes(self.packed, self.width, standard_trellis(self.bits)).to(dtype)

    def levels(self, dtype: torch.dtype = torch.float32) -> Float[Tensor, " levels"]:
        """The number that each cell stands for, lowest first; not on a trellis."""
        return self._middles(torch.arange(2 ** int(self.bits), device=self.device, dtype=dtype))

    def _middles(self, cells: Tensor) -> Tensor:
        low, high = _range(self.kind, self.span)
        return (cells + 0.5) * ((high - low) / 2**self.bits) + low

    def numbers(self) -> UInt8[Tensor, "rows width"]:
        """The cell of each number, from 0 to 2**bits - 1; not on a trellis."""
        if self.bits == 8:
            return self.packed
        bits = int(self.bits)
        planes = [(self.packed >> shift) & (2**bits - 1) for shift in range(0, 8, bits)]
        return torch.cat(planes, dim=1)[:, : self.width]

    def save(self, path: PathLike) -> None:
        """Write a safetensors file, which `load_codes` reads; under a temporary name first."""
        from safetensors.torch import save_file

        about = {name: getattr(self, name) for name in _ABOUT}
        tensors = {"packed": self.packed.cpu()}
        if self.centre is not None:
            tensors["centre"] = self.centre.detach().cpu().contiguous()
        with replacing(path) as file:
            save_file(tensors, file, metadata={_FORMAT: json.dumps(about)})  # in one order


def load_codes(path: PathLike, *, device: torch.device | str = "cpu") -> Codes:
    """Read a file that `Codes.save` wrote.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file holds something else.
    """
    from safetensors import SafetensorError, safe_open

    path = as_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of codes {str(path)!r}.")
    try:
        with safe_open(path, framework="pt", device=str(as_device(device))) as file:
            metadata = file.metadata() or {}
            if _FORMAT not in metadata:
                raise ValueError("it has another format")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = parse_json(metadata[_FORMAT], "its header")
        if "centre" in tensors:
            check_finite("centre", tensors["centre"])
        about = {name: about[name] for name in _ABOUT}
        return Codes(**{**about, "bond_dims": tuple(about["bond_dims"])}, **tensors)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold codes that `Codes.save` wrote: {error}.") from error


def code_bytes(width: int, bits: int | float, *, trellis: bool = False) -> int:
    """Bytes of a vector of so many numbers."""
    if not trellis:
        return -(-width * int(bits) // 8)
    chain = standard_trellis(bits)
    return -(-ring_steps(width, chain) * chain.shift // 8)


@takes_arrays
def quantize_trellis(
    z: Float[Tensor, "rows width"],
    bits: int | float,
    *,
    centre: Float[Tensor, " width"],
    span: float,
) -> Codes:
    """Vectors as words of the library's trellis: of all words the one nearest in direction.

    Of each vector the direction from `centre` is coded, so all words lie at about one distance from
    it. The numbers are to be of one spread and to look Gaussian, as after a random rotation. Of
    such numbers 2 bits leave .078 of the variance, where rounding one by one leaves .1175, and no
    code leaves less than .0625.

    Args:
        z: Vectors, one a row. One that is `centre` itself gets some word.
        bits: Bits a number, one of `mps.trellis.RATES`.
        centre: The mean of such vectors.
        span: The usual size of a number after the mean is taken off.

    Raises:
        TypeError: If `z` does not hold floating-point numbers.
        ValueError: If `bits` is none of these, a number is NaN or infinite, or shapes do not fit.

    Source and cost: see `mpsheads.mps.trellis`.
    """
    _check_cells("trellis", bits, span)
    check_vectors("z", z)
    check_vectors("centre", centre[None] if isinstance(centre, Tensor) else centre, z.shape[1])
    check_equal("device", z=z.device, centre=centre.device)
    trellis = standard_trellis(bits)
    away = torch.nn.functional.normalize((z.detach() - centre).float()) * math.sqrt(z.shape[1])
    packed = pack_words(nearest_codewords(away, trellis), trellis)
    return Codes(
        packed, float(bits), z.shape[1], "trellis", (), float(span), centre.detach().float()
    )


@takes_arrays
def quantize(
    z: Float[Tensor, "rows width"],
    bits: int,
    *,
    kind: str = "angle",
    bond_dims: tuple[int, ...] = (),
    span: float = 1.0,
) -> Codes:
    """Vectors of known range in few bits a number; nothing is fitted to data.

    Args:
        z: Vectors, one a row.
        bits: Bits a number: 8, 4, 2 or 1; states take 8 or 4.
        kind: What the vectors are: `"angle"`, angles within [0, pi]; `"state"`, packed states, of
            components within [-1, 1].
        bond_dims: The inner bonds, for states.
        span: Part of the range, in its middle, that the cells fill, in (0, 1]; numbers beyond it
            go to the outermost cells.

    Returns:
        Codes of `ceil(width * bits / 8)` bytes a vector, without gradient. A number within
        the span moves by half a cell at most: 1/2**(bits + 1) of it, the least that any 2**bits
        levels allow. No level lies at an end of the range, so two codes are never orthogonal.

    Raises:
        TypeError: If `z` does not hold floating-point numbers.
        ValueError: If `bits` or `kind` is none of these, or a number is NaN, infinite or out of
            its range by more than rounding.
    """
    _check_cells(kind, bits, span)
    check_shape("z", z)
    bits, span = int(bits), float(span)
    if kind == "state":
        check_state_width("z", z.shape[1], bond_dims)
    elif bond_dims:
        raise ValueError(f"`bond_dims` belongs to states, but `kind` is {kind!r}.")
    z = z.detach()
    _check_range(z, kind)
    low, high = _range(kind, span)
    cells = ((z.float() - low) * (2**bits / (high - low))).floor_().clamp_(0, 2**bits - 1)
    packed = _pack(cells.to(torch.uint8), bits)
    return Codes(packed, bits, z.shape[1], kind, tuple(bond_dims), span)


def check_state_width(name: str, width: int, bond_dims: Sequence[int]) -> tuple[int, ...]:
    """The bonds; raise `ValueError` unless a vector is as long as a packed state with these."""
    check_type("bond_dims", bond_dims, Sequence, "integers in a list")
    for bond in bond_dims:
        check_integers(1, bond_dims=bond)
    wanted = sum(4 * left * right for left, right in pairwise([1, *bond_dims, 1]))
    if width != wanted:
        raise ValueError(
            f"`{name}` must have {wanted} columns for {len(bond_dims) + 1} qubits with these "
            f"`bond_dims`, got {width}."
        )
    return tuple(bond_dims)


def _range(kind: str, span: float) -> tuple[float, float]:
    """The lower and the upper end of the cells."""
    low, high = _RANGES[kind]
    edge = (1 - span) * (high - low) / 2
    return low + edge, high - edge


def _pack(cells: UInt8[Tensor, "rows width"], bits: int) -> UInt8[Tensor, "rows bytes"]:
    if bits == 8:
        return cells
    per_byte = 8 // bits
    cells = torch.nn.functional.pad(cells, (0, -cells.shape[1] % per_byte))
    planes = cells.unflatten(1, (per_byte, -1)).unbind(1)
    packed = planes[0].clone()
    for i, plane in enumerate(planes[1:], 1):
        packed |= plane << (i * bits)
    return packed


def _check_cells(kind: str, bits: int | float, span: float) -> None:
    check_choice("kind", kind, tuple(_BITS))
    if bits not in _BITS[kind] or isinstance(bits, bool):
        listed = ", ".join(map(str, _BITS[kind]))
        raise ValueError(f"`bits` must be one of {listed} for {kind!r} vectors, got {bits!r}.")
    check_type("span", span, Real, "a number")
    if not 0 < float(span) <= 1:
        raise ValueError(f"`span` must lie in (0, 1], got {span}.")


def _check_range(z: Tensor, kind: str) -> None:
    check_finite("z", z)
    if not is_concrete(z) or not z.numel():
        return
    low, high = _RANGES[kind]
    slack = _ROUNDING * (high - low) if z.dtype.itemsize < 4 else 1e-5 * (high - low)
    bad = (z < low - slack) | (z > high + slack)
    if bad.any():
        row, column = bad.nonzero()[0].tolist()
        raise ValueError(
            f"`z` must lie in [{low:.5g}, {high:.5g}] for {kind!r} vectors, but row {row} holds "
            f"{float(z[row, column]):.5g} in column {column}."
        )


def check_alike(**sides: Codes) -> None:
    """Raise `ValueError` if two batches of codes, given by their names, were not made alike."""
    for part in ("kind", "bits", "width", "bond_dims", "span"):
        check_equal(f"{part} of codes", **{name: getattr(c, part) for name, c in sides.items()})
    one, other = (codes.centre for codes in sides.values())
    if one is not None and other is not None and not torch.equal(one, other):
        raise ValueError("The centres of codes must agree: they come from different heads.")
