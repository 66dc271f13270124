"""What a trained recommender brings home: figures, examples, its masks, who looks at whom."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from sightline.masks.padding import padding
from sightline.masks.positional import causal, everything
from sightline.models.sasrec import SASRec
from sightline.recipes.recommender.answers import (
    popularity_ranks,
    ranks_among_all,
    sampled_ranks,
    sampled_scores,
)
from sightline.recipes.recommender.ranking import hit_rate, ndcg
from sightline.recipes.recommender.splits import Questions
from sightline.recipes.training.outcome import (
    AttentionMap,
    Figure,
    MaskShown,
    Outcome,
    Table,
)
from sightline.recipes.training.recipe import Tell

if TYPE_CHECKING:
    from sightline.recipes.recommender.task import RecommenderTask

__all__ = ["bring_home"]

_SOURCE = "Kang and McAuley 2018, table III; 201 epochs, up to 10,000 users drawn at random"
# (users, items) of a published corpus -> Hit@10 and NDCG@10 of SASRec on it
_PUBLISHED = {(31013, 23715): (0.7410, 0.5360)}
_WITHIN = 0.95  # of the published figure
_SHOWN = 5  # examples, and items suggested in each


def bring_home(task: RecommenderTask, model: Any, tell: Tell) -> Outcome:
    """Return all that is to be seen of a run."""
    asked = task.split.questions("test", negatives=task.settings.negatives)
    features = task.features(model, asked.histories, "test users", tell)
    sampled = sampled_ranks(features, model, asked)
    among_all = ranks_among_all(features, model, asked)
    popular = popularity_ranks(task.split.popularity, asked)
    figures = [
        *_main_figures(task, sampled),
        *_popularity_figures(sampled, popular),
        Figure("Hit@10 among all items", hit_rate(among_all), note="less what was clicked before"),
        Figure("NDCG@10 among all items", ndcg(among_all)),
    ]
    masks: tuple[MaskShown, ...] = ()
    attention: tuple[AttentionMap, ...] = ()
    if isinstance(model, SASRec):
        masks, attention = _masks(task, model, asked), _attention(task, model, asked)
    return Outcome(
        figures=tuple(figures),
        tables=(_examples(task, model, features, asked, sampled),),
        masks=masks,
        attention=attention,
        notes=_notes(task),
    )


def _main_figures(task: RecommenderTask, ranks: NDArray[np.float64]) -> list[Figure]:
    clicks, settings = task.split.clicks, task.settings
    published = _PUBLISHED.get((len(clicks.users), len(clicks.items)))
    as_published = settings.encoder == "attention" and settings.ablate == "nothing"
    note = (
        f"all {len(ranks):,} users with three clicks or more; {settings.negatives} items drawn "
        "from those that the user never clicked"
    )
    figures = []
    for place, (name, value) in enumerate((("Hit@10", hit_rate(ranks)), ("NDCG@10", ndcg(ranks)))):
        beside: dict[str, Any] = {}
        if published is not None and as_published:
            beside = {"published": published[place], "source": _SOURCE}
            beside["target"] = round(_WITHIN * published[place], 3)
        title = f"{name} among {settings.negatives} sampled items"
        figures.append(Figure(title, value, note=note, **beside))
    return figures


def _popularity_figures(sampled: NDArray[np.float64], popular: NDArray[np.float64]) -> list[Figure]:
    figures = []
    for name, measure in (("Hit@10", hit_rate), ("NDCG@10", ndcg)):
        figures += [
            Figure(f"{name} by popularity", measure(popular), note="the same questions"),
            Figure(f"{name} above popularity's", measure(sampled) - measure(popular), target=0.0),
        ]
    return figures


def _examples(
    task: RecommenderTask,
    model: Any,
    features: torch.Tensor,
    asked: Questions,
    ranks: NDArray[np.float64],
) -> Table:
    """Return what is suggested to some users, drawn at random, among their candidates."""
    some = np.random.default_rng(0).permutation(len(asked.users))[:_SHOWN]
    rows = []
    for place in some:
        scores = sampled_scores(features[[place]], model, asked.candidates[[place]])[0]
        best = asked.candidates[place][np.argsort(-scores, kind="stable")][:_SHOWN]
        clicks = task.split.clicks
        rows.append(
            (
                str(clicks.users[asked.users[place]]),
                " ".join(_labels(task, asked.histories[place][-8:])),
                _labels(task, asked.candidates[place][:1])[0],
                f"{ranks[place] + 1:g}",
                " ".join(_labels(task, best)),
            )
        )
    header = ("user", "last clicks", "clicked next", "its place", "suggested first")
    return Table(f"Suggestions among {asked.candidates.shape[1]} items", header, tuple(rows))


def _masks(task: RecommenderTask, model: SASRec, asked: Questions) -> tuple[MaskShown, ...]:
    """Return the masks that the model has for a user with few clicks, padded on the left to ten."""
    history = min(asked.histories[:100], key=lambda each: abs(len(each) - 6))
    size = min(10, model.config.context)
    real = min(len(history), size)
    labels = ("pad",) * (size - real) + tuple(_labels(task, history[-real:]))
    hidden = padding(lengths=[real], side="left", total=size)
    parts = [
        (title, mask)
        for there, title, mask in (
            (model.config.causal_mask, "causal: no later click", causal()),
            (model.config.key_mask, "key mask: no padding is seen", hidden),
            (model.config.query_mask, "query mask: no padding sees", hidden.T),
        )
        if there
    ]
    whole = reduce(and_, (mask for _, mask in parts), everything())
    shown = [*parts, ("all of them", whole)]
    return tuple(MaskShown(title, mask, labels, labels) for title, mask in shown)


def _attention(task: RecommenderTask, model: SASRec, asked: Questions) -> tuple[AttentionMap, ...]:
    """Return each block's weights for a user with many clicks, mean of the heads."""
    history = min(asked.histories[:100], key=lambda each: abs(len(each) - 16))
    history = history[-min(20, task.settings.context) :]
    device = model.item_embedding.weight.device
    labels = tuple(_labels(task, history))
    return tuple(
        AttentionMap(
            f"block {place} of {task.settings.layers}",
            weights[0].mean(0).float().cpu().numpy(),
            labels,
            labels,
            task.mask,
        )
        for place, weights in enumerate(
            model.attention(torch.from_numpy(history)[None].to(device)), 1
        )
    )


def _notes(task: RecommenderTask) -> tuple[str, ...]:
    settings = task.settings
    epochs = settings.steps / task.batches
    how = (
        "Users are packed end to end in training and in evaluation, which gives the scores of left "
        f"padding to {settings.context} (tests/parity/test_sasrec.py) for less work."
        if settings.packed
        else f"Users are padded on the left to {settings.context}."
    )
    return (
        f"{epochs:.1f} epochs of {task.batches} batches. An epoch takes every user once, in random "
        "order; the published code draws users with replacement.",
        how,
        "Sampled items are none of the user's own; in the published code they may be the user's "
        "held-out clicks. A tie counts as half a place. The weights are those of the best NDCG@10 "
        f"on the last click but one of up to {settings.validated:,} users.",
    )


def _labels(task: RecommenderTask, items: NDArray[np.int64]) -> list[str]:
    """Return the numbers that items have in the data."""
    return [str(task.split.clicks.items[item - 1]) for item in items.tolist()]
