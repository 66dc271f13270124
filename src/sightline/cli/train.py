"""`sightline train`: trains a recipe with a progress bar, prints its figures, leaves a report.

Reads the arguments and prints; a run is made in sightline.recipes.training.run, its progress is
drawn in train_progress.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.cli.output import write_line, write_table
from sightline.cli.train_many import train_many
from sightline.cli.train_run import Asked, run_watched
from sightline.lower.arguments import require_torch

if TYPE_CHECKING:
    from sightline.recipes.training.recipe import Recipe, Settings
    from sightline.recipes.training.result import Result

__all__ = ["train"]

_Name = Annotated[
    str | None, typer.Argument(metavar="RECIPE", help="What to train; without it: a list.")
]
_Data = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of the corpus, or of several by name.")
]
_Preset = Annotated[
    str, typer.Option(metavar="NAME", help="small (minutes), paper (as published), smoke (seconds)")
]
_Out = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Where to keep the run; runs/RECIPE-PRESET if not said."),
]
_Seed = Annotated[int, typer.Option(min=0, metavar="N", help="Of all random numbers.")]
_Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a setting; may be given again."),
]
_Seeds = Annotated[
    int, typer.Option(min=1, metavar="N", help="Train with N seeds, from --seed on, and compare.")
]
_Each = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=A,B,C", help="Train with each of these values, and compare; may be repeated."
    ),
]
_Engine = Annotated[
    str | None, typer.Option(metavar="NAME", help="The engine of attention; auto if not said.")
]
_Threads = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Threads; torch's choice if not said.")
]
_Fresh = Annotated[bool, typer.Option("--fresh", help="Start over, not from the last checkpoint.")]
_Json = Annotated[bool, typer.Option("--json", help="Print result.json, or the list, as JSON.")]


def train(
    recipe: _Name = None,
    data: _Data = None,
    preset: _Preset = "small",
    out: _Out = None,
    seed: _Seed = 0,
    changes: _Set = None,
    seeds: _Seeds = 1,
    each: _Each = None,
    engine: _Engine = None,
    threads: _Threads = None,
    fresh: _Fresh = False,
    json: _Json = False,
) -> None:
    """Train a model on real data, and report what came out beside what was published.

    Data come from --data, from the folder that SIGHTLINE_DATA names, or are downloaded; the smoke
    preset learns from a few lines of its own. Stopped at any time, the same command goes on from
    the last checkpoint, with the losses it would have had.

    With --seeds or --each there are several runs, one after another, each in its own folder; in the
    end a page with the spread over seeds and the differences. Finished runs are not made again.

    Started by torchrun, the processes share out the batches of each step: the curve stays that of
    one. --set parallel=fsdp spreads the weights over them too.

    Examples:
      sightline train
      sightline train copy --preset smoke
      sightline train copy --seeds 3 --each heads=1,2,4
      sightline train translation --data ~/corpora --out runs/translation --set steps=2000
      torchrun --nproc-per-node 4 -m sightline train tagger --set micro_batches=8

    Exit codes: 0 trained (a target may be missed: the table says so), 2 bad usage or bad input,
    or a process that cannot be reached.
    """
    require_torch("sightline train")
    if recipe is None:
        _list(json=json)
        return
    found = _recipe(recipe)
    settings = _settings(found, preset, changes or [], engine)
    asked = Asked(found.name, preset, seed, tuple(changes or ()), engine, threads)
    how = {"data": data, "fresh": fresh, "threads": threads}
    if seeds > 1 or each:
        folder = out or Path("runs") / f"{found.name}-{preset}-compared"
        train_many(found, settings, asked, seeds, each or [], folder, json=json, **how)
        return
    folder = out or Path("runs") / _default_folder(found.name, preset, seed)
    run = _asked(found.name, preset, settings, seed, folder)
    result = run_watched(found, run, command=asked.command(), **how)
    if result is not None:
        _print(result, folder, json=json)


def _recipe(name: str) -> Recipe:
    from sightline.recipes import registry
    from sightline.recipes.training.run import needs_extra

    with needs_extra(f"sightline train {name}"):
        return registry.recipe(name)


def _settings(recipe: Recipe, preset: str, changes: list[str], engine: str | None) -> Settings:
    from sightline.recipes.training.run_folder import change_settings

    if preset not in recipe.presets:
        raise typer.BadParameter(
            f"got {preset!r}, wanted one of {', '.join(recipe.presets)}.", param_hint="'--preset'"
        )
    chosen = [] if engine is None else [f"engine={engine}"]
    return change_settings(recipe.presets[preset], [*changes, *chosen])


def _default_folder(name: str, preset: str, seed: int) -> str:
    return f"{name}-{preset}" + (f"-seed{seed}" if seed else "")


def _asked(recipe: str, preset: str, settings: Settings, seed: int, folder: Path) -> Any:
    from sightline.recipes.training.run_folder import Run

    return Run(folder, recipe, preset, settings, seed)


def _print(result: Result, folder: Path, *, json: bool) -> None:
    from sightline.recipes.training.report import figure_rows, summary_line
    from sightline.recipes.training.result import as_lines

    if json:
        write_line(as_lines(result.as_dict()).rstrip())
        return
    columns, rows = figure_rows(result)
    write_line(summary_line(result))
    write_line()
    write_table(columns, rows, numeric=(1, 2, 3))
    write_line()
    for figure in result.outcome.figures:
        if figure.reached is False and figure.note:
            write_line(f"{figure.name}: {figure.note}")
    write_line(f"report: {folder / 'report.html'}")


def _list(*, json: bool) -> None:
    """Print the table of recipes."""
    from sightline.recipes.training.listing import as_json, listing

    listed = listing()
    if json:
        write_line(as_json(listed))
        return
    rows = [[row.name, row.title, row.presets_text, row.where] for row in listed]
    write_table(("recipe", "what it is", "presets", "data"), rows)
    write_line()
    write_line("train one: sightline train RECIPE --preset small")
