"""Translation with the Transformer: subwords, packed batches, beam search, BLEU.

task.py trains, vocabulary.py holds the subwords, results.py measures, sample.py writes a small
corpus, use.py translates with the model of a run.
"""

from sightline.recipes.training.recipe import Recipe
from sightline.recipes.translation.sample import write_sample
from sightline.recipes.translation.task import PRESETS, Translation

__all__ = ["RECIPE"]

RECIPE = Recipe(
    name="translation",
    title="Transformer: German to English",
    corpus="multi30k",
    presets=PRESETS,
    build=Translation,
    sample=write_sample,
)
