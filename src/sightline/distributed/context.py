"""``sl.distributed.context_parallel``: layers that attend over all ranks, their code unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sightline.distributed.attention import attend
from sightline.distributed.layout import Spread
from sightline.engines.shared import sharing
from sightline.errors import CannotExpress, ShapeMismatch

__all__ = ["context_parallel"]


@contextmanager
def context_parallel(spread: Spread) -> Iterator[Spread]:
    """Let every attention inside the block reach over all ranks.

    Inside, the tokens of a layer are this rank's share, masks are over absolute positions, and
    ``sl.attend`` is ``sl.distributed.attend``. Gradients must be worked out inside too, where
    activations are recomputed (``torch.utils.checkpoint``).
    """
    with sharing(_Answers(spread)):
        yield spread


class _Answers:
    """What the engines and layers ask while the block runs."""

    def __init__(self, spread: Spread) -> None:
        self._spread = spread

    def attend(self, query: Any, key: Any, value: Any, mask: Any, **options: Any) -> Any:
        q_offset = options.pop("q_offset", 0)
        if q_offset:
            raise CannotExpress(
                destination="context parallelism",
                part=f"q_offset={q_offset}",
                reason="the tokens of a rank have positions of their own",
                alternative="the same call outside of sl.distributed.context_parallel",
            )
        return attend(query, key, value, mask, spread=self._spread, **options)

    def positions(self, length: int, device: torch.device) -> torch.Tensor:
        if length != self._spread.length:
            raise ShapeMismatch(
                f"got {length} tokens on rank {self._spread.ranks.rank}; wanted its share, "
                f"{self._spread.length}; cut the batch with sl.distributed.shard_batch."
            )
        return self._spread.positions(device)
