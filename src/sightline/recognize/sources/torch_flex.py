"""Source ``torch.flex``: a BlockMask of ``torch.nn.attention.flex_attention``.

The compiled kernels go by the lists of blocks: a block that is not listed is empty, a full one is
not asked, and only the others are asked by ``mask_mod``. So the lists decide here too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument
from sightline.masks.arguments import describe
from sightline.recognize.sources.reading import Bools, Read, Source, refuse_many_pairs

SOURCE = Source(
    name="torch.flex",
    reads="a BlockMask, or a dict with block_mask",
    true_means="mask_mod gives True: may attend",
)


def read(given: object) -> Read:
    """Read a BlockMask; a disagreement of its blocks with its mask_mod becomes a warning."""
    made: Any = given["block_mask"] if isinstance(given, dict) and "block_mask" in given else given
    if not hasattr(made, "kv_num_blocks") or not hasattr(made, "mask_mod"):
        raise InvalidArgument(
            f"got {describe(given)} for {SOURCE.name}; wanted a BlockMask of torch's "
            "flex_attention, or a dict with block_mask."
        )
    q_len, kv_len = (int(length) for length in made.seq_lengths)
    lead = tuple(int(length) for length in made.kv_num_blocks.shape[:-1])
    if len(lead) > 2:
        raise InvalidArgument(f"got a BlockMask with axes {list(lead)}; wanted batch and heads.")
    batch, heads = (1,) * (2 - len(lead)) + lead
    refuse_many_pairs(batch, heads, q_len, kv_len)
    grid = -(-q_len // made.BLOCK_SIZE[0]), -(-kv_len // made.BLOCK_SIZE[1])
    partial = _listed(made.kv_num_blocks, made.kv_indices, (batch, heads), grid)
    full = np.zeros_like(partial)
    if made.full_kv_num_blocks is not None:
        full = _listed(made.full_kv_num_blocks, made.full_kv_indices, (batch, heads), grid)
    asked = _asked(made, batch, heads, q_len, kv_len)
    mixed, whole = (_spread(blocks, made.BLOCK_SIZE, asked.shape) for blocks in (partial, full))
    allowed = whole | (mixed & asked)
    counts = ", ".join(
        f"{int(number)} {kind}"
        for number, kind in (
            ((~(partial | full)).sum(), "empty"),
            (partial.sum(), "mixed"),
            (full.sum(), "full"),
        )
    )
    evidence = (
        f"a BlockMask of {q_len} x {kv_len} in blocks of {made.BLOCK_SIZE[0]} x "
        f"{made.BLOCK_SIZE[1]}: {counts}; mask_mod decides in mixed blocks only",
    )
    warnings = _disagreements(allowed, asked, whole) + _backwards(made, partial, full)
    return Read(allowed, evidence, warnings=warnings)


def _listed(
    count: Any, indices: Any, lead: tuple[int, int], grid: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return which blocks [batch, heads, block rows, block columns] a pair of tensors lists."""
    counts, columns = (tensor.detach().cpu().numpy() for tensor in (count, indices))
    counts = counts.reshape(*lead, -1)
    columns = columns.reshape(*counts.shape, -1)
    named = np.arange(columns.shape[-1]) < counts[..., None]
    rows = np.nonzero(named)
    found = columns[rows]
    inside = (found >= 0) & (found < grid[1]) & (rows[2] < grid[0])
    result = np.zeros((*lead, *grid), dtype=np.bool_)
    result[(*(axis[inside] for axis in rows[:3]), found[inside])] = True
    return result


def _asked(made: Any, batch: int, heads: int, q_len: int, kv_len: int) -> Bools:
    """Return what mask_mod says of every pair."""
    from torch.nn.attention.flex_attention import create_mask

    device = made.kv_indices.device
    try:
        asked = create_mask(made.mask_mod, batch, heads, q_len, kv_len, device=device)
    # The function is the user's own: whatever it raises, it cannot say what it allows.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise InvalidArgument(
            f"got a BlockMask whose mask_mod cannot be asked at {q_len} x {kv_len} ({reason}); "
            "wanted one whose data cover that; a slice of a BlockMask has lost its mask_mod."
        ) from error
    return asked.detach().cpu().numpy().astype(np.bool_)


def _spread(blocks: Bools, size: tuple[int, int], shape: tuple[int, ...]) -> Bools:
    """Return the blocks as pairs, cut to the lengths."""
    pairs = blocks.repeat(size[0], axis=2).repeat(size[1], axis=3)
    return pairs[:, :, : shape[2], : shape[3]]


def _disagreements(allowed: Bools, asked: Bools, whole: Bools) -> tuple[str, ...]:
    return tuple(
        f"{len(found)} pairs {words} (first: batch {found[0][0]}, head {found[0][1]}, query "
        f"{found[0][2]}, key {found[0][3]}); compiled kernels go by the blocks, uncompiled "
        "flex_attention by mask_mod: the BlockMask was made from another mask or for other lengths"
        for found, words in (
            (np.argwhere(asked & ~allowed), "that mask_mod allows lie in blocks that are left out"),
            (np.argwhere(whole & ~asked), "that mask_mod forbids lie in blocks marked full"),
        )
        if len(found)
    )


def _backwards(made: Any, partial: Bools, full: Bools) -> tuple[str, ...]:
    """Warn if the lists for the backward pass name other blocks than those for the forward pass."""
    lead, grid = partial.shape[:2], partial.shape[:1:-1]
    pairs = (
        (made.q_num_blocks, made.q_indices, partial),
        (made.full_q_num_blocks, made.full_q_indices, full),
    )
    for count, indices, forward in pairs:
        if count is None:
            continue
        backward = _listed(count, indices, lead, grid)
        if not np.array_equal(backward.swapaxes(2, 3), forward):
            return (
                "the blocks listed for the backward pass (q_indices) are not those of the forward "
                "pass (kv_indices): gradients belong to another mask than the output",
            )
    return ()
