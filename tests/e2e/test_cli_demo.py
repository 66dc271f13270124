"""`sightline demo` as a user meets it: the report, the page, exit codes, bad input."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import sightline as sl
from sightline.cli.main import main

COMMAND = [sys.executable, "-m", "sightline.cli.main", "demo"]
Result = tuple[int, str, str]
Run = Callable[..., Result]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run_in_process(*words: object) -> Result:
        code = main(["demo", *map(str, words)])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run_in_process


def command(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


def test_the_main_job(tmp_path: Path) -> None:
    started = time.monotonic()
    done = command(tmp_path, PYTHONIOENCODING="utf-8", FORCE_COLOR="", PYTHONWARNINGS="error")
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert seconds < 30
    assert "\x1b" not in done.stdout
    assert "checks hold.\nWrote demo.html" in done.stdout
    for word in ("我", "dream", "<pad>", "rains, so we stay in. <eos>", "Softmax over nothing"):
        assert word in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["demo.html"]
    html = (tmp_path / "demo.html").read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert html.endswith("</html>\n")
    assert html.count("<svg") > 20
    assert ">dream</text>" in html
    assert ">我</text>" in html
    # Three attentions to point at, decoding to play, and what six mistakes add or remove.
    assert html.count('class="slv slv-weights slv-auto"') == 3
    assert html.count('class="slv slv-frames slv-auto"') == 1
    assert html.count("Who is looked at, against who may be:") == html.count('sl-hover"') == 6
    assert len(html) < 1_500_000
    assert not re.findall(r"""(?:src|href)=|@import|url\((?!#)""", html), "a page of its own"


def test_an_output_that_cannot_write_chinese(tmp_path: Path) -> None:
    done = command(tmp_path, PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "\\u6211" in done.stdout


def test_a_file_of_ones_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("Snow fell.\n\n雪落在门前。\n", encoding="utf-8")
    code, out, err = run("mine.txt", "--output", "page.html")
    assert (code, err) == (0, "")
    assert "Snow fell ." in out
    assert "Wrote page.html" in out
    assert ">雪</text>" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not (tmp_path / "demo.html").exists()


def test_one_sentence_is_enough(run: Run, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("Hello", encoding="utf-8")
    code, out, _ = run("one.txt")
    assert code == 0
    assert "checks hold" in out


def test_json_is_only_json(run: Run, tmp_path: Path) -> None:
    code, out, err = run("--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert len(found["mistakes"]) == 9
    assert found["learning"]["texts"][0]["words"] == ["a", "saw", ".", "<eos>"]
    assert found["learning"]["cached_per_second"] > 0
    assert list(tmp_path.iterdir()) == []
    code, out, err = run("--json", "-o", "page.html")
    assert code == 0
    assert json.loads(out)["batch"]["texts"][0] == "I saw a saw."
    assert "Wrote page.html" in err
    assert (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "no such file"),
        (b"", "no sentence"),
        (b"fine\nbad \xff\xfe\n", "line 2: this line is not UTF-8"),
        (b"\x7fELF\x00\x01\x02", "line 1: this is not text"),
        (b"fine\n" + b"word " * 400, "line 2: this sentence has 400 tokens"),
        (b"word\n" * 400, "400 sentences"),
        (b"x" * 300_000, "larger than"),
    ],
    ids=["missing", "empty", "not UTF-8", "binary", "long sentence", "many", "large"],
)
def test_bad_input_is_one_clear_line(
    run: Run, tmp_path: Path, content: bytes | None, part: str
) -> None:
    path = tmp_path / "bad.txt"
    if content is not None:
        path.write_bytes(content)
    before = sorted(tmp_path.iterdir())
    code, out, err = run("bad.txt")
    assert code == 2
    assert out == ""
    assert err.startswith("error: bad.txt")
    assert part in err
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before


def test_bad_input_does_not_wait_for_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from sightline.cli.main import main; code = main(['demo', 'nothing.txt'])\n"
        "sys.exit(code if 'torch' not in sys.modules else 99)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr


@pytest.mark.parametrize(
    ("page", "part"),
    [
        ("folder", "a folder"),
        ("nowhere/page.html", "no folder"),
        ("mine.txt", "overwritten"),
        (os.devnull, "a device"),
    ],
)
def test_a_page_that_cannot_be_written_is_refused_first(
    run: Run, tmp_path: Path, page: str, part: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "mine.txt").write_text("Hello there", encoding="utf-8")
    code, out, err = run("mine.txt", "-o", page)
    assert (code, out) == (2, "")
    assert part in err
    assert (tmp_path / "mine.txt").read_text(encoding="utf-8") == "Hello there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "mine.txt"]


def test_a_page_that_fails_half_way_leaves_the_old_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "demo.html").write_text("the old page", encoding="utf-8")
    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(Path, "replace", full)
    code, _, err = run()
    assert code == 2
    assert "No space left" in err
    assert (tmp_path / "demo.html").read_text(encoding="utf-8") == "the old page"
    assert [path.name for path in tmp_path.iterdir()] == ["demo.html"]


def test_without_tokenizers_the_extra_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    code, _, err = run()
    assert code == 2
    assert "pip install 'sightline[train]'" in err


def test_a_machine_on_which_a_mask_is_ignored_exits_with_1(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attend = sl.attend

    def blind(query: object, key: object, value: object, mask: object, **options: object) -> object:
        return attend(query, key, value, sl.everything(), engine="auto")

    monkeypatch.setattr(sl, "attend", blind)
    code, out, _ = run()
    assert code == 1
    assert "checks fail." in out
    assert "checks fail." in (tmp_path / "demo.html").read_text(encoding="utf-8")


def test_help_has_an_example(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert "sightline demo my-sentences.txt --output my-demo.html" in out
    assert "Exit codes: 0 fine, 1" in out
