"""The static key/value cache: one tensor for all keys, one for all values, allocated once.

Row b's token at position p lies in slot p, so a slot is a position. Rows may have different
lengths. A cache that keeps only the last tokens is caches/rolling.py, one made of pages
caches/paged.py.
"""

from __future__ import annotations

from typing import Any

import torch

from sightline.masks.mask import Mask
from sightline.nn.caches.arguments import Ints
from sightline.nn.caches.base import Cache
from sightline.nn.caches.chunk import Chunk
from sightline.nn.caches.placed import place_in_slots
from sightline.nn.caches.slab import Pair, Slab, put, single_tokens


class KVCache(Cache):
    """Keys and values [batch, kv_heads, max_len, head_dim] of every layer, appended to in place.

    Each batch row has its own length, so that prompts of different lengths, and rows that end at
    different times, need no padding in the cache. ``extend`` makes room for new tokens and
    returns a chunk, whose ``layer(i)`` writes a layer's keys and values and gives back all that
    there is to see. With it, one ``attend`` is the same rows of the full pass, bit for bit on
    engine ``cpu``, whatever the mask and however the tokens come: all at once, in chunks, or one
    at a time.

    Args:
        layers: how many layers.
        batch: how many rows.
        kv_heads: key heads of a layer.
        max_len: how many tokens a row may hold.
        head_dim: size of a key.
        value_dim: size of a value; None means ``head_dim``.
        dtype: of keys and values.
        device: where they lie; the lengths are always on the host.

    Raises:
        InvalidArgument: a size below 1, or no floating dtype.

    >>> import sightline as sl, torch
    >>> cache = sl.nn.KVCache(1, 2, 1, 8, 4)
    >>> chunk = cache.extend([3, 1])  # prompts of 3 tokens and of 1
    >>> query = key = value = torch.ones(2, 1, 3, 4)
    >>> layer = chunk.layer(0)
    >>> keys, values = layer.append(key, value)
    >>> mask = layer.mask(sl.causal())
    >>> output = sl.attend(query, keys, values, mask, q_offset=layer.q_offset)
    >>> cache.lengths, chunk.positions.tolist()
    (array([3, 1]), [[0, 1, 2], [0, 1, 2]])
    >>> cache.extend(1).mask(sl.causal()).dense(1, 4)[:, 0].astype(int)
    array([[[1, 1, 1, 1]],
    <BLANKLINE>
           [[1, 1, 0, 0]]])
    """

    def __init__(
        self,
        layers: int,
        batch: int,
        kv_heads: int,
        max_len: int,
        head_dim: int,
        *,
        value_dim: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: Any = "cpu",
    ) -> None:
        super().__init__(
            layers,
            batch,
            kv_heads,
            head_dim,
            max_len=max_len,
            value_dim=value_dim,
            dtype=dtype,
            device=device,
        )
        leading = self.layers, self.batch, self.kv_heads, self.max_len
        sizes = self.head_dim, self.value_dim
        self._slab = Slab(leading, sizes, self.dtype, self.device)
        self.device = self._like.device

    @property
    def nbytes(self) -> int:
        """The bytes that keys and values take, used or not."""
        return self._slab.nbytes

    @property
    def _like(self) -> torch.Tensor:
        return self._slab.tensors[0]

    def held(self, layer: int) -> Pair:
        """Return a layer's keys and values up to the longest row, without copying.

        [batch, kv_heads, slots, head_dim]; a row's slots from its length on hold nothing of it.
        """
        return self._slab.view(layer, self.batch, int(self._lengths.max()))

    def slots_in_use(self, lengths: Ints) -> int:
        """Return the longest length: slots are positions."""
        return int(lengths.max())

    def _make_room(self, starts: Ints, counts: Ints) -> None:
        self._check_max_len(starts, counts)

    def _write(self, chunk: Chunk, layer: int, key: torch.Tensor, value: torch.Tensor) -> Pair:
        seen = self._slab.view(layer, self.batch, chunk.kv_len)
        index = chunk.kept("index", lambda: self._index(chunk))
        for slots, new in zip(seen, (key, value), strict=True):
            put(slots, new, chunk.starts, chunk.counts, index)
        return seen

    def _index(self, chunk: Chunk) -> Pair | None:
        if chunk.q_len != 1 or (chunk.level and chunk.full):
            return None
        return single_tokens(chunk.starts, chunk.counts, self.device)

    def place_mask(self, chunk: Chunk, mask: Mask) -> Mask:
        """Return the mask itself where rows are alike, else one moved by each row's length."""
        return place_in_slots(chunk, mask)

    def _forget_from(self, lengths: Ints) -> None:
        """Nothing to do: slots beyond a row's length are not looked at, and are written anew."""

    def _take_rows(self, rows: Ints) -> None:
        self._slab.take_rows(rows, int(self._lengths.max()))
