"""The rows of the reference systems: masks that can be built, files and names that are there."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

import pytest

import sightline as sl
from sightline.recipes.systems.record import System
from sightline.recipes.systems.table import SYSTEMS
from sightline.views.picture import picture_of

ROOT = Path(__file__).parents[2]
ALL = list(SYSTEMS.values())
# Asks for torch's registry only by its text: the table itself needs no torch.
REGISTRY = ROOT / "src/sightline/recipes/registry.py"


def recipe_names() -> set[str]:
    for node in ast.walk(ast.parse(REGISTRY.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "RECIPES":
            return set(ast.literal_eval(node.value))
    raise AssertionError("the registry has no table")


def resolved(name: str) -> Any:
    """Return what a dotted name of ours stands for."""
    if name.startswith("sl."):
        value: Any = sl
        for part in name.partition("(")[0].split(".")[1:]:
            value = getattr(value, part)
        return value
    return importlib.import_module(name)


@pytest.mark.parametrize("system", ALL, ids=lambda system: system.name)
def test_every_mask_is_built_and_drawn(system: System) -> None:
    for drawn in system.masks:
        queries, keys = drawn.size
        assert repr(drawn.mask) == repr(sl.parse(repr(drawn.mask)))
        picture = picture_of(drawn.mask, queries, keys)
        assert picture.count > 0, drawn.title
        assert picture.shape == (queries, keys)


@pytest.mark.parametrize("system", ALL, ids=lambda system: system.name)
def test_whatever_is_named_is_there(system: System) -> None:
    assert system.tests
    for test in system.tests:
        assert (ROOT / test).is_file(), f"{system.name} names {test}"
    for part in system.parts:
        assert resolved(part) is not None
    assert set(system.recipes) <= recipe_names()


def test_every_recipe_belongs_to_a_system() -> None:
    assert {name for system in ALL for name in system.recipes} == recipe_names()


def test_what_is_missing_is_said() -> None:
    for system in ALL:
        assert not (system.missing and system.trained), system.name
        assert system.missing == "" or system.missing.startswith("no recipe yet: ")


def test_names_are_words_of_a_command_line() -> None:
    assert all(name.replace("-", "").isalnum() and name.islower() for name in SYSTEMS)
    assert len(SYSTEMS) == len(ALL) == 22
