"""A recipe that takes milliseconds, for tests of what goes around a recipe.

A line through noisy points: its corpus is one file of numbers, read where the user's would be.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

import sightline as sl
from sightline.recipes.training.outcome import AttentionMap, Figure, MaskShown, Outcome, Table
from sightline.recipes.training.recipe import Recipe, Settings, Task, Tell
from sightline.recipes.training.seeds import generator


@dataclass(frozen=True, kw_only=True)
class LineSettings(Settings):
    steps: int = 30
    evaluate_every: int = 10
    checkpoint_every: int = 10
    rate: float = 0.1
    bold: bool = False
    pause: float = 0.0


class Line(Task):
    def __init__(self, settings: LineSettings, data: Path | None, seed: int) -> None:
        self.settings, self.seed = settings, seed
        self.slope = float((data / "slope.txt").read_text()) if data else 2.0
        self.model = torch.nn.Linear(1, 1)

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.model.parameters(), lr=self.settings.rate)

    def rate(self, step: int) -> float:
        return self.settings.rate

    def batch(self, number: int) -> torch.Tensor:
        time.sleep(self.settings.pause)
        points = generator(self.seed, "points", number).normal(size=(7, 1))
        return torch.tensor(points, dtype=torch.float32)

    def loss(self, model: Any, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        return (model(batch) - self.slope * batch).pow(2).mean(), {}

    def evaluate(self, model: Any, tell: Tell) -> dict[str, float]:
        for done in range(3):
            tell("evaluating", done + 1, 3)
        return {"loss": float(self.loss(model, self.batch(10_000))[0])}

    def finish(self, model: Any, tell: Tell) -> Outcome:
        words = ("a", "b", "c")
        return Outcome(
            figures=(
                Figure("slope", float(model.weight), target=1.0, published=2.0, source="Euclid"),
                Figure("loss", self.evaluate(model, tell)["loss"], target=-1.0, better="lower"),
            ),
            tables=(Table("points", ("x", "y"), (("1", "2"),)),),
            masks=(MaskShown("all before", sl.causal(), words, words),),
            attention=(AttentionMap("head 0", np.tri(3) / 2, words, words),),
            notes=("Lines are not published.",),
        )


def write_sample(folder: Path) -> None:
    (folder / "slope.txt").write_text("2.0")


PRESETS: Mapping[str, LineSettings] = {
    "small": LineSettings(),
    "paper": LineSettings(steps=3000),
    "smoke": LineSettings(steps=20),
}
GENERATED = Recipe("line", "a line through points", None, PRESETS, Line)
FROM_DATA = Recipe("slope", "a line whose slope is read", "shakespeare", PRESETS, Line)
WITH_SAMPLE = Recipe("sample", "the same", "shakespeare", PRESETS, Line, write_sample)
ALL = {each.name: each for each in (GENERATED, FROM_DATA, WITH_SAMPLE)}


def table_of_recipes(real: Any) -> SimpleNamespace:
    """What stands in for sightline.recipes.registry: our recipes, its refusal."""

    def recipe(name: str) -> Recipe:
        return ALL[name] if name in ALL else real(name)

    return SimpleNamespace(recipes=lambda: list(ALL), recipe=recipe)
