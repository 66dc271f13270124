"""Instances as tensors: packed end to end, so that nothing is spent on padding.

Which instances go into a batch is task.py's matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sightline.nn.batch import Batch
from sightline.recipes.bert.data import Instance

__all__ = ["call", "moved", "pack"]


def pack(instances: Sequence[Instance]) -> dict[str, Any]:
    """Return instances end to end in one row, none of which sees another.

    Returns:
        ``tokens``, ``segments``, ``positions`` [1, length] and the ``mask``; ``first`` [instances],
        where each begins; ``places`` [n] and ``masked`` [n], where tokens are masked and what
        stood there; ``is_random`` [instances], 1 where B does not follow A.

    >>> pair = {"tokens": [1, 5, 2, 3, 2], "segments": [0, 0, 0, 1, 1], "places": [3]}
    >>> arrays = {name: np.array(each) for name, each in pair.items()}
    >>> one = Instance(**arrays, masked=np.array([6]), is_random=True)
    >>> batch = pack([one, one])
    >>> batch["mask"], batch["first"].tolist(), batch["places"].tolist()
    (documents(lengths=[5, 5]), [0, 5], [3, 8])
    """
    sequences = [torch.from_numpy(each.tokens) for each in instances]
    batch = Batch.from_sequences(sequences, side="packed")
    first = batch.cu_seqlens[:-1].long()
    starts = np.repeat(first.numpy(), [len(each.places) for each in instances])
    return {
        "tokens": batch.tokens,
        "segments": torch.from_numpy(np.concatenate([each.segments for each in instances]))[None],
        "positions": batch.positions,
        "mask": batch.mask,
        "first": first,
        "places": torch.from_numpy(np.concatenate([each.places for each in instances]) + starts),
        "masked": torch.from_numpy(np.concatenate([each.masked for each in instances])),
        "is_random": torch.tensor([int(each.is_random) for each in instances]),
    }


def call(model: Any, batch: dict[str, Any]) -> Any:
    """Return the model's logits of a batch of ``pack``."""
    given = {name: batch[name] for name in ("segments", "positions", "mask", "places", "first")}
    return model(batch["tokens"], **given)


def moved(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Return a batch of ``pack`` with its tensors on a device."""
    return {
        name: each.to(device) if torch.is_tensor(each) else each for name, each in batch.items()
    }
