"""A mask as "who sees whom" and segment ids: query and key must carry the same id.

Ids are numbers without meaning; they are made for the queries and for the keys of a frame apart, so
that they can say padding as well as documents, at any query offset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.masks.data import Segments
from sightline.masks.mask import Mask
from sightline.masks.padding import Padding, ValidKeys
from sightline.masks.periodic import Chunks
from sightline.masks.positional import Positions

Ints = NDArray[np.int64]
# What no query and no key of the other side carries.
NO_QUERY, NO_KEY = -1, -2


@dataclass(frozen=True)
class Ids:
    """Segment ids: allowed[b, q, k] = (query[b, q] == key[b, k]).

    Attributes:
        query: [batch|1, q_len].
        key: [batch|1, kv_len].
    """

    query: Ints
    key: Ints

    def same(self) -> NDArray[np.bool_]:
        """Return the pairs that carry the same id, [batch|1, q_len, kv_len]."""
        return self.query[:, :, None] == self.key[:, None, :]

    def meet(self, other: Ids) -> Ids:
        """Return the ids of the pairs that both allow: of pairs of ids."""
        split = self.query.shape[1]
        both: list[Ints] = []
        for each in (self, other):
            rows = (np.broadcast_to(part, (len(each), part.shape[1])) for part in each.parts)
            line = np.concatenate(list(rows), axis=1)
            both.append(np.unique(line, return_inverse=True)[1].reshape(line.shape))
        met = both[0] * (both[1].max(initial=0) + 1) + both[1]
        return Ids(met[:, :split], met[:, split:])

    def __len__(self) -> int:
        """The number of batch rows that the ids tell apart."""
        return max(len(part) for part in self.parts)

    @property
    def parts(self) -> tuple[Ints, Ints]:
        """The ids of the queries and of the keys."""
        return self.query, self.key


def ids_of(mask: Mask, q_len: int, kv_len: int, q_offset: int) -> Ids | None:
    """Return the ids that say exactly this part of an expression, or None if it is no such part.

    Documents, spans and chunks are ids by definition, with none beyond the data. A mask of keys is
    ids too: every query carries 0, the allowed keys 0, the others another number.
    """
    query, key = np.arange(q_offset, q_offset + q_len), np.arange(kv_len)
    if isinstance(mask, Segments):
        table = mask.id_of_position().astype(np.int64)
        # Position n stands for all beyond the data, which carry no id.
        table = np.pad(table, ((0, 0), (0, 1)), constant_values=-1)
        at = [table[:, np.minimum(each, table.shape[1] - 1)] for each in (query, key)]
        return Ids(np.where(at[0] < 0, NO_QUERY, at[0]), np.where(at[1] < 0, NO_KEY, at[1]))
    if isinstance(mask, Chunks):
        return Ids(query[None] // mask.size, key[None] // mask.size)
    if isinstance(mask, (Padding, ValidKeys)) or (
        isinstance(mask, Positions) and mask.axis == "key"
    ):
        seen = mask.dense(1, kv_len)[:, 0, 0]
        return Ids(np.zeros((1, q_len), dtype=np.int64), np.where(seen, 0, NO_KEY))
    return None


def split_by_ids(allowed: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], Ids]:
    """Split [B, H, Q, K] into pairs [H, Q, K] and ids, so that pairs and ids hold all allowed.

    If allowed[b, h] = A[h] & S[b] for any A and any ids S at all, then also for the smallest ones:
    A[h] is what some batch row allows, and S[b] has one id for all queries and keys that are
    connected by what some head allows, since equal ids pass on from query to key to query. Both lie
    in any other A and S, and whatever is allowed lies in both. So what these two allow besides
    ``allowed`` decides whether there is a split.
    """
    some_head = np.logical_or.reduce(allowed, axis=1)
    kv_len = allowed.shape[3]
    key = np.tile(np.arange(kv_len), (len(allowed), 1))
    while True:
        query = np.where(some_head, key[:, None, :], kv_len).min(axis=2, initial=kv_len)
        least = np.where(some_head, query[:, :, None], kv_len).min(axis=1, initial=kv_len)
        if (least >= key).all():
            break
        key = np.minimum(key, least)
    return np.logical_or.reduce(allowed, axis=0), Ids(np.where(query == kv_len, -1, query), key)
