"""The memory of caches whose rows lie in slots of their own: one tensor for keys, one for values.

Writing, viewing and reordering rows. Which slot holds which position is the cache's business.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from sightline.nn.caches.arguments import Ints

Pair = tuple[torch.Tensor, torch.Tensor]


def allocate(shapes: tuple[tuple[int, ...], ...], dtype: torch.dtype, device: Any) -> Pair:
    """Return two tensors of zeros; one that is not touched costs no memory yet on most systems."""
    # A tensor made in inference mode could not be written outside of it.
    with torch.inference_mode(False):
        keys, values = (torch.zeros(shape, dtype=dtype, device=device) for shape in shapes)
    return keys, values


class Slab:
    """Keys and values [layers, rows, kv_heads, slots, size]; there may be more rows than in use."""

    def __init__(
        self,
        leading: tuple[int, int, int, int],
        sizes: tuple[int, int],
        dtype: torch.dtype,
        device: Any,
    ) -> None:
        self.tensors = allocate(tuple((*leading, size) for size in sizes), dtype, device)

    @property
    def nbytes(self) -> int:
        """The bytes of both tensors, used or not."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def view(self, layer: int, rows: int, slots: int) -> Pair:
        """Return the first slots of a layer's first rows: [rows, kv_heads, slots, size] each."""
        keys, values = (tensor[layer, :rows, :, :slots] for tensor in self.tensors)
        return keys, values

    def take_rows(self, rows: Ints, used: int) -> None:
        """Make row i what row ``rows[i]`` was, in its first ``used`` slots."""
        layers, room, heads, slots = self.tensors[0].shape[:4]
        like = self.tensors[0]
        if len(rows) > room:
            before = self.tensors
            leading = layers, len(rows), heads, slots
            shapes = tuple((*leading, tensor.shape[4]) for tensor in before)
            self.tensors = allocate(shapes, like.dtype, like.device)
            to = np.arange(len(rows))
        else:
            before = self.tensors
            to = np.flatnonzero(rows != np.arange(len(rows)))
        if not len(to) or not used:
            return
        target, source = (torch.from_numpy(each).to(like.device) for each in (to, rows[to]))
        with torch.no_grad():
            for old, new in zip(before, self.tensors, strict=True):
                for layer in range(layers):  # one at a time, so that little is held twice
                    new[layer][target, :, :used] = old[layer][source, :, :used]

    def slide(self, row: int, first: int, source: int, count: int) -> None:
        """Move ``count`` slots of a row, in all layers, from ``source`` down to ``first``."""
        with torch.no_grad():
            for tensor in self.tensors:
                moved = tensor[:, row, :, source : source + count].clone()
                tensor[:, row, :, first : first + count] = moved


def put(
    slots: torch.Tensor, new: torch.Tensor, first: Ints, counts: Ints, index: Pair | None
) -> None:
    """Write each row's first ``counts[b]`` new tokens to its slots from ``first[b]`` on.

    Args:
        slots: [batch, kv_heads, slots, size], written in place.
        new: [batch, kv_heads, q_len, size].
        first: [batch].
        counts: [batch].
        index: for one new token a row: (rows that have one, their slots), on the device.
    """
    if index is not None:
        row, slot = index
        tokens = new[:, :, 0] if len(row) == len(new) else new[row, :, 0]
        slots.transpose(1, 2).index_put_((row, slot), tokens)
        return
    count = int(counts[0])
    if (counts == count).all() and (first == first[0]).all():
        start = int(first[0])
        slots[:, :, start : start + count].copy_(new[:, :, :count])
        return
    for row, (start, count) in enumerate(zip(first.tolist(), counts.tolist(), strict=True)):
        slots[row, :, start : start + count].copy_(new[row, :, :count])


def single_tokens(first: Ints, counts: Ints, device: Any) -> Pair:
    """Return (rows that have a new token, their slots) for ``put``."""
    row = np.flatnonzero(counts)
    return torch.from_numpy(row).to(device), torch.from_numpy(first[row]).to(device)
