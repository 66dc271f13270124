"""A language model of characters, with nanoGPT's published settings (`train language-model`).

settings.py says what can be chosen, task.py trains, outcome.py tells what came out, writer.py
goes on writing, trained.py opens a finished run, growing_triangle.py shows what each step sees.
"""

from __future__ import annotations

from sightline.recipes.language_model.sample import write_sample
from sightline.recipes.language_model.settings import PRESETS
from sightline.recipes.language_model.task import build
from sightline.recipes.training.recipe import Recipe

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="language-model",
    title="a GPT of characters: tiny-shakespeare with nanoGPT's settings",
    corpus="shakespeare",
    presets=PRESETS,
    build=build,
    sample=write_sample,
)
