"""What one rank does of attention under a mask: what it sends, and who sees whom of what is there.

Made once for a mask and a batch size and kept by the ``Spread``: a model calls attention in every
layer with the same mask.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch

from sightline.distributed.routes import Route, route
from sightline.masks.gathered import gathered
from sightline.masks.mask import Mask
from sightline.plan.shard import Shard

__all__ = ["Kept", "Portion"]

# Masks that are kept at a time, the same number on every rank. Packed batches have a new one each.
_MOST_KEPT = 64


class Portion:
    """One rank's part of attention under a mask.

    Attributes:
        cut: the shards of the mask.
        way: what is sent and received.
    """

    def __init__(self, mask: Mask, cut: Shard, rank: int, batch: int, device: torch.device) -> None:
        self._mask, self.cut, self._rank, self._device = mask, cut, rank, device
        self.way: Route = route(cut, rank, batch).to(device)
        self._asked: dict[Any, Any] = {}

    @property
    def is_alone(self) -> bool:
        """Whether no rank needs a key of another."""
        return self.way.idle

    @cached_property
    def own(self) -> Mask:
        """Who sees whom among this rank's queries and all its keys."""
        return gathered(self._mask, self._queries, self.cut.keys.positions(self._rank))

    @cached_property
    def others(self) -> Mask:
        """Who sees whom among this rank's queries and the keys received."""
        return gathered(self._mask, self._queries, self.way.others.positions)

    @cached_property
    def every(self) -> Mask:
        """Who sees whom among this rank's queries and all keys that they need."""
        return gathered(self._mask, self._queries, self.way.every.positions)

    @property
    def _queries(self) -> np.ndarray:
        return self.cut.queries.positions(self._rank)

    @cached_property
    def own_columns(self) -> torch.Tensor:
        """Where the keys that this rank holds stand among all, int64 [1|batch, keys]."""
        return self._columns(self.cut.keys.positions(self._rank))

    @cached_property
    def others_columns(self) -> torch.Tensor:
        """Where the keys received stand among all, int64 [1|batch, keys]."""
        return self._columns(self.way.others.positions)

    @cached_property
    def every_columns(self) -> torch.Tensor:
        """Where the keys that this rank needs stand among all, int64 [1|batch, keys]."""
        return self._columns(self.way.every.positions)

    def _columns(self, positions: np.ndarray) -> torch.Tensor:
        first = int(self.cut.keys.edges[0])
        return torch.from_numpy(np.maximum(positions - first, 0)).to(self._device)

    def remember(self, what: Any, ask: Callable[[], Any]) -> Any:
        """Return what ``ask()`` said when it was first asked about ``what``."""
        if what not in self._asked:
            self._asked[what] = ask()
        return self._asked[what]


class Kept:
    """What was made for the masks used last; as many on all ranks, whatever their size."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, Any] = OrderedDict()

    def get(self, name: Any, build: Callable[[], Any]) -> Any:
        """Return what is kept under ``name``, built if it is not there."""
        found = self._kept.get(name)
        if found is None:
            found = self._kept[name] = build()
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(name)
        return found

    def __contains__(self, name: Any) -> bool:
        return name in self._kept

    def __len__(self) -> int:
        return len(self._kept)
