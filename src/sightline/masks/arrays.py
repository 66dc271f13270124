"""The values that masks carry: read-only arrays known by a digest, and the cells they answer for.

Nothing here knows what a mask means. ``Data`` makes arrays comparable and hashable at a fixed
cost; ``Cells`` names the (batch, head, query, key) at which a mask is asked, in numpy or torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Numpy arrays, torch tensors or whatever else has + - * // % comparisons, & | ~ and indexing.
# The masks use nothing beyond that, so that one definition serves every array library.
Array = Any


def _identity(data: NDArray[Any]) -> Array:
    return data


class Data:
    """A read-only copy of an array, compared and hashed by the digest of its content.

    The digest is computed when it is first needed and kept, so that equality and hashing of a
    mask with a million positions cost the same as those of a small one from then on.
    """

    __slots__ = ("_digest", "array")

    array: NDArray[Any]
    _digest: bytes | None

    def __init__(self, array: NDArray[Any]) -> None:
        copy = np.array(array, order="C", copy=True)
        copy.setflags(write=False)
        # A view of an array that cannot be written cannot be made writable again.
        object.__setattr__(self, "array", copy.view())
        object.__setattr__(self, "_digest", None)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"the data of a mask cannot be changed, not even {name!r}")

    @property
    def digest(self) -> bytes:
        """Sixteen bytes that stand for dtype, shape and content."""
        if self._digest is None:
            from hashlib import blake2b  # not worth its import time until something is compared

            header = f"{self.array.dtype.str}{self.array.shape}".encode()
            content = cast(Any, self.array.reshape(-1).view(np.uint8))
            digest = blake2b(content, digest_size=16, key=blake2b(header).digest()).digest()
            object.__setattr__(self, "_digest", digest)
            return digest
        return self._digest

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Data):
            return NotImplemented
        return self is other or (
            self.array.shape == other.array.shape and self.digest == other.digest
        )

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Data({self.array.dtype}{list(self.array.shape)}, {self.digest.hex()[:8]})"

    def __reduce__(self) -> tuple[type[Data], tuple[NDArray[Any]]]:
        return Data, (self.array,)


@dataclass(frozen=True)
class Cells:
    """The (batch, head, query, key) cells at which a mask is asked: four broadcastable arrays.

    ``place`` brings a numpy array next to them (for torch: onto their device).
    """

    batch: Array
    head: Array
    query: Array
    key: Array
    place: Callable[[NDArray[Any]], Array] = _identity

    def at(self, query: Array, key: Array) -> Cells:
        """The same batch rows and heads, other positions."""
        return Cells(self.batch, self.head, query, key, self.place)

    def lookup(self, table: NDArray[Any], position: Array) -> tuple[Array, Array]:
        """Return (``table[batch row, position]``, whether the position lies in the table).

        ``table`` is ``[B, N]`` with N >= 1, and B = 1 for a table that serves every batch row.
        Outside, the value of position 0 stands in; the caller must mask it out.
        """
        inside = position < table.shape[1]
        row = self.batch if table.shape[0] > 1 else 0
        return self.place(table)[row, position * inside], inside

    def per_row(self, column: NDArray[Any]) -> Array:
        """Return ``column[batch row]`` for a ``[B]`` array (B = 1 serves every batch row)."""
        return self.place(column)[self.batch if column.shape[0] > 1 else 0]

    def count_at_or_before(self, bounds: NDArray[Any], position: Array) -> Array:
        """Return how many of the rising ``bounds`` are at most ``position``, elementwise."""
        if type(position).__module__ == "numpy":
            return cast(Any, np.searchsorted(bounds, position, side="right"))
        total = position * 0
        for bound in bounds.tolist():
            total = total + (position >= bound)
        return total


def as_numpy(value: Any) -> NDArray[Any]:
    """Return an array or tensor of any library as numpy, wherever it lives.

    bfloat16, which numpy lacks, becomes float32. Whatever numpy raises for what is no array is
    passed on.
    """
    plain = value.detach().cpu() if hasattr(value, "detach") else value
    if str(getattr(plain, "dtype", "")).endswith("bfloat16"):
        plain = plain.float() if hasattr(plain, "float") else plain.astype(np.float32)
    return np.asarray(plain)


def positive_part(value: Array) -> Array:
    """Return ``max(value, 0)`` with nothing but operators that every array library has."""
    return value * (value > 0)
