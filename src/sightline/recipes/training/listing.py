"""The table of recipes as records: what there is to train, and where its data would come from.

Nothing is fetched or read for it. The command line prints it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from sightline.errors import MissingExtra
from sightline.readers.corpora import corpus_at_hand
from sightline.recipes import registry
from sightline.recipes.training.recipe import Recipe
from sightline.recipes.training.run import needs_extra

__all__ = ["Listed", "as_json", "listing"]


@dataclass(frozen=True)
class Listed:
    """A row: a recipe's name, what it is, the steps of each preset, its corpus, where that is."""

    name: str
    title: str
    presets: dict[str, int]
    corpus: str | None
    where: str

    @property
    def presets_text(self) -> str:
        """The presets with their steps."""
        return ", ".join(f"{name} {steps:,}" for name, steps in self.presets.items())


def listing() -> list[Listed]:
    """Return a row for each recipe of this installation."""
    return [_row(name) for name in registry.recipes()]


def as_json(rows: list[Listed]) -> str:
    """Return the rows as JSON."""
    return json.dumps([asdict(row) for row in rows], indent=1)


def _row(name: str) -> Listed:
    try:
        with needs_extra(f"sightline train {name}"):
            recipe = registry.recipe(name)
    except MissingExtra as error:
        return Listed(name, str(error), {}, None, "-")
    presets = {preset: settings.steps for preset, settings in recipe.presets.items()}
    return Listed(name, recipe.title, presets, recipe.corpus, _where(recipe))


def _where(recipe: Recipe) -> str:
    if recipe.corpus is None:
        return "generated"
    at_hand = corpus_at_hand(recipe.corpus) is not None
    return f"{recipe.corpus}: {'at hand' if at_hand else 'download, or --data'}"
