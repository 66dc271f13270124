"""FlexAttention's BlockMask expanded: the kernel goes by the blocks, and asks mask_mod in some."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.testing.expanders.shape import Shape, numbers


def flex(keywords: dict[str, Any], shape: Shape) -> NDArray[np.bool_]:
    """Full blocks allow all, partial ones what mask_mod allows, the others nothing."""
    import torch

    made = keywords["block_mask"]
    height, width = made.BLOCK_SIZE
    allowed = np.zeros(shape.full, dtype=np.bool_)
    asked = (torch.arange(size) for size in shape.full)
    batch, head, query, key = torch.meshgrid(*asked, indexing="ij")
    answer = numbers(
        made.mask_mod(batch, head, query, key) & torch.ones(shape.full, dtype=torch.bool)
    )
    kinds = (
        (made.kv_num_blocks, made.kv_indices, answer),
        (made.full_kv_num_blocks, made.full_kv_indices, np.ones_like(answer)),
    )
    for counts, indices, inside in kinds:
        rows = counts.shape[-1]
        for b, h, row in product(range(shape.batch), range(shape.heads), range(rows)):
            # A mask that is the same for all has one row of blocks, which serves all.
            at = min(b, counts.shape[0] - 1), min(h, counts.shape[1] - 1), row
            for block in indices[at][: counts[at]].tolist():
                rows_of, columns = row * height, block * width
                tile = np.s_[b, h, rows_of : rows_of + height, columns : columns + width]
                allowed[tile] = inside[tile]
    return allowed
