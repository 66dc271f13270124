"""`sightline generate` as a user meets it: streaming, JSON, seeds, and what it refuses."""

from __future__ import annotations

import importlib
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

from sightline.cli.generate import GENERATORS, _Screen
from sightline.cli.main import main
from sightline.recipes.language_model import RECIPE
from sightline.recipes.registry import recipes
from sightline.recipes.training.loop import train
from sightline.recipes.training.run_folder import Run, open_run

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps: what it writes is no English, but it writes."""
    data, kept = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("runs") / "run"
    assert RECIPE.sample is not None
    RECIPE.sample(data)
    settings = replace(RECIPE.presets["smoke"], steps=3)
    run = Run(kept, RECIPE.name, "smoke", settings, 0)
    open_run(run)
    train(RECIPE.build(settings, data, 0), run, resume=False)
    return kept


def test_prompt_and_text_as_one(run: Command, folder: Path) -> None:
    words = ["generate", "The lamp", "--run", folder, "--tokens", 40, "--seed", 1]
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert out.startswith("The lamp")
    assert len(out) - len("The lamp") in (40, 41)
    assert out.endswith("\n")
    assert run(*words)[1] == out
    assert run(*words[:-1], 2)[1] != out


def test_json_says_the_same(run: Command, folder: Path) -> None:
    words = ["generate", "The lamp", "--run", folder, "--tokens", 40, "--seed", 1]
    code, out, err = run(*words, "--json", "--top-k", 5, "--temperature", 0.5)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert len(found["text"]) == found["tokens"] == 40
    assert (found["prompt"], found["seed"], found["top_k"]) == ("The lamp", 1, 5)
    assert (found["temperature"], found["run"]) == (0.5, str(folder))
    plain = run(*words, "--top-k", 5, "--temperature", 0.5)[1]
    assert plain.removesuffix("\n") == ("The lamp" + found["text"]).removesuffix("\n")


def test_temperature_0_draws_nothing(run: Command, folder: Path) -> None:
    words = ["generate", "A", "--run", folder, "--tokens", 30, "--temperature", 0, "--seed"]
    assert run(*words, 1) == run(*words, 2)


def test_without_a_prompt_it_begins_a_line(run: Command, folder: Path) -> None:
    code, out, _ = run("generate", "--run", folder, "--tokens", 12, "--json")
    assert code == 0
    assert json.loads(out)["prompt"] == "\n"
    assert len(json.loads(out)["text"]) == 12


class Screen(io.StringIO):
    """A stand-in for standard output that knows how much was there at each flush."""

    encoding = "utf-8"

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[int] = []

    def flush(self) -> None:
        self.shown.append(len(self.getvalue()))


def test_text_appears_as_it_is_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["generate", "--run", str(folder), "--tokens", "30", "The"]) == 0
    assert screen.shown[:30] == list(range(4, 34))


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["The lämp"], "got the character 'ä' at position 6 after 'The l'"),
        (["--tokens", "0"], "--tokens"),
        (["--temperature", "nan"], "temperature"),
        (["--temperature", "-1"], "--temperature"),
        (["--top-k", "0"], "--top-k"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_refusals(run: Command, folder: Path, words: list[str], part: str) -> None:
    code, out, err = run("generate", "--run", folder, *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert part in err


def test_every_row_is_there() -> None:
    for name, where in GENERATORS.items():
        module, _, function = where.partition(":")
        assert name in recipes()
        assert callable(getattr(importlib.import_module(module), function))


def test_folders_that_hold_no_such_run(run: Command, tmp_path: Path) -> None:
    assert "give the folder of a run of language-model" in run("generate")[2]
    code, _, err = run("generate", "--run", tmp_path)
    assert code == 2
    assert f"{tmp_path / 'run.json'}: got no run there" in err
    (tmp_path / "run.json").write_text('{"recipe": "tagger"}')
    err = run("generate", "--run", tmp_path)[2]
    assert "got a run of the recipe 'tagger', which writes no text; wanted one of lang" in err
    for broken in ("[1]", "{", '{"recipe": ["language-model"]}'):
        (tmp_path / "run.json").write_text(broken)
        code, out, err = run("generate", "--run", tmp_path)
        assert (code, out) == (2, "")
        assert "run.json: got" in err


def test_what_would_command_a_terminal_is_spelled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", newline="\n")
    monkeypatch.setattr(sys, "stdout", stream)
    screen = _Screen("a\x1b[2J")
    screen.show("é\t我\u202e\r")
    screen.show(" \n")
    screen.end()
    stream.flush()
    shown = stream.buffer.getvalue().decode("latin-1")  # pyright: ignore[reportAttributeAccessIssue]
    assert shown == "a\\x1b[2Jé\t\\u6211\\u202e\\r \n"
