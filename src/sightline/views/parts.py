"""What a translation consists of: arrays, flags, and objects taken apart; for tables and files.

Any library's arrays are read through numpy, by what they can do and not by their type, so that no
framework is loaded here.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument, MissingExtra
from sightline.masks.arrays import as_numpy
from sightline.readers.mask_file import FLAGS

__all__ = ["ARRAY_SUFFIXES", "Part", "encoded", "parts_of"]

ARRAY_SUFFIXES = (".npy", ".safetensors")
_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Part:
    """One part of a translation.

    Attributes:
        name: the keyword, or ``object.attribute`` of an object taken apart; "" for a bare array.
        array: its numbers, or None if it is no array.
        value: what it is otherwise: a flag, a number, a tuple of them, or the words for a function.
        dtype: the library's own name of its type.
        plain: whether a file can hold it: an array, or a value of JSON.
    """

    name: str
    array: NDArray[Any] | None
    value: Any
    dtype: str
    plain: bool = True


def parts_of(made: Any) -> list[Part]:
    """Return the parts of what ``lower`` gave, in its order.

    The keywords of a call that an object holds stand beside the object's other attributes.

    >>> [(part.name, part.dtype, part.value) for part in parts_of({"is_causal": True})]
    [('is_causal', 'bool', True)]
    """
    return list(_parts("", made, inside=False))


def _parts(name: str, value: Any, *, inside: bool) -> Iterator[Part]:
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _parts(f"{name}.{key}" if name else str(key), each, inside=inside)
    elif hasattr(value, "shape") and hasattr(value, "dtype"):
        yield Part(name, as_numpy(value), None, str(value.dtype).removeprefix("torch."))
    elif _is_plain(value):
        yield Part(name, None, value, type(value).__name__)
    elif callable(value):
        called = getattr(value, "__qualname__", type(value).__name__).rpartition(".")[2]
        yield Part(name, None, f"<function {called}>", "function", plain=False)
    elif inside or not hasattr(value, "__dict__"):
        yield Part(name, None, f"<{type(value).__name__}>", type(value).__name__, plain=False)
    else:
        for key, each in vars(value).items():
            if key == "keywords" and isinstance(each, Mapping):
                yield from _parts(name, each, inside=True)
            elif not key.startswith("_"):
                yield from _parts(f"{name}.{key}" if name else key, each, inside=True)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(_is_plain(each) for each in value)
    return isinstance(value, _PLAIN)


def encoded(parts: Iterable[Part], suffix: str) -> bytes:
    """Return the content of a file that holds the parts.

    A .npy file holds a single array and no flags. A .safetensors file holds every array by its
    name, and flags as JSON in its metadata.

    Raises:
        InvalidArgument: a part that the file cannot hold, or no array at all.
        MissingExtra: safetensors is not installed.
    """
    each = list(parts)
    functions = [part.name for part in each if not part.plain]
    arrays = {part.name: part.array for part in each if part.array is not None}
    if functions:
        raise InvalidArgument(
            f"{functions[0]} is no data and cannot be written to a file; leave --out out, and make "
            "it where it is used: sl.lower(mask, to=...)."
        )
    if not arrays:
        said = ", ".join(f"{part.name}={part.value!r}" for part in each)
        raise InvalidArgument(
            f"this is said without an array ({said}), so there is nothing to write; leave --out "
            "out, or convert to numpy.bool."
        )
    if suffix == ".npy":
        return _npy(arrays)
    flags = {part.name: part.value for part in each if part.array is None}
    return _safetensors(arrays, {FLAGS: json.dumps(flags)})


def _npy(arrays: dict[str, NDArray[Any]]) -> bytes:
    if len(arrays) > 1:
        raise InvalidArgument(
            f"a .npy file holds one array, and these are {len(arrays)} ({', '.join(arrays)}); give "
            "a name that ends in .safetensors."
        )
    file = io.BytesIO()
    np.save(file, next(iter(arrays.values())), allow_pickle=False)
    return file.getvalue()


def _safetensors(arrays: dict[str, NDArray[Any]], metadata: dict[str, str]) -> bytes:
    if find_spec("safetensors") is None:
        raise MissingExtra(what="writing a .safetensors file", package="safetensors", extra="torch")
    from safetensors.numpy import save

    named = {name or "mask": np.array(array, order="C") for name, array in arrays.items()}
    return save(named, metadata=metadata)
