"""`sightline tag` as a user meets it: a trained run, sentences from anywhere, tags."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sightline.cli.main import main

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("conllu")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "tagger"
    assert main(["train", "tagger", "--preset", "smoke", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Return a function that puts bytes on standard input."""

    def put(given: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), "utf-8"))

    return put


def tags(out: str) -> list[list[str]]:
    return [each["tags"] for each in json.loads(out)["sentences"]]


SAW = ["PRON", "VERB", "DET", "NOUN"]


def test_one_sentence(run: Run, tagger: Path) -> None:
    code, out, err = run("tag", "--run", tagger, "I saw a saw")
    assert (code, err) == (0, "")
    head, rule, *rows = out.splitlines()
    assert head.split() == ["word", "tag", "probability"]
    assert set(rule) == {"─"}
    found = [row.split() for row in rows]
    assert [row[0] for row in found] == ["I", "saw", "a", "saw"]
    assert [row[1] for row in found] == SAW
    assert all(0 < float(row[2]) <= 1 for row in found)


def test_several_sentences_each_under_its_own(run: Run, tagger: Path) -> None:
    _, alone, _ = run("tag", "--run", tagger, "I saw a saw")
    code, out, _ = run("tag", "--run", tagger, "I saw a saw", "Kim can walk.")
    assert code == 0
    first, second = out.split("\n\n")
    assert first == f"I saw a saw\n{alone.rstrip()}"
    assert second.startswith("Kim can walk.\n word ")
    assert [row.split()[0] for row in second.splitlines()[3:]] == ["Kim", "can", "walk", "."]


def test_json(run: Run, tagger: Path) -> None:
    code, out, _ = run("tag", "--run", tagger, "--json", "I don't saw a saw")
    assert code == 0
    found: dict[str, Any] = json.loads(out)
    (sentence,) = found["sentences"]
    assert found["run"] == str(tagger)
    assert sentence["text"] == "I don't saw a saw"
    assert sentence["words"] == ["I", "do", "n't", "saw", "a", "saw"]
    assert len(sentence["tags"]) == len(sentence["probabilities"]) == 6


def test_words_split_already(run: Run, tagger: Path) -> None:
    _, out, _ = run("tag", "--run", tagger, "--json", "--presplit", "I don't saw.")
    assert json.loads(out)["sentences"][0]["words"] == ["I", "don't", "saw."]


@pytest.mark.parametrize("name", ["lines.txt", "lines.txt.gz"])
def test_a_file_of_lines(name: str, run: Run, tagger: Path, tmp_path: Path) -> None:
    text = b"I saw a saw\n\n  we saw a saw\r\n"
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    code, out, _ = run("tag", "--run", tagger, "--json", "--file", tmp_path / name)
    assert code == 0
    assert tags(out) == [SAW, SAW]


@pytest.mark.parametrize("words", [[], ["-"]])
def test_standard_input(
    words: list[str], run: Run, tagger: Path, typed: Callable[[bytes], None]
) -> None:
    typed(b"I saw a saw\n")
    code, out, _ = run("tag", "--run", tagger, "--json", *words)
    assert code == 0
    assert tags(out) == [SAW]


@pytest.mark.parametrize(
    ("words", "given", "complaint"),
    [
        (["x"], b"", "give the folder of a trained tagger"),
        (["--run", "{none}", "x"], b"", "got no run there; wanted the folder of a run"),
        (["--run", "{run}", " "], b"", "got ' ', which has no words"),
        (["--run", "{run}", "x", "--file", "y"], b"", "give sentences or --file, not both"),
        (["--run", "{run}", "--file", "{none}"], b"", "none: No such file or directory"),
        (["--run", "{run}", "-"], b" \n\n", "standard input: got no sentence"),
        (["--run", "{run}"], b"one\nGr\xfc\xdfe\n", "standard input, line 2: got bytes that"),
    ],
)
def test_complaints(
    words: list[str],
    given: bytes,
    complaint: str,
    run: Run,
    tagger: Path,
    typed: Callable[[bytes], None],
    tmp_path: Path,
) -> None:
    typed(given)
    places = {"none": tmp_path / "none", "run": tagger}
    code, out, err = run("tag", *(word.format(**places) for word in words))
    assert (code, out) == (2, "")
    assert complaint in err


def test_a_terminal_without_sentences_is_asked_for_some(
    run: Run, tagger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    code, _, err = run("tag", "--run", tagger)
    assert code == 2
    assert "give sentences, --file FILE, or sentences on standard input" in err
