"""Results of recorded runs that come with Sightline: recipes/results/NAME.json, and comparisons
of several, NAME.comparison.json.

``docs/make_results.py`` takes them from a run's folder; `sightline systems` and docs/results show
them. A curve is kept as it is drawn. Needs no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from sightline.errors import DataError
from sightline.recipes.training.comparison import Comparison, comparison_from, read_comparison
from sightline.recipes.training.outcome import (
    ChartShown,
    ImageShown,
    ImagesShown,
    Outcome,
    Table,
)
from sightline.recipes.training.report_pictures import chart_series
from sightline.recipes.training.result import Result, as_lines, plain, read_result, result_from
from sightline.views.charts.curves import Thinned, thinned
from sightline.views.images import reduced

__all__ = [
    "Chart",
    "Kept",
    "kept",
    "kept_comparisons",
    "kept_names",
    "kept_text",
    "take",
    "take_comparison",
]

_PLACES = 120
# Of a long table of examples the first rows are enough to see what it is like.
_MOST_ROWS = 20
# A larger image is kept coarser.
_LARGEST_IMAGE = 160
# What of an outcome has a title, by which it is left out. Sounds are never kept.
_TITLED = ("tables", "masks", "attention", "charts", "images", "sounds")
_COMPARISON = ".comparison.json"
_FOLDER = files("sightline.recipes").joinpath("results")


@dataclass(frozen=True, eq=False)
class Chart:
    """Curves that belong into one drawing."""

    title: str
    curves: tuple[Thinned, ...]


@dataclass(frozen=True, eq=False)
class Kept:
    """A recorded run: its result, and its curves."""

    result: Result
    charts: tuple[Chart, ...]


def kept_names() -> list[str]:
    """Return the names of the results that this installation has."""
    if not _FOLDER.is_dir():
        return []
    names = (each.name for each in _FOLDER.iterdir())
    runs = (n for n in names if n.endswith(".json") and not n.endswith(_COMPARISON))
    return sorted(name.removesuffix(".json") for name in runs)


def kept_comparisons() -> dict[str, Comparison]:
    """Return the recorded comparisons that this installation has, by name."""
    if not _FOLDER.is_dir():
        return {}
    found = sorted(_FOLDER.iterdir(), key=lambda each: each.name)
    return {
        path.name.removesuffix(_COMPARISON): comparison_from(json.loads(path.read_text("utf-8")))
        for path in found
        if path.name.endswith(_COMPARISON)
    }


def take_comparison(folder: Path) -> Comparison:
    """Return the comparison that is finished in a folder.

    Raises:
        DataError: none there, or one of a smoke preset or of sample data.
    """
    found = read_comparison(folder / "comparison.json")
    if found.preset == "smoke" or found.data == "sample":
        raise DataError(
            f"got a comparison of preset {found.preset} on data {found.data!r}; wanted recorded "
            "runs on real data; smoke runs are for tests.",
            path=str(folder),
        )
    return found


def kept(name: str) -> Kept | None:
    """Return a recorded run, or None if there is none of that name."""
    if name not in kept_names():
        return None
    read = json.loads(_FOLDER.joinpath(f"{name}.json").read_text(encoding="utf-8"))
    charts = tuple(
        Chart(each["title"], tuple(_curve(curve) for curve in each["curves"]))
        for each in read["charts"]
    )
    return Kept(result_from(read), charts)


def take(
    folder: Path, name: str = "", *, drop: Collection[str] = (), hide: Collection[str] = ()
) -> Kept:
    """Return what is kept of the run in a folder.

    A run under another name than its recipe's is a variant of the recipe's own run: only its
    figures are kept, not its examples and pictures.

    Args:
        folder: the run's.
        name: under which it is kept; its recipe's if not said.
        drop: titles of what is left out.
        hide: titles of what is kept without its words, tables apart; [MASK] and its like stay.

    Raises:
        DataError: no finished run there, one of a smoke preset or of sample data, or nothing of a
            title that is to be left out or hidden.
    """
    result = read_result(folder / "result.json")
    if result.preset == "smoke" or result.data == "sample":
        raise DataError(
            f"got a run of preset {result.preset} on data {result.data!r}; wanted a recorded run "
            "on real data; smoke runs are for tests.",
            path=str(folder),
        )
    if name not in ("", result.recipe):
        return Kept(replace(result, outcome=Outcome(result.outcome.figures)), ())
    losses, evaluations = (_records(folder / f"{name}.jsonl") for name in ("losses", "evaluations"))
    charts = (
        Chart(title, tuple(_rounded(thinned(each, _PLACES)) for each in series))
        for title, series in chart_series(losses, evaluations)
    )
    outcome = _without(result.outcome, drop, hide, folder)
    outcome = replace(
        outcome,
        tables=tuple(_first_rows(table) for table in outcome.tables),
        images=tuple(map(_small, outcome.images)),
        sounds=(),
    )
    return Kept(replace(result, outcome=outcome), tuple(charts))


def kept_text(run: Kept) -> str:
    """Return a recorded run as the text of its JSON file."""
    charts = [
        {"title": chart.title, "curves": [asdict(curve) for curve in chart.curves]}
        for chart in run.charts
    ]
    return as_lines({**run.result.as_dict(), "charts": plain(charts)})


def _without(
    outcome: Outcome, drop: Collection[str], hide: Collection[str], folder: Path
) -> Outcome:
    """Return an outcome without what is dropped, and without the words of what is hidden."""
    every = {name: getattr(outcome, name) for name in _TITLED}
    titles = [shown.title for each in every.values() for shown in each]
    tables = {table.title for table in outcome.tables}
    unknown = [
        title for title in (*drop, *hide) if title not in titles or title in {*hide} & tables
    ]
    if unknown:
        raise DataError(
            f"got nothing titled {unknown[0]!r} to leave out; wanted one of {titles}.",
            path=str(folder),
        )
    left = {
        name: tuple(
            _hidden(shown) if shown.title in hide else shown
            for shown in each
            if shown.title not in drop
        )
        for name, each in every.items()
    }
    return replace(outcome, **left)


def _hidden(shown: Any) -> Any:
    """Return what is shown with a dot for each word; names in brackets are no words."""
    if isinstance(shown, ChartShown):
        return replace(
            shown, curves=tuple(replace(each, name=_dot(each.name)) for each in shown.curves)
        )
    if isinstance(shown, ImagesShown):
        return replace(
            shown, images=tuple(replace(each, label=_dot(each.label)) for each in shown.images)
        )
    names = ("queries", "keys")
    return replace(shown, **{name: tuple(map(_dot, getattr(shown, name))) for name in names})


def _small(shown: ImagesShown) -> ImagesShown:
    """Return images with few enough numbers to be kept."""
    return replace(shown, images=tuple(map(_small_image, shown.images)))


def _small_image(image: ImageShown) -> ImageShown:
    pixels, over = np.asarray(image.pixels, np.float64), image.over
    if max(pixels.shape) <= _LARGEST_IMAGE:
        return image
    if over is not None:
        factors = [a // b for a, b in zip(pixels.shape, np.shape(over), strict=True)]
        spread = np.kron(over, np.ones(factors)).astype(np.float64)
        over = reduced(spread, _LARGEST_IMAGE)
    return ImageShown(image.label, reduced(pixels, _LARGEST_IMAGE), over)


def _dot(label: str) -> str:
    return label if label[:1] == "[" and label[-1:] == "]" else "·"


def _records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _first_rows(table: Table) -> Table:
    left = len(table.rows) - _MOST_ROWS
    title = f"{table.title} (the first {_MOST_ROWS} of {len(table.rows):,})"
    return replace(table, rows=table.rows[:_MOST_ROWS], title=title) if left > 0 else table


def _rounded(curve: Thinned) -> Thinned:
    changed = {name: _digits(getattr(curve, name)) for name in ("mean", "least", "greatest")}
    return replace(curve, **changed)


def _digits(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(f"{value:.4g}") for value in values)


def _curve(read: dict[str, Any]) -> Thinned:
    numbers = {
        name: tuple(math.nan if value is None else value for value in read[name])
        for name in ("steps", "mean", "least", "greatest")
    }
    return Thinned(**{**read, **numbers})
