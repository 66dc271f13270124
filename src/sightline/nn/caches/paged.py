"""A cache made of pages, which rows take as they grow and may share: prefixes, beams, forks.

Which row has which page is kept in pages.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sightline.errors import InvalidArgument
from sightline.masks.mask import Mask
from sightline.nn.caches.arguments import Ints, as_numbers, as_size
from sightline.nn.caches.base import Cache
from sightline.nn.caches.chunk import Chunk
from sightline.nn.caches.pages import Pages
from sightline.nn.caches.placed import place_in_slots
from sightline.nn.caches.slab import Pair, allocate


class PagedKVCache(Cache):
    """Keys and values in a pool of pages; memory goes to the rows that need it, as they grow.

    Rows that are forked or reordered, or given a prefix by ``share_prefix``, share pages; the
    first to write to a shared page gets a copy of it. Cropped pages are free again. On engine
    ``cpu`` the outputs are those of ``KVCache`` bit for bit.

    What it costs: ``append`` gathers the pages of a layer into one buffer, the same for all
    layers and steps, which reads and writes the keys and values held once more. What a layer's
    ``append`` returns lies in that buffer, so it holds until the next ``append``.

    Args:
        pages: how many pages there are, for all rows together.
        page_size: tokens a page.
        layers, batch, kv_heads, head_dim: as for ``KVCache``.
        max_len: how many tokens a row may have; None means as many as all pages hold.
        value_dim, dtype, device: as for ``KVCache``.

    Raises:
        InvalidArgument: a size below 1, or no floating dtype.

    Source: Kwon et al. 2023, Efficient Memory Management for Large Language Model Serving with
    PagedAttention, section 4.

    >>> import sightline as sl, torch
    >>> cache = sl.nn.PagedKVCache(6, 4, layers=1, batch=3, kv_heads=1, head_dim=8)
    >>> chunk = cache.extend([9, 0, 0])
    >>> keys, values = chunk.layer(0).append(torch.ones(3, 1, 9, 8), torch.ones(3, 1, 9, 8))
    >>> cache.share_prefix(0, [1, 2], 6)
    >>> cache.tables(), cache.free_pages
    ([[0, 1, 2], [0, 1], [0, 1]], 3)
    >>> chunk = cache.extend(1)  # rows 1 and 2 write to page 1, which row 0 goes on using
    >>> cache.tables(), cache.free_pages
    ([[0, 1, 2], [0, 3], [0, 4]], 1)
    """

    def __init__(
        self,
        pages: int,
        page_size: int,
        *,
        layers: int,
        batch: int,
        kv_heads: int,
        head_dim: int,
        max_len: int | None = None,
        value_dim: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: Any = "cpu",
    ) -> None:
        self.pages, self.page_size = as_size(pages, "pages"), as_size(page_size, "page_size")
        super().__init__(
            layers,
            batch,
            kv_heads,
            head_dim,
            max_len=self.pages * self.page_size if max_len is None else max_len,
            value_dim=value_dim,
            dtype=dtype,
            device=device,
        )
        # Heads before pages, so that gathering is one selection along one axis.
        leading = self.layers, self.kv_heads, self.pages, self.page_size
        shapes = (*leading, self.head_dim), (*leading, self.value_dim)
        self._pool = allocate(shapes, self.dtype, self.device)
        self.device = self._like.device
        self._pages = Pages(self.pages, self.page_size, self.batch)
        self._buffers = [self._pool[0].new_empty(0) for _ in range(2)]

    @property
    def nbytes(self) -> int:
        """The bytes of all pages, used or not, and of the buffers that pages are gathered in."""
        return sum(tensor.nbytes for tensor in (*self._pool, *self._buffers))

    @property
    def free_pages(self) -> int:
        """How many pages belong to no row."""
        return self._pages.free

    def tables(self) -> list[list[int]]:
        """Return the numbers of each row's pages, in the order of positions; a copy."""
        return [list(table) for table in self._pages.tables]

    @property
    def _like(self) -> torch.Tensor:
        return self._pool[0]

    def share_prefix(self, from_row: int, to_rows: Any, length: int) -> None:
        """Let rows begin with the first tokens of another, without copying them.

        What the rows held before is dropped.

        Args:
            from_row: whose tokens.
            to_rows: the numbers of the rows that get them.
            length: how many tokens, at most what ``from_row`` holds.

        Raises:
            InvalidArgument: a row that is not there, the row itself, or more than it holds.
        """
        rows, count = np.atleast_1d(as_numbers(to_rows, "to_rows")), int(length)
        source = int(as_numbers(from_row, "from_row"))
        if source >= self.batch or (rows.size and int(rows.max()) >= self.batch) or source in rows:
            raise InvalidArgument(
                f"got from_row={source} and to_rows={rows.tolist()} of a cache of {self.batch} "
                f"rows; wanted other rows, from 0 to {self.batch - 1}."
            )
        if not 0 <= count <= self._lengths[source]:
            raise InvalidArgument(
                f"got length={count} of batch row {source}, which holds {self._lengths[source]} "
                "tokens; wanted no more than that; run the prefix on that row first."
            )
        self._check_written()
        tables, lengths = self.tables(), self.lengths
        for row in rows.tolist():
            tables[row] = tables[source][: -(-count // self.page_size)]
            lengths[row] = count
        self._pages.replace([list(table) for table in tables])
        self._moved_on(lengths)

    def slots_in_use(self, lengths: Ints) -> int:
        """Return the longest length: gathered, slots are positions."""
        return int(lengths.max())

    def place_mask(self, chunk: Chunk, mask: Mask) -> Mask:
        """Return the mask over gathered slots, which are positions."""
        return place_in_slots(chunk, mask)

    def _make_room(self, starts: Ints, counts: Ints) -> None:
        self._check_max_len(starts, counts)
        copies = self._pages.make_room(starts, counts)
        if copies:
            source, target = (
                torch.tensor(each).to(self.device) for each in zip(*copies, strict=True)
            )
            with torch.no_grad():
                for pool in self._pool:
                    pool[:, :, target] = pool[:, :, source]

    def _write(self, chunk: Chunk, layer: int, key: torch.Tensor, value: torch.Tensor) -> Pair:
        row, place, slot, table = chunk.kept("pages", lambda: self._where(chunk))
        seen: list[torch.Tensor] = []
        for number, (pool, new) in enumerate(zip(self._pool, (key, value), strict=True)):
            tokens = new.transpose(1, 2)[row, place]
            pool[layer].flatten(1, 2).transpose(0, 1).index_put_((slot,), tokens)
            seen.append(self._gather(pool[layer], table, number)[:, :, : chunk.kv_len])
        return seen[0], seen[1]

    def _where(self, chunk: Chunk) -> tuple[torch.Tensor, ...]:
        """Return each new token's row, place in the chunk and slot of the pool, and the tables."""
        grid = self._pages.grid()
        row = np.repeat(np.arange(self.batch), chunk.counts)
        before = np.cumsum(chunk.counts) - chunk.counts
        place = np.arange(len(row)) - before[row]
        position = place + chunk.starts[row]
        slot = grid[row, position // self.page_size] * self.page_size + position % self.page_size
        each = row, place, slot, grid
        return tuple(torch.from_numpy(array).to(self.device) for array in each)

    def _gather(self, pool: torch.Tensor, table: torch.Tensor, number: int) -> torch.Tensor:
        """Return the rows' pages one after another, [batch, kv_heads, slots, size]."""
        heads, _, page, size = pool.shape
        batch, count = table.shape
        wanted = heads * batch * count * page * size
        if self._buffers[number].numel() < wanted:  # twice that, so that it is seldom made anew
            with torch.inference_mode(False):
                self._buffers[number] = pool.new_empty(2 * wanted)
        gathered = self._buffers[number][:wanted].view(heads, batch * count, page, size)
        torch.index_select(pool, 1, table.flatten(), out=gathered)
        return gathered.view(heads, batch, count * page, size).transpose(0, 1)

    def _forget_from(self, lengths: Ints) -> None:
        self._pages.cut(lengths)

    def _take_rows(self, rows: Ints) -> None:
        self._pages.take_rows(rows)

    def _sizes(self) -> str:
        return f"pages={self.pages}, page_size={self.page_size}, free={self.free_pages}"
