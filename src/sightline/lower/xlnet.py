"""Destination ``xlnet``: ``perm_mask`` and ``target_mapping`` of XLNet, where 1 = may not attend.

XLNet runs two streams on one perm_mask. The query stream, which predicts, sees what the mask says;
the content stream sees itself besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import CannotExpress, InvalidArgument
from sightline.lower.arguments import Asked, require_torch
from sightline.lower.destinations import Destination
from sightline.lower.devices import check_device
from sightline.lower.forms.one_head import for_one_head

DESTINATION = Destination(
    name="xlnet",
    gives="the keywords perm_mask [batch|1, length, length], 1 = may not attend, and (query "
    "stream) target_mapping [batch|1, targets, length] of transformers' XLNet",
    expresses='every mask that is the same for all heads; stream="query": without empty rows at '
    'the targets; stream="content": if every position sees itself',
    refuses="heads that differ, a rectangle or an offset; empty rows where they count, which "
    "become a mean of all values; in the content stream a position that does not see itself",
    in_principle="no more: perm_mask has no head axis, and the content stream's diagonal is fixed. "
    "Its memory (mems) is seen by all; a mask of memory and sequence is refused as a rectangle",
    options=("stream", "targets", "device"),
    needs="torch",
    extra="hf",
)


def translate(
    asked: Asked,
    stream: str = "query",
    targets: Sequence[int] | None = None,
    device: Any = "cpu",
) -> dict[str, Any]:
    """Return perm_mask and, for the query stream, target_mapping, as float32 tensors.

    With ``stream="query"`` the mask is that of the query stream, as ``permutation(order,
    stream="query")`` says it, at the positions to predict; the content stream then has the same
    mask and the diagonal. With ``stream="content"`` it is the content stream's, and there is no
    target_mapping: the model runs that stream alone. Load the model with ``attn_type="bi"``, or it
    adds a causal mask of its own.

    Args:
        asked: the mask and its shape: as many keys as queries, from position 0.
        stream: "query" or "content": which of the two the mask means.
        targets: the positions to predict, for every batch row; None for all.
        device: where the tensors shall live.

    Raises:
        CannotExpress: see ``refuses``.
        InvalidArgument: another stream; targets beyond the length, or with the content stream.

    Source: Yang et al. 2019, "XLNet", section 2.3; transformers' documentation of XLNetModel.

    >>> import sightline as sl
    >>> mask = sl.permutation([2, 0, 1], stream="query")
    >>> sl.lower(mask, to="xlnet", q_len=3, targets=[0, 1])
    {'perm_mask': tensor([[[1., 1., 0.],
             [0., 1., 0.],
             [1., 1., 1.]]]), 'target_mapping': tensor([[[1., 0., 0.],
             [0., 1., 0.]]])}
    """
    torch = require_torch(f"sl.lower(..., to='{DESTINATION.name}')")
    place = check_device(torch, device, DESTINATION.name)
    asked.refuse_rectangle(
        DESTINATION.name,
        reason="perm_mask is square, and what lies in memory before it is seen by all",
        alternative="sl.attend(query, key, value, mask), or torch.sdpa",
    )
    asked = for_one_head(asked, DESTINATION.name, "perm_mask has no head axis")
    if stream == "query":
        at = _targets(targets, asked.q_len)
        _refuse_empty_targets(asked, at)
        one_hot = np.eye(asked.q_len)[None, at]
        mapping = np.broadcast_to(one_hot, (len(asked.dense), *one_hot.shape[1:]))
        made = {"target_mapping": mapping}
    elif stream == "content" and targets is None:
        _refuse_blind_positions(asked)
        made = {}
    else:
        raise InvalidArgument(
            f"got stream={stream!r} and targets={targets!r} for {DESTINATION.name}; wanted "
            'stream="query", or stream="content" without targets.'
        )
    made = {"perm_mask": ~asked.dense[:, 0], **made}
    return {
        name: torch.tensor(array, dtype=torch.float32, device=place) for name, array in made.items()
    }


def _targets(targets: Sequence[int] | None, length: int) -> NDArray[np.int64]:
    at = np.arange(length) if targets is None else np.asarray(targets)
    if at.ndim != 1 or at.dtype.kind not in "iu" or ((at < 0) | (at >= length)).any():
        raise InvalidArgument(
            f"got targets={targets!r} for {DESTINATION.name}; wanted positions from 0 to "
            f"{length - 1}, such as [2, 5]."
        )
    return at


def _refuse_empty_targets(asked: Asked, at: NDArray[np.int64]) -> None:
    empty = np.argwhere(asked.empty_rows[:, 0, at])
    if len(empty):
        batch, row = empty[0].tolist()
        raise CannotExpress(
            destination=DESTINATION.name,
            part=f"target {at[row]} of batch {batch}, which may see nothing",
            reason="XLNet subtracts a large number from every score of its row, which softmax "
            "cancels: a mean of all values",
            alternative="targets= without it (the first of an order has nothing to see)",
        )


def _refuse_blind_positions(asked: Asked) -> None:
    blind = np.argwhere(~asked.dense[:, 0].diagonal(axis1=1, axis2=2))
    if len(blind):
        batch, position = blind[0].tolist()
        raise CannotExpress(
            destination=f'{DESTINATION.name} with stream="content"',
            part=f"position {position} of batch {batch}, which may not see itself",
            reason="the content stream always sees itself",
            alternative='stream="query", or the mask with window(left=0, right=0) added: '
            "mask | window(left=0, right=0)",
        )
