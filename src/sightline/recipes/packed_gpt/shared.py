"""Packed sequences whose tokens lie on several processes: each reads and answers for its share.

Who holds which tokens follows from the mask of a batch, alike on every process, so each batch is
cut anew. The model is the same; it is given its share inside ``context_parallel``.
"""

from __future__ import annotations

from typing import Any

import torch

from sightline.distributed.batch import shard_batch, unshard
from sightline.distributed.context import context_parallel
from sightline.distributed.layout import Spread, spread
from sightline.distributed.losses import cross_entropy
from sightline.recipes.packed_gpt.packing import IGNORED

__all__ = ["shared_logits", "shared_loss"]


def shared_loss(model: Any, batch: dict[str, Any], group: Any) -> torch.Tensor:
    """Return this process's part of the loss; the mean over ``group`` is the loss of the batch.

    Args:
        model: a ``GPT``, with the same weights everywhere.
        batch: whole sequences, the same on all processes of the group.
        group: the processes that share them.
    """
    logits, share, laid = _read(model, batch, group)
    return cross_entropy(logits, share["labels"], laid, ignore_index=IGNORED)


def shared_logits(model: Any, batch: dict[str, Any], group: Any) -> torch.Tensor:
    """Return the logits [batch, length, vocab] of whole sequences, on every process."""
    logits, _, laid = _read(model, batch, group)
    return unshard(logits, laid)


def _read(
    model: Any, batch: dict[str, Any], group: Any
) -> tuple[torch.Tensor, dict[str, Any], Spread]:
    laid = spread(batch["mask"], batch["tokens"].shape[1], group=group)
    share = shard_batch(batch, laid)
    with context_parallel(laid):
        logits = model(share["tokens"], positions=share["positions"], mask=share["mask"])
    return logits, share, laid
