"""Click lists as tensors for a model, end to end or padded on the left, and the model's answers.

In the published data a user has six clicks to learn from, on average, and room for 50: end to end
(positions from the right, each user a document) attention does an eighth of the positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.masks.data import documents
from sightline.masks.mask import Mask
from sightline.models.click_rnn import ClickRNN
from sightline.models.sasrec import SASRec, right_aligned
from sightline.nn.batch import Batch

__all__ = ["Layout", "last_features", "lay_out", "score"]

Layout = dict[str, Any]


def lay_out(
    sequences: Sequence[NDArray[np.int64]],
    candidates: NDArray[np.int64] | None = None,
    *,
    context: int,
    packed: bool,
) -> Layout:
    """Return clicks as what a model takes.

    Args:
        sequences: of each user, at least one click and at most ``context``.
        candidates: [clicks of all, n] the items to score behind each click.
        context: the length of a padded row.
        packed: end to end in one row; else one row a user, padding on the left.

    Returns:
        ``items`` [rows, length] and ``candidates`` [rows, length, n], 0 at padding; of packed
        users ``positions`` [1, length] and ``lengths`` too.

    >>> laid = lay_out([np.array([5, 6]), np.array([7])], context=4, packed=False)
    >>> laid["items"].tolist()
    [[0, 0, 5, 6], [0, 0, 0, 7]]
    """
    lengths = [len(each) for each in sequences]
    if packed:
        batch = Batch.from_lengths(lengths, side="packed")
    else:
        batch = Batch.from_lengths(lengths, side="left", length=context)
    laid: Layout = {"items": batch.scatter(torch.from_numpy(np.concatenate(sequences)))}
    if candidates is not None:
        laid["candidates"] = batch.scatter(torch.from_numpy(candidates))
    if packed:
        laid["positions"] = right_aligned(batch, context)
        laid["lengths"] = torch.tensor(lengths)
    return laid


def score(model: Any, laid: Layout, mask: Mask) -> torch.Tensor:
    """Return the scores of the candidates [rows, length, n].

    Args:
        model: a SASRec or ClickRNN, wrapped for several devices or not.
        laid: what ``lay_out`` returned.
        mask: who may see whom among one user's clicks: SASRec's own.
    """
    return model(laid["items"], candidates=laid["candidates"], **_options(laid, mask))


def last_features(model: SASRec | ClickRNN, laid: Layout) -> torch.Tensor:
    """Return what a model knows behind each user's last click, [users, width]."""
    if "lengths" not in laid:
        return model.features(laid["items"])[:, -1]
    assert isinstance(model, SASRec)
    features = model.features(laid["items"], **_options(laid, model.mask))
    return features[0, laid["lengths"].cumsum(0) - 1]


def _options(laid: Layout, mask: Mask) -> dict[str, Any]:
    """Return the positions and the mask of packed users; padding needs none."""
    if "lengths" not in laid:
        return {}
    # Both masks that there are look at distances only, so they hold in every document as they are.
    whole = documents(lengths=laid["lengths"].tolist()) & mask
    return {"positions": laid["positions"], "mask": whole}
