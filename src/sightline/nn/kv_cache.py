"""The static key/value cache: one tensor for all keys, one for all values, allocated once.

Row b's token at position p lies in slot p, so a slot is a position. Rows may have different
lengths. A cache that keeps only the last tokens is caches/rolling.py, one made of pages
caches/paged.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.masks.padding import padding
from sightline.nn.caches.arguments import Ints
from sightline.nn.caches.base import Cache
from sightline.nn.caches.chunk import Chunk
from sightline.nn.caches.placed import placed


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
        self._keys, self._values = self._allocate(self.batch)
        self.device = self._keys.device

    def _allocate(self, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        leading = self.layers, batch, self.kv_heads, self.max_len
        # A tensor made in inference mode could not be written outside of it.
        with torch.inference_mode(False):
            keys, values = (
                torch.zeros(*leading, size, dtype=self.dtype, device=self.device)
                for size in (self.head_dim, self.value_dim)
            )
        return keys, values

    @property
    def nbytes(self) -> int:
        """The bytes that keys and values take, used or not."""
        return self._keys.nbytes + self._values.nbytes

    @property
    def _like(self) -> torch.Tensor:
        return self._keys

    def held(self, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a layer's keys and values up to the longest row, without copying.

        [batch, kv_heads, slots, head_dim]; a row's slots from its length on hold nothing of it.
        """
        return self._view(layer, int(self._lengths.max()))

    def _view(self, layer: int, slots: int) -> tuple[torch.Tensor, torch.Tensor]:
        return (
            self._keys[layer, : self.batch, :, :slots],
            self._values[layer, : self.batch, :, :slots],
        )

    def slots_in_use(self, lengths: Ints) -> int:
        """Return the longest length: slots are positions."""
        return int(lengths.max())

    def _make_room(self, starts: Ints, counts: Ints) -> None:
        stops = starts + counts
        row = int(stops.argmax())
        if stops[row] > self.max_len:
            raise InvalidArgument(
                f"got {counts[row]} new tokens for batch row {row}, which holds {starts[row]} of "
                f"{self.max_len}; wanted at most {self.max_len - starts[row]}; make the cache with "
                f"max_len={stops[row]} or more, or crop it first."
            )

    def _write(
        self, chunk: Chunk, layer: int, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = seen = self._view(layer, chunk.kv_len)
        if chunk.level and chunk.full:
            keys[:, :, chunk.q_offset :].copy_(key)
            values[:, :, chunk.q_offset :].copy_(value)
        else:
            row, place, slot = chunk.indices
            keys[row, :, slot] = key[row, :, place]
            values[row, :, slot] = value[row, :, place]
        return seen

    def place_mask(self, chunk: Chunk, mask: Mask) -> Mask:
        """Return the mask itself where rows are alike, else one moved by each row's length."""
        if chunk.level and chunk.full:
            return mask
        zeros = np.zeros_like(chunk.starts)
        if not chunk.level:
            rows = chunk.starts, zeros, zeros, chunk.counts, zeros, chunk.stops
            return placed(mask, np.stack(rows, axis=1))
        try:  # where it is defined at the padding too, plain padding says it to every engine
            mask.check_reach(chunk.q_offset + chunk.q_len, chunk.kv_len)
        except ShapeMismatch:
            rows = zeros, zeros, zeros, chunk.stops, zeros, chunk.stops
            return placed(mask, np.stack(rows, axis=1))
        real = padding(lengths=chunk.stops)
        return mask & real & real.T

    def _forget_from(self, lengths: Ints) -> None:
        """Nothing to do: slots beyond a row's length are not looked at, and are written anew."""

    def _take_rows(self, rows: Ints) -> None:
        used = int(self._lengths.max())
        if len(rows) > self._keys.shape[1]:
            before = self._keys, self._values
            self._keys, self._values = self._allocate(len(rows))
            to = torch.from_numpy(rows).to(self.device)
            for old, new in zip(before, (self._keys, self._values), strict=True):
                for layer in range(self.layers):
                    new[layer, :, :, :used] = old[layer][to, :, :used]
            return
        moved = np.flatnonzero(rows != np.arange(len(rows)))
        if not len(moved) or not used:
            return
        to, source = (torch.from_numpy(each).to(self.device) for each in (moved, rows[moved]))
        for tensor in (self._keys, self._values):
            for layer in range(self.layers):  # one at a time, so that little memory is copied
                tensor[layer][to, :, :used] = tensor[layer][source, :, :used]
