"""Destination ``torch.varlen``: keywords of ``torch.nn.attention.varlen.varlen_attn``.

Its kernels (CUDA only) know packed sequences and one window, aligned so that the last query of a
sequence stands at its last key.
"""

from __future__ import annotations

from inspect import signature
from typing import Any

from sightline.errors import CannotExpress
from sightline.lower.arguments import Asked, require_torch
from sightline.lower.destinations import Destination
from sightline.lower.devices import check_device
from sightline.lower.forms.packed import Packed
from sightline.lower.forms.packing import (
    ALTERNATIVE,
    EXPRESSES,
    IN_PRINCIPLE,
    REFUSES,
    Packing,
    packing,
)

DESTINATION = Destination(
    name="torch.varlen",
    gives="a Packed with the keywords cu_seq_q, cu_seq_k, max_q, max_k and window_size of "
    "varlen_attn (is_causal where torch has no window_size), and the way of the tensors into "
    "packed tokens and back",
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
        CannotExpress: no one window says the mask, or this torch has no ``varlen_attn``.
        ShapeMismatch: ``batch`` differs from the mask's own.

    Source: the docstring of torch.nn.attention.varlen.varlen_attn, torch 2.13.

    >>> import sightline as sl
    >>> mask = sl.causal() & sl.documents(lengths=[3, 2])
    >>> keywords = sl.lower(mask, to="torch.varlen", q_len=5).keywords
    >>> keywords["cu_seq_q"], keywords["max_q"], keywords["window_size"]
    (tensor([0, 3, 5], dtype=torch.int32), 3, (-1, 0))
    """
    torch = require_torch(f"sl.lower(..., to='{NAME}')")
    target = check_device(torch, device, NAME)
    window_known = _knows_windows(torch)
    found = packing(NAME, asked, batch)
    max_q, max_k = found.longest()
    keywords = {
        "cu_seq_q": torch.from_numpy(found.cu_seqlens_q).to(target),
        "cu_seq_k": torch.from_numpy(found.cu_seqlens_k).to(target),
        "max_q": max_q,
        "max_k": max_k,
    }
    keywords |= _window(found) if window_known else _causal(found)
    return found.packed(torch, keywords, target)


def _window(found: Packing) -> dict[str, Any]:
    return {"window_size": found.window()}


def _causal(found: Packing) -> dict[str, Any]:
    """Return the keyword of the torch releases before windows."""
    if found.left is not None or found.right not in (None, 0):
        raise CannotExpress(
            destination=NAME,
            part=f"a window of {found.left} keys to the left and {found.right} to the right",
            reason="the varlen_attn of this torch knows is_causal only",
            alternative="a newer torch, sl.lower(mask, to='flash_attn', ...), or "
            "sl.attend(query, key, value, mask)",
        )
    return {"is_causal": found.right == 0}


def _knows_windows(torch: Any) -> bool:
    """Return whether the installed ``varlen_attn`` has ``window_size``.

    Raises:
        CannotExpress: this torch has no ``varlen_attn`` at all.
    """
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        raise CannotExpress(
            destination=NAME,
            part="any mask",
            reason=f"torch {torch.__version__} has no torch.nn.attention.varlen",
            alternative=ALTERNATIVE,
        ) from None
    return "window_size" in signature(varlen_attn).parameters
