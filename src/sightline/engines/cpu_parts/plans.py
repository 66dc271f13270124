"""The plans that the kernels walk along, kept for the next call with the same mask and shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline import native
from sightline.engines.kept import BUDGET_BYTES, Store
from sightline.masks.mask import Mask
from sightline.plan.planner import plan

STORE: Store[Any] = Store(BUDGET_BYTES)


def native_plan(mask: Mask, q_len: int, kv_len: int, q_offset: int) -> Any:
    """Return the mask at a shape as the kernels want it.

    Raises:
        ShapeMismatch: the mask's data are bound to another length.
    """
    name = (mask, q_len, kv_len, q_offset)
    return STORE.get(name, lambda: _build(mask, q_len, kv_len, q_offset))


def _build(mask: Mask, q_len: int, kv_len: int, q_offset: int) -> Any:
    kernels = native.kernels()
    # Uniform cuts: the kernels add up in the order of the keys, however those are cut.
    height, width = kernels.BLOCK_Q, kernels.BLOCK_KV
    made = plan(mask, q_len, kv_len, q_offset=q_offset, block_q=height, block_kv=width)
    return kernels.Plan(
        q_len,
        kv_len,
        made.batch,
        made.heads,
        made.row_start,
        made.first_block,
        made.last_block,
        made.pattern,
        np.ascontiguousarray(made.patterns),
    )
