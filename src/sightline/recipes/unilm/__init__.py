"""UniLM on captions in German and English: four ways of reading in one network, then translating.

settings.py says what can be chosen, cloze.py what is masked, task.py how it is learned, judging.py
what is measured, showing.py what is shown, sample.py a small corpus of our own.
"""

from __future__ import annotations

from sightline.recipes.training.recipe import Recipe
from sightline.recipes.unilm.sample import write_sample
from sightline.recipes.unilm.settings import PRESETS
from sightline.recipes.unilm.task import build

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="unilm",
    title="UniLM: one network under four masks, fine-tuned to translate German captions",
    corpus="multi30k",
    presets=PRESETS,
    build=build,
    sample=write_sample,
)
