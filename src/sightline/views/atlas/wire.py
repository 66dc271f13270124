"""Messages between the server and its worker: a line of JSON, then the bytes of arrays.

Plain data only: what is read can be numbers, text and arrays of a few kinds, never code.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["receive", "send"]

_LENGTH = struct.Struct(">I")
_KINDS = frozenset(("uint8", "float32", "int64"))


def send(
    stream: IO[bytes], message: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None
) -> None:
    """Write one message; its arrays are uint8, float32 or int64.

    >>> import io
    >>> stream = io.BytesIO()
    >>> send(stream, {"do": "look"}, {"cells": np.uint8([[1, 2]])})
    >>> _ = stream.seek(0)
    >>> receive(stream)
    ({'do': 'look'}, {'cells': array([[1, 2]], dtype=uint8)})
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    kinds = [[name, array.dtype.name, list(array.shape)] for name, array in arrays.items()]
    head = json.dumps([message, kinds]).encode()
    stream.write(_LENGTH.pack(len(head)) + head)
    for array in arrays.values():
        stream.write(array.tobytes())
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read one message.

    Raises:
        EOFError: the other side is gone.
    """
    head = json.loads(_exactly(stream, _LENGTH.unpack(_exactly(stream, _LENGTH.size))[0]))
    message, kinds = head
    arrays: dict[str, NDArray[Any]] = {}
    for name, kind, shape in kinds:
        if kind not in _KINDS:
            raise EOFError(f"an array of {kind} was not expected")
        dtype = np.dtype(kind)
        size = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(_exactly(stream, size), dtype).reshape(shape)
    return message, arrays


def _exactly(stream: IO[bytes], size: int) -> bytes:
    read = stream.read(size)
    if read is None or len(read) < size:
        raise EOFError("the other side is gone")
    return read
