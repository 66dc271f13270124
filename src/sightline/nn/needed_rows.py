"""Which rows of the inputs a mask leaves any work for, so that no others need be projected.

A query that may see nothing has output 0 before the last projection; a key that nobody may see is
never read. Read off the mask's structure and kept for the next layer with the same mask and shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sightline.engines.kept import Store
from sightline.masks.mask import Mask

# Rows are picked out only if fewer than this share of them is needed: picking costs copies.
WORTH_PICKING = 0.9
# Fewer multiplications than this take less time than a look at a new mask.
LEAST_WORK = 2**28
# Index tensors of a few hundred masks of the usual kind.
_BUDGET = 32 * 2**20


@dataclass(frozen=True)
class NeededRows:
    """Rows of flattened [batch, length] (or [length, batch]); None where all are to be taken.

    Attributes:
        queries: int64, the rows of the queries that see some key in some head.
        keys: int64, the rows of the keys that some query sees in some head.
        outputs: those of the queries in flattened [batch, length], whatever the others are in.
        alike: whether queries and keys are the same rows.
    """

    queries: torch.Tensor | None
    keys: torch.Tensor | None
    outputs: torch.Tensor | None
    alike: bool

    @property
    def nbytes(self) -> int:
        """How much memory the rows take."""
        rows = (self.queries, self.keys, self.outputs)
        return sum(8 * each.numel() for each in rows if each is not None) + 64


ALL = NeededRows(None, None, None, True)
_STORE: Store[NeededRows] = Store(_BUDGET)


def needed_rows(
    mask: Mask,
    batch: int,
    q_len: int,
    kv_len: int,
    *,
    q_offset: int = 0,
    first_key: int = 0,
    batch_first: bool = True,
) -> NeededRows:
    """Return the rows that a mask leaves work for.

    Args:
        mask: who may see whom.
        batch: the number of batch rows.
        q_len: the number of queries.
        kv_len: the number of keys that the mask speaks of.
        q_offset: the absolute position of query 0.
        first_key: how many keys stand before those that have rows.
        batch_first: whether rows lie as [batch, length] in memory; else as [length, batch].

    Raises:
        ShapeMismatch: the mask's data are bound to another length.

    >>> import sightline as sl
    >>> padded = sl.padding(lengths=[1, 2])
    >>> needed_rows(padded & padded.T, 2, 3, 3).keys
    tensor([0, 3, 4])
    """
    name = (mask, batch, q_len, kv_len, q_offset, first_key, batch_first)
    return _STORE.get(name, lambda: _find(*name))


def _find(
    mask: Mask,
    batch: int,
    q_len: int,
    kv_len: int,
    q_offset: int,
    first_key: int,
    batch_first: bool,
) -> NeededRows:
    blind = mask.empty_rows(q_len, kv_len, q_offset)
    unseen = mask.T.empty_rows(kv_len, q_len, 0, q_offset)[..., first_key:]
    # Needed is what some head needs.
    seeing, seen = (~np.logical_and.reduce(each, axis=1) for each in (blind, unseen))
    alike = bool(np.array_equal(seeing, seen))
    outputs = _rows(seeing, batch, batch_first=True)
    queries = outputs if batch_first else _rows(seeing, batch, batch_first)
    keys = queries if alike else _rows(seen, batch, batch_first)
    return NeededRows(queries, keys, outputs, alike)


def _rows(needed: np.ndarray, batch: int, batch_first: bool) -> torch.Tensor | None:
    """Return where bools [1|batch, length] are True, or None if picking them does not pay."""
    if not needed.size or needed.mean() >= WORTH_PICKING:
        return None
    whole = np.broadcast_to(needed, (batch, needed.shape[1]))
    return torch.from_numpy(np.flatnonzero(whole if batch_first else whole.T))
