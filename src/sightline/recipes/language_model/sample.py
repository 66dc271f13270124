"""A small text of our own to learn from: verses in the form of tiny-shakespeare (sample.txt)."""

from __future__ import annotations

from pathlib import Path

from sightline.recipes.language_model.settings import FILE
from sightline.views.files import write_atomically

__all__ = ["write_sample"]


def write_sample(folder: Path) -> None:
    """Write the verses where the recipe reads its text."""
    verses = Path(__file__).with_name("sample.txt").read_text(encoding="utf-8")
    write_atomically(folder / FILE, verses)
