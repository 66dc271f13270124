"""Learning what is clicked next: batches of users, the published loss, the published questions.

What is shown at the end is made in showing.py; how clicks become tensors stands in layout.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from sightline.recipes.recommender.answers import sampled_ranks
from sightline.recipes.recommender.layout import Layout, last_features, lay_out, score
from sightline.recipes.recommender.ranking import hit_rate, ndcg
from sightline.recipes.recommender.settings import RecommenderSettings, make_model
from sightline.recipes.recommender.splits import Split
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
        features = self.features(model, asked.histories, "validation", tell)
        ranks = sampled_ranks(features, model, asked)
        return {"Hit@10": hit_rate(ranks), "NDCG@10": ndcg(ranks)}

    def finish(self, model: Any, tell: Tell) -> Outcome:
        """Return the figures beside the published ones, who looks at whom, and examples."""
        from sightline.recipes.recommender.showing import bring_home

        return bring_home(self, model, tell)

    def save(self, folder: Path) -> None:
        """Write which number of the data each item has: item n of the model is entry n - 1."""
        write_atomically(folder / "items.json", json.dumps(self.split.clicks.items.tolist()) + "\n")

    def features(
        self, model: Any, histories: Sequence[NDArray[np.int64]], what: str, tell: Tell
    ) -> torch.Tensor:
        """Return what the bare model knows behind each history, [users, width], on the CPU."""
        device = next(model.parameters()).device
        found = []
        for start in range(0, len(histories), _ASKED_AT_ONCE):
            stop = min(start + _ASKED_AT_ONCE, len(histories))
            kept = [each[-self.settings.context :] for each in histories[start:stop]]
            laid = {name: each.to(device) for name, each in self._laid(kept).items()}
            found.append(last_features(model, laid).cpu())
            tell(what, stop, len(histories))
        return torch.cat(found)

    def _laid(
        self, sequences: list[NDArray[np.int64]], candidates: NDArray[np.int64] | None = None
    ) -> Layout:
        settings = self.settings
        return lay_out(sequences, candidates, context=settings.context, packed=settings.packed)

    def _draw_order(self, epoch: int) -> NDArray[np.int64]:
        return generator(self.seed, "epoch", epoch).permutation(self.split.learned)
