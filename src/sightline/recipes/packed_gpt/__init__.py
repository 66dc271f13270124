"""A GPT of characters on packed documents, alone or with a sequence shared by several processes.

settings.py says what can be chosen, packing.py puts documents into sequences, task.py trains,
shared.py shares a sequence out to ranks, outcome.py tells what came out.
"""

from __future__ import annotations

from pathlib import Path

from sightline.recipes.packed_gpt.settings import FILE, PRESETS
from sightline.recipes.packed_gpt.task import build
from sightline.recipes.training.recipe import Recipe
from sightline.views.files import write_atomically

__all__ = ["RECIPE"]


def _write_sample(folder: Path) -> None:
    """Write a small play of our own, whose speeches are of very different lengths."""
    play = Path(__file__).with_name("sample.txt").read_text(encoding="utf-8")
    write_atomically(folder / FILE, play)


RECIPE = Recipe(
    name="packed-gpt",
    title="a GPT on packed documents: the speeches of tiny-shakespeare, many to a sequence",
    corpus="shakespeare",
    presets=PRESETS,
    build=build,
    sample=_write_sample,
)
