"""At which sizes a destination's arguments are expanded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Shape:
    """The sizes of the call that the arguments are meant for.

    Attributes:
        batch: batch rows.
        heads: query heads.
        q_len: queries.
        kv_len: keys.
        q_offset: the absolute position of query 0.
    """

    batch: int
    heads: int
    q_len: int
    kv_len: int
    q_offset: int = 0

    @property
    def full(self) -> tuple[int, int, int, int]:
        """``[batch, heads, q_len, kv_len]``, the shape of every expansion."""
        return self.batch, self.heads, self.q_len, self.kv_len


def numbers(tensor: Any) -> NDArray[Any]:
    """Return a tensor of any library as a numpy array (bfloat16, which numpy lacks, as float32)."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if str(tensor.dtype) == "torch.bfloat16":
            tensor = tensor.float()
    return np.asarray(tensor)
