"""Part-of-speech tagging of a treebank from scratch: Transformer, LSTM or GRU (`train tagger`).

settings.py says what can be chosen, task.py trains, outcome.py tells what came out, tagging.py uses
a trained model, sample.py writes a small treebank of our own.
"""

from __future__ import annotations

from sightline.recipes.tagger.sample import write_sample
from sightline.recipes.tagger.settings import PRESETS
from sightline.recipes.tagger.task import build
from sightline.recipes.training.recipe import Recipe

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="tagger",
    title="parts of speech of the English Web Treebank, from scratch",
    corpus="ewt",
    presets=PRESETS,
    build=build,
    sample=write_sample,
)
