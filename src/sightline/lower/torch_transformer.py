"""Destination ``torch.transformer``: keywords of ``torch.nn.Transformer.forward``.

It takes eight masks and hints for three attentions, True = ignore, and derives none of them from
another: to pad the source means to pad the memory as well, or the decoder reads padding.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.errors import CannotExpress
from sightline.lower.arguments import Asked, require_torch
from sightline.lower.destinations import Destination
from sightline.lower.devices import check_device
from sightline.lower.forms.ignored import REASON, ignored_masks, tensor_or_none

DESTINATION = Destination(
    name="torch.transformer",
    gives="all keywords of nn.Transformer's forward beside src and tgt: src_mask, tgt_mask, "
    "memory_mask, the three key padding masks, and the is_causal hints, True = ignore",
    expresses="every three masks without empty rows; the batch needs num_heads= unless each mask "
    "splits into one part for (query, key) and one for (batch, key)",
    refuses="empty rows in any of the three, for which its attention gives NaN; a q_offset, since "
    "it has no cache",
    in_principle="every three masks without empty rows",
    options=("num_heads", "batch", "device"),
    needs="torch",
    extra="torch",
    takes=("source", "target", "memory"),
)
# Where each of the three attentions has its queries and its keys.
_PARTS = (("src", "kv_len", "kv_len"), ("tgt", "q_len", "q_len"), ("memory", "q_len", "kv_len"))


def translate(
    source: Asked,
    target: Asked,
    memory: Asked,
    num_heads: int | None = None,
    batch: int | None = None,
    device: Any = "cpu",
) -> dict[str, Any]:
    """Return all keywords of ``nn.Transformer.forward`` that say who may see whom.

    ``q_len`` is the length of the target, ``kv_len`` that of the source. ``source`` is asked at
    [kv_len, kv_len], ``target`` at [q_len, q_len], ``memory`` (target queries, source keys) at
    [q_len, kv_len]. A source that is padded wants its padding in ``memory`` too.

    Where the source has a key padding mask, its ``src_mask`` is there even if it forbids nothing:
    without it nn.TransformerEncoder drops padded positions in evaluation and gives 0 for them.

    Args:
        source: the encoder's self-attention.
        target: the decoder's self-attention.
        memory: the decoder's attention to the encoder's output.
        num_heads: the number of heads; needed where a mask does not split into pairs and keys.
        batch: the batch size; needed where a mask depends on the head but not on the batch.
        device: where the tensors shall live.

    Raises:
        CannotExpress: a row that may see nothing; a query offset.
        InvalidArgument: ``num_heads`` or ``batch`` is needed and was not given.
        ShapeMismatch: ``num_heads`` or ``batch`` differs from a mask's own.

    Source: the documentation of torch.nn.Transformer.

    >>> import sightline as sl
    >>> pad = sl.padding(lengths=[3, 2])
    >>> keywords = sl.lower((pad, sl.causal(), pad), to="torch.transformer", q_len=2, kv_len=3)
    >>> keywords["memory_key_padding_mask"]
    tensor([[False, False, False],
            [False, False,  True]])
    >>> keywords["tgt_mask"]
    tensor([[False,  True],
            [False, False]])
    """
    torch = require_torch(f"sl.lower(..., to='{DESTINATION.name}')")
    place = check_device(torch, device, DESTINATION.name)
    keywords: dict[str, Any] = {}
    for (name, q_axis, kv_axis), asked in zip(_PARTS, (source, target, memory), strict=True):
        _refuse_offset(asked)
        part = Asked(asked.mask, getattr(asked, q_axis), getattr(asked, kv_axis), 0)
        part.refuse_empty_rows(f"{DESTINATION.name} ({name}_mask)", REASON)
        pairs, padding = ignored_masks(part, DESTINATION.name, num_heads, batch)
        if name == "src" and padding is not None and pairs is None:
            pairs = np.zeros((part.q_len, part.kv_len), dtype=np.bool_)
        keywords[f"{name}_mask"] = tensor_or_none(torch, pairs, place)
        keywords[f"{name}_key_padding_mask"] = tensor_or_none(torch, padding, place)
        keywords[f"{name}_is_causal"] = False
    return keywords


def _refuse_offset(asked: Asked) -> None:
    if asked.q_offset:
        raise CannotExpress(
            destination=DESTINATION.name,
            part=f"q_offset={asked.q_offset}",
            reason="nn.Transformer attends over whole sequences and has no cache to continue",
            alternative="torch.mha for one attention of a decode step, or the whole sequence",
        )
