"""The safetensors format: a JSON table of tensors, then their bytes.

Read here with numpy alone, since a mask needs no more: eight bytes of length, the table, the
data. Every number in the table is checked against the file before it is used.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import DataError

__all__ = ["read_tensors"]

_DTYPES = {
    "BOOL": "?",
    "U8": "u1",
    "I8": "i1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "BF16": "<u2",
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
}
_LENGTH_BYTES = 8
_LONGEST_TABLE = 100_000_000


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Callable[[], NDArray[Any]]]:
    """Return a function for each tensor of the file that reads it; bfloat16 comes as float32.

    Raises:
        DataError: if the file is not whole or not of this format.
    """
    name = os.fspath(path)
    size = Path(name).stat().st_size
    with Path(name).open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if size < _LENGTH_BYTES or length > min(size - _LENGTH_BYTES, _LONGEST_TABLE):
            raise _broken(name, f"it has {size} bytes, too few for its table of tensors")
        raw = file.read(length)
    try:
        table = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _broken(name, "its table of tensors is not JSON") from error
    if not isinstance(table, dict):
        raise _broken(name, "its table of tensors is not an object")
    start = _LENGTH_BYTES + length
    return {
        key: partial(_read, name, key, _checked(name, key, entry, size - start), start)
        for key, entry in table.items()
        if key != "__metadata__"
    }


@dataclass(frozen=True)
class _Entry:
    dtype: str
    shape: tuple[int, ...]
    first: int
    last: int


def _read(path: str, key: str, entry: _Entry, start: int) -> NDArray[Any]:
    """Read one tensor, whose bytes are counted from ``start``."""
    dtype, shape = entry.dtype, entry.shape
    if dtype not in _DTYPES:
        raise DataError(f"tensor {key!r} is of type {dtype}, which is not read here.", path=path)
    kind = np.dtype(_DTYPES[dtype])
    wanted = math.prod(shape) * kind.itemsize
    if entry.last - entry.first != wanted:
        raise _broken(
            path,
            f"tensor {key!r} of shape {list(shape)} and type {dtype} needs {wanted} bytes "
            f"and has {entry.last - entry.first}",
        )
    with Path(path).open("rb") as file:
        file.seek(start + entry.first)
        raw = file.read(wanted)
    values = np.frombuffer(raw, dtype=kind).reshape(shape)
    if dtype == "BOOL":
        # A byte that is neither 0 nor 1 would be a bool that is unequal to True and to False.
        values = np.frombuffer(raw, dtype=np.uint8).reshape(shape) != 0
    if dtype == "BF16":
        # The upper half of a float32.
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values


def _checked(path: str, key: str, entry: Any, available: int) -> _Entry:
    """Return an entry of the table, if it describes bytes that the file has."""
    try:
        dtype, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError) as error:
        raise _broken(path, f"its table does not describe tensor {key!r}") from error
    numbers = [*shape, first, last] if isinstance(shape, list) else [None]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise _broken(path, f"the shape or place of tensor {key!r} is not made of sizes")
    if not first <= last <= available:
        raise _broken(
            path,
            f"tensor {key!r} lies at bytes {first} to {last} of {available}; the file is cut off "
            "or damaged",
        )
    return _Entry(str(dtype), tuple(shape), first, last)


def _broken(path: str, reason: str) -> DataError:
    return DataError(
        f"cannot be read as .safetensors: {reason}; wanted a whole file of that format.", path=path
    )
