"""The rectangle that an array was taken from, and sets of its cells as packed bits.

All of the search is set algebra on words: ``[batch|1, heads|1, queries, words]``, 64 keys of a row
in each word, 0 beyond the last key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from sightline.masks.bits import WORD, as_bools, bits, words_across
from sightline.masks.bounds import Tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.masks.bits import Words
    from sightline.masks.mask import Mask

# The words of so many masks are kept: a search asks for the same ones again and again.
MOST_KEPT = 256
# Keys that are read at a time: what bits.py prepares for a tile grows with the square of these.
WIDEST_TILE = 1024


@dataclass(frozen=True)
class Canvas:
    """Where the cells are: so many batch rows, heads, queries and keys, from this query on."""

    batch: int
    heads: int
    q_len: int
    kv_len: int
    q_offset: int
    _kept: dict[Mask, Words] = field(default_factory=dict, compare=False, repr=False)

    @property
    def positions(self) -> int:
        """The number of positions from 0 up to the last query or key."""
        return max(self.q_offset + self.q_len, self.kv_len)

    @property
    def cells(self) -> int:
        """The number of cells of all batch rows and heads."""
        return self.batch * self.heads * self.q_len * self.kv_len

    @property
    def query(self) -> NDArray[np.int64]:
        """The absolute positions of the queries."""
        return np.arange(self.q_offset, self.q_offset + self.q_len)

    def words(self, mask: Mask) -> Words:
        """Return the cells that ``mask`` allows; its own batch and head axes. Kept."""
        found = self._kept.get(mask)
        if found is None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            found = self._kept[mask] = self._read(mask)
        return found

    def _read(self, mask: Mask) -> Words:
        width = min(self.kv_len, WIDEST_TILE)
        blocks = -(-self.kv_len // width)
        rows, first = np.divmod(np.arange(mask.batch * mask.heads * blocks), blocks)
        first = first * width
        none = np.zeros_like(rows)
        tiles = Tiles(
            rows // mask.heads,
            rows % mask.heads,
            none + self.q_offset,
            none + self.q_offset + self.q_len - 1,
            first,
            np.minimum(first + width, self.kv_len) - 1,
        )
        words = bits(mask, tiles, self.q_len, width)
        by_row = words.reshape(mask.batch, mask.heads, blocks, self.q_len, -1).swapaxes(2, 3)
        flat = by_row.reshape(mask.batch, mask.heads, self.q_len, -1)
        return flat[..., : words_across(self.kv_len)]

    def pack(self, cells: NDArray[np.bool_]) -> Words:
        """Return bools ``[..., queries, keys]`` as words."""
        width = words_across(self.kv_len) * WORD
        padded = np.zeros((*cells.shape[:-1], width), dtype=np.bool_)
        padded[..., : self.kv_len] = cells
        return np.packbits(padded, axis=-1, bitorder="little").view("<u8")

    def unpack(self, words: Words) -> NDArray[np.bool_]:
        """Return words as bools ``[..., queries, keys]``."""
        return as_bools(words, self.kv_len)
