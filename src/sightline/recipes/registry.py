"""The table of recipes: the word after `sightline train`, and where it is made.

A new recipe is one file and one row here.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from sightline.errors import InvalidArgument
from sightline.recipes.training.recipe import Recipe

__all__ = ["RECIPES", "recipe", "recipes"]

# name -> module of this package that holds RECIPE
RECIPES = {
    "bert": "bert",
    "bert-overfit": "bert.overfit",
    "cnn-attention": "cnn_attention",
    "copy": "copy_task",
    "forecast": "forecast",
    "forecast-series": "forecast.series",
    "language-model": "language_model",
    "mamsm": "mamsm",
    "packed-gpt": "packed_gpt",
    "recommender": "recommender",
    "speech": "speech",
    "swin": "swin",
    "tagger": "tagger",
    "translation": "translation",
    "unilm": "unilm",
    "xlnet": "xlnet",
}


def recipes() -> list[str]:
    """Return the names of all recipes of this installation."""
    return [name for name, module in RECIPES.items() if find_spec(f"sightline.recipes.{module}")]


def recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
        InvalidArgument: no such recipe.
    """
    if name not in recipes():
        raise InvalidArgument(f"got the recipe {name!r}; wanted one of {', '.join(recipes())}.")
    return import_module(f"sightline.recipes.{RECIPES[name]}").RECIPE
