"""Codes: vectors whose range is known, in 8, 4, 2 or 1 bits a number, without calibration."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mpsheads._checks import check_choice, check_equal, check_finite, is_concrete
from mpsheads._typing import PathLike

_RANGES = {"angle": (0.0, math.pi), "state": (-1.0, 1.0)}
_BITS = {"angle": (8, 4, 2, 1), "state": (8, 4)}
_ROUNDING = 1e-2  # of a range: half-precision vectors may lie outside by as much


@dataclass(frozen=True, eq=False)
class Codes:
    """A batch of vectors in few bits; `quantize` makes it.

    The range of a number is cut into 2**bits equal cells, and a number becomes the middle of its
    cell. Byte i of a row holds the numbers i, i + b, i + 2b, ... with b the bytes of a row, the
    first in its lowest bits.

    Attributes:
        packed: `(rows, bytes)`, what is stored.
        bits: Bits a number: 8, 4, 2 or 1.
        width: Numbers a vector.
        kind: `"angle"` or `"state"`, as for `quantize`.
        bond_dims: Inner bonds of states; empty for the others.
        span: Part of the range, in its middle, that the cells fill.
    """

    packed: UInt8[Tensor, "rows bytes"]
    bits: int
    width: int
    kind: str = "angle"
    bond_dims: tuple[int, ...] = ()
    span: float = 1.0

    def __post_init__(self) -> None:
        _check_cells(self.kind, self.bits, self.span)
        if self.packed.dtype != torch.uint8 or self.packed.ndim != 2:
            raise ValueError(
                f"`packed` must be a matrix of uint8, got {self.packed.dtype} with "
                f"{self.packed.ndim} axes."
            )
        needed = -(-self.width * self.bits // 8)
        if self.packed.shape[1] != needed:
            raise ValueError(
                f"`packed` must have {needed} bytes a row for {self.width} numbers of {self.bits} "
                f"bits, got {self.packed.shape[1]}."
            )

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, rows: Any) -> "Codes":
        """Codes of some rows: a slice, or a tensor or list of indices."""
        if isinstance(rows, int):
            raise TypeError("Index codes with a slice or several rows, such as `codes[i : i + 1]`.")
        return replace(self, packed=self.packed[rows])

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

    def to(self, device: torch.device | str) -> "Codes":
        """The same codes on another device."""
        return replace(self, packed=self.packed.to(device))

    def dequantize(self, dtype: torch.dtype = torch.float32) -> Float[Tensor, "rows width"]:
        """The middles of the cells, `(rows, width)`."""
        return self._middles(self.numbers().to(dtype))

    def levels(self, dtype: torch.dtype = torch.float32) -> Float[Tensor, " levels"]:
        """The number that each cell stands for, lowest first."""
        return self._middles(torch.arange(2**self.bits, device=self.device, dtype=dtype))

    def _middles(self, cells: Tensor) -> Tensor:
        low, high = _range(self.kind, self.span)
        return (cells + 0.5) * ((high - low) / 2**self.bits) + low

    def numbers(self) -> UInt8[Tensor, "rows width"]:
        """The cell of each number, from 0 to 2**bits - 1."""
        if self.bits == 8:
            return self.packed
        mask = 2**self.bits - 1
        planes = [(self.packed >> shift) & mask for shift in range(0, 8, self.bits)]
        return torch.cat(planes, dim=1)[:, : self.width]

    def save(self, path: PathLike) -> None:
        """Write a safetensors file, which `load_codes` reads."""
        from safetensors.torch import save_file

        about = {
            "bits": str(self.bits),
            "width": str(self.width),
            "kind": self.kind,
            "bond_dims": ",".join(map(str, self.bond_dims)),
            "span": repr(self.span),
            "format": "mpsheads.codes.1",
        }
        save_file({"packed": self.packed.contiguous()}, path, metadata=about)


def load_codes(path: PathLike, *, device: torch.device | str = "cpu") -> Codes:
    """Read a file that `Codes.save` wrote.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file holds something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            about = file.metadata() or {}
            if about.get("format") != "mpsheads.codes.1":
                raise ValueError(f"{path} does not hold codes that `Codes.save` wrote.")
            packed = file.get_tensor("packed")
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}.") from error
    bonds = tuple(int(bond) for bond in about["bond_dims"].split(",") if bond)
    span = float(about.get("span", 1.0))
    return Codes(packed, int(about["bits"]), int(about["width"]), about["kind"], bonds, span)


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
    if not z.is_floating_point():
        raise TypeError(f"`z` must be a floating-point tensor, got {z.dtype}.")
    if z.ndim != 2:
        raise ValueError(f"`z` must have two axes, rows and numbers, got {z.ndim}.")
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


def check_state_width(name: str, width: int, bond_dims: tuple[int, ...]) -> None:
    """Raise `ValueError` unless a vector is as long as a packed state of these bonds."""
    if any(bond < 1 for bond in bond_dims):
        raise ValueError(f"`bond_dims` must be at least 1 each, got {tuple(bond_dims)}.")
    wanted = sum(4 * left * right for left, right in pairwise([1, *bond_dims, 1]))
    if width != wanted:
        raise ValueError(
            f"`{name}` must have {wanted} columns for {len(bond_dims) + 1} qubits with these "
            f"`bond_dims`, got {width}."
        )


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


def _check_cells(kind: str, bits: int, span: float) -> None:
    check_choice("kind", kind, tuple(_RANGES))
    if bits not in _BITS[kind] or isinstance(bits, bool):
        listed = ", ".join(map(str, _BITS[kind]))
        raise ValueError(f"`bits` must be one of {listed} for {kind!r} vectors, got {bits!r}.")
    if not 0 < span <= 1:
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


def check_sides(
    what: str, zq: Tensor | Codes, zd: Tensor | Codes, *, pairwise: bool = False
) -> tuple[Any, Any]:
    """Both sides, vectors in the dtype of the comparison: the wider one, float32 at least.

    Args:
        what: What the columns are, for the message.
        zq: Vectors or codes of the queries.
        zd: Vectors or codes of the documents.
        pairwise: Whether row i is compared with row i alone.

    Raises:
        TypeError, ValueError: See `log_fidelity`.
    """
    dtype = torch.float32
    for name, z in {"zq": zq, "zd": zd}.items():
        if isinstance(z, Codes):
            continue
        if not z.is_floating_point():
            raise TypeError(f"`{name}` must be a floating-point tensor, got {z.dtype}.")
        if z.ndim != 2:
            raise ValueError(f"`{name}` must have two axes, rows and {what}, got {z.ndim}.")
        dtype = torch.promote_types(dtype, z.dtype)
    check_equal(f"number of {what}", zq=zq.shape[1], zd=zd.shape[1])
    check_equal("device", zq=zq.device, zd=zd.device)
    if pairwise:
        check_equal("number of rows", zq=zq.shape[0], zd=zd.shape[0])
    if isinstance(zq, Codes) and isinstance(zd, Codes):
        for part in ("kind", "bond_dims", "span", "bits"):
            check_equal(f"{part} of codes", zq=getattr(zq, part), zd=getattr(zd, part))
    first, second = (z if isinstance(z, Codes) else z.to(dtype) for z in (zq, zd))
    return first, second


def as_numbers(z: Tensor | Codes, dtype: torch.dtype) -> Tensor:
    """What codes stand for, in `dtype`; vectors as they are."""
    return z.dequantize(dtype) if isinstance(z, Codes) else z
