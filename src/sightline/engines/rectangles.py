"""A mask as rectangles of queries and keys, each computed by scaled_dot_product_attention.

Packed sequences fall apart into rectangles; those that look alike are computed in one call. A
window over a long sequence is cut into pieces, so that time follows the window and not the square.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from sightline.lower.forms.packing import Packing, packing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.lower.arguments import Asked

    Ints = NDArray[np.int64]

# Queries a piece of a window at least: smaller ones repeat too many keys and start too many tasks.
LEAST_PIECE = 128


@dataclass(frozen=True)
class Group:
    """Rectangles of one size in which the same pairs are allowed.

    Attributes:
        count: how many there are.
        rows: queries in each.
        width: keys in each.
        allowed: bool [rows, width], or None for all.
        causal: whether ``allowed`` says key j for query i iff j <= i, and there are as many keys
            as queries, which kernels have a word for.
    """

    count: int
    rows: int
    width: int
    allowed: torch.Tensor | None
    causal: bool

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Return the output of tokens [count * rows, heads, dim] on tokens [count * width, ...]."""
        # The CPU kernel of torch 2.13 multiplies the -inf of is_causal by the scale.
        causal = self.causal and scale > 0
        output = torch.nn.functional.scaled_dot_product_attention(
            self._apart(query, self.rows),
            self._apart(key, self.width),
            self._apart(value, self.width),
            attn_mask=None if causal else self.allowed,
            is_causal=causal,
            scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return output.transpose(1, 2).flatten(0, 1)

    def _apart(self, tokens: torch.Tensor, length: int) -> torch.Tensor:
        """Return tokens [count * length, heads, dim] as [count, heads, length, dim]."""
        return tokens.unflatten(0, (self.count, length)).transpose(1, 2)


@dataclass(frozen=True)
class Rectangles:
    """All rectangles of a mask at a shape.

    Attributes:
        groups: the rectangles.
        query_index: int64 [queries], the place of each of their queries, group after group, among
            all ``batch * q_len``; None if that is all of them in order.
        key_index: the same for keys, of which some may stand in several rectangles.
    """

    groups: tuple[Group, ...]
    query_index: torch.Tensor | None
    key_index: torch.Tensor | None

    @property
    def nbytes(self) -> int:
        """How much memory the tensors take."""
        tensors = [self.query_index, self.key_index, *(group.allowed for group in self.groups)]
        return sum(each.numel() * each.element_size() for each in tensors if each is not None)

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Return the output [batch, heads, q_len, value_dim], 0 for queries in no rectangle."""
        queries = _tokens(query, self.query_index).split([g.count * g.rows for g in self.groups])
        keys, values = (
            _tokens(tensor, self.key_index).split([g.count * g.width for g in self.groups])
            for tensor in (key, value)
        )
        outputs = [
            group.attend(q, k, v, scale)
            for group, q, k, v in zip(self.groups, queries, keys, values, strict=True)
        ]
        rows = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        batch, _, q_len, _ = query.shape
        if self.query_index is not None:
            empty = rows.new_zeros((batch * q_len, *rows.shape[1:]))
            rows = empty.index_copy(0, self.query_index, rows)
        return rows.unflatten(0, (batch, q_len)).transpose(1, 2)


def cut(destination: str, asked: Asked, batch: int) -> Rectangles:
    """Return the rectangles of a mask.

    Raises:
        CannotExpress: no one window for all sequences says the mask, or it allows nothing.
        ShapeMismatch: ``batch`` differs from the mask's own.
    """
    found = packing(destination, asked, batch)
    alike: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    for rows, width, place, query, key in _pieces(found):
        alike.setdefault((rows, width, place), []).append((query, key))
    groups: list[Group] = []
    queries: list[Ints] = []
    keys: list[Ints] = []
    for (rows, width, place), starts in alike.items():
        groups.append(_group(found, len(starts), rows, width, place))
        first = np.array(starts)
        queries.append((first[:, :1] + np.arange(rows)).reshape(-1))
        keys.append((first[:, 1:] + np.arange(width)).reshape(-1))
    return Rectangles(
        tuple(groups),
        _index(found.query_index[np.concatenate(queries)], batch * asked.q_len),
        _index(found.key_index[np.concatenate(keys)], batch * asked.kv_len),
    )


def _pieces(found: Packing) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (queries, keys, place of the first query among the keys, first query, first key).

    Queries and keys count as they are packed.
    """
    left, right = found.left, found.right
    for n, m, q_start, k_start in zip(
        found.q_lengths.tolist(),
        found.k_lengths.tolist(),
        found.cu_seqlens_q.tolist(),
        found.cu_seqlens_k.tolist(),
        strict=False,  # the starts have one more, the end
    ):
        piece = n
        if left is not None and right is not None:
            piece = max(LEAST_PIECE, left + right + 1)
        for start in range(0, n, piece):
            rows, place = min(piece, n - start), start + m - n
            low = 0 if left is None else min(max(place - left, 0), m)
            high = m if right is None else min(place + rows + right, m)
            yield rows, high - low, place - low, q_start + start, k_start + low


def _group(found: Packing, count: int, rows: int, width: int, place: int) -> Group:
    ahead = np.arange(width) - (np.arange(rows)[:, None] + place)
    allowed = np.ones((rows, width), dtype=np.bool_)
    if found.left is not None:
        allowed &= ahead >= -found.left
    if found.right is not None:
        allowed &= ahead <= found.right
    if allowed.all():
        return Group(count, rows, width, None, False)
    causal = rows == width and np.array_equal(allowed, np.tri(rows, dtype=np.bool_))
    return Group(count, rows, width, torch.from_numpy(allowed), causal)


def _index(places: Ints, length: int) -> torch.Tensor | None:
    """Return the places as a tensor, or None if they are all there are, in order."""
    return None if np.array_equal(places, np.arange(length)) else torch.from_numpy(places)


def _tokens(tensor: torch.Tensor, index: torch.Tensor | None) -> torch.Tensor:
    """Return [batch, heads, length, dim] as tokens [tokens, heads, dim]."""
    tokens = tensor.transpose(1, 2).flatten(0, 1)
    return tokens if index is None else tokens.index_select(0, index)
