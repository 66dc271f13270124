"""Destination ``numpy.bool``: the mask as an array of bools, True may attend."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sightline.lower.arguments import Asked
from sightline.lower.destinations import Destination

DESTINATION = Destination(
    name="numpy.bool",
    gives="a bool array [batch|1, heads|1, q_len, kv_len]; True may attend",
    expresses="every mask",
    refuses="nothing",
    in_principle="every mask",
)


def translate(asked: Asked) -> NDArray[np.bool_]:
    """Return bools ``[batch|1, heads|1, q_len, kv_len]``, True may attend (SDPA's sense).

    >>> import sightline as sl
    >>> sl.lower(sl.causal(), to="numpy.bool", q_len=2, q_offset=1, kv_len=3)[0, 0].astype(int)
    array([[1, 1, 0],
           [1, 1, 1]])
    """
    return asked.dense
