"""A run's folder: what was asked (run.json), the curves (*.jsonl), the weights, the result.

run.json              recipe, preset, settings, seed, data; written before the first step
losses.jsonl          one line a step; evaluations.jsonl: one line an evaluation
checkpoint.safetensors, best.safetensors
result.json, report.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from sightline.errors import DataError, InvalidArgument
from sightline.recipes.training.recipe import ANYHOW, Recipe, Settings
from sightline.views.files import write_atomically

__all__ = [
    "Curve",
    "Run",
    "change_settings",
    "check_run",
    "open_run",
    "read_change",
    "read_run",
    "settled",
]


@dataclass(frozen=True)
class Run:
    """What was asked for, and where it is kept."""

    folder: Path
    recipe: str
    preset: str
    settings: Settings
    seed: int
    data: str | None = None

    @property
    def checkpoint(self) -> Path:
        """The last state."""
        return self.folder / "checkpoint.safetensors"

    @property
    def best(self) -> Path:
        """The weights of the best evaluation."""
        return self.folder / "best.safetensors"

    @property
    def result(self) -> Path:
        """What came out, as JSON."""
        return self.folder / "result.json"

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / "report.html"

    def asked(self) -> dict[str, Any]:
        """Return what run.json says."""
        return {
            "recipe": self.recipe,
            "preset": self.preset,
            "seed": self.seed,
            "data": self.data,
            "settings": asdict(self.settings),
        }


def open_run(run: Run, *, fresh: bool = False) -> bool:
    """Make the folder, or find it; return whether there is a run in it to go on with.

    Raises:
        DataError: the folder holds another run, or something else altogether.
    """
    there = run.folder / "run.json"
    if fresh:
        _clear(run)
    if run.folder.exists() and not run.folder.is_dir():
        raise DataError("got a file; wanted a folder for the run.", path=str(run.folder))
    if there.exists():
        _check_same(run, there)
        return run.checkpoint.exists()
    if run.folder.is_dir() and any(run.folder.iterdir()):
        raise DataError(
            "got a folder with other files in it; wanted an empty or a new one, or that of a run "
            "to go on with; name another with --out.",
            path=str(run.folder),
        )
    run.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(there, json.dumps(run.asked(), indent=2) + "\n")
    return False


def settled(run: Run, micro_batches: int, *, fresh: bool = False) -> Run:
    """Return the run with the batches of a step that its folder has, or these if it has none.

    >>> settled(Run(Path("no such folder"), "copy", "small", Settings(), 0), 4).settings
    Settings(steps=1000, ..., micro_batches=4, ...)
    """
    there = run.folder / "run.json"
    if run.settings.micro_batches:
        return run
    if there.is_file() and not fresh:
        before = _read_json(there).get("settings") or {}
        micro_batches = before.get("micro_batches") or micro_batches
    return replace(run, settings=replace(run.settings, micro_batches=micro_batches))


def check_run(run: Run) -> None:
    """Refuse a folder that holds another run; nothing is made or changed.

    Raises:
        DataError: it does.
    """
    there = run.folder / "run.json"
    if there.exists():
        _check_same(run, there)


def read_run(folder: Path, recipe: Recipe) -> Run:
    """Return the run that lies in a folder, for using its model.

    Raises:
        DataError: no run there, or one of another recipe.
    """
    path = Path(folder) / "run.json"
    if not path.is_file():
        raise DataError(
            f"got no run there; wanted the folder of a run; make one with "
            f"`sightline train {recipe.name} --out {folder}`.",
            path=str(path),
        )
    asked = _read_json(path)
    if asked.get("recipe") != recipe.name:
        raise DataError(
            f"got a run of the recipe {asked.get('recipe')!r}; wanted one of {recipe.name!r}.",
            path=str(path),
        )
    try:
        settings = replace(next(iter(recipe.presets.values())), **asked["settings"])
        data = asked.get("data")
        return Run(Path(folder), recipe.name, asked["preset"], settings, asked["seed"], data)
    except (TypeError, KeyError, InvalidArgument) as error:
        raise DataError(
            f"got settings that this version does not know ({error}); wanted those of the recipe "
            f"{recipe.name!r}; train again with --fresh.",
            path=str(path),
        ) from error


def change_settings(settings: Settings, changes: Iterable[str]) -> Settings:
    """Return the settings with ``name=value`` changes, each read by the field's type.

    Raises:
        InvalidArgument: no such name, or a value that cannot be read.

    >>> change_settings(Settings(), ["steps=5", "clip=0.5"]).steps
    5
    """
    return replace(settings, **dict(read_change(settings, change) for change in changes))


def read_change(settings: Settings, change: str, *, word: str = "--set") -> tuple[str, Any]:
    """Return (name, value) of one ``name=value``; ``word`` is the option it was given with.

    Raises:
        InvalidArgument: no such name, or a value that cannot be read.

    >>> read_change(Settings(), "checkpoint-every=5")
    ('checkpoint_every', 5)
    """
    types = {field.name: type(getattr(settings, field.name)) for field in fields(settings)}
    name, equals, text = change.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or name not in types:
        known = ", ".join(types)
        raise InvalidArgument(
            f"got {word} {change!r}; wanted NAME=VALUE with one of the names {known}."
        )
    kind, text = types[name], text.strip()
    words = {"yes": True, "true": True, "no": False, "false": False}
    try:
        return name, words[text.lower()] if kind is bool else kind(text)
    except (ValueError, KeyError) as error:
        wanted = "yes or no" if kind is bool else f"a value of type {kind.__name__}"
        raise InvalidArgument(f"got {word} {change!r}; wanted {wanted} after the '='.") from error


class Curve:
    """Lines of JSON, one a record, in a file that grows; a resumed run drops what it repeats."""

    def __init__(self, path: Path, *, up_to: int) -> None:
        """Keep the records up to step ``up_to`` of what is there; later ones are written anew."""
        self.path = path
        kept = [line for line in self._lines() if json.loads(line)["step"] <= up_to]
        write_atomically(path, "".join(line + "\n" for line in kept))

    def add(self, records: Iterable[dict[str, Any]]) -> None:
        """Append records at once."""
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)

    def read(self) -> list[dict[str, Any]]:
        """Return all records."""
        return [json.loads(line) for line in self._lines()]

    def _lines(self) -> list[str]:
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        # A line without its end was being written when the run was killed.
        return [line.rstrip("\n") for line in lines if line.endswith("\n")]


def _check_same(run: Run, there: Path) -> None:
    asked, before = run.asked(), _read_json(there)
    old, new = before.get("settings") or {}, asked["settings"]
    differ = [(name, before.get(name), asked[name]) for name in ("recipe", "preset", "seed")]
    differ += [
        (name, old.get(name), new.get(name)) for name in {**new, **old} if name not in ANYHOW
    ]
    for name, had, wished in differ:
        # 0 is what has not been settled yet.
        if had == wished or (name == "micro_batches" and not (had and wished)):
            continue
        raise DataError(
            f"got a run with {name}={wished!r} for a folder that holds one with {had!r}; wanted "
            "the same run, to go on with it; name another folder with --out, or start over with "
            "--fresh.",
            path=str(run.folder),
        )


def _clear(run: Run) -> None:
    """Remove what a run has written, and nothing else: it is one only if run.json is there."""
    if not (run.folder / "run.json").exists():
        return
    curves = [run.folder / "losses.jsonl", run.folder / "evaluations.jsonl"]
    for path in (run.checkpoint, run.best, run.result, run.report, *curves):
        path.unlink(missing_ok=True)
    write_atomically(run.folder / "run.json", json.dumps(run.asked(), indent=2) + "\n")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"got a file that is no JSON ({error}); wanted a run's.", path=str(path)
        ) from error
    if not isinstance(read, dict):
        raise DataError("got JSON that is no object; wanted a run's.", path=str(path))
    return read
