"""A finished run of the recipe, opened to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sightline.models.gpt import GPT
from sightline.readers.plain_text import read_characters
from sightline.recipes.language_model import RECIPE
from sightline.recipes.language_model.settings import VOCABULARY, gpt_config
from sightline.recipes.language_model.writer import Writer
from sightline.recipes.training.checkpoint import load_weights
from sightline.recipes.training.run_folder import read_run

__all__ = ["open_writer"]


def open_writer(folder: Path) -> Writer:
    """Return the best model of a run, ready to write.

    Raises:
        DataError: no such run there, or one that is damaged or has not been evaluated yet.
    """
    run = read_run(folder, RECIPE)
    settings: Any = run.settings
    characters = read_characters(run.folder / VOCABULARY)
    model = GPT(gpt_config(settings, len(characters)))
    load_weights(run.best, model)
    return Writer(model.eval(), characters)
