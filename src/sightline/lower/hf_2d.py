"""Destination ``hf.2d``: the two-dimensional ``attention_mask`` of transformers' models.

It says which tokens are there, 1 = keep, and nothing else; who sees whom among them is the model's
own affair (causal in a decoder, everything in an encoder), which ``own`` names.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.errors import InvalidArgument
from sightline.lower.arguments import Asked, check_axis, require_torch
from sightline.lower.destinations import Destination
from sightline.lower.devices import check_device
from sightline.lower.forms.beside import beside
from sightline.masks.mask import Mask

DESTINATION = Destination(
    name="hf.2d",
    gives="the keyword attention_mask of a transformers model: [batch, kv_len], 1 = keep; with "
    "positions=True position_ids as well, which left padding needs",
    expresses="the model's own mask (own=, causal() unless said) less any keys, for each batch row",
    refuses='every other mask; empty rows under attn_implementation="eager", where they become a '
    'mean of all values, and under any but "sdpa" and "eager"',
    in_principle="no more: it has one number for each key. flash_attention_2 drops padded queries "
    "as well, and flex_attention asks the same 2-D mask; both need an accelerator to be tried",
    options=("own", "attn_implementation", "positions", "batch", "device"),
    needs="torch",
    extra="hf",
    writes_pairs=False,
)
_IMPLEMENTATIONS = ("sdpa", "eager")


def translate(
    asked: Asked,
    own: Mask | None = None,
    attn_implementation: str = "sdpa",
    positions: bool = False,
    batch: int | None = None,
    device: Any = "cpu",
) -> dict[str, Any]:
    """Return ``{"attention_mask": int64 [batch, kv_len]}``: 1 keep, 0 padding.

    The keys are those of the cache and of this call together, as transformers counts them.

    Args:
        asked: the mask and its shape.
        own: the mask that the model applies by itself: ``causal()`` (None), ``everything()`` for
            an encoder, ``causal() & window(left=W - 1)`` where its config says sliding_window=W.
        attn_implementation: "sdpa" or "eager": what the model was loaded with.
        positions: also give ``position_ids`` [batch, q_len], which count kept tokens only.
        batch: the batch size: transformers takes no single row for all; None for the mask's own.
        device: where the tensors shall live.

    Raises:
        CannotExpress: the mask is not the model's own less some keys; a row that may see nothing,
            with "eager".
        InvalidArgument: another attn_implementation.
        ShapeMismatch: ``batch`` differs from the mask's own.

    Source: transformers 5, masking_utils.py and the glossary's "attention mask".

    >>> import sightline as sl
    >>> mask = sl.causal() & sl.padding(lengths=[3, 2], side="left", total=3)
    >>> sl.lower(mask, to="hf.2d", q_len=3, positions=True)
    {'attention_mask': tensor([[1, 1, 1],
            [0, 1, 1]]), 'position_ids': tensor([[0, 1, 2],
            [0, 0, 1]])}
    """
    torch = require_torch(f"sl.lower(..., to='{DESTINATION.name}')")
    place = check_device(torch, device, DESTINATION.name)
    if attn_implementation not in _IMPLEMENTATIONS:
        raise InvalidArgument(
            f"got attn_implementation={attn_implementation!r} for {DESTINATION.name}; wanted "
            f"{' or '.join(map(repr, _IMPLEMENTATIONS))}; others read the mask in other ways."
        )
    valid = beside(asked, own, DESTINATION.name).valid_keys()
    if attn_implementation == "eager" or place.type != "cpu":
        asked.refuse_empty_rows(
            f"{DESTINATION.name} with {attn_implementation} on {place.type}",
            reason="eager attention gives the mean of all values for them, and what other devices "
            "give is not known",
            alternative='attn_implementation="sdpa" on the CPU, which gives 0, or sl.attend',
        )
    rows = len(valid) if batch is None else check_axis("batch", batch, len(valid), DESTINATION.name)
    valid = np.broadcast_to(valid, (rows, asked.kv_len))
    made = {"attention_mask": torch.tensor(valid, dtype=torch.int64, device=place)}
    if positions:
        counted = (made["attention_mask"].cumsum(-1) - 1).clamp(min=0)
        at = torch.arange(asked.q_offset, asked.q_offset + asked.q_len, device=place)
        made["position_ids"] = counted[:, at.clamp(max=max(asked.kv_len - 1, 0))]
    return made
