"""`sightline show` as a user meets it: output, exit codes, bad input, pipes, terminals."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.cells import cell_len

import sightline as sl
from sightline.cli import main as main_module
from sightline.cli import show as show_module

COMMAND = [sys.executable, "-m", "sightline.cli.main"]
Result = tuple[int, str, str]
Run = Callable[..., Result]


def process(*words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


# -- what is drawn ----------------------------------------------------------------------------


def test_the_example_of_the_issue(run: Run) -> None:
    code, out, err = run(
        "show", "causal() & padding(lengths=[5,3])", "--tokens", "I have a dream <eos>"
    )
    assert (code, err) == (0, "")
    assert out == (
        "causal() & padding(lengths=[5, 3])\n"
        "5 queries x 5 keys, 2 batch rows: 27 of 50 pairs allowed (54.0%)\n"
        "\n"
        "batch row 0\n"
        "        I    have   a   dream <eos>\n"
        "I       ■     ·     ·     ·     ·\n"
        "have    ■     ■     ·     ·     ·\n"
        "a       ■     ■     ■     ·     ·\n"
        "dream   ■     ■     ■     ■     ·\n"
        "<eos>   ■     ■     ■     ■     ■\n"
        "\n"
        "batch row 1\n"
        "        I    have   a   dream <eos>\n"
        "I       ■     ·     ·     ·     ·\n"
        "have    ■     ■     ·     ·     ·\n"
        "a       ■     ■     ■     ·     ·\n"
        "dream   ■     ■     ■     ·     ·\n"
        "<eos>   ■     ■     ■     ·     ·\n"
        "■ may attend   · may not\n"
    )


def test_wide_tokens_line_up(run: Run) -> None:
    tokens = "我 有 一个 梦想 👍 naïve </s>"
    code, out, _ = run("show", "everything()", "--tokens", tokens)
    assert code == 0
    rows = out.split("\n")[-9:-2]
    places = {tuple(cell_len(row[: at.start()]) for at in re.finditer("■", row)) for row in rows}
    assert [row.split()[0] for row in rows] == tokens.split()
    assert len(places) == 1


def test_empty_rows_are_named(run: Run) -> None:
    code, out, _ = run("show", "causal(strict=True) & documents(lengths=[[3,2],[4]])")
    assert code == 0
    assert out.count("sees nothing") == 4
    assert "batch row 0: queries 0, 3 see nothing\n" in out
    assert "batch row 1: queries 0, 4 see nothing\n" in out
    assert out.endswith("in all, 4 of 10 queries see nothing.\n")


def test_empty_rows_are_compressed_and_absolute(run: Run) -> None:
    _, out, _ = run("show", "queries([0,1,6])", "--size", "10x2", "--q-offset", "1")
    assert out.endswith("queries 2-5, 7-10 see nothing\n")
    _, out, _ = run("show", "causal(strict=True)")
    assert out.endswith("query 0 sees nothing\n")
    _, out, _ = run("show", "causal()")
    assert "nothing" not in out


def test_default_size_follows_the_data(run: Run) -> None:
    for expression, size in (
        ("causal()", "8 queries x 8 keys:"),
        ("padding(lengths=[3, 7])", "7 queries x 7 keys,"),
        ("padding(lengths=[3, 7]).T & causal()", "7 queries x 7 keys,"),
        ("shifted_window((3, 4), 2, 1)", "12 queries x 12 keys:"),
        ("dense([[1,0,1],[0,1,1]], means='attend')", "2 queries x 3 keys:"),
        ("padding(lengths=[0])", "8 queries x 8 keys:"),
    ):
        code, out, _ = run("show", expression)
        assert code == 0
        assert size in out, expression


def test_sizes_as_people_write_them(run: Run) -> None:
    for size, facts in (
        ("3", "3 queries x 3 keys"),
        ("2x5", "2 queries x 5 keys"),
        ("1x2K", "1 query x 2048 keys"),
        ("4×1k", "4 queries x 1024 keys"),
    ):
        assert facts in run("show", "causal()", "--size", size)[1]


def test_a_decode_step(run: Run) -> None:
    code, out, _ = run("show", "causal() & window(left=2)", "--size", "1x8", "--q-offset", "5")
    assert code == 0
    assert "1 query from position 5 x 8 keys: 3 of 8 pairs allowed (37.5%)" in out
    assert "5 · · · ■ ■ ■ · ·" in out
    _, out, _ = run("show", "causal()", "--tokens", "a b c d", "--q-offset", "2")
    assert out.split("\n")[3:6] == ["  a b c d", "c ■ ■ ■ ·", "d ■ ■ ■ ■"]


def test_a_batch_row_and_a_head(run: Run) -> None:
    mask = "padding(lengths=[2,1,0]) & per_head([causal(), everything()])"
    _, out, _ = run("show", mask, "--batch", "1", "--head", "1")
    assert out.count("\n0 ") == 1
    assert "batch row 1, head 1" in out
    assert "2 of 4 pairs allowed (50.0%) in batch row 1, head 1" in out
    _, out, _ = run("show", mask)
    assert out.count("\n0 ") == 4
    assert "... and 2 more; choose with --batch and --head." in out
    assert "in all, 4 of 12 queries see nothing." in out


def test_large_masks_are_drawn_in_cells(run: Run) -> None:
    code, out, _ = run("show", "causal()", "--size", "4k")
    lines = out.split("\n")
    assert code == 0
    assert "8390656 of 16777216 pairs allowed (50.0%)" in out
    assert "1 cell = 128 x 128 pairs" in out
    assert max(cell_len(line) for line in lines) <= 80
    assert len(lines) < 45
    assert "   0 ▒▒··" in out
    assert " 128 ██▒▒··" in out
    _, out, _ = run("show", "causal() & keys(range(200, 9999))", "--size", "4k")
    assert max(cell_len(line) for line in out.split("\n")) <= 80
    assert re.search("^ 128 .*  ←$", out, re.MULTILINE)
    assert "← a query here sees nothing\n" in out
    assert out.endswith("queries 0-199 see nothing\n")


def test_a_million_tokens(run: Run) -> None:
    mask = "causal() & documents(lengths=[300000, 700000])"
    code, out, err = run("show", mask, "--size", "1m")
    assert (code, err) == (0, "")
    assert "290000500000 of 1099511627776 pairs allowed (26.4%)" in out
    assert "1 cell = 32768 x 32768 pairs" in out
    assert out.endswith("queries 1000000-1048575 see nothing\n")


def test_a_mask_without_structure_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show_module, "MOST_MIXED", 10)
    code, out, err = run("show", "dilated(3)", "--size", "1k")
    assert (code, out) == (2, "")
    assert "dilated(3) has too little structure to look at 1024 queries x 1024 keys" in err
    assert "Give a smaller size" in err


def test_percentages_never_round_to_all_or_none(run: Run) -> None:
    assert "(under 0.1%)" in run("show", "keys(0) & queries(0)", "--size", "100")[1]
    assert "(over 99.9%)" in run("show", "~(keys(0) & queries(0))", "--size", "100")[1]
    assert "(100.0%)" in run("show", "everything()")[1]
    assert "(0.0%)" in run("show", "nothing()")[1]


def test_the_list_names_every_mask(run: Run) -> None:
    code, out, _ = run("show", "--list")
    assert code == 0
    for name in sl.masks.names.NAMES:
        assert f" {name}(" in out


# -- for programs -----------------------------------------------------------------------------


def test_json(run: Run) -> None:
    mask = sl.causal(strict=True) & sl.padding(lengths=[4, 0])
    code, out, err = run("show", repr(mask), "--json", "--size", "3x4", "--q-offset", "1")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    assert sl.parse(facts["expression"]) == mask
    assert (facts["q_len"], facts["kv_len"], facts["q_offset"]) == (3, 4, 1)
    assert (facts["batch"], facts["heads"]) == (2, 1)
    assert facts["count"] == mask.count(3, 4, q_offset=1) == 6
    assert facts["density"] == mask.density(3, 4, q_offset=1)
    assert facts["empty_rows"] == [{"batch": 1, "head": 0, "queries": [[1, 3]]}]
    assert facts["allowed"] == [[["1000", "1100", "1110"]], [["0000"] * 3]]
    assert facts["tokens"] is None


def test_json_of_a_choice_and_of_a_large_mask(run: Run) -> None:
    facts = json.loads(run("show", "padding(lengths=[1,2])", "--json", "--batch", "1")[1])
    assert facts["shown"] == {"batch": [1], "heads": [0]}
    assert facts["allowed"] == [[["11", "11"]]]
    assert facts["count"] == 4
    large = json.loads(run("show", "causal()", "--json", "--size", "1k")[1])
    assert large["allowed"] is None
    assert large["count"] == 1024 * 1025 // 2


def test_svg(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mask.svg"
    code, out, _ = run("show", "padding(lengths=[3, 1])", "--svg", path)
    assert code == 0
    assert out.endswith(f"wrote {path}\n")
    text = path.read_text(encoding="utf-8")
    assert ET.fromstring(text).tag.endswith("svg")
    assert "M0 0h3v3h-3z" in text
    assert "M0 0h1v3h-1z" in text
    code, out, _ = run("show", "causal()", "--size", "2k", "--svg", path, "--json")
    json.loads(out)
    assert "1 cell = 16 x 16 pairs" in path.read_text(encoding="utf-8")


def test_a_mask_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mask.npy"
    np.save(path, np.tri(3, 4, dtype=bool))
    facts = json.loads(run("show", path, "--means", "attend", "--json")[1])
    assert facts["allowed"] == [[["1000", "1100", "1110"]]]
    facts = json.loads(run("show", path, "--means", "ignore", "--json")[1])
    assert facts["allowed"] == [[["0111", "0011", "0001"]]]


# -- bad input --------------------------------------------------------------------------------

BAD_INPUT = {
    "no expression": (["show"], "--list to see what there is"),
    "unknown mask": (["show", "causl()"], "did you mean 'causal'"),
    "broken expression": (["show", "causal("], "never closed"),
    "not a mask": (["show", "causal"], "causal"),
    "empty expression": (["show", ""], "expression"),
    "bad argument": (["show", "padding(lengths=[-1])"], "must be at least 0"),
    "words": (["show", "causal() and causal()"], "and"),
    "no size": (["show", "causal()", "--size", "0"], "at least one query"),
    "no keys": (["show", "causal()", "--size", "3x0"], "at least one query and one key"),
    "negative size": (["show", "causal()", "--size", "-3"], "got '-3', wanted a number such as"),
    "no number": (["show", "causal()", "--size", "many"], "got 'many'"),
    "three numbers": (["show", "causal()", "--size", "1x2x3"], "got '1x2x3'"),
    "long number": (["show", "causal()", "--size", "9" * 5000], "wanted a number such as"),
    "too many queries": (["show", "causal()", "--size", "65m"], "are too many (at most"),
    "too many keys": (["show", "causal()", "--size", "1x2000m"], "are too many (at most"),
    "offset": (["show", "causal()", "--q-offset", "-1"], "--q-offset"),
    "far offset": (["show", "causal()", "--tokens", "a b", "--q-offset", "2"], "last query at 1"),
    "no tokens": (["show", "causal()", "--tokens", " "], "got no words"),
    "few tokens": (["show", "causal()", "--tokens", "a b", "--size", "3"], "2 words for 3"),
    "batch": (["show", "padding(lengths=[1,2])", "--batch", "2"], "2 batch rows, 0 to 1"),
    "one batch": (["show", "causal()", "--batch", "1"], "the same for every batch row"),
    "head": (["show", "per_head([causal(),nothing()])", "--head", "7"], "2 heads, 0 to 1"),
    "no head": (["show", "causal()", "--head", "x"], "--head"),
    "means": (["show", "causal()", "--means", "attend"], "is read as an expression"),
    "tensor": (["show", "causal()", "--tensor", "a"], "is read as an expression"),
    "no such file": (["show", "no.npy", "--means", "attend"], "no.npy: there is no such file"),
    "no such file, no means": (["show", "no.npy"], "no.npy: there is no such file"),
    "a drawing": (["show", "mask.txt"], "a drawing is read by `sightline explain mask.txt`"),
    "against a file": (["show", "causal()", "--against", "a.npy"], "'a.npy', the name of a file"),
    "svg is a png": (["show", "causal()", "--svg", "a.png"], "--out FILE draws by the ending"),
    "why and out": (["show", "causal()", "--why", "2,1", "--out", "a.svg"], "--why prints reasons"),
    "why and blocks": (
        ["show", "causal()", "--why", "2,1", "--against", "keys([1])"],
        "draws nothing",
    ),
    "why and tokens": (["show", "causal()", "--why", "2,1", "--tokens", "a b c"], "'--tokens'"),
    "no mask file": (["show", "a.csv", "--means", "attend"], "its name ends in .csv"),
    "folder for svg": (["show", "causal()", "--svg", "no-such-folder/a.svg"], "no-such-folder"),
    "svg is a folder": (["show", "causal()", "--svg", "."], "it is a directory"),
    "unknown option": (["show", "causal()", "--sise", "3"], "--sise"),
    "two expressions": (["show", "causal()", "nothing()"], "nothing()"),
    "unknown command": (["shwo", "causal()"], "shwo"),
    "option without value": (["show", "causal()", "--size"], "--size"),
}


@pytest.mark.parametrize(("words", "complaint"), [([], "-inf is forbidden"), (["yes"], "'yes'")])
def test_a_file_must_be_said_the_sense_of(
    run: Run, tmp_path: Path, words: list[str], complaint: str
) -> None:
    np.save(tmp_path / "mask.npy", np.tri(3, dtype=bool))
    means = ["--means", *words] if words else []
    code, out, err = run("show", str(tmp_path / "mask.npy"), *means)
    assert (code, out) == (2, "")
    assert complaint in err


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_error_and_code_2(run: Run, case: str) -> None:
    words, complaint = BAD_INPUT[case]
    code, out, err = run(*words)
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert complaint in err
    assert "Traceback" not in err
    assert err.count("error:") == 1


def test_a_dense_mask_asked_beyond_its_size(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mask.npy"
    np.save(path, np.tri(3, dtype=bool))
    code, out, err = run("show", path, "--means", "attend", "--size", "4")
    assert (code, out) == (2, "")
    assert "3 queries and 3 keys was asked for queries up to 4" in err


def test_a_failed_drawing_leaves_the_old_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mask.svg"
    path.write_text("old")

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    code, out, err = run("show", "causal()", "--svg", path)
    assert (code, out, err) == (2, "", f"error: {path}: No space left on device\n")
    assert [file.name for file in tmp_path.iterdir()] == ["mask.svg"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("kind", [KeyboardInterrupt, typer.Abort])
def test_an_interruption_is_quiet(
    run: Run, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise kind

    monkeypatch.setattr(show_module, "survey", interrupt)
    assert run("show", "causal()") == (130, "", "")


def test_a_mistake_of_ours_is_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show_module, "survey", lambda *arguments, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run("show", "causal()")


# -- the command itself -----------------------------------------------------------------------


def test_version_and_help(run: Run) -> None:
    assert run("--version") == (0, f"sightline {sl.__version__}\n", "")
    code, out, _ = run("--help")
    assert code == 0
    assert re.search(r"^  show +\S", out, re.MULTILINE)
    code, out, _ = run("show", "--help")
    assert code == 0
    assert "\n    sightline show 'causal() & padding(lengths=[5, 3])' --tokens" in out
    code, out, err = run()
    assert (code, out) == (2, "")
    assert "Usage: sightline" in err


def test_a_command_that_is_not_there_harms_no_other(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(main_module.COMMANDS, "ghost", "sightline.cli.ghost:ghost")
    assert "ghost" not in run("--help")[1]
    assert "'ghost'" not in run("ghosts")[2], "not suggested either"
    assert run("show", "causal()")[0] == 0
    code, _, err = run("ghost")
    assert code == 2
    assert "ghost" in err


def test_help_and_show_load_no_framework() -> None:
    code = (
        "import sys; from sightline.cli.main import main; "
        "main(['--help']); main(['show', 'causal()']); "
        "print('loaded:', [n for n in ('torch', 'jax', 'transformers') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.endswith("loaded: []\n")


# -- pipes and terminals ----------------------------------------------------------------------


def test_a_pipe_gets_plain_text() -> None:
    done = process("show", "causal(strict=True)")
    assert done.returncode == 0
    assert done.stderr == b""
    assert b"\x1b" not in done.stdout


def test_a_pipe_that_cannot_take_unicode_gets_ascii() -> None:
    done = process("show", "causal()", "--tokens", "日 b", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert b"\\u65e5" in done.stdout
    assert b"# may attend" in done.stdout


def test_what_is_printed_around_a_drawing_is_escaped_too(tmp_path: Path) -> None:
    path = tmp_path / "日.svg"
    done = process("show", "causal()", "--svg", str(path), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.endswith(b"\\u65e5.svg\n")
    assert path.exists()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_is_quiet(unbuffered: str) -> None:
    with subprocess.Popen(
        [*COMMAND, "show", "causal()"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=120) == 141


def in_terminal(*words: str, **environment: str) -> str:
    """Run the command on a pseudo-terminal and return what it shows."""
    pty = pytest.importorskip("pty", reason="pseudo-terminals are POSIX's")
    ours, its = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR"}}
    with subprocess.Popen(
        [*COMMAND, *words],
        stdin=its,
        stdout=its,
        stderr=its,
        env={**clean, "TERM": "xterm-256color", **environment},
    ) as running:
        os.close(its)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # Linux's way of saying that the other end is closed
                break
            if not piece:
                break
            shown += piece
        os.close(ours)
        assert running.wait(timeout=120) == 0
    return shown.decode()


def test_a_terminal_gets_colors_unless_told_otherwise() -> None:
    colored = in_terminal("show", "causal(strict=True)")
    assert "\x1b[38;5;33m" in colored
    assert "\x1b[38;5;208m" in colored
    assert "\x1b" not in in_terminal("show", "causal()", NO_COLOR="1")
    assert "\x1b" not in in_terminal("show", "causal()", TERM="dumb")


def test_a_long_look_has_a_progress_bar_on_a_terminal(run: Run) -> None:
    shown = in_terminal("show", "causal()", "--size", "32k")
    assert "looking" in shown
    assert run("show", "causal()", "--size", "32k")[2] == ""


# -- files of other kinds, blocks, differences -------------------------------------------------


def test_a_file_of_any_kind(run: Run, tmp_path: Path) -> None:
    begins = {"svg": b"<svg", "png": b"\x89PNG", "html": b"<!DOCTYPE html>", "txt": b"causal()\n"}
    for kind, begin in begins.items():
        path = tmp_path / f"mask.{kind}"
        code, out, err = run("show", "causal()", "--tokens", "a b c", "--out", str(path))
        assert (code, err) == (0, "")
        assert out.endswith(f"\n\nwrote {path}\n")
        assert path.read_bytes().startswith(begin)


def test_a_difference_and_blocks(run: Run, tmp_path: Path) -> None:
    words = ("show", "causal()", "--size", "4", "--against", "window(left=1)", "--blocks", "2")
    code, out, err = run(*words, "--out", str(tmp_path / "both.svg"))
    assert (code, err) == (0, "")
    assert out.startswith(
        "causal(), against window(left=1)\n"
        "  0 1 2 3\n"
        "0 ■ − − −\n"
        "1 ■ ■ − −\n"
        "2 + ■ ■ −\n"
        "3 + + ■ ■\n"
        "■ in both   + added   − removed   · in neither\n"
        "7 pairs in both, 3 added, 6 removed\n"
        "blocks of 2 x 2: 1 full, 2 partial, 1 empty\n"
        "  ◐ ○\n"
        "  ● ◐\n"
    )
    assert 'class="removed"' in (tmp_path / "both.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "mask.pdf"), "end its name in one of .svg, .png, .html, .txt"),
        (("--blocks", "none"), "--blocks"),
        (("--against", "causl()"), "causl"),
        (("--against", "causal()", "--json"), "--against"),
        (("--against", "padding(lengths=[1,2,3])", "--size", "4"), "2 and 3 batch rows"),
    ],
)
def test_bad_drawings_are_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run("show", "padding(lengths=[2,3])", *words)
    assert code == 2
    assert said in re.sub(r"\s*\n?│?\s+", " ", err)
    assert not list(tmp_path.iterdir())


# -- why a pair is allowed ----------------------------------------------------------------------


def test_why_in_the_words_of_the_writer(run: Run) -> None:
    code, out, err = run("show", "causal() & window(left=3)", "--why", "9,4")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "* causal() & window(left=3): window(left=3) does not allow it: not allowed",
        "    causal(): key 4 is 5 before query 9: allowed",
        "  * window(left=3): key 4 is 5 before query 9; the window reaches 3 before and all after "
        "it: not allowed",
        "",
        "* = if this part said the opposite, so would the whole",
    ]


def test_why_as_json_of_a_batch_row_and_of_a_file(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("show", "padding(lengths=[9, 3])", "--why", "1, 5", "--batch", "1", "--json")
    found = json.loads(out)
    assert (code, found["allowed"], found["span"]) == (0, False, [0, 23])
    np.save(tmp_path / "saved.npy", np.tri(4, dtype=bool))
    code, out, _ = run("show", str(tmp_path / "saved.npy"), "--means", "attend", "--why", "1,2")
    assert code == 0
    assert "the table forbids query 1, key 2: not allowed" in out


@pytest.mark.parametrize("pair", ["5", "5,", "-1,2", "a,b", "1,2,3", "9" * 20 + ",1"])
def test_why_of_no_pair(pair: str, run: Run) -> None:
    code, out, err = run("show", "causal()", f"--why={pair}")
    assert (code, out) == (2, "")
    assert "such as 5,7" in " ".join(err.split())


def test_why_of_a_batch_row_that_is_none(run: Run) -> None:
    code, _, err = run("show", "padding(lengths=[9, 3])", "--why", "1,5", "--batch", "2")
    assert code == 2
    assert "from 0 to 1" in " ".join(err.split())
