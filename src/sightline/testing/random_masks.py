"""Random masks of two parts, as people combine them, for measuring how arrays are read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sightline.masks.data import documents, prefix_lm, spans
from sightline.masks.explicit import per_head
from sightline.masks.grid import shifted_window
from sightline.masks.mask import Mask
from sightline.masks.nodes import And, Or
from sightline.masks.padding import padding
from sightline.masks.periodic import block_causal, chunks, dilated
from sightline.masks.positional import causal, prefix, window

SIZES = (8, 12, 16, 24, 30, 32, 48, 64, 96, 100, 128, 256)
# One mask in so many tells heads apart.
ONE_IN_PER_HEAD = 12


@dataclass(frozen=True)
class Draw:
    """What the parts of one mask are drawn with: so many tokens, and batch rows where they differ.

    A mask that carries data has one row of it for each batch row, or one for all.
    """

    random: np.random.Generator
    size: int
    batch: int

    def integer(self, least: int, stop: int) -> int:
        """Return an integer from ``least`` up to but not including ``stop``, or ``least``."""
        return int(self.random.integers(least, max(stop, least + 1)))

    def rows(self) -> int:
        """Return how many rows of data a part has."""
        return self.batch if self.random.integers(0, 2) else 1


def _lengths(draw: Draw) -> list[int]:
    return draw.random.integers(1, draw.size + 1, draw.rows()).tolist()


def _documents(draw: Draw) -> Mask:
    rows: list[list[int]] = []
    for _ in range(draw.rows()):
        cuts = draw.random.integers(1, draw.size, draw.integer(1, 6))
        rows.append(np.diff(np.unique([0, *cuts, draw.size])).tolist())
    return documents(lengths=rows if len(rows) > 1 else rows[0])


def _spans(draw: Draw) -> Mask:
    ids, count = [-1] * draw.size, min(draw.size // 4, 4)
    starts = np.sort(draw.random.choice(draw.size, count, replace=False)).tolist()
    for number, start in enumerate(starts):
        stop = min(draw.size, start + draw.integer(2, draw.size // 4))
        ids[start:stop] = [number] * (stop - start)
    return spans(ids)


def _shifted_window(draw: Draw) -> Mask:
    heights = [h for h in range(2, draw.size // 2 + 1) if draw.size % h == 0]
    height = int(draw.random.choice(heights))
    grid = height, draw.size // height
    side = draw.integer(2, min(*grid, 8) + 1)
    return shifted_window(grid, side, draw.integer(0, side))


def _window(draw: Draw) -> Mask:
    left, right = (draw.integer(0, draw.size // 2) for _ in range(2))
    kind = draw.integer(0, 4)
    return (window(left, right), window(left, 0), window(left), window(right=right))[kind]


def _padding(draw: Draw) -> Mask:
    return padding(lengths=_lengths(draw))


def _left_padding(draw: Draw) -> Mask:
    return padding(lengths=_lengths(draw), side="left", total=draw.size)


def _dilated(draw: Draw) -> Mask:
    stride = draw.integer(2, draw.size // 3)
    return dilated(stride, draw.integer(0, stride) if draw.integer(0, 3) == 0 else 0)


def _block(draw: Draw) -> int:
    return draw.integer(2, draw.size // 2)


KINDS: dict[str, Callable[[Draw], Mask]] = {
    "causal": lambda draw: causal(),
    "strict": lambda draw: causal(strict=True),
    "window": _window,
    "padding": _padding,
    "left padding": _left_padding,
    "documents": _documents,
    "spans": _spans,
    "prefix": lambda draw: prefix(draw.integer(1, draw.size)),
    "prefix_lm": lambda draw: prefix_lm(_lengths(draw)),
    "chunks": lambda draw: chunks(_block(draw)),
    "block_causal": lambda draw: block_causal(_block(draw)),
    "shifted_window": _shifted_window,
    "dilated": _dilated,
}


def two_parts(random: np.random.Generator) -> tuple[Mask, int, str]:
    """Return a random ``a & b`` or ``a | b``, for how many tokens, and the names of its kinds.

    Pairs that the algebra makes one atom are drawn again.
    """
    while True:
        draw = Draw(random, int(random.choice(SIZES)), int(random.choice([1, 2, 3, 4])))
        first, second = random.choice(list(KINDS), 2).tolist()
        a = KINDS[first](draw)
        if draw.integer(0, ONE_IN_PER_HEAD) == 0:
            b = per_head([KINDS[second](draw) for _ in range(draw.integer(2, 5))])
            second = f"per_head({second})"
        else:
            b = KINDS[second](draw)
        sign = "&" if draw.integer(0, 2) else "|"
        mask = a & b if sign == "&" else a | b
        if isinstance(mask, (And, Or)):
            return mask, draw.size, f" {sign} ".join(sorted([first, second]))
