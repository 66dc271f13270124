"""Masks drawn by hand, as tests write them: rows of x (may attend) and . (may not).

Rows are queries, columns are keys. A drawing says what to expect without computing it by the code
under test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = Sequence[str]


def drawing(allowed: NDArray[np.bool_]) -> list[str]:
    """Return bools ``[rows, columns]`` as a drawing.

    >>> drawing(np.tri(2, 3, dtype=bool))
    ['x..', 'xx.']
    """
    return ["".join("x" if cell else "." for cell in row) for row in allowed]


@dataclass(frozen=True)
class Drawings:
    """Holds the bools that ``dense(mask, q_len, kv_len, q_offset, kv_offset)`` gives to drawings.

    >>> import sightline as sl
    >>> drawn = Drawings(lambda mask, *at: mask.dense(*at))
    >>> drawn.alone(sl.causal(), ["x..", "xx."])
    >>> drawn.alone(sl.causal(), ["x..", "x.."])
    Traceback (most recent call last):
    ...
    AssertionError: causal()
    got:
    x..
    xx.
    drawn:
    x..
    x..
    """

    dense: Callable[..., NDArray[np.bool_]]

    def alone(self, mask: Any, rows: Rows, q_offset: int = 0, kv_offset: int = 0) -> None:
        """The one picture of a mask that tells neither batch rows nor heads apart."""
        allowed = self.dense(mask, len(rows), len(rows[0]), q_offset, kv_offset)
        _check_axes(mask, allowed, (1, 1))
        _compare(mask, allowed[0], [rows])

    def per_batch(self, mask: Any, *pictures: Rows) -> None:
        """One picture for each batch row, the same for every head."""
        allowed = self.dense(mask, len(pictures[0]), len(pictures[0][0]), 0, 0)
        _check_axes(mask, allowed, (len(pictures), 1))
        _compare(mask, allowed[:, 0], pictures)

    def per_head(self, mask: Any, *pictures: Rows) -> None:
        """One picture for each head, the same for every batch row."""
        allowed = self.dense(mask, len(pictures[0]), len(pictures[0][0]), 0, 0)
        _check_axes(mask, allowed, (1, len(pictures)))
        _compare(mask, allowed[0], pictures)


def _check_axes(mask: Any, allowed: NDArray[np.bool_], axes: tuple[int, int]) -> None:
    if allowed.dtype != np.bool_ or allowed.shape[:2] != axes:
        raise AssertionError(
            f"{mask!r} gave {allowed.dtype} {list(allowed.shape)}, drawn are [batch, heads] = "
            f"{list(axes)} of bool"
        )


def _compare(mask: Any, allowed: Iterable[NDArray[np.bool_]], pictures: Sequence[Rows]) -> None:
    for each, rows in zip(allowed, pictures, strict=True):
        got, wanted = "\n".join(drawing(each)), "\n".join(rows)
        if got != wanted:
            raise AssertionError(f"{mask!r}\ngot:\n{got}\ndrawn:\n{wanted}")
