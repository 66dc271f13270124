"""Masks that are functions: nothing is known of them but their answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.errors import InvalidMask
from sightline.masks.arguments import as_size, describe
from sightline.masks.arrays import Array, Cells
from sightline.masks.bounds import EMPTY, FULL, PARTIAL, every
from sightline.masks.mask import Mask, Spec
from sightline.masks.nodes import Atom

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.bounds import Bools, States, Tiles


@dataclass(frozen=True, slots=True, repr=False)
class Predicate(Atom):
    """As an opaque function says; only asking it tells."""

    fn: Callable[[Any, Any, Any, Any], Any]
    tile_bounds: Callable[..., Any] | None
    batch_size: int | None
    head_count: int | None

    @property
    def batch(self) -> int:
        return self.batch_size or 1

    @property
    def heads(self) -> int:
        return self.head_count or 1

    def allowed(self, cells: Cells) -> Array:
        # An axis of size 1 serves every row, so the function is asked about its row 0.
        batch = cells.batch * (self.batch > 1) if self.batch_size else Undeclared("batch")
        head = cells.head * (self.heads > 1) if self.head_count else Undeclared("heads")
        try:
            result = self.fn(batch, head, cells.query, cells.key)
        except ValueError as mistake:
            if "truth value" not in str(mistake):
                raise
            raise InvalidMask(
                f"predicate {self.label()} asked an array for its truth value; use & | ~ instead "
                "of and/or/not, and no if."
            ) from mistake
        if isinstance(result, bool):
            return (cells.key >= 0) & result
        if not str(getattr(result, "dtype", "")).endswith("bool"):
            raise InvalidMask(
                f"predicate {self.label()} must return bools, got {describe(result)}; "
                "end it with a comparison such as k <= q."
            )
        self.check_shape(tuple(result.shape), cells)
        return result

    def check_shape(self, shape: tuple[int, ...], cells: Cells) -> None:
        """Refuse an answer that is not elementwise: each axis 1 or that of the cells."""
        each = (cells.batch, cells.head, cells.query, cells.key)
        full = np.broadcast_shapes(*(tuple(np.shape(index)) for index in each))
        fits = len(shape) == len(full) and all(
            n in (1, m) for n, m in zip(shape, full, strict=True)
        )
        if not fits:
            raise InvalidMask(
                f"predicate {self.label()} was asked for shape {list(full)} and answered with "
                f"{list(shape)}; make it elementwise: operators on b, h, q and k, no indexing."
            )

    def bounds(self, tiles: Tiles) -> States:
        if self.tile_bounds is None:
            return every(PARTIAL, tiles)
        batch = tiles.batch * (self.batch > 1) if self.batch_size else Undeclared("batch")
        head = tiles.head * (self.heads > 1) if self.head_count else Undeclared("heads")
        ends = (tiles.q_first, tiles.q_last, tiles.k_first, tiles.k_last)
        found = np.asarray(self.tile_bounds(batch, head, *ends))
        if found.shape != ends[0].shape or found.dtype.kind not in "iu":
            raise InvalidMask(
                f"the bounds of predicate {self.label()} must return integers of shape "
                f"{list(ends[0].shape)}, one a tile, got {describe(found)}."
            )
        if ((found < EMPTY) | (found > FULL)).any():
            raise InvalidMask(
                f"the bounds of predicate {self.label()} must return 0 (nothing allowed), 1 "
                f"(cannot say) or 2 (all allowed), got {sorted(set(found.tolist()))[:5]}."
            )
        self.check_promises(tiles, found)
        return found.astype(np.int8)

    def check_promises(self, tiles: Tiles, found: NDArray[Any]) -> None:
        """Ask the function for the corners of the tiles that its bounds call empty or full."""
        for query in (tiles.q_first, tiles.q_last):
            for key in (tiles.k_first, tiles.k_last):
                allowed: Bools = self.allowed(Cells(tiles.batch, tiles.head, query, key))
                broken = np.flatnonzero((allowed & (found == EMPTY)) | (~allowed & (found == FULL)))
                if len(broken):
                    t = broken[0]
                    promise = "nothing" if found[t] == EMPTY else "everything"
                    raise InvalidMask(
                        f"the bounds of predicate {self.label()} promise {promise} for queries "
                        f"{tiles.q_first[t]} .. {tiles.q_last[t]} and keys {tiles.k_first[t]} .. "
                        f"{tiles.k_last[t]}, but the predicate itself says otherwise of query "
                        f"{query[t]} and key {key[t]}; return 1 where it is not certain."
                    )

    def label(self) -> str:
        """Return the function's name and where it is defined, for people."""
        name = getattr(self.fn, "__qualname__", type(self.fn).__name__)
        code = getattr(self.fn, "__code__", None)
        where = "" if code is None else f" at line {code.co_firstlineno}"
        return f"<opaque {name}{where}>"

    def spec(self) -> Spec:
        arguments = {
            "fn": self.fn,
            "bounds": self.tile_bounds,
            "batch": self.batch_size,
            "heads": self.head_count,
        }
        return "predicate", arguments


class Undeclared:
    """Stands for an index that a predicate did not declare it reads; any use of it raises."""

    def __init__(self, axis: str) -> None:
        object.__setattr__(self, "_axis", axis)

    def _refuse(self, *_: object) -> Any:
        axis = object.__getattribute__(self, "_axis")
        raise InvalidMask(
            f"this predicate reads its {axis} index, so it differs between {axis}; say for how "
            f"many: predicate(fn, {axis}=...)."
        )

    __getattr__ = __getitem__ = __len__ = __contains__ = __array__ = _refuse
    __index__ = __int__ = __float__ = __complex__ = __bool__ = __hash__ = _refuse
    __neg__ = __pos__ = __invert__ = __abs__ = __round__ = _refuse
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = _refuse
    __add__ = __sub__ = __mul__ = __floordiv__ = __mod__ = __truediv__ = __divmod__ = _refuse
    __radd__ = __rsub__ = __rmul__ = __rfloordiv__ = __rmod__ = __rtruediv__ = _refuse
    __and__ = __or__ = __xor__ = __lshift__ = __rshift__ = __pow__ = __matmul__ = _refuse
    __rand__ = __ror__ = __rxor__ = __rlshift__ = __rrshift__ = __rpow__ = _refuse
    __rmatmul__ = __rdivmod__ = _refuse


# -- what users call --------------------------------------------------------------------------


def predicate(
    fn: Callable[[Any, Any, Any, Any], Any],
    bounds: Callable[..., Any] | None = None,
    batch: int | None = None,
    heads: int | None = None,
) -> Mask:
    """As ``fn(b, h, q, k)`` says: an opaque function, elementwise over integer arrays.

    Args:
        fn: takes the batch row, head, query and key as broadcastable integer arrays (numpy's or
            torch's) and returns bools; use operators only (``& | ~``, not ``and``/``or``/``not``).
        bounds: optionally ``bounds(b, h, q_first, q_last, k_first, k_last)``, which classifies
            rectangles so that planning need not ask ``fn`` for every cell: integer arrays in, one
            entry a rectangle, both ends belonging to it; out 0 where nothing in it is allowed, 2
            where everything is, 1 where it cannot say. 0 and 2 are promises: their corners are
            checked, the rest is believed.
        batch: the number of batch rows, if ``fn`` reads b. Reading it undeclared raises.
        heads: the number of heads, if ``fn`` reads h.

    Two predicates are equal only if they are the same function object. The text form says that
    the function is opaque and cannot be parsed back.

    >>> import sightline as sl
    >>> def every_third(b, h, q, k):
    ...     return (q + k) % 3 == 0
    >>> sl.predicate(every_third).dense(2, 4)[0, 0].astype(int)
    array([[1, 0, 0, 1],
           [0, 0, 1, 0]])
    """
    if not callable(fn):
        raise InvalidMask(f"predicate(fn=) must be a function of (b, h, q, k), got {describe(fn)}.")
    try:
        hash(fn)
    except TypeError:
        raise InvalidMask(
            f"predicate(fn=) must be hashable, got {describe(fn)}; give its class a __hash__, or "
            "pass its __call__ wrapped in a function."
        ) from None
    if bounds is not None and not callable(bounds):
        raise InvalidMask(f"predicate(bounds=) must be a function or None, got {describe(bounds)}.")
    rows = None if batch is None else as_size(batch, "predicate(batch=)")
    return Predicate(
        fn, bounds, rows, None if heads is None else as_size(heads, "predicate(heads=)")
    )


__all__ = ["predicate"]
