"""Destination ``flash_attn``: keywords of ``flash_attn.flash_attn_varlen_func``.

Since version 2.1 the last query of a sequence stands at its last key. A window counts keys besides
the query's own, as ours do.
"""

from __future__ import annotations

from typing import Any

from sightline.lower.arguments import Asked, require_torch
from sightline.lower.destinations import Destination
from sightline.lower.devices import check_device
from sightline.lower.forms.packed import Packed
from sightline.lower.forms.packing import EXPRESSES, IN_PRINCIPLE, REFUSES, packing

DESTINATION = Destination(
    name="flash_attn",
    gives="a Packed with the keywords cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, "
    "causal and window_size of flash_attn_varlen_func (flash-attn 2.3 or newer), and the way of "
    "the tensors into packed tokens and back",
    expresses=EXPRESSES,
    refuses=REFUSES,
    in_principle=IN_PRINCIPLE,
    options=("batch", "device"),
    needs="torch",
    extra="torch",
    writes_pairs=False,
)

NAME = DESTINATION.name


def translate(asked: Asked, batch: Any = None, device: Any = "cpu") -> Packed:
    """Return the keywords, and how the tensors become tokens ``[tokens, heads, dim]``.

    Queries that may see nothing are left out and come back as 0.

    Args:
        asked: the mask and its shape.
        batch: the number of batch rows of the tensors; None for as many as the mask tells apart.
        device: where the tensors shall live; the kernels run on CUDA devices alone.

    Raises:
        CannotExpress: no one window says the mask.
        ShapeMismatch: ``batch`` differs from the mask's own.

    Source: the docstring of flash_attn.flash_attn_varlen_func.

    >>> import sightline as sl
    >>> padding = sl.padding(lengths=[5, 2])
    >>> mask = sl.window(left=3, right=0) & padding & padding.T
    >>> keywords = sl.lower(mask, to="flash_attn", q_len=5).keywords
    >>> keywords["causal"], keywords["window_size"]
    (True, (3, 0))
    """
    torch = require_torch(f"sl.lower(..., to='{NAME}')")
    target = check_device(torch, device, NAME)
    found = packing(NAME, asked, batch)
    max_q, max_k = found.longest()
    keywords = {
        "cu_seqlens_q": torch.from_numpy(found.cu_seqlens_q).to(target),
        "cu_seqlens_k": torch.from_numpy(found.cu_seqlens_k).to(target),
        "max_seqlen_q": max_q,
        "max_seqlen_k": max_k,
        "causal": found.right == 0,
        "window_size": found.window(),
    }
    return found.packed(torch, keywords, target)
