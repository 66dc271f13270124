"""A cache of bounded memory: the first tokens of a row (sinks) and its last ones (a window).

Slots are used again, positions stay absolute. A mask that shows a token what is gone is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sightline.errors import CannotExpress, InvalidArgument
from sightline.masks.arguments import as_int
from sightline.masks.bounds import EMPTY, Tiles
from sightline.masks.mask import Mask
from sightline.masks.text import short
from sightline.nn.caches.arguments import Ints, as_size
from sightline.nn.caches.base import ENDLESS, Cache
from sightline.nn.caches.chunk import Chunk
from sightline.nn.caches.placed import placed
from sightline.nn.caches.slab import Pair, Slab, put, single_tokens


class RollingKVCache(Cache):
    """Keys and values of each row's first ``sinks`` tokens and of its last ``window`` ones.

    Serves every mask that shows a token nothing else: ``window(left=window - 1, right=0)``, or
    that with ``sinks(n)`` (StreamingLLM). Slots lie in the order of their positions, so that on
    engine ``cpu`` the outputs are those of a full cache bit for bit. A mask that needs a token
    which is gone is refused. Rows do not end: ``lengths`` counts all tokens a row has had.

    When a row's slots are full its window is moved down once, which happens every ``max_chunk``
    tokens or so.

    Args:
        layers, batch, kv_heads, head_dim: as for ``KVCache``.
        window: how many of the last tokens a new token may see, itself included.
        sinks: how many of the first tokens are kept for good.
        max_chunk: how many new tokens a row may get at a time; None means ``window``.
        value_dim, dtype, device: as for ``KVCache``.

    Raises:
        InvalidArgument: a size below 1, or no floating dtype.

    Source: Xiao et al. 2024, Efficient Streaming Language Models with Attention Sinks, section 3.2.

    >>> import sightline as sl, torch
    >>> cache = sl.nn.RollingKVCache(1, 1, 1, 4, window=2, sinks=1, max_chunk=1)
    >>> mask = sl.window(left=1, right=0) | (sl.sinks(1) & sl.causal())
    >>> for _ in range(9):
    ...     chunk = cache.extend(1)
    ...     keys, values = chunk.layer(0).append(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4))
    >>> cache.lengths, keys.shape[2], chunk.mask(mask).dense(1, 3, chunk.q_offset).tolist()
    (array([9]), 3, [[[[True, True, True]]]])
    >>> chunk.mask(sl.causal())
    Traceback (most recent call last):
    ...
    sightline.errors.CannotExpress: sl.nn.RollingKVCache cannot express causal(): ...
    """

    def __init__(
        self,
        layers: int,
        batch: int,
        kv_heads: int,
        head_dim: int,
        *,
        window: int,
        sinks: int = 0,
        max_chunk: int | None = None,
        value_dim: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: Any = "cpu",
    ) -> None:
        super().__init__(
            layers,
            batch,
            kv_heads,
            head_dim,
            max_len=ENDLESS,
            value_dim=value_dim,
            dtype=dtype,
            device=device,
        )
        self.window = as_size(window, "window")
        self.sinks = as_int(sinks, "sinks", least=0, error=InvalidArgument)
        self.max_chunk = self.window if max_chunk is None else as_size(max_chunk, "max_chunk")
        self.slots = self.sinks + self.window - 1 + self.max_chunk
        leading = self.layers, self.batch, self.kv_heads, self.slots
        sizes = self.head_dim, self.value_dim
        self._slab = Slab(leading, sizes, self.dtype, self.device)
        self.device = self._like.device
        # By how much a slot beyond the sinks stands before its position: what has been dropped.
        self._dropped = np.zeros(self.batch, dtype=np.int64)

    @property
    def nbytes(self) -> int:
        """The bytes that keys and values take, used or not."""
        return self._slab.nbytes

    @property
    def dropped(self) -> Ints:
        """How many tokens behind the sinks each row has let go, int64 [batch]; a copy."""
        return self._dropped.copy()

    @property
    def _like(self) -> torch.Tensor:
        return self._slab.tensors[0]

    def slots_in_use(self, lengths: Ints) -> int:
        """Return how many slots the fullest row uses."""
        return int((lengths - self._dropped).max())

    def _make_room(self, starts: Ints, counts: Ints) -> None:
        # Kept of each row: sinks, and of what follows them the last window - 1 tokens.
        kept = np.minimum(starts, self.sinks + self.window - 1)
        over = kept + counts > self.slots
        if over.any():
            row = int(over.argmax())
            raise InvalidArgument(
                f"got {counts[row]} new tokens for batch row {row}, which holds {kept[row]} tokens "
                f"that they may see; wanted at most {self.slots - kept[row]} at a time; give them "
                f"in pieces of up to {self.max_chunk}, or make the cache with a larger max_chunk."
            )
        full = starts - self._dropped + counts > self.slots
        for row in np.flatnonzero(full).tolist():
            count = int(kept[row]) - self.sinks
            held = int(starts[row] - self._dropped[row])
            self._slab.slide(row, self.sinks, held - count, count)
            self._dropped[row] = starts[row] - kept[row]

    def _write(self, chunk: Chunk, layer: int, key: torch.Tensor, value: torch.Tensor) -> Pair:
        seen = self._slab.view(layer, self.batch, chunk.kv_len)
        first = chunk.starts - self._dropped
        index = chunk.kept("index", lambda: _index(first, chunk, self.device))
        for slots, new in zip(seen, (key, value), strict=True):
            put(slots, new, first, chunk.counts, index)
        return seen

    def place_mask(self, chunk: Chunk, mask: Mask) -> Mask:
        """Return the mask with the positions of sinks and of the window brought to their slots.

        Raises:
            CannotExpress: it shows a new token one that is gone.
        """
        zeros = np.zeros_like(chunk.starts)
        down, top, bottom = chunk.query_places
        sinks = zeros + self.sinks
        if not self._dropped.any():
            places = down, zeros, top, bottom, zeros, chunk.stops
            return placed(mask, np.stack(places, axis=1))
        self._refuse_dropped(chunk, mask)
        places = down, zeros, top, bottom, zeros, np.minimum(sinks, chunk.stops)
        first = placed(mask, np.stack(places, axis=1))
        places = down, self._dropped, top, bottom, sinks, chunk.stops - self._dropped
        last = placed(mask, np.stack(places, axis=1))
        return first | last if self.sinks else last

    def _refuse_dropped(self, chunk: Chunk, mask: Mask) -> None:
        """Refuse a mask that shows a new token one that is gone."""
        zeros = np.zeros_like(chunk.starts)
        down, top, bottom = chunk.query_places
        stop = self.sinks + self._dropped
        gone = placed(mask, np.stack((down, zeros, top, bottom, zeros + self.sinks, stop), axis=1))
        if _surely_empty(gone, self.sinks, int(stop.max()), chunk):
            return
        first = gone.first_key(chunk.q_len, int(stop.max()), chunk.q_offset)
        found = np.argwhere(first >= 0)
        if len(found):
            batch, head, query = (int(each) for each in found[0])
            position = query + chunk.q_offset + int(down[batch if len(first) > 1 else 0])
            raise CannotExpress(
                destination="sl.nn.RollingKVCache",
                part=short(mask),
                reason=(
                    f"in batch row {batch} (head {head}) the token at position {position} may see "
                    f"position {first[batch, head, query]}, which is gone: the cache keeps the "
                    f"first {self.sinks} tokens and the last {self.window}"
                ),
                alternative=(
                    f"mask & (sl.window(left={self.window - 1}, right=0) | sl.sinks({self.sinks})),"
                    " or a cache that keeps more: a larger window=, sl.nn.KVCache, "
                    "sl.nn.PagedKVCache"
                ),
            )

    def _forget_from(self, lengths: Ints) -> None:
        # Where a row is cut before its window begins, what lay between the two stays gone.
        self._dropped = np.minimum(self._dropped, np.maximum(lengths - self.sinks, 0))

    def _take_rows(self, rows: Ints) -> None:
        self._slab.take_rows(rows, self.slots_in_use(self._lengths))
        self._dropped = self._dropped[rows]

    def _sizes(self) -> str:
        return f"window={self.window}, sinks={self.sinks}, max_chunk={self.max_chunk}"


def _index(first: Ints, chunk: Chunk, device: Any) -> Pair | None:
    return single_tokens(first, chunk.counts, device) if chunk.q_len == 1 else None


def _surely_empty(gone: Mask, k_first: int, k_stop: int, chunk: Chunk) -> bool:
    """Return True only if a mask forbids all these keys to all new tokens; quick, may not know."""
    owner = np.arange(gone.batch * gone.heads)
    batch, head = np.divmod(owner, gone.heads)
    none = owner * 0
    if not chunk.q_len:
        return True
    ends = none + chunk.q_offset, none + chunk.q_offset + chunk.q_len - 1
    tiles = Tiles(batch, head, *ends, none + k_first, none + k_stop - 1)
    return bool((gone.bounds(tiles) == EMPTY).all())
