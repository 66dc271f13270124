"""Translating with the model of a run's folder: what `sightline translate` calls."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from sightline.errors import DataError
from sightline.recipes.training.checkpoint import load_weights
from sightline.recipes.training.recipe import Tell
from sightline.recipes.training.run_folder import read_run
from sightline.recipes.translation import RECIPE
from sightline.recipes.translation.decoding import Translated, translate
from sightline.recipes.translation.task import TranslationSettings, make_model
from sightline.recipes.translation.vocabulary import END, Vocabulary

__all__ = ["Translator"]


class Translator:
    """A trained model with its vocabulary.

    Args:
        folder: of a run of the recipe "translation", finished or not.

    Attributes:
        settings: of the run.
        step: of the weights, those of the best evaluation so far.

    Raises:
        DataError: no run there, one of another recipe, or one without weights yet.
    """

    def __init__(self, folder: Path) -> None:
        run = read_run(Path(folder), RECIPE)
        self.settings = cast(TranslationSettings, run.settings)
        self.words = Vocabulary.load(run.folder / "tokenizer.json")
        self.model = make_model(self.settings, self.words.size).eval()
        weights = run.best if run.best.is_file() else run.checkpoint
        self.step = load_weights(weights, self.model).step

    def translate(
        self,
        sentences: Sequence[str],
        *,
        beams: int | None = None,
        tell: Tell = lambda what, done, total: None,
    ) -> list[Translated]:
        """Return the translation of each sentence.

        Args:
            sentences: in the language that the run translates from.
            beams: of the search; None for the run's setting.
            tell: told how far it is.

        Raises:
            DataError: a sentence with more subwords than the model has positions.
        """
        self._check(sentences)
        options: dict[str, Any] = {"length_penalty": self.settings.length_penalty, "tell": tell}
        chosen = self.settings.beams if beams is None else beams
        return translate(self.model, self.words, sentences, beams=chosen, **options)

    def _check(self, sentences: Sequence[str]) -> None:
        for number, tokens in enumerate(self.words.tokens(sentences), 1):
            if len([*tokens, END]) > self.model.context:
                raise DataError(
                    f"got a sentence of {len(tokens)} subwords; wanted at most "
                    f"{self.model.context - 1}; cut it into sentences.",
                    path="the sentences",
                    line=number,
                )
