"""The guilty module, operation and line of models that leak; None for right ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sightline.audit.feed import Feed, Input
from sightline.audit.localize import Located, look

from . import leaking_models as models

BATCH, LENGTH, SOURCE = 3, 13, 17
FILE = Path(models.__file__)


def tokens(name: str, length: int, seed: int) -> Input:
    values = np.random.default_rng(seed).integers(0, models.VOCAB, (BATCH, length))
    return Input(name, values, "tokens", np.arange(models.VOCAB))


def runner(model: nn.Module, counted: list[int] | None = None, gradients: bool = True) -> Any:
    def run(feed: Feed) -> Any:
        if counted is not None:
            counted.append(1)
        torch.manual_seed(5)
        with torch.set_grad_enabled(gradients):
            return model(*(torch.from_numpy(each.values) for each in feed.inputs.values()))

    return run


def causal_pair(keys: list[int]) -> tuple[Feed, Feed, dict[int, np.ndarray]]:
    """Inputs, and others of which row b differs from position keys[b] on."""
    given = tokens("tokens", LENGTH, 1)
    changed = np.arange(LENGTH) >= np.array(keys)[:, None]
    base = Feed({"tokens": given})
    return base, base.having(given.changed(changed, 2)), {LENGTH: ~changed}


def made(make: Any, training: bool = False) -> nn.Module:
    torch.manual_seed(0)
    return make().double().train(training)


def located(make: Any, training: bool = False, **options: Any) -> Located | None:
    model = made(make, training)
    return look(model, runner(model), *causal_pair([9, 6, 11]), **options)


def line_of(mark: str) -> int:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    (found,) = [n for n, line in enumerate(lines, 1) if line.endswith(f"# LEAK {mark}")]
    return found


@pytest.mark.parametrize("case", models.CASES, ids=lambda case: case.name)
def test_module_operation_and_line(case: models.Case) -> None:
    found = located(case.make, case.training)
    assert found is not None
    place = found.place
    assert (place.module, place.operation) == (case.module, case.operation)
    assert (Path(place.file), place.line) == (FILE, line_of(case.mark)), place.text
    assert place.text.endswith(f"# LEAK {case.mark}")


@pytest.mark.parametrize("name", models.RIGHT)
def test_right_models_have_no_place(name: str) -> None:
    assert located(models.RIGHT[name]) is None
