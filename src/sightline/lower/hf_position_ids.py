"""Destination ``hf.position_ids``: packed documents as transformers finds them in position ids.

Given position ids that start again, no attention mask and no cache, a transformers model keeps the
documents of a row apart. An all-ones attention mask switches that off in silence, so the keyword
stands here, too: None.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.lower.arguments import Asked, require_torch
from sightline.lower.destinations import Destination
from sightline.lower.devices import check_device
from sightline.lower.forms.beside import beside
from sightline.masks.data import documents
from sightline.masks.mask import Mask

DESTINATION = Destination(
    name="hf.position_ids",
    gives="the keywords position_ids [batch|1, length] (0, 1, 2, ... in each document) and "
    "attention_mask=None of a transformers model",
    expresses="the model's own mask (own=, causal() unless said) within documents that lie side by "
    "side and fill their row",
    refuses="padding, and documents that come back after another; a query offset or a rectangle, "
    "since the model looks for documents without a cache only",
    in_principle="no more: a document ends where the position does not rise by one",
    options=("own", "device"),
    needs="torch",
    extra="hf",
    writes_pairs=False,
)


def translate(asked: Asked, own: Mask | None = None, device: Any = "cpu") -> dict[str, Any]:
    """Return ``{"position_ids": int64 [batch|1, length], "attention_mask": None}``.

    Args:
        asked: the mask and its shape: as many keys as queries, from position 0.
        own: the mask that the model applies by itself; None for ``causal()``.
        device: where the tensor shall live.

    Raises:
        CannotExpress: the mask is not the model's own within documents; a rectangle or an offset.

    Source: transformers 5, masking_utils.py, find_packed_sequence_indices.

    >>> import sightline as sl
    >>> mask = sl.causal() & sl.documents(lengths=[3, 2])
    >>> sl.lower(mask, to="hf.position_ids", q_len=5)
    {'position_ids': tensor([[0, 1, 2, 0, 1]]), 'attention_mask': None}
    """
    torch = require_torch(f"sl.lower(..., to='{DESTINATION.name}')")
    place = check_device(torch, device, DESTINATION.name)
    asked.refuse_rectangle(
        DESTINATION.name,
        reason="transformers looks for documents in position ids only where there is no cache",
        alternative="hf.4d, which says every mask at every offset",
    )
    mine = beside(asked, own, DESTINATION.name)
    starts = _document_starts(mine.asked)
    if starts.size:
        mine.hold(mine.own & documents(ids=np.cumsum(starts, axis=1)), "of documents")
    at = np.arange(asked.q_len)
    first = np.maximum.accumulate(np.where(starts, at, 0), axis=1)
    return {"position_ids": torch.tensor(at - first, device=place), "attention_mask": None}


def _document_starts(asked: Asked) -> NDArray[np.bool_]:
    """Return [batch|1, length]: True where no pair that may attend reaches across the border.

    Documents that are finer than these would cut a pair; coarser ones allow more. So if any
    documents make the mask, these do.
    """
    length, mask = asked.q_len, asked.mask
    at = np.arange(length)
    first, last = mask.first_key(length)[:, 0], mask.last_key(length)[:, 0]
    some = first >= 0
    low, high = np.where(some, np.minimum(first, at), at), np.where(some, np.maximum(last, at), at)
    reached = np.maximum.accumulate(high, axis=1)  # the farthest that anything so far belongs to
    needed = np.minimum.accumulate(low[:, ::-1], axis=1)[:, ::-1]
    starts = np.ones_like(some)
    starts[:, 1:] = (reached[:, :-1] < at[1:]) & (needed[:, 1:] >= at[1:])
    return starts
