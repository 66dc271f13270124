"""Masks as bool tensors on a device, kept for the next call with the same mask and shape.

A model calls attention once per layer with one mask; building its array each time would cost more
than some layers. The store is bounded by bytes and safe to use from several threads.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock

import torch

from sightline.engines.request import Request
from sightline.lower.forms.shortcut import shortcut
from sightline.masks.mask import Mask

# Two masks of 4096 x 4096, or hundreds of the usual kind.
BUDGET_BYTES = 64 * 2**20


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


class Store:
    """The most recently used values of a bounded total size."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._kept: OrderedDict[Hashable, DenseMask] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, name: Hashable, build: Callable[[], DenseMask]) -> DenseMask:
        """Return what is kept under ``name``, built if it is not there."""
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
        built = build()  # outside the lock: another thread may build the same, which is harmless
        with self._lock:
            if name not in self._kept and built.nbytes <= self.budget:
                self._kept[name] = built
                self._bytes += built.nbytes
            while self._bytes > self.budget:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return built

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)


STORE = Store(BUDGET_BYTES)


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
