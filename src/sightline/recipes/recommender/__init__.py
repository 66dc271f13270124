"""A recommender of clicks: SASRec, or a recurrent baseline, on Amazon Video Games.

What can be chosen is in settings.py, how it learns in task.py, what is held out in splits.py.
"""

from __future__ import annotations

from pathlib import Path

from sightline.errors import InvalidArgument
from sightline.readers.clicks import read_clicks
from sightline.readers.lines import find_file
from sightline.recipes.recommender.sample import FILE, write_sample
from sightline.recipes.recommender.settings import RecommenderSettings
from sightline.recipes.recommender.splits import Split
from sightline.recipes.recommender.task import RecommenderTask
from sightline.recipes.training.recipe import Recipe

__all__ = ["RECIPE", "RecommenderSettings", "RecommenderTask"]


def _build(settings: RecommenderSettings, data: Path | None, seed: int) -> RecommenderTask:
    if data is None:
        raise InvalidArgument(f"got no folder; wanted one with {FILE}; name it with --data.")
    path = find_file(data, FILE, "clicks, 'user item' a line")
    return RecommenderTask(settings, Split(read_clicks(path), str(path)), seed)


RECIPE = Recipe(
    name="recommender",
    title="what is clicked next: SASRec on Amazon Video Games",
    corpus="sasrec",
    presets={
        "small": RecommenderSettings(steps=19200),  # 80 of 201 epochs
        "paper": RecommenderSettings(),
        "smoke": RecommenderSettings(
            steps=150,
            evaluate_every=50,
            checkpoint_every=50,
            width=16,
            context=12,
            dropout=0.1,
            rate=1e-2,
            batch=32,
        ),
    },
    build=_build,
    sample=write_sample,
)
