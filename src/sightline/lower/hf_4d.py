"""Destination ``hf.4d``: the four-dimensional ``attention_mask`` of transformers' models.

A model takes a 4-D mask as it is and adds it to the scores, so it must be floats: under "eager" a
bool mask would be added as 0 and 1, and forbid nothing.
"""

from __future__ import annotations

from typing import Any

from sightline.errors import InvalidArgument
from sightline.lower.arguments import Asked, require_torch
from sightline.lower.destinations import Destination
from sightline.lower.devices import check_device

DESTINATION = Destination(
    name="hf.4d",
    gives="the keyword attention_mask of a transformers model: floats [batch|1, heads|1, q_len, "
    "kv_len] to add to the scores, 0 or the most negative number of the dtype",
    expresses="every mask without empty rows; it replaces the model's own mask",
    refuses="empty rows: adding one finite number to a whole row changes nothing in softmax",
    in_principle="the same; with -inf instead, eager attention would give NaN for an empty row",
    options=("dtype", "device"),
    needs="torch",
    extra="hf",
)
_DTYPES = ("float32", "float64", "float16", "bfloat16")


def translate(asked: Asked, dtype: Any = "float32", device: Any = "cpu") -> dict[str, Any]:
    """Return ``{"attention_mask": float [batch|1, heads|1, q_len, kv_len]}``.

    transformers passes a 4-D mask on without a look, so the model adds nothing of its own: no
    causal mask, no window. Attention implementations that take no mask (flash) take none here.

    Args:
        asked: the mask and its shape; kv_len counts the keys of the cache and of this call.
        dtype: the dtype of the model, as a torch.dtype or its name.
        device: where the tensor shall live.

    Raises:
        CannotExpress: a row that may see nothing.
        InvalidArgument: a dtype that is not a float.

    Source: transformers 5, masking_utils.py (4-D masks are returned as they are).

    >>> import sightline as sl
    >>> sl.lower(sl.causal(), to="hf.4d", q_len=2, dtype="bfloat16")["attention_mask"]
    tensor([[[[ 0.0000e+00, -3.3895e+38],
              [ 0.0000e+00,  0.0000e+00]]]], dtype=torch.bfloat16)
    """
    torch = require_torch(f"sl.lower(..., to='{DESTINATION.name}')")
    place = check_device(torch, device, DESTINATION.name)
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise InvalidArgument(
            f"got dtype={dtype!r} for {DESTINATION.name}; wanted {', '.join(_DTYPES)}: the dtype "
            "of the model, since the mask is added to its scores."
        )
    asked.refuse_empty_rows(
        DESTINATION.name,
        reason="a finite number on a whole row cancels in softmax, which gives the mean of values "
        "that the row may not see",
    )
    floats = getattr(torch, name)
    kept, dropped = (
        torch.tensor(number, dtype=floats, device=place) for number in (0, torch.finfo(floats).min)
    )
    allowed = torch.tensor(asked.dense, device=place)
    return {"attention_mask": torch.where(allowed, kept, dropped)}
