"""`sightline lint` as a user meets it: findings with their lines, forms of output, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.audit.lint_rules.table import all_rules

Run = Callable[..., tuple[int, str, str]]

WRONG = """\
def attend(scores, mask):
    scores.masked_fill(mask == 0, float("-inf"))
    return scores.softmax(dim=-1)
"""
NOTE = "tokenizer.pad_token = tokenizer.eos_token\n"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a file of one finding, one of a note and one without any."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "wrong.py").write_text(WRONG)
    (tmp_path / "src" / "note.py").write_text(NOTE)
    (tmp_path / "src" / "right.py").write_text("x = 1\n")
    return tmp_path


def test_a_finding_with_its_line(run: Run, tree: Path) -> None:
    code, out, err = run("lint", "src")
    assert (code, err) == (1, "")
    place = Path("src", "wrong.py")
    assert out == (
        f"{place}:2:5: discarded-masked-fill (error): the result of masked_fill is thrown away; "
        "scores stays as it was\n"
        '    scores.masked_fill(mask == 0, float("-inf"))\n'
        "    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        '    help: write scores = scores.masked_fill(mask == 0, float("-inf")), or masked_fill_ to '
        "change it in place\n"
        "1 finding in 3 files; 1 note (--notes shows them)\n"
    )


def test_nothing_to_find(run: Run, tree: Path) -> None:
    assert run("lint", "src/right.py") == (0, "no findings in 1 file\n", "")


def test_notes_are_shown_on_request_and_are_no_failure(run: Run, tree: Path) -> None:
    code, out, _ = run("lint", "src/note.py")
    assert (code, "pad-is-eos" in out) == (0, False)
    code, out, _ = run("lint", "src/note.py", "--notes")
    assert (code, "pad-is-eos (note)" in out) == (0, True)
    code, out, _ = run("lint", "src/note.py", "--rule", "pad-is-eos")
    assert (code, "pad-is-eos (note)" in out) == (1, True), "a rule asked for by name speaks"


def test_rules_are_chosen(run: Run, tree: Path) -> None:
    assert run("lint", "src", "--rule", "triangle-sense")[0] == 0
    assert run("lint", "src", "--ignore", "discarded-masked-fill")[0] == 0
    assert run("lint", "src", "--ignore", "triangle-sense")[0] == 1


def test_what_is_skipped_is_told(run: Run, tree: Path) -> None:
    bad = tree / "src" / "bad.py"
    bad.write_text("def f(:\n")
    code, out, _ = run("lint", "src")
    assert code == 1
    assert f"{Path('src', 'bad.py')}:1: skipped: not Python" in out
    assert "1 file skipped" in out
    assert run("lint", "src/bad.py", "src/right.py")[0] == 0
    assert run("lint", "src/bad.py")[0] == 2, "nothing could be read"


def test_as_json(run: Run, tree: Path) -> None:
    code, out, err = run("lint", "src", "--json")
    facts = json.loads(out)
    assert (code, err) == (1, "")
    (finding,) = facts["findings"]
    assert (finding["rule"], finding["line"], finding["column"]) == ("discarded-masked-fill", 2, 5)
    assert [each["rule"] for each in facts["notes"]] == ["pad-is-eos"]
    assert facts["files"] == 3
    assert facts["skipped"] == []


def test_as_sarif_into_a_file(run: Run, tree: Path) -> None:
    code, out, err = run("lint", "src", "--sarif", "--output", "lint.sarif")
    assert (code, out, err) == (1, "", "")
    log = json.loads((tree / "lint.sarif").read_text(encoding="utf-8"))
    assert {each["ruleId"] for each in log["runs"][0]["results"]} == {
        "discarded-masked-fill",
        "pad-is-eos",
    }
    assert json.loads(run("lint", "src", "--sarif")[1]) == log
    assert sorted(path.name for path in tree.iterdir()) == ["lint.sarif", "src"]


def test_the_list_of_rules(run: Run) -> None:
    code, out, _ = run("lint", "--list-rules")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [rule.name for rule in all_rules()]


def test_a_rule_explained(run: Run) -> None:
    code, out, _ = run("lint", "--explain", "triangle-sense")
    assert code == 0
    assert out.startswith("triangle-sense (error)\n")
    assert "\nwrong:\n    import torch\n" in out
    assert "\nright:\n    import torch\n" in out


def test_a_long_line_is_cut_around_the_finding(run: Run, tree: Path) -> None:
    (tree / "long.py").write_text("x = [" + "0, " * 200 + "]; y.masked_fill(m, 0)\n")
    _, out, _ = run("lint", "long.py")
    shown, carets = out.splitlines()[1:3]
    assert len(shown) < 120
    start, stop = carets.index("^"), carets.rindex("^") + 1
    assert shown[start:stop] == "y.masked_fill(m, 0)"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "give a file or a folder"),
        (("missing",), "there is no file or folder"),
        (("empty",), "there is no .py or .ipynb file below empty"),
        (("notes.txt",), "wanted one that ends in .py or .ipynb"),
        (("src", "--rule", "triangle"), "Did you mean 'triangle-sense'"),
        (("src", "--ignore", "x"), "got rule 'x'"),
        (("--explain", "mask-constants"), "Did you mean 'mask-constant'"),
        (("src", "--json", "--sarif"), "not both"),
        (("src", "--output", "x.json"), "name what to write"),
        (("src", "--rule", "triangle-sense", "--ignore", "triangle-sense"), "no rule to ask"),
        (("src", "--json", "--output", "no/such/folder/x.json"), "No such file"),
    ],
)
def test_bad_input(run: Run, tree: Path, words: tuple[str, ...], told: str) -> None:
    (tree / "empty").mkdir()
    (tree / "notes.txt").write_text("")
    code, out, err = run("lint", *words)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


def test_help(run: Run) -> None:
    code, out, _ = run("lint", "--help")
    assert code == 0
    assert "sightline lint src --sarif --output lint.sarif" in out
    assert "nothing is imported or run" in " ".join(out.split())


def test_nothing_of_what_is_read_is_run(run: Run, tree: Path) -> None:
    (tree / "loud.py").write_text("raise SystemExit('run!')\n")
    assert run("lint", "loud.py") == (0, "no findings in 1 file\n", "")
