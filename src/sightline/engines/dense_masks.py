"""Masks as bool tensors on a device, kept for the next call with the same mask and shape."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sightline.engines.kept import BUDGET_BYTES, Store
from sightline.engines.request import Request
from sightline.lower.forms.shortcut import shortcut
from sightline.masks.mask import Mask


@dataclass(frozen=True)
class DenseMask:
    """A mask at one shape, as an engine wants it.

    Attributes:
        allowed: bool [batch|1, heads|1, q_len, kv_len]; True may attend.
        empty: bool [batch|1, heads|1, q_len], True where a query may see nothing; None if there
            is no such query.
        opened: ``allowed``, but empty rows see key 0, so that softmax has something to divide.
        form: "everything" or "causal" where that (top-left aligned) is all it says, else None.
    """

    allowed: torch.Tensor
    empty: torch.Tensor | None
    opened: torch.Tensor
    form: str | None

    @property
    def nbytes(self) -> int:
        """How much memory the tensors take."""
        tensors = {id(t): t for t in (self.allowed, self.opened, self.empty) if t is not None}
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


STORE: Store[DenseMask] = Store(BUDGET_BYTES)


def dense_mask(request: Request) -> DenseMask:
    """Return the request's mask as tensors on the query's device.

    Raises:
        ShapeMismatch: the mask's data are bound to another length.
    """
    _, _, q_len, kv_len = request.scores_shape
    device = request.query.device
    name = (request.mask, q_len, kv_len, request.q_offset, str(device))
    return STORE.get(name, lambda: _build(request.mask, q_len, kv_len, request.q_offset, device))


def _build(mask: Mask, q_len: int, kv_len: int, q_offset: int, device: torch.device) -> DenseMask:
    dense = mask.dense(q_len, kv_len, q_offset)
    # Tensors made in inference mode could not be kept for a later backward pass.
    with torch.inference_mode(False):
        allowed = torch.tensor(dense, device=device)
        empty = ~allowed.any(dim=-1)
        if not bool(empty.any()):
            return DenseMask(allowed, None, allowed, shortcut(dense))
        opened = allowed.clone()
        opened[..., :1] |= empty[..., None]
        return DenseMask(allowed, empty, opened, None)
