"""Destination ``torch.sdpa``: keywords of ``torch.nn.functional.scaled_dot_product_attention``.

Its bool mask has our sense (True may attend). Its ``is_causal`` is aligned to the top left corner
and overrides a mask, so it is set only where it says exactly the same, and then alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sightline.errors import CannotExpress
from sightline.lower.arguments import Asked, require_torch
from sightline.lower.destinations import Destination
from sightline.lower.devices import check_device
from sightline.lower.forms.shortcut import shortcut

DESTINATION = Destination(
    name="torch.sdpa",
    gives="the keywords attn_mask and is_causal of scaled_dot_product_attention",
    expresses="every mask",
    refuses="empty rows where the installed torch, tried out on the spot, does not give 0 for "
    "output and gradients, and on devices other than the CPU",
    in_principle="every mask; which kernels of other devices give 0 for an empty row is not known",
    options=("device",),
    needs="torch",
    extra="torch",
)


def translate(asked: Asked, device: Any = "cpu") -> dict[str, Any]:
    """Return ``{"attn_mask": BoolTensor or None, "is_causal": bool}``, all that the call needs.

    ``attn_mask`` has shape [batch|1, heads|1, q_len, kv_len]. It is None only where every pair
    is allowed at this shape, or where ``is_causal=True`` says exactly this mask. (If you pass a
    ``scale`` of 0 or below besides: the CPU kernel of torch 2.13 is wrong with ``is_causal``.)

    Args:
        asked: the mask and its shape.
        device: where the tensor shall live.

    Raises:
        CannotExpress: a row that may see nothing, where scaled_dot_product_attention is not
            known to give 0 for its output and gradients.

    Source: the documentation of torch.nn.functional.scaled_dot_product_attention.

    >>> import sightline as sl
    >>> sl.lower(sl.causal(), to="torch.sdpa", q_len=4)
    {'attn_mask': None, 'is_causal': True}
    >>> sl.lower(sl.causal(), to="torch.sdpa", q_len=1, kv_len=3, q_offset=1)
    {'attn_mask': tensor([[[[ True,  True, False]]]]), 'is_causal': False}
    """
    torch = require_torch("sl.lower(..., to='torch.sdpa')")
    target = check_device(torch, device, "torch.sdpa")
    _refuse_unsafe_empty_rows(asked, target.type)
    form = shortcut(asked.dense)
    if form is not None:
        return {"attn_mask": None, "is_causal": form == "causal"}
    return {"attn_mask": torch.tensor(asked.dense, device=target), "is_causal": False}


def _refuse_unsafe_empty_rows(asked: Asked, device_type: str) -> None:
    part = asked.name_an_empty_row()
    if part is None or (device_type == "cpu" and cpu_keeps_empty_rows()):
        return
    raise CannotExpress(
        destination="torch.sdpa",
        part=part,
        reason=f"scaled_dot_product_attention is not known to give them 0 on device "
        f"{device_type!r} with this torch, forwards and backwards; some of its kernels give NaN",
        alternative='sl.attend(query, key, value, mask, engine="sdpa"), which gives 0',
    )


@lru_cache(maxsize=1)
def cpu_keeps_empty_rows() -> bool:
    """Try out, once, whether the installed torch gives 0 for an empty row on the CPU.

    Both of its ways are tried (the fused kernel, and the composed one that it takes when value
    and query differ in head_dim), in every dtype, forwards and backwards.
    """
    torch = require_torch("sl.lower(..., to='torch.sdpa')")
    dtypes = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
    return all(_empty_row_is_zero(torch, dtype, dim) for dtype in dtypes for dim in (8, 9))


def _empty_row_is_zero(torch: Any, dtype: Any, value_dim: int) -> bool:
    allowed = torch.tensor([[True, False, True], [False, False, False]])
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        inputs = [
            torch.ones(1, 1, length, dim, dtype=dtype, requires_grad=True)
            for length, dim in ((2, 8), (3, 8), (3, value_dim))
        ]
        output = torch.nn.functional.scaled_dot_product_attention(*inputs, attn_mask=allowed)
        grads = torch.autograd.grad(output.sum(), inputs)
    finite = all(bool(tensor.isfinite().all()) for tensor in (output, *grads))
    zero = not bool(output[0, 0, 1].any()) and not bool(grads[0][0, 0, 1].any())
    # Only row 0 may add to the gradient of the values: half of its 1 to keys 0 and 2 each.
    fed = grads[2][0, 0, :, 0].double() - torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64)
    return finite and zero and bool((fed.abs() < 1e-2).all())
