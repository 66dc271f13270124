"""Tags for sentences: batches of rows through the model, and a trained run made usable again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sightline.models.tagger import Tagger
from sightline.models.tagger_words import Words
from sightline.nn.batch import Batch
from sightline.readers.conllu import TAGS
from sightline.recipes.tagger.settings import config_of
from sightline.recipes.training.checkpoint import load_weights
from sightline.recipes.training.recipe import Recipe, Tell
from sightline.recipes.training.run_folder import read_run

__all__ = ["WORDS_FILE", "TrainedTagger", "load_tagger", "probabilities"]

WORDS_FILE = "words.json"
_TOGETHER = 64


@dataclass(frozen=True, eq=False)
class TrainedTagger:
    """A model, and the words it knows."""

    model: Tagger
    words: Words

    def tag(
        self, sentences: Sequence[Sequence[str]], tell: Tell | None = None
    ) -> list[list[tuple[str, float]]]:
        """Return (tag, probability) for each word of each sentence."""
        found = probabilities(self.model, self.words, sentences, tell)
        return [
            [(TAGS[int(row.argmax())], float(row.max())) for row in sentence] for sentence in found
        ]


def load_tagger(folder: Path, recipe: Recipe) -> TrainedTagger:
    """Return the best model of a run of the tagger's recipe.

    Raises:
        DataError: no run of this recipe there, or files that are damaged.
    """
    run = read_run(folder, recipe)
    words = Words.from_file(run.folder / WORDS_FILE)
    settings: Any = run.settings
    model = Tagger(config_of(settings, words))
    load_weights(run.best, model)
    return TrainedTagger(model.eval(), words)


def probabilities(
    model: Any, words: Words, sentences: Sequence[Sequence[str]], tell: Tell | None = None
) -> list[np.ndarray]:
    """Return each sentence's probabilities of the tags, [words, tags].

    Sentences of like lengths go through the model together; a sentence gives what it gives alone.
    """
    found: list[np.ndarray] = [np.zeros((0, len(TAGS)), np.float32)] * len(sentences)
    order = sorted((n for n, each in enumerate(sentences) if each), key=lambda n: len(sentences[n]))
    device = next(model.parameters()).device
    for start in range(0, len(order), _TOGETHER):
        chosen = order[start : start + _TOGETHER]
        rows = [torch.from_numpy(words.rows(sentences[n])) for n in chosen]
        batch = Batch.from_sequences(rows, side="packed")
        with torch.no_grad():
            logits = model(
                batch.tokens.to(device),
                positions=batch.positions.to(device),
                mask=batch.place(model.mask),
            )
        for n, each in zip(chosen, batch.split(logits.float().softmax(-1).cpu()), strict=True):
            found[n] = each.numpy()
        if tell is not None:
            tell("tagging", min(start + _TOGETHER, len(order)), len(order))
    return found
