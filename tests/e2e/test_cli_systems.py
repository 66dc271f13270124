"""`sightline systems` as a user meets it: the list, one in full, JSON, a name that nobody has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import sightline as sl
from sightline.recipes.systems import table
from sightline.recipes.systems.table import SYSTEMS
from sightline.recipes.training import kept as keeping
from sightline.recipes.training.kept import Kept
from sightline.recipes.training.outcome import Figure, Outcome
from sightline.recipes.training.result import Result

Run = Callable[..., tuple[int, str, str]]

RESULT = Result(
    recipe="copy",
    title="copying",
    preset="small",
    seed=3,
    settings={"steps": 5},
    data="generated",
    command="sightline train copy --preset small --seed 3",
    outcome=Outcome(
        (
            Figure("copied (share)", 1.0, target=1.0),
            Figure("loss", 0.25, target=0.1, better="lower", published=0.125, source="a paper"),
        )
    ),
    parameters=12_345,
    steps=5,
    best_step=4,
    seconds=90.0,
    cpu_seconds=80.0,
    device="cpu",
    processes=1,
    threads=1,
    machine={"cpu": "some", "cores": 2},
    versions={"python": "3.11"},
)


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One recorded run, whatever this installation has."""
    runs = {"copy": Kept(RESULT, ())}
    monkeypatch.setattr(table, "kept", runs.get)


@pytest.fixture
def unrecorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(keeping, "_FOLDER", tmp_path)


def test_the_list_has_every_system(run: Run, unrecorded: None) -> None:
    code, out, err = run("systems")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    for name, system in SYSTEMS.items():
        (line,) = [line for line in lines if line.startswith(f" {name} ")]
        state = "no recipe yet" if system.missing else "held by tests"
        assert ("not recorded yet" if system.recipes else state) in line
    assert max(map(len, lines)) <= 110


def test_measured_beside_published(run: Run, recorded: None) -> None:
    _, out, _ = run("systems")
    (line,) = [line for line in out.splitlines() if line.startswith(" transformer ")]
    assert "copied (share) 1" in line
    _, out, _ = run("systems", "transformer")
    assert "12,345 parameters, 5 steps, best at step 4, 1.5 minutes" in out
    (line,) = [line for line in out.splitlines() if line.startswith(" loss ")]
    assert line.split() == ["loss", "0.25", "≤", "0.1", "0.125", "no"]
    assert "loss: published by a paper" in out


@pytest.mark.parametrize("name", SYSTEMS)
def test_one_in_full(run: Run, unrecorded: None, name: str) -> None:
    system = SYSTEMS[name]
    code, out, err = run("systems", name)
    assert (code, err) == (0, "")
    flat = " ".join(out.split())
    for said in (system.title, system.definition, system.source, system.parity, *system.tests):
        assert " ".join(said.split()) in flat
    for drawn in system.masks:
        assert f"{drawn.title}: {drawn.expression}" in flat
    assert out.count("■ may attend") == len(system.masks)
    assert max(map(len, out.splitlines())) <= 110


def test_all_in_full(run: Run, unrecorded: None) -> None:
    code, out, _ = run("systems", "--full")
    assert code == 0
    for system in SYSTEMS.values():
        assert f"{system.name}: {system.title}" in out


def test_json_is_all_of_it(run: Run, recorded: None) -> None:
    code, out, err = run("systems", "--json")
    assert (code, err) == (0, "")
    rows = json.loads(out, parse_constant=pytest.fail)
    assert [row["name"] for row in rows] == list(SYSTEMS)
    for row in rows:
        assert row["definition"]
        assert row["commands"]
        assert all(isinstance(sl.parse(mask["mask"]), sl.Mask) for mask in row["masks"])
    (result,) = rows[0]["results"]
    assert [figure["reached"] for figure in result["figures"]] == [True, False]
    assert result["command"] == "sightline train copy --preset small --seed 3"


def test_a_name_that_nobody_has(run: Run) -> None:
    code, out, err = run("systems", "bart")
    assert (code, out) == (2, "")
    assert err.startswith("error: got system 'bart'; wanted one of transformer, ")
    assert "Did you mean 'bert'?" in err
