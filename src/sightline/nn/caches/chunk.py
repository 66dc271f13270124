"""New tokens on their way into a cache: positions, what they may see, where each layer writes.

One chunk serves all layers of a model. How keys are stored is left to the cache that made it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.lower.arguments import check_mask
from sightline.masks.mask import Mask

if TYPE_CHECKING:
    from sightline.nn.caches.arguments import Ints
    from sightline.nn.caches.base import Cache


class Chunk:
    """The new tokens of one call of a model, made by ``cache.extend``.

    Attributes:
        q_len: tensors of new tokens are [batch, heads, q_len, head_dim].
        counts: [batch]: how many of them are real in each batch row, its first ones.
        starts: [batch]: how many tokens each row held before.
        stops: [batch]: how many it holds with these.
        q_offset: what to pass to ``attend`` beside ``mask``.
        kv_len: how many slots ``append`` returns.
    """

    def __init__(self, cache: Cache, starts: Ints, counts: Ints, q_len: int) -> None:
        self.cache = cache
        self.turn = cache.turn
        self.q_len = q_len
        self.counts = counts
        self.starts = starts
        self.stops = starts + counts
        for array in (self.counts, self.starts, self.stops):
            array.setflags(write=False)
        self.level = bool((starts == starts[0]).all())
        self.q_offset = int(starts[0]) if self.level else 0
        self.kv_len = cache.slots_in_use(self.stops)
        self.written: set[int] = set()
        self._masks: dict[Mask, Mask] = {}
        self._layers: dict[int, LayerChunk] = {}
        self._kept: dict[str, Any] = {}

    @cached_property
    def positions(self) -> torch.Tensor:
        """The absolute position of every new token, int64 [batch, q_len], on the cache's device.

        Padding goes on counting, as far as there are positions.
        """
        count = np.arange(self.q_len, dtype=np.int64)
        positions = np.minimum(self.starts[:, None] + count, self.cache.last_position)
        return torch.from_numpy(positions).to(self.cache.device)

    @property
    def full(self) -> bool:
        """Whether every row has as many new tokens as any other, and no padding."""
        return bool((self.counts == self.q_len).all())

    @cached_property
    def query_places(self) -> tuple[Ints, Ints, Ints]:
        """What ``placed`` is told of queries: how far they stand before, their first and stop."""
        if self.level:
            return np.zeros_like(self.starts), self.starts, self.stops
        return self.starts, np.zeros_like(self.starts), self.counts

    def kept(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what the cache has made for this chunk under a name, made now if it has not."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def mask(self, mask: Mask) -> Mask:
        """Return a mask over absolute positions as one over (new tokens, slots of the cache).

        To be passed with ``q_offset``. Slots that hold nothing are forbidden, and new tokens that
        are only padding see nothing. Kept, so that all layers share one.

        Raises:
            InvalidMask: not a sightline mask.
            ShapeMismatch: a mask for another number of batch rows, or bound to fewer positions.
            CannotExpress: it shows a token something that the cache no longer holds.
        """
        known = self._masks.get(mask) if isinstance(mask, Mask) else None
        if known is None:
            checked = check_mask(mask)
            if checked.batch not in (1, len(self.counts)):
                raise ShapeMismatch(
                    f"got a mask for {checked.batch} batch rows and a cache of "
                    f"{len(self.counts)}; wanted equal numbers, or a mask that is the same for "
                    "all; check the data that the mask was made from."
                )
            known = self._masks[checked] = self.cache.place_mask(self, checked)
        return known

    def layer(self, index: int) -> LayerChunk:
        """Return the same for one layer, which is all that an attention layer needs.

        Raises:
            InvalidArgument: there is no such layer.
        """
        found = self._layers.get(index)
        if found is None:
            if not 0 <= index < self.cache.layers:
                raise InvalidArgument(
                    f"got layer {index} of a cache with {self.cache.layers} layers; wanted 0 to "
                    f"{self.cache.layers - 1}; make the cache with as many layers as the model."
                )
            found = self._layers[index] = LayerChunk(self, index)
        return found

    def check_current(self) -> None:
        """Refuse to write once the cache has moved on.

        Raises:
            InvalidArgument: it has.
        """
        if self.turn != self.cache.turn:
            raise InvalidArgument(
                "got a chunk of a cache that has been extended, cropped, reordered or reset "
                "since; wanted the newest; ask cache.extend(...) for a new one."
            )

    def __repr__(self) -> str:
        tokens = ", ".join(f"{a}+{n}" for a, n in zip(self.starts, self.counts, strict=True))
        return f"Chunk(q_len={self.q_len}, tokens=[{tokens}])"


class LayerChunk:
    """One layer's share of a chunk.

    Attributes:
        chunk: the chunk, the same for all layers.
        index: the layer's number.
        q_offset: what to pass to ``attend`` beside ``mask``.
    """

    __slots__ = ("chunk", "index", "q_offset")

    def __init__(self, chunk: Chunk, index: int) -> None:
        self.chunk = chunk
        self.index = index
        self.q_offset = chunk.q_offset

    @property
    def positions(self) -> torch.Tensor:
        """The absolute position of every new token, int64 [batch, q_len]."""
        return self.chunk.positions

    def mask(self, mask: Mask) -> Mask:
        """Return a mask over absolute positions as one over (new tokens, slots of the cache)."""
        return self.chunk.mask(mask)

    def append(self, key: Any, value: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the real new tokens in place, and return all that the new tokens may look at.

        Args:
            key: [batch, kv_heads, q_len, head_dim]; what stands at padding is not read.
            value: [batch, kv_heads, q_len, value_dim].

        Returns:
            Key and value [batch, kv_heads, kv_len, head_dim]; they are the cache's own memory,
            valid until the cache is extended again.

        Raises:
            ShapeMismatch: not the cache's sizes.
            InvalidArgument: dtype or device differ, a gradient is wanted, or the chunk is stale.
        """
        self.chunk.check_current()
        return self.chunk.cache.append(self.chunk, self.index, key, value)
