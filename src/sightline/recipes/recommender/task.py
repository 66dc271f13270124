"""Learning what is clicked next: batches of users, the published loss, the published questions.

What is shown at the end is made in showing.py; how clicks become tensors stands in layout.py.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import softplus

from sightline.masks.positional import everything
from sightline.models.sasrec import PAD, SASRec
from sightline.nn.losses import masked_loss_mean
from sightline.recipes.recommender.layout import Layout, lay_out, score, score_last
from sightline.recipes.recommender.ranking import hit_rate, ndcg, ranks_of_first
from sightline.recipes.recommender.settings import RecommenderSettings, make_model
from sightline.recipes.recommender.splits import Questions, Split
from sightline.recipes.training.outcome import Outcome
from sightline.recipes.training.recipe import Task, Tell
from sightline.recipes.training.seeds import generator, seed_for
from sightline.views.files import write_atomically

__all__ = ["RecommenderTask"]

_ASKED_AT_ONCE = 256  # users


class RecommenderTask(Task):
    """The next click, from those before it.

    Args:
        settings: sizes, rates, what is left out.
        split: the clicks.
        seed: of the first weights, of the order of users and of what stands beside a click.
    """

    metric, better = "NDCG@10", "higher"

    def __init__(self, settings: RecommenderSettings, split: Split, seed: int) -> None:
        self.settings, self.split, self.seed = settings, split, seed
        torch.manual_seed(seed_for(seed, "weights"))
        self.model = make_model(settings, split.vocab)
        self.mask = self.model.mask if isinstance(self.model, SASRec) else everything()
        self.batches = -(-len(split.learned) // settings.batch)  # in an epoch
        self._order = lru_cache(maxsize=2)(self._draw_order)

    def optimizer(self) -> torch.optim.Optimizer:
        """Return Adam as published."""
        betas = (0.9, self.settings.beta_2)
        return torch.optim.Adam(
            self.model.parameters(), lr=self.settings.rate, betas=betas, fused=True
        )

    def rate(self, step: int) -> float:
        """Return the rate, which stays."""
        return self.settings.rate

    def batch(self, number: int) -> Layout:
        """Return users' clicks, and behind each click what came next and an item that did not."""
        epoch, place = divmod(number, self.batches)
        size = self.settings.batch
        users = self._order(epoch)[place * size : (place + 1) * size]
        kept = [self.split.training[user][-self.settings.context - 1 :] for user in users]
        lengths = [len(each) - 1 for each in kept]
        others = self.split.clicked_in_training.draw_others(
            np.repeat(users, lengths), generator(self.seed, "negatives", number)
        )
        following = np.concatenate([each[1:] for each in kept])
        return self._laid([each[:-1] for each in kept], np.stack([following, others], axis=1))

    def loss(self, model: Any, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the binary cross-entropy of the pair behind each click: -log s(+) - log s(-)."""
        scores = score(model, batch, self.mask)
        losses = softplus(-scores[..., 0]) + softplus(scores[..., 1])
        return masked_loss_mean(losses, batch["items"] != PAD), {}

    def evaluate(self, model: Any, tell: Tell) -> dict[str, float]:
        """Return Hit@10 and NDCG@10 of the last click but one, among sampled items."""
        asked = self.split.questions(
            "validation", negatives=self.settings.negatives, most=self.settings.validated
        )
        ranks = self.ranks(model, asked, "validation", tell)
        return {"Hit@10": hit_rate(ranks), "NDCG@10": ndcg(ranks)}

    def finish(self, model: Any, tell: Tell) -> Outcome:
        """Return the figures beside the published ones, who looks at whom, and examples."""
        from sightline.recipes.recommender.showing import bring_home

        return bring_home(self, model, tell)

    def save(self, folder: Path) -> None:
        """Write which number of the data each item has: item n of the model is entry n - 1."""
        write_atomically(folder / "items.json", json.dumps(self.split.clicks.items.tolist()) + "\n")

    def ranks(
        self, model: Any, asked: Questions, what: str, tell: Tell, *, all_items: bool = False
    ) -> NDArray[np.float64]:
        """Return the rank of the right item for each question, from 0.

        Args:
            model: the bare model.
            asked: the questions.
            what: what to tell.
            tell: whom to tell how far it is.
            all_items: rank among all items that the user has not clicked before, not among the
                candidates.
        """
        found = []
        for start in range(0, len(asked.users), _ASKED_AT_ONCE):
            stop = min(start + _ASKED_AT_ONCE, len(asked.users))
            candidates = asked.candidates[start:stop]
            histories = asked.histories[start:stop]
            if all_items:
                scores = all_scores(candidates, histories, self.scores(model, histories, None))
            else:
                scores = self.scores(model, histories, candidates)
            found.append(ranks_of_first(scores))
            tell(what, stop, len(asked.users))
        return np.concatenate(found)

    def scores(
        self,
        model: Any,
        histories: list[NDArray[np.int64]],
        candidates: NDArray[np.int64] | None,
    ) -> NDArray[np.floating]:
        """Return the scores behind each history: of candidates [users, n], or of all items."""
        device = next(model.parameters()).device
        kept = [each[-self.settings.context :] for each in histories]
        laid = {name: each.to(device) for name, each in self._laid(kept).items()}
        wanted = None if candidates is None else torch.from_numpy(candidates).to(device)
        return score_last(model, laid, wanted).cpu().numpy()

    def _laid(
        self, sequences: list[NDArray[np.int64]], candidates: NDArray[np.int64] | None = None
    ) -> Layout:
        settings = self.settings
        return lay_out(sequences, candidates, context=settings.context, packed=settings.packed)

    def _draw_order(self, epoch: int) -> NDArray[np.int64]:
        return generator(self.seed, "epoch", epoch).permutation(self.split.learned)


def all_scores(
    candidates: NDArray[np.int64],
    histories: list[NDArray[np.int64]],
    scores: NDArray[np.floating],
) -> NDArray[np.floating]:
    """Return scores of all items with the right one in front, what was clicked before left out.

    Args:
        candidates: [users, n], the right item first.
        histories: what each user clicked before.
        scores: [users, vocab] of all items; column 0 is padding's.

    Returns:
        [users, 1 + vocab]; -inf at what does not count.

    >>> all_scores(np.array([[2]]), [np.array([1])], np.array([[0.0, 5.0, 1.0, 3.0]])).tolist()
    [[1.0, -inf, -inf, -inf, 3.0]]
    """
    rows = np.arange(len(scores))
    right = scores[rows, candidates[:, 0]]
    others = np.array(scores)
    others[rows, candidates[:, 0]] = -np.inf
    others[:, PAD] = -np.inf
    users = np.repeat(rows, [len(each) for each in histories])
    others[users, np.concatenate(histories)] = -np.inf
    return np.concatenate([right[:, None], others], axis=1)
