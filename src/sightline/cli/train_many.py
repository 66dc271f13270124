"""`sightline train --seeds N --each NAME=A,B`: several runs one after another, and what they say.

Reads the arguments and prints. Which runs there are is decided in recipes/training/variants.py, how
they are compared in comparison.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sightline.cli.output import write_line, write_table
from sightline.cli.train_run import Asked, run_watched

if TYPE_CHECKING:
    from sightline.recipes.training.comparison import Comparison
    from sightline.recipes.training.recipe import Recipe, Settings
    from sightline.recipes.training.result import Result
    from sightline.recipes.training.run_folder import Run
    from sightline.recipes.training.variants import Each, Variant

__all__ = ["train_many"]

_MOST_PRINTED = 6


def train_many(
    recipe: Recipe,
    settings: Settings,
    asked: Asked,
    seeds: int,
    each: Sequence[str],
    folder: Path,
    *,
    json: bool,
    fresh: bool,
    **how: Any,
) -> None:
    """Train every variant with every seed, write the comparison and print it.

    Args:
        recipe: what is trained.
        settings: of all runs, but for what varies.
        asked: the words of the command for one run; its seed is the first.
        seeds: how many of them.
        each: the words after --each.
        folder: for the runs and the comparison.
        json: print comparison.json.
        fresh: forget the runs that lie in the folder.
        how: what ``run_recipe`` takes beside these.

    Raises:
        InvalidArgument: a variant that cannot be, or too many runs.
        DataError: the folder, or that of a run, holds something else.
    """
    from sightline.recipes.training import variants

    varied = variants.each_of(settings, each, _changed(asked))
    found = variants.variants_of(settings, varied, seeds)
    numbers = range(asked.seed, asked.seed + seeds)
    runs = variants.runs_of(recipe.name, asked.preset, found, numbers, folder)
    _check(folder, runs, fresh=fresh)
    results = []
    for number, (variant, run) in enumerate(runs, 1):
        again = replace(asked, seed=run.seed, changes=(*asked.changes, *variant.words)).command()
        done = run.result.exists() and not fresh
        _say(f"run {number} of {len(runs)}: {_about(variant, run)}", done)
        result = run_watched(recipe, run, quiet=done, fresh=fresh, command=again, **how)
        results.append((variant, run, result))
    words = ["--seeds", str(seeds), *(word for one in each for word in ("--each", one))]
    _finish(results, varied, asked.command(words), folder, json=json)


def _changed(asked: Asked) -> list[str]:
    """Return the names of the settings that one value was given for."""
    names = [change.partition("=")[0].strip().replace("-", "_") for change in asked.changes]
    return [*names, *(["engine"] if asked.engine else [])]


def _check(folder: Path, runs: Sequence[tuple[Variant, Run]], *, fresh: bool) -> None:
    """Refuse what would stop some later run, before the first one is trained."""
    from sightline.engines.registry import check_engine
    from sightline.recipes.training.run_folder import check_run
    from sightline.recipes.training.variants import check_folder

    check_folder(folder)
    for _, run in runs:
        check_engine(run.settings.engine)
        if not fresh:
            check_run(run)


def _about(variant: Variant, run: Run) -> str:
    return f"{variant.name}, seed {run.seed}" if variant.changes else f"seed {run.seed}"


def _say(line: str, done: bool) -> None:
    """Say on standard error which run it is, in the first process of several."""
    if os.environ.get("RANK", "0") != "0":
        return
    typer.echo(line + (" (finished before)" if done else ""), file=sys.stderr)


def _finish(
    results: Sequence[tuple[Variant, Run, Result | None]],
    varied: Sequence[Each],
    command: str,
    folder: Path,
    *,
    json: bool,
) -> None:
    """Write the comparison and print it; the other processes of a run on several devices do not."""
    from sightline.recipes.training.comparison import compare
    from sightline.recipes.training.comparison_page import render_comparison
    from sightline.recipes.training.result import as_lines
    from sightline.views.files import write_atomically

    told = [
        (variant.changes, run.folder.relative_to(folder).as_posix(), result)
        for variant, run, result in results
        if result is not None
    ]
    if len(told) < len(results):
        return
    comparison = compare(told, {one.field: one.values for one in varied}, command)
    write_atomically(folder / "comparison.html", render_comparison(comparison))
    text = as_lines(comparison.as_dict())
    write_atomically(folder / "comparison.json", text)
    if json:
        write_line(text.rstrip())
    else:
        _print(comparison, folder)


def _print(comparison: Comparison, folder: Path) -> None:
    from sightline.recipes.training.comparison_page import cost_rows, spread_rows, summary_line

    write_line(summary_line(comparison))
    main = comparison.main_figures
    for figure in main[:_MOST_PRINTED]:
        write_line()
        write_line(figure.name)
        columns, rows = spread_rows(comparison, figure)
        write_table(columns, rows, numeric=range(1, len(columns)))
        for difference in comparison.differences(figure.name):
            write_line(difference.sentence())
    left = len(comparison.figures) - len(main[:_MOST_PRINTED])
    if left > 0:
        write_line(f"\n{left} more figures are in comparison.html and comparison.json")
    write_line()
    columns, rows = cost_rows(comparison)
    write_table(columns, rows, numeric=range(1, len(columns)))
    write_line()
    write_line(f"comparison: {folder / 'comparison.html'}")
