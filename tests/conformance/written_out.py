"""A plan's cells written out from its runs and bits, and compared with a picture, cell by cell.

Helper of test_plan.py and test_nn_cache_masks.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.masks.bounds import FULL, PARTIAL
from sightline.plan.block_map import BlockMap


def written_out(plan: BlockMap) -> np.ndarray:
    """The cells of a plan, from nothing but its runs, its patterns and its edges."""
    result = np.zeros((plan.batch, plan.heads, plan.q_len, plan.kv_len), bool)
    for b, h, i in np.ndindex(plan.batch, plan.heads, plan.q_blocks):
        q_edges = plan.grid.q_edges[b if len(plan.grid.q_edges) > 1 else 0] - plan.q_offset
        k_edges = plan.grid.k_edges[b if len(plan.grid.k_edges) > 1 else 0] - plan.kv_offset
        rows = slice(q_edges[i], q_edges[i + 1])
        for first, last, pattern in plan.runs(i, b, h):
            for j in range(first, last + 1):
                columns = slice(k_edges[j], k_edges[j + 1])
                assert not result[b, h, rows, columns].any()
                result[b, h, rows, columns] = block_bits(plan, pattern, rows, columns)
    return result


def block_bits(plan: BlockMap, pattern: int, rows: slice, columns: slice) -> Any:
    if pattern < 0:
        return True
    height, width = rows.stop - rows.start, columns.stop - columns.start
    octets = plan.patterns[pattern].astype("<u8").view(np.uint8)
    cells = np.unpackbits(octets, axis=-1, bitorder="little").astype(bool)
    assert not cells[height:].any()
    assert not cells[:, width:].any()
    assert cells[:height, :width].any()
    assert not cells[:height, :width].all()
    return cells[:height, :width]


def check(plan: BlockMap, picture: np.ndarray) -> None:
    got = written_out(plan)
    full = np.broadcast_shapes(got.shape, picture.shape)
    np.testing.assert_array_equal(np.broadcast_to(got, full), np.broadcast_to(picture, full))
    # No run could be longer, no pattern is kept twice, and the figures are those of the picture.
    assert plan.pairs == got.sum()
    assert plan.density == got.mean()
    assert len(np.unique(plan.patterns, axis=0)) == len(plan.patterns)
    assert np.array_equal(np.unique(plan.pattern[plan.pattern >= 0]), np.arange(len(plan.patterns)))
    same_row = plan.row[1:] == plan.row[:-1]
    touching = same_row & (plan.first_block[1:] == plan.last_block[:-1] + 1)
    assert not (touching & (plan.pattern[1:] == plan.pattern[:-1])).any()
    states = plan.states()
    counts = [np.count_nonzero(states == state) for state in (PARTIAL, FULL)]
    assert list(plan.counts[1:]) == counts
