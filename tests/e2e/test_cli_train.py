"""`sightline train` as a user meets it: figures, files, going on, refusals; with a tiny recipe.

What the loop does when it is killed is tested in tests/unit/test_training_loop.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("safetensors")

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import tiny_recipe  # noqa: E402

from sightline.cli import train_progress  # noqa: E402
from sightline.recipes import registry  # noqa: E402
from sightline.recipes.training import run as running  # noqa: E402
from sightline.recipes.training.checkpoint import read_counts  # noqa: E402
from sightline.recipes.training.result import read_result  # noqa: E402

Run = Callable[..., tuple[int, str, str]]
FILES = {
    *("run.json", "losses.jsonl", "evaluations.jsonl", "checkpoint.safetensors"),
    *("best.safetensors", "result.json", "report.html"),
}


@pytest.fixture(autouse=True)
def recipes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in = tiny_recipe.table_of_recipes(registry.recipe)
    monkeypatch.setattr(registry, "recipe", stand_in.recipe)
    monkeypatch.setattr(registry, "recipes", stand_in.recipes)
    monkeypatch.delenv("SIGHTLINE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def corpus(folder: Path, slope: str = "2.0") -> Path:
    folder.mkdir()
    (folder / "input.txt").write_text("its presence is all that is asked")
    (folder / "slope.txt").write_text(slope)
    return folder


def losses(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]


def test_figures_and_files(run: Run, tmp_path: Path) -> None:
    code, out, err = run("train", "line", "--set", "steps=60", "--set", "bold=yes")
    assert code == 0
    folder = tmp_path / "runs" / "line-small"
    assert {path.name for path in folder.iterdir()} == FILES
    assert out.startswith("line, preset small, seed 0: 2 parameters, 60 steps, best at step ")
    rows = [line.split() for line in out.splitlines()]
    (slope,) = [row for row in rows if row[:1] == ["slope"]]
    assert slope[2:] == ["≥", "1", "2", "yes"]
    assert 1.0 < float(slope[1]) < 3.0
    (loss,) = [row for row in rows if row[:1] == ["loss"]]
    assert loss[2:] == ["≤", "-1", "-", "no"]
    assert out.endswith("report: runs/line-small/report.html\n")
    assert [line.split(":")[0] for line in err.splitlines()] == [
        f"step {step} of 60" for step in (10, 20, 30, 40, 50, 60)
    ]
    result = json.loads((folder / "result.json").read_text(), parse_constant=pytest.fail)
    assert result["settings"] == {
        **vars(tiny_recipe.PRESETS["small"]),
        "steps": 60,
        "bold": True,
        "micro_batches": 1,
    }
    assert result["command"] == (
        "sightline train line --preset small --seed 0 --set steps=60 --set bold=yes"
    )
    assert result["data"] == "generated"
    assert (result["steps"], result["parameters"], result["processes"]) == (60, 2, 1)
    assert result["seconds"] > 0
    assert {"python", "torch", "sightline"} == result["versions"].keys()
    assert [figure["reached"] for figure in result["figures"]] == [True, False]


def test_the_report_shows_it_all(run: Run, tmp_path: Path) -> None:
    assert run("train", "line", "--out", tmp_path / "out")[0] == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "1 of 2 targets missed: loss is " in page
    assert 'class="line c0"' in page, "the curves"
    assert page.count("<svg") == 3, "curves, a mask, an attention map"
    for said in ("published by Euclid", "Lines are not published.", "checkpoint_every", "head 0"):
        assert said in page
    assert "all before: <code>causal()</code>" in page
    assert "url(#sl-hatch-" in page, "the map's mask is the one with its tokens"


def test_a_finished_run_is_shown_again(run: Run, tmp_path: Path) -> None:
    words = ("train", "line", "--out", tmp_path / "out")
    _, first, _ = run(*words)
    before = (tmp_path / "out" / "result.json").read_bytes()
    code, out, err = run(*words)
    assert (code, out) == (0, first)
    assert "this run is finished" in err
    assert (tmp_path / "out" / "result.json").read_bytes() == before
    code, out, _ = run(*words, "--json")
    assert code == 0
    assert out == before.decode()


def test_fresh_starts_over(run: Run, tmp_path: Path) -> None:
    words = ("train", "line", "--out", tmp_path / "out")
    run(*words)
    code, _, err = run(*words, "--fresh", "--set", "steps=20")
    assert code == 0
    assert "step 20 of 20" in err
    assert read_result(tmp_path / "out" / "result.json").steps == 20


def test_an_interrupted_run_goes_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("train", "line", "--out", tmp_path / "whole")
    draw = train_progress.Drawn.step

    def interrupt(self: Any, step: int, steps: int, loss: float) -> None:
        draw(self, step, steps, loss)
        if step == 25:
            raise KeyboardInterrupt

    words = ("train", "line", "--out", tmp_path / "parts")
    with monkeypatch.context() as patch:
        patch.setattr(train_progress.Drawn, "step", interrupt)
        code, out, err = run(*words)
    assert (code, out) == (130, "")
    assert "interrupted; the same command goes on from the checkpoint of step 20" in err
    assert read_counts(tmp_path / "parts" / "checkpoint.safetensors").step == 20
    code, _, err = run(*words)
    assert code == 0
    assert "going on at step 20 of 30" in err
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_interrupted_before_the_first_checkpoint(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*words: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train_progress.Drawn, "step", interrupt)
    code, _, err = run("train", "line", "--out", tmp_path / "out")
    assert code == 130
    assert "interrupted before the first checkpoint" in err


def test_killed_before_the_result_was_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are there; only what comes after training is done again."""
    words = ("train", "line", "--out", tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(running, "render_report", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(*words)
    assert not (tmp_path / "out" / "result.json").exists()
    code, out, err = run(*words)
    assert code == 0
    assert "going on at step 30 of 30" in err
    assert "slope" in out


@pytest.mark.parametrize("by_name", [False, True])
def test_data_that_are_named(run: Run, tmp_path: Path, by_name: bool) -> None:
    if by_name:
        (tmp_path / "corpora").mkdir()
    folder = corpus(tmp_path / "corpora" / "shakespeare" if by_name else tmp_path / "mine")
    words = ("--data", tmp_path / "corpora" if by_name else folder)
    code, out, _ = run("train", "slope", *words, "--json")
    assert code == 0
    assert json.loads(out)["data"] == "shakespeare"


def test_data_of_the_environment(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corpora").mkdir()
    corpus(tmp_path / "corpora" / "shakespeare")
    monkeypatch.setenv("SIGHTLINE_DATA", str(tmp_path / "corpora"))
    code, out, _ = run("train", "slope", "--json")
    assert code == 0
    assert json.loads(out)["data"] == "shakespeare"


def test_smoke_writes_its_own_sample(run: Run, tmp_path: Path) -> None:
    words = ("train", "sample", "--preset", "smoke", "--out", tmp_path / "out", "--json")
    code, out, _ = run(*words)
    assert code == 0
    assert json.loads(out)["data"] == "sample"
    assert (tmp_path / "out" / "sample" / "slope.txt").is_file()
    assert run(*words)[0] == 0, "the sample is no foreign file"
    assert run(*words, "--fresh")[0] == 0


def test_data_that_nobody_reads(run: Run, tmp_path: Path) -> None:
    code, _, err = run("train", "line", "--data", tmp_path)
    assert code == 0
    assert "the data of line are generated" in err


def test_the_list(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run("train")
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "generated" in rows["line"]
    assert "shakespeare: download" in rows["slope"]
    assert "small 30, paper 3,000, smoke 20" in rows["slope"]
    (tmp_path / "corpora").mkdir()
    corpus(tmp_path / "corpora" / "shakespeare")
    monkeypatch.setenv("SIGHTLINE_DATA", str(tmp_path / "corpora"))
    rows = json.loads(run("train", "--json")[1])
    assert [row["name"] for row in rows] == ["line", "slope", "sample"]
    assert rows[1]["presets"] == {"small": 30, "paper": 3000, "smoke": 20}
    assert "at hand" in rows[1]["where"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lien"], "got the recipe 'lien'; wanted one of "),
        (["line", "--preset", "big"], "'--preset': got 'big', wanted one of small, paper, smoke"),
        (["line", "--set", "stepz=3"], "got --set 'stepz=3'; wanted NAME=VALUE"),
        (["line", "--set", "steps=few"], "got --set 'steps=few'; wanted a value of type int"),
        (["line", "--set", "bold=maybe"], "wanted yes or no"),
        (["line", "--set", "steps"], "got --set 'steps'"),
        (["line", "--engine", "spda"], "got engine 'spda'; wanted one of auto"),
        (["line", "--seed", "-1"], "--seed"),
        (["line", "--threads", "0"], "--threads"),
        (["line", "--out", "file"], "file: got a file; wanted a folder for the run"),
        (["line", "--out", "full"], "full: got a folder with other files in it"),
        (["slope", "--data", "nowhere"], "nowhere: got a folder without the files of"),
    ],
)
def test_refusals(run: Run, tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("")
    code, out, err = run("train", *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists(), "nothing was begun"


def test_another_run_in_the_folder(run: Run, tmp_path: Path) -> None:
    run("train", "line", "--out", tmp_path / "out")
    code, out, err = run("train", "line", "--out", tmp_path / "out", "--seed", "1")
    assert (code, out) == (2, "")
    assert "got a run with seed=1 for a folder that holds one with 0" in err


@pytest.mark.parametrize("broken", [b"{", b"[]", b"{}", b"\xff"])
def test_a_result_that_cannot_be_read(run: Run, tmp_path: Path, broken: bytes) -> None:
    run("train", "line", "--out", tmp_path / "out")
    (tmp_path / "out" / "result.json").write_bytes(broken)
    code, out, err = run("train", "line", "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert "result.json: got no result that can be read" in err


def test_a_damaged_checkpoint(run: Run, tmp_path: Path) -> None:
    run("train", "line", "--out", tmp_path / "out")
    (tmp_path / "out" / "result.json").unlink()
    (tmp_path / "out" / "checkpoint.safetensors").write_bytes(b"no")
    code, _, err = run("train", "line", "--out", tmp_path / "out")
    assert code == 2
    assert "checkpoint.safetensors: got a damaged or foreign file" in err
    assert "Traceback" not in err


def test_bad_data_are_told_with_their_file(run: Run, tmp_path: Path) -> None:
    def build(settings: Any, data: Path, seed: int) -> Any:
        from sightline.errors import DataError

        raise DataError("got 2 columns; wanted 3.", path=str(data / "input.txt"), line=7)

    tiny_recipe.ALL["broken"] = tiny_recipe.Recipe(
        "broken", "broken", "shakespeare", tiny_recipe.PRESETS, build
    )
    try:
        code, _, err = run("train", "broken", "--data", corpus(tmp_path / "mine"))
    finally:
        del tiny_recipe.ALL["broken"]
    assert code == 2
    assert "input.txt, line 7: got 2 columns; wanted 3." in err


@pytest.mark.parametrize("package", ["accelerate", "safetensors", "tokenizers"])
def test_a_missing_package_is_a_line(
    run: Run, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    """Two are asked for before anything is begun, tokenizers by a recipe as it builds."""
    if package == "tokenizers":

        def build(*given: Any) -> Any:
            import tokenizers  # noqa: F401

        monkeypatch.setitem(
            tiny_recipe.ALL,
            "line",
            tiny_recipe.Recipe("line", "", None, tiny_recipe.PRESETS, build),
        )
    monkeypatch.setitem(sys.modules, package, None)
    code, out, err = run("train", "line")
    assert (code, out) == (2, "")
    assert f"sightline train line needs {package}, which is not installed" in err
    assert "pip install 'sightline[train]'" in err
    assert Path("runs").exists() is (package == "tokenizers")


def test_a_loss_that_is_no_number(run: Run, tmp_path: Path) -> None:
    """It trains on, as it was told; files stay readable and the report says it."""
    code, out, _ = run("train", "line", "--set", "rate=1e30", "--set", "clip=0", "--json")
    assert code == 0
    figures = json.loads(out, parse_constant=pytest.fail)["figures"]
    assert figures[0]["value"] is None
    assert figures[0]["reached"] is False
    page = (tmp_path / "runs" / "line-small" / "report.html").read_text()
    assert "not a number (from step " in page
    assert run("train", "line", "--set", "rate=1e30", "--set", "clip=0")[0] == 0


@pytest.mark.slow
def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    """In a terminal of its own, since a bar looks whether it is in one."""
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "import tiny_recipe\n"
        "from sightline.recipes import registry\n"
        "registry.recipe = tiny_recipe.ALL.__getitem__\n"
        "from sightline.cli.main import main\n"
        "words = ['train', 'line', '--out', 'out', '--set', 'pause=0.02']\n"
        "sys.exit(main(words))\n"
    )
    pty = pytest.importorskip("pty")
    import os

    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=slave,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as child:
        os.close(slave)
        seen = b""
        while True:
            try:
                piece = os.read(master, 4096)
            except OSError:
                break
            if not piece:
                break
            seen += piece
        out = child.stdout.read().decode() if child.stdout else ""
        assert child.wait(timeout=60) == 0
    text = seen.decode(errors="replace")
    assert "training" in text
    assert "30/30" in text
    assert "loss" in text
    assert "step 30 of 30" in text
    assert out.startswith("line, preset small")
