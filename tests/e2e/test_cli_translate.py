"""`sightline translate` as a user meets it: sentences in, lines out, and what is refused."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")
pytest.importorskip("accelerate")

from sightline.recipes.training.checkpoint import Counts, save_weights  # noqa: E402
from sightline.recipes.training.run_folder import Run, open_run  # noqa: E402
from sightline.recipes.translation import RECIPE  # noqa: E402
from sightline.recipes.translation.sample import write_sample  # noqa: E402

Call = Callable[..., tuple[int, str, str]]
ONE, TWO = "Der Hund schläft im Park.", "Ich sehe, dass ein Mann am See wartet."


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with weights that have learnt nothing: its words are nonsense, but fixed."""
    data, folder = (tmp_path_factory.mktemp(name) for name in ("data", "runs"))
    write_sample(data)
    settings = replace(RECIPE.presets["smoke"], width=12, hidden=20)
    run = Run(folder / "translation", "translation", "smoke", settings, 0)
    open_run(run)
    torch.manual_seed(1)
    task = RECIPE.build(settings, data, 0)
    for parameter in task.model.parameters():  # far apart, so that each search finds its own
        torch.nn.init.normal_(parameter)
    task.save(run.folder)
    save_weights(run.best, task.model, Counts(step=7))
    return run.folder


def test_a_line_for_each_sentence_in_its_order(run: Call, trained: Path) -> None:
    code, both, err = run("translate", "--run", trained, ONE, TWO)
    assert (code, err) == (0, "")
    _, one, _ = run("translate", "--run", trained, ONE)
    _, two, _ = run("translate", "--run", trained, TWO)
    assert both == one + two
    assert one != two


def test_from_a_file_and_from_standard_input(
    run: Call, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"{ONE}\n\n {TWO} \n".encode()
    (tmp_path / "both.gz").write_bytes(gzip.compress(text))
    _, wanted, _ = run("translate", "--run", trained, ONE, TWO)
    assert run("translate", "--run", trained, "--file", tmp_path / "both.gz") == (0, wanted, "")
    for words in ((), ("-",)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
        assert run("translate", "--run", trained, *words) == (0, wanted, "")


def test_json_says_how_sure_it_is(run: Call, trained: Path) -> None:
    code, out, _ = run("translate", "--run", trained, ONE, "--beam", "3", "--json")
    facts: dict[str, Any] = json.loads(out)
    assert (code, facts["step"], facts["beams"]) == (0, 7, 3)
    (sentence,) = facts["sentences"]
    assert sentence["text"] == ONE
    assert sentence["score"] < 0
    _, out, _ = run("translate", "--run", trained, ONE, "--beam", "3")
    assert out == sentence["translation"] + "\n"
    _, out, _ = run("translate", "--run", trained, ONE, "--json")
    assert json.loads(out)["beams"] == RECIPE.presets["smoke"].beams
    assert json.loads(out)["sentences"] != facts["sentences"]  # fewer beams find another


def copied(folder: Path, into: Path, *, without: str = "") -> Path:
    for path in folder.iterdir():
        if path.name != without:
            (into / path.name).write_bytes(path.read_bytes())
    return into


@pytest.mark.parametrize(
    ("without", "wanted"),
    [
        ("run.json", "sightline train translation --out"),
        ("tokenizer.json", "wanted a tokenizer; train first"),
        ("best.safetensors", "wanted a checkpoint; train first"),
    ],
)
def test_a_folder_that_lacks_something(
    run: Call, trained: Path, tmp_path: Path, without: str, wanted: str
) -> None:
    code, out, err = run("translate", "--run", copied(trained, tmp_path, without=without), ONE)
    assert (code, out) == (2, "")
    assert wanted in err
    assert str(tmp_path) in err


def test_a_run_of_another_recipe(run: Call, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"recipe": "copy"}))
    code, _, err = run("translate", "--run", tmp_path, ONE)
    assert code == 2
    assert "got a run of the recipe 'copy'; wanted one of 'translation'" in err


def test_what_is_no_sentence(
    run: Call, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"gut\n\xff\n")
    cases = [
        ((" ",), "has no words"),
        ((ONE, "--file", empty), "give sentences or --file, not both"),
        (("--file", empty), f"{empty}: got no sentence"),
        (("--file", bad), f"{bad}, line 2: got bytes that are not UTF-8"),
        (("--file", tmp_path / "none.txt"), "none.txt: No such file"),
        (("Hund " * 1200,), "wanted at most 1023; cut it into sentences"),
    ]
    for words, wanted in cases:
        code, out, err = run("translate", "--run", trained, *words)
        assert (code, out) == (2, ""), words
        assert wanted in err, words
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"gut\n\xff\n")))
    code, _, err = run("translate", "--run", trained)
    assert (code, "standard input, line 2:" in err) == (2, True)


def test_without_a_run(run: Call) -> None:
    code, _, err = run("translate", ONE)
    assert code == 2
    assert "sightline train translation --out FOLDER" in err
