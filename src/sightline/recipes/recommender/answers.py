"""Where the right item stands in a model's answers: among sampled items, and among all of them.

From what a model knows behind each user's last click; questions come from splits.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.models.sasrec import PAD, score_items
from sightline.recipes.recommender.ranking import ranks_of_first
from sightline.recipes.recommender.splits import Questions

__all__ = ["popularity_ranks", "ranks_among_all", "sampled_ranks", "sampled_scores"]

_AT_ONCE = 256  # users: with 23,715 items, 24 MB of scores


def sampled_scores(features: torch.Tensor, model: Any, candidates: NDArray[np.int64]) -> Any:
    """Return the scores of candidates [users, n] as an array.

    Args:
        features: [users, width], on the CPU.
        model: the bare model.
        candidates: [users, n].
    """
    table = model.item_embedding
    device = table.weight.device
    asked = torch.from_numpy(candidates).to(device)
    return score_items(features.to(device), table, asked).cpu().numpy()


def sampled_ranks(features: torch.Tensor, model: Any, asked: Questions) -> NDArray[np.float64]:
    """Return the rank of the right item among its candidates for each question, from 0."""
    parts = range(0, len(asked.users), _AT_ONCE)
    scores = [
        sampled_scores(features[at : at + _AT_ONCE], model, asked.candidates[at : at + _AT_ONCE])
        for at in parts
    ]
    return ranks_of_first(np.concatenate(scores))


def ranks_among_all(features: torch.Tensor, model: Any, asked: Questions) -> NDArray[np.float64]:
    """Return its rank among all items that the user has not clicked before, from 0."""
    table = model.item_embedding
    found = []
    for at in range(0, len(asked.users), _AT_ONCE):
        some = features[at : at + _AT_ONCE].to(table.weight.device)
        scores = score_items(some, table, None).cpu().numpy()
        right, histories = asked.candidates[at : at + _AT_ONCE, 0], asked.histories[at:]
        found.append(ranks_of_first(right_first(scores, right, histories[: len(right)])))
    return np.concatenate(found)


def right_first(
    scores: NDArray[np.floating], right: NDArray[np.int64], histories: list[NDArray[np.int64]]
) -> NDArray[np.floating]:
    """Return scores of all items with the right one in front, what was clicked before left out.

    Args:
        scores: [users, vocab] of all items; column 0 is padding's.
        right: [users] the right items.
        histories: what each user clicked before.

    Returns:
        [users, 1 + vocab]; -inf at what does not count.

    >>> right_first(np.array([[0.0, 5.0, 1.0, 3.0]]), np.array([2]), [np.array([1])]).tolist()
    [[1.0, -inf, -inf, -inf, 3.0]]
    """
    rows = np.arange(len(scores))
    others = np.array(scores)
    others[rows, right] = -np.inf
    others[:, PAD] = -np.inf
    users = np.repeat(rows, [len(each) for each in histories])
    others[users, np.concatenate(histories)] = -np.inf
    return np.concatenate([scores[rows, right][:, None], others], axis=1)


def popularity_ranks(popularity: NDArray[np.int64], asked: Questions) -> NDArray[np.float64]:
    """Return the ranks of the right items among their candidates by a count for each item.

    >>> asked = Questions(np.array([0]), [np.array([1])], np.array([[2, 1, 3, 4]]))
    >>> popularity_ranks(np.array([0, 7, 3, 3, 1]), asked).tolist()
    [1.5]
    """
    return ranks_of_first(popularity[asked.candidates])
