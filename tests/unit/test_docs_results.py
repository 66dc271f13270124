"""The pages of the recorded runs say what is kept of them, and keeping a run makes its page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import recorded_runs

import sightline as sl
from sightline.errors import DataError
from sightline.recipes.training import kept as keeping
from sightline.recipes.training.kept import kept, kept_names
from sightline.recipes.training.outcome import Figure, MaskShown, Outcome
from sightline.recipes.training.result import as_lines


@pytest.fixture
def make_results(docs_script: Callable[[str], ModuleType]) -> ModuleType:
    return docs_script("make_results")


@pytest.fixture
def elsewhere(
    make_results: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """The script, writing into a folder of its own; beside it the folder of a run."""
    for name in ("pages", "kept", "run"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(make_results, "PAGES", tmp_path / "pages")
    monkeypatch.setattr(make_results, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(keeping, "_FOLDER", tmp_path / "kept")
    result = as_lines(recorded_runs.result().as_dict())
    (tmp_path / "run" / "result.json").write_text(result, encoding="utf-8")
    for name, records in (
        ("losses", recorded_runs.losses()),
        ("evaluations", recorded_runs.evaluations()),
    ):
        lines = "".join(json.dumps(each) + "\n" for each in records)
        (tmp_path / "run" / f"{name}.jsonl").write_text(lines)
    return make_results


def test_the_pages_are_up_to_date(
    make_results: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_results.main(["--check"]) == 0, capsys.readouterr().out


def test_a_run_is_kept_and_its_page_made(elsewhere: ModuleType, tmp_path: Path) -> None:
    assert elsewhere.main(["--check"]) == 1, "the list of runs is missing"
    assert elsewhere.main([str(tmp_path / "run")]) == 0
    assert kept_names() == ["translation"]
    run = kept("translation")
    assert run is not None
    assert run.result.seconds == 4200
    page = (tmp_path / "pages" / "translation.md").read_text(encoding="utf-8")
    for said in (
        *("# German into English", "sightline train translation --preset small --seed 4"),
        *("| BLEU | 31.25 | ≥ 30 | 35.7 | yes |", "| seed | 4 |", "| machine | AMD, 2 cores |"),
        *("- BLEU: published by a paper; smaller", "- Adam, not AdamW.", "70 minutes"),
        *("![Loss](pictures/translation-curve-1.svg)", "pictures/translation-attention-2.svg"),
        *("(the first 20 of 70)", "| in 3 | a\\|b &lt;i> |"),
        "`tests/parity/test_torch_seq2seq.py`",
    ):
        assert said in page, said
    pictures = {path.name for path in (tmp_path / "pages" / "pictures").iterdir()}
    assert {f"translation-curve-{n}.svg" for n in (1, 2, 3)} < pictures
    assert all(name in page for name in pictures)
    assert "(translation.md)" in (tmp_path / "pages" / "README.md").read_text(encoding="utf-8")
    assert elsewhere.main(["--check"]) == 0


def test_whatever_is_stale_is_noticed(elsewhere: ModuleType, tmp_path: Path) -> None:
    assert elsewhere.main([str(tmp_path / "run")]) == 0
    page = tmp_path / "pages" / "translation.md"
    page.write_text(page.read_text(encoding="utf-8").replace("31.25", "33.25"), encoding="utf-8")
    assert elsewhere.main(["--check"]) == 1
    assert elsewhere.main([]) == 0
    assert elsewhere.main(["--check"]) == 0
    (tmp_path / "kept" / "translation.json").unlink()
    assert elsewhere.main(["--check"]) == 1
    assert elsewhere.main([]) == 0
    assert not page.exists()
    assert not list((tmp_path / "pages" / "pictures").iterdir())
    with pytest.raises(SystemExit, match="2"):
        elsewhere.main(["--chekc"])
    with pytest.raises(DataError):
        elsewhere.main([str(tmp_path / "nowhere")])


def test_what_quotes_the_corpus_is_left_out(elsewhere: ModuleType, tmp_path: Path) -> None:
    folder = str(tmp_path / "run")
    assert elsewhere.main([folder, "--drop", "Examples", "--drop", "head 0"]) == 0
    run = kept("translation")
    assert run is not None
    assert run.result.outcome.tables == ()
    assert [each.title for each in run.result.outcome.attention] == ["head 1", "leaks"]
    for words in (["--drop", "Example"], ["--hide", "Examples"]):
        with pytest.raises(DataError, match=f"got nothing titled '{words[1]}' to leave out"):
            elsewhere.main([folder, *words])


def test_words_are_hidden_and_special_ones_are_not(elsewhere: ModuleType, tmp_path: Path) -> None:
    seen = MaskShown("seen", sl.causal(), ("[CLS]", "Mrs", "[MASK]"), ("[CLS]", "Mrs", "[MASK]"))
    whole = recorded_runs.result(outcome=Outcome((), masks=(seen,)))
    text = as_lines(whole.as_dict())
    (tmp_path / "run" / "result.json").write_text(text, encoding="utf-8")
    assert elsewhere.main([str(tmp_path / "run"), "--hide", "seen"]) == 0
    run = kept("translation")
    assert run is not None
    assert run.result.outcome.masks[0].queries == ("[CLS]", "·", "[MASK]")
    made = [*(tmp_path / "kept").iterdir(), *(tmp_path / "pages").rglob("*.*")]
    assert made
    assert not any("Mrs" in path.read_text(encoding="utf-8") for path in made)


def test_a_variant_stands_beside_its_recipe(elsewhere: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(DataError, match="a variant of 'translation', whose own run is not kept"):
        elsewhere.main([str(folder), "small"])
    assert not list((tmp_path / "kept").iterdir())
    assert elsewhere.main([str(folder)]) == 0
    outcome = Outcome((Figure("BLEU", 22.5), Figure("other", 1.0)))
    settings = {**recorded_runs.result().settings, "bold": True}
    changed = recorded_runs.result(outcome=outcome, settings=settings, cpu_seconds=30.0, seed=9)
    (folder / "result.json").write_text(as_lines(changed.as_dict()), encoding="utf-8")
    assert elsewhere.main([str(folder), "small"]) == 0
    page = (tmp_path / "pages" / "translation.md").read_text(encoding="utf-8")
    assert "| translation | - | 31.25 | 1.95 | nan | 2.5 minutes |" in page
    assert "| small | seed=9, bold=True | 22.5 | - | - | 30.0 s |" in page
    assert not (tmp_path / "pages" / "small.md").exists()
    assert elsewhere.main(["--check"]) == 0


def test_every_kept_run_is_whole() -> None:
    for name in kept_names():
        run = kept(name)
        assert run is not None
        assert run.result.preset != "smoke"
        assert kept(run.result.recipe) is not None
        assert run.result.outcome.figures
        assert bool(run.charts) is (name == run.result.recipe)
