"""What all key/value caches share: lengths on the host, growing, cropping, reordering, checks.

Where keys and values lie, and which slot holds which position, is left to each kind of cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sightline.engines.shared import refuse_shared
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.mask import Mask
from sightline.nn.caches.arguments import Ints, as_each_row, as_numbers, as_size, check_new
from sightline.nn.caches.chunk import Chunk

# For caches without an end: beyond any model's positions, and an int64.
ENDLESS = 2**48


class Cache:
    """A cache of keys and values for the layers of a model, with a length for each batch row.

    Attributes:
        layers: how many layers it serves.
        batch: how many rows it holds now.
        kv_heads, head_dim, value_dim: sizes of what each layer writes.
        max_len: how many tokens a row may hold.
        dtype, device: of keys and values.
        turn: how often the tokens held have changed; chunks of an earlier turn are refused.
    """

    def __init__(
        self,
        layers: int,
        batch: int,
        kv_heads: int,
        head_dim: int,
        *,
        max_len: int,
        value_dim: int | None,
        dtype: torch.dtype,
        device: Any,
    ) -> None:
        self.layers = as_size(layers, "layers")
        self.batch = as_size(batch, "batch")
        self.kv_heads = as_size(kv_heads, "kv_heads")
        self.max_len = as_size(max_len, "max_len")
        self.head_dim = as_size(head_dim, "head_dim")
        self.value_dim = self.head_dim if value_dim is None else as_size(value_dim, "value_dim")
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise InvalidArgument(f"got dtype={dtype!r}; wanted a floating dtype of torch.")
        self.dtype = dtype
        self.device = torch.device(device)
        self.turn = 0
        self._lengths = np.zeros(self.batch, dtype=np.int64)
        self._newest: Chunk | None = None

    # -- what each kind must say ----------------------------------------------------------------

    @property
    def nbytes(self) -> int:
        """The bytes that keys and values take."""
        raise NotImplementedError

    def slots_in_use(self, lengths: Ints) -> int:
        """Return how many slots ``append`` gives to see for rows of these lengths."""
        raise NotImplementedError

    def place_mask(self, chunk: Chunk, mask: Mask) -> Mask:
        """Return a mask over positions as one over (new tokens, slots)."""
        raise NotImplementedError

    def _make_room(self, starts: Ints, counts: Ints) -> None:
        """Make room for new tokens, or refuse before anything has changed."""
        raise NotImplementedError

    def _write(
        self, chunk: Chunk, layer: int, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write a layer's new tokens, and return what there is to see."""
        raise NotImplementedError

    def _forget_from(self, lengths: Ints) -> None:
        """Let go of what each row holds from its new, smaller length on."""
        raise NotImplementedError

    def _take_rows(self, rows: Ints) -> None:
        """Make row i what row ``rows[i]`` was."""
        raise NotImplementedError

    # -- the face -------------------------------------------------------------------------------

    @property
    def lengths(self) -> Ints:
        """How many tokens each row holds, int64 [batch], on the host; a copy."""
        return self._lengths.copy()

    @property
    def last_position(self) -> int:
        """The largest position that a token may have."""
        return self.max_len - 1

    def extend(self, counts: Any, q_len: int | None = None) -> Chunk:
        """Make room for new tokens, and return what a model needs to run them.

        The lengths change at once; keys and values follow as each layer calls
        ``chunk.layer(i).append(key, value)``. Every layer must, before the next ``extend``; after a
        run that broke off, ``crop`` back to the lengths of before.

        Args:
            counts: how many new tokens, one number or one for each batch row; 0 is allowed.
            q_len: the length of the tensors that hold them; None means the largest count. Row b's
                first ``counts[b]`` tokens are real, the others padding.

        Raises:
            InvalidArgument: no room for them (nothing has changed then), or a layer that has not
                written the tokens of the last chunk.
            ShapeMismatch: not one count a row, or a ``q_len`` below the largest count.
        """
        refuse_shared("a cache of keys and values", reason="each rank would keep a share of them")
        each = as_each_row(counts, "counts", self.batch)
        longest = int(each.max())
        length = longest if q_len is None else int(as_numbers(q_len, "q_len"))
        if length < longest:
            raise ShapeMismatch(
                f"got q_len={length} and {longest} new tokens in a row; wanted q_len of at least "
                f"{longest}; leave it out, or cut the tokens."
            )
        self._check_written()
        self._make_room(self._lengths, each)
        starts = self._lengths
        self._lengths = starts + each
        self.turn += 1
        self._newest = Chunk(self, starts, each, length)
        return self._newest

    def append(
        self, chunk: Chunk, layer: int, key: Any, value: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one layer's new tokens; called through ``chunk.layer(i).append``."""
        refuse_shared("a cache of keys and values", reason="each rank would keep a share of them")
        leading = self.batch, self.kv_heads, chunk.q_len
        like = self._like
        check_new("key", key, (*leading, self.head_dim), like)
        check_new("value", value, (*leading, self.value_dim), like)
        with torch.no_grad():
            seen = self._write(chunk, layer, key, value)
        chunk.written.add(layer)
        return seen

    @property
    def _like(self) -> torch.Tensor:
        """Some tensor of the cache's dtype and device."""
        raise NotImplementedError

    def crop(self, lengths: Any) -> None:
        """Drop the tokens of each row from a length on; a row that is shorter stays as it is.

        Args:
            lengths: one number, or one for each batch row.

        Raises:
            InvalidArgument: negative, or no integers.
            ShapeMismatch: not one for each row.
        """
        kept = np.minimum(as_each_row(lengths, "lengths", self.batch), self._lengths)
        self._forget_from(kept)
        self._moved_on(kept)

    def reset(self) -> None:
        """Drop all tokens; the memory is kept."""
        self.crop(0)

    def fork(self, repeats: Any) -> None:
        """Make copies of each row, next to each other: row 0, row 0, ..., row 1, ...

        Args:
            repeats: how many of each row there shall be, one number or one for each batch row.

        Raises:
            InvalidArgument: no integers, or no row is left.
        """
        times = as_each_row(repeats, "repeats", self.batch)
        self.reorder(np.repeat(np.arange(self.batch), times))

    def reorder(self, rows: Any) -> None:
        """Make row i what row ``rows[i]`` was, as beam search wants; rows may repeat or be missing.

        Works in place where there are no more rows than there ever were.

        Args:
            rows: the numbers of rows, [new batch].

        Raises:
            InvalidArgument: no integers, none at all, or a row that is not there.
        """
        chosen = as_numbers(rows, "rows")
        if chosen.ndim != 1 or not chosen.size or int(chosen.max()) >= self.batch:
            raise InvalidArgument(
                f"got rows {chosen.tolist()} of a cache of {self.batch} rows; wanted a list of at "
                f"least one number from 0 to {self.batch - 1}."
            )
        self._check_written()
        self._take_rows(chosen)
        self.batch = len(chosen)
        self._moved_on(self._lengths[chosen])

    # -- helpers --------------------------------------------------------------------------------

    def _check_max_len(self, starts: Ints, counts: Ints) -> None:
        """Refuse new tokens beyond ``max_len``."""
        stops = starts + counts
        row = int(stops.argmax())
        if stops[row] > self.max_len:
            raise InvalidArgument(
                f"got {counts[row]} new tokens for batch row {row}, which holds {starts[row]} of "
                f"{self.max_len}; wanted at most {self.max_len - starts[row]}; make the cache with "
                f"max_len={stops[row]} or more, or crop it first."
            )

    def _moved_on(self, lengths: Ints) -> None:
        self._lengths = lengths.copy()
        self.turn += 1
        self._newest = None

    def _check_written(self) -> None:
        """Refuse to go on where a layer's newest slots hold nothing."""
        newest = self._newest
        if newest is None or not newest.counts.any() or len(newest.written) == self.layers:
            return
        missing = [layer for layer in range(self.layers) if layer not in newest.written]
        raise InvalidArgument(
            f"got a cache of {self.layers} layers of which {missing} have not appended the keys of "
            f"the last chunk; wanted every layer to call append; make the cache with as many "
            "layers as the model, or after a run that broke off call "
            f"cache.crop({newest.starts.tolist()})."
        )

    def __repr__(self) -> str:
        held = self._lengths.tolist()
        shown = f"{held[:8]}"[:-1] + ", ...]" if len(held) > 8 else f"{held}"
        return (
            f"{type(self).__name__}(layers={self.layers}, batch={self.batch}, "
            f"kv_heads={self.kv_heads}, {self._sizes()}, head_dim={self.head_dim}, "
            f"dtype={self.dtype}, lengths={shown}, {self.nbytes / 2**20:.1f} MiB)"
        )

    def _sizes(self) -> str:
        return f"max_len={self.max_len}"
