"""One run as a command makes it: watched, interrupted kindly, and the command that makes it again.

What `sightline train` does with one run or with many is in train.py and train_many.py.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from sightline.cli.train_progress import Drawn
from sightline.errors import SightlineError

if TYPE_CHECKING:
    from sightline.recipes.training.recipe import Recipe
    from sightline.recipes.training.result import Result
    from sightline.recipes.training.run_folder import Run

__all__ = ["Asked", "run_watched"]

_BAD_INPUT = 2
_INTERRUPTED = 130


@dataclass(frozen=True)
class Asked:
    """The words of the command line that make a run what it is, wherever data and run lie."""

    recipe: str
    preset: str
    seed: int
    changes: tuple[str, ...]
    engine: str | None
    threads: int | None

    def command(self, more: Sequence[str] = ()) -> str:
        """Return the command that makes it again."""
        words = ["sightline", "train", self.recipe, "--preset", self.preset]
        words += ["--seed", str(self.seed)]
        for change in self.changes:
            words += ["--set", change]
        words += ["--engine", self.engine] if self.engine else []
        words += ["--threads", str(self.threads)] if self.threads else []
        return shlex.join([*words, *more])


def run_watched(recipe: Recipe, run: Run, *, quiet: bool = False, **how: Any) -> Result | None:
    """Train, drawing how it goes; an interruption says how to go on.

    Args:
        recipe: what is trained.
        run: preset, settings, seed and folder.
        quiet: say nothing beside that: of a run that is known to be finished.
        how: what ``run_recipe`` takes beside these.
    """
    from sightline.recipes.training.loop import Watch
    from sightline.recipes.training.run import run_recipe
    from sightline.recipes.training.together import first_to_tell, outlasting

    with outlasting(), Drawn(run.settings.steps) as drawn:
        watch = Watch(step=drawn.step, evaluated=drawn.evaluated, tell=drawn.tell)
        try:
            return run_recipe(recipe, run, watch=watch, say=None if quiet else drawn.say, **how)
        except KeyboardInterrupt:
            if first_to_tell():
                drawn.say(_about_interruption(run))
            raise typer.Exit(_INTERRUPTED) from None
        except SightlineError:
            # Several processes find out the same: one says it, in the words of all.
            if not first_to_tell():
                raise typer.Exit(_BAD_INPUT) from None
            raise


def _about_interruption(run: Run) -> str:
    from sightline.recipes.training.checkpoint import read_counts

    if not run.checkpoint.exists():
        return "interrupted before the first checkpoint; the same command starts over"
    step = read_counts(run.checkpoint).step
    return f"interrupted; the same command goes on from the checkpoint of step {step:,}"
