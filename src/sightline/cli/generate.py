"""`sightline generate`: let a trained model write on, shown as it is written.

Reads the arguments and prints; the model and its text are the recipe's matter (GENERATORS).
"""

from __future__ import annotations

import importlib
import json as json_module
import sys
from pathlib import Path
from typing import Annotated, Any
from unicodedata import category

import typer

from sightline.cli.output import output_encoding, working, write_line
from sightline.errors import DataError
from sightline.lower.arguments import require_torch

__all__ = ["generate"]

# Recipe -> module:function. The function takes a run's folder and returns an object with
# `start` (what to begin with) and `write(prompt, *, tokens, temperature, top_k, seed, on_text)`,
# which calls on_text with each new piece of text and returns all of them together.
GENERATORS = {
    "language-model": "sightline.recipes.language_model.trained:open_writer",
    "unilm": "sightline.recipes.unilm.writer:open_writer",
}


def generate(
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="PROMPT", help="What to begin with; the recipe's own if left out."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The folder of a trained run.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, metavar="N", help="How much to write.")] = 200,
    temperature: Annotated[
        float,
        typer.Option(min=0, metavar="T", help="Above 1 more random, below 1 less; 0: not at all."),
    ] = 0.8,
    top_k: Annotated[
        int | None,
        typer.Option(min=1, metavar="K", help="Draw from the most probable K; left out: all."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of the draws.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the text as JSON.")] = False,
) -> None:
    """Continue a text with a model that `sightline train` made.

    Examples:
      sightline train language-model --out runs/shakespeare
      sightline generate --run runs/shakespeare "ROMEO:" --tokens 300 --seed 1
    """
    if run is None:
        raise typer.BadParameter(
            f"give the folder of a run of {' or '.join(GENERATORS)}; make one with "
            f"`sightline train {next(iter(GENERATORS))} --out FOLDER`.",
            param_hint="'--run'",
        )
    with working("loading the model"):
        writer = _open(run)
    begin = prompt or writer.start
    options: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "seed": seed}
    if json:
        text = writer.write(begin, tokens=tokens, **options)
        facts = {"run": str(run), "prompt": begin, "text": text, "tokens": tokens, **options}
        write_line(json_module.dumps(facts, indent=2))
        return
    screen = _Screen(prompt or "")
    writer.write(begin, tokens=tokens, on_text=screen.show, **options)
    screen.end()


def _open(folder: Path) -> Any:
    """Return what writes for the recipe whose run lies there."""
    require_torch("sightline generate")
    name = _recipe_of(folder)
    if name is not None and name not in GENERATORS:
        raise DataError(
            f"got a run of the recipe {name!r}, which writes no text; wanted one of "
            f"{' or '.join(GENERATORS)}.",
            path=str(folder / "run.json"),
        )
    # Of a folder without a run, the first says what is wrong with it.
    module, _, function = GENERATORS[name or next(iter(GENERATORS))].partition(":")
    return getattr(importlib.import_module(module), function)(folder)


def _recipe_of(folder: Path) -> str | None:
    try:
        asked = json_module.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(asked.get("recipe")) if isinstance(asked, dict) else None


class _Screen:
    """Standard output, written piece by piece; what would not show there is spelled out."""

    def __init__(self, prompt: str) -> None:
        self._encoding = output_encoding()
        self._waiting = prompt  # shown with the first new piece: a prompt may be refused
        self._last = ""

    def show(self, piece: str) -> None:
        """Write a piece at once."""
        text, self._waiting = self._waiting + piece, ""
        safe = "".join(_spelled(character) for character in text)
        sys.stdout.write(safe.encode(self._encoding, "backslashreplace").decode(self._encoding))
        sys.stdout.flush()
        self._last = text[-1:]

    def end(self) -> None:
        """End the last line."""
        if self._last != "\n":
            write_line()


def _spelled(character: str) -> str:
    """Return a character, or its escape if a terminal would take it for a command."""
    shows = character.isprintable() or character in "\n\t" or category(character) == "Zs"
    return character if shows else character.encode("unicode_escape").decode("ascii")
