"""`sightline explain` as a user meets it: what a file means, in words, and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], str]:
    """Save an array as mask.npy in the working directory and return its name."""
    monkeypatch.chdir(tmp_path)

    def save(array: Any) -> str:
        np.save("mask.npy", array)
        return "mask.npy"

    return save


def test_a_mask_in_words_and_drawn(run: Run, saved: Callable[[Any], str]) -> None:
    array = np.triu(np.ones((3, 3), bool), 1)
    found = sl.recognize(array)
    code, out, err = run("explain", saved(array))
    assert (code, err) == (0, "")
    assert out == (
        "mask.npy: 3 queries x 3 keys\n"
        "\n"
        "causal()\n"
        "read as: True may not attend\n"
        f"because: {found.evidence[0]}\n"
        f"open: {found.ambiguous[0]}\n"
        "\n"
        "causal(): a query sees itself and all before it\n"
        "\n"
        "  0 1 2\n"
        "0 ■ · ·\n"
        "1 ■ ■ ·\n"
        "2 ■ ■ ■\n"
        "■ may attend   · may not\n"
    )


def test_each_part_has_its_sentence_and_each_batch_row_its_picture(
    run: Run, saved: Callable[[Any], str]
) -> None:
    allowed = np.tri(4, dtype=bool) & (np.arange(4) < np.array([4, 2])[:, None, None])
    code, out, _ = run("explain", saved(allowed[:, None]), "--means", "attend")
    assert code == 0
    assert "4 queries x 4 keys, 2 batch rows" in out
    assert "\n  causal(): a query sees itself and all before it\n" in out
    assert "\n  padding(lengths=[4, 2]): only real keys are seen, the first 4, 2 of" in out
    assert "\nbatch row 1\n" in out


def test_a_large_mask_is_drawn_in_cells(run: Run, saved: Callable[[Any], str]) -> None:
    array = np.where(np.tri(200, dtype=bool), np.float32(0), np.float32(-np.inf))
    code, out, _ = run("explain", saved(array))
    assert code == 0
    assert "read as: added to the scores, 0 may attend" in out
    assert "because: floats, only 0 and -inf: additive" in out
    assert "1 cell = 16 x 16 pairs" in out
    assert len(out.splitlines()) < 40


@pytest.mark.parametrize(
    ("array", "means", "words"),
    [
        (np.ones((3, 3), bool), "attend", "every query sees every key"),
        (np.triu(np.ones((4, 4), bool), 1), "attend", "looks inverted"),
        (np.array([[1, 0], [0, 0]], bool), "attend", "rows see nothing"),
        (np.outer([1, 1, 1, 0], [1, 1, 1, 1]).astype(bool), "attend", "whole rows are off"),
    ],
)
def test_what_looks_wrong_is_a_finding(
    run: Run, saved: Callable[[Any], str], array: Any, means: str, words: str
) -> None:
    code, out, err = run("explain", saved(array), "--means", means)
    assert (code, err) == (1, "")
    assert any(line.startswith("warning: ") and words in line for line in out.splitlines()), out


def test_numbers_without_a_sense_are_shown_both_ways(run: Run, saved: Callable[[Any], str]) -> None:
    for dtype in (int, float, np.uint8):
        code, out, err = run("explain", saved(np.tri(4, dtype=dtype)))
        assert (code, out) == (2, "")
        assert "--means attend 1 may attend:   causal()" in err
        assert "--means ignore 1 may not:      ~causal()" in err
        assert run("explain", "mask.npy", "--means", "attend")[0] == 0


def test_as_json(run: Run, saved: Callable[[Any], str]) -> None:
    code, out, _ = run("explain", saved(np.tri(4, dtype=bool) & (np.arange(4) > 0)), "--json")
    (facts,) = json.loads(out)["masks"]
    assert code == 1
    assert facts["expression"] == "causal() & ~prefix(1)"
    assert facts["warnings"]
    assert (facts["q_len"], facts["kv_len"], facts["q_offset"]) == (4, 4, 0)
    assert facts["density"] == 6 / 16
    assert [line["depth"] for line in facts["words"]] == [0, 1, 1, 2]


def test_a_position_can_be_given(run: Run, saved: Callable[[Any], str]) -> None:
    name = saved(np.tri(2, 5, 3, dtype=bool))
    code, out, _ = run("explain", name, "--means", "attend", "--q-offset", 3)
    assert code == 0
    assert "the first query is at position 3" in out
    assert "\n3 ■ ■ ■ ■ ·\n4 ■ ■ ■ ■ ■\n" in out
    assert "\ncausal()\n" in out


def test_a_librarys_form(run: Run, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "call.safetensors"
    tensors = {
        "attn_mask": np.triu(np.ones((3, 3), bool), 1),
        "key_padding_mask": np.array([[0, 0, 0], [0, 0, 1]], bool),
    }
    safetensors.save_file(tensors, path)
    code, out, _ = run("explain", path, "--source", "torch.mha")
    assert code == 0
    assert "\ncausal() & padding(lengths=[3, 2])\n" in out
    assert "because: read as torch.mha" in out
    code, _, err = run("explain", path, "--source", "torch.sdpa")
    assert code == 2
    assert "got keyword key_padding_mask for torch.sdpa" in err
    code, out, _ = run("explain", path, "--tensor", "attn_mask")
    assert code == 0
    assert "\ncausal()\n" in out


def test_a_form_of_several_masks(run: Run, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "call.safetensors"
    safetensors.save_file({"tgt_mask": np.triu(np.ones((3, 3), bool), 1)}, path)
    code, out, _ = run(
        "explain", path, "--source", "torch.transformer", "--source-option", "kv_len=2"
    )
    assert code == 1, "masks that forbid nothing are worth a word"
    for name in ("source", "target", "memory"):
        assert f"call.safetensors: {name}: " in out


def test_a_drawing_of_show_is_explained(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "drawing.txt"
    path.write_text(run("show", "causal() & padding(lengths=[4, 2])")[1], encoding="utf-8")
    code, out, err = run("explain", path)
    assert (code, err) == (0, "")
    assert "4 queries x 4 keys, 2 batch rows\n\ncausal() & padding(lengths=[4, 2])\n" in out
    assert "because: read from a drawing: ■ may attend" in out
    path.write_text("x..\nxyx\nxxx\n")
    code, out, err = run("explain", path)
    assert (code, out) == (2, "")
    assert f"{path}: line 3: cells go on" in err
    path.write_text("1 0\n1 1\n")
    assert "Say which" in run("explain", path)[2]
    code, out, _ = run("explain", path, "--means", "attend", "--json")
    assert code == 0
    assert json.loads(out)["masks"][0]["expression"] == "causal()"


@pytest.mark.parametrize(
    ("content", "words", "told"),
    [
        (b"x.\nxx", ("--source", "torch.mha"), "is read as a drawing"),
        (b"x.\nxx", ("--source-option", "a=1"), "is read as a drawing"),
        (b"x.\nxx", ("--means", "ignore"), "leave means out"),
        (b"x.\n\xff", (), "not UTF-8"),
        (b"words only\n", (), "in which no mask is drawn"),
        (b"x" * (5 << 20), (), "larger than 4 MiB"),
        (None, (), "no such file"),
    ],
)
def test_drawings_that_are_none(
    run: Run, tmp_path: Path, content: bytes | None, words: tuple[str, ...], told: str
) -> None:
    path = tmp_path / "drawing.txt"
    if content is not None:
        path.write_bytes(content)
    code, out, err = run("explain", path, *words)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


def test_options_of_a_form(run: Run, saved: Callable[[Any], str]) -> None:
    name = saved(np.array([[1, 1, 0]]))
    words = ("explain", name, "--source", "hf.2d")
    assert "\ncausal() & p" in run(*words)[1]
    code, out, _ = run(*words, "--source-option", "own=everything()")
    assert code == 0
    assert "everything()" in out
    assert "causal()" not in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "give a file that ends in .npy"),
        (("causal()",), "`sightline show` draws an expression"),
        (("missing.npy",), "there is no such file"),
        (("mask.png",), "wanted a file that ends in .npy, .pt, .pth, .safetensors, .txt"),
        (("mask.npy", "--means", "atend"), "got 'atend'; wanted one of these"),
        (("mask.npy", "--color", "blue"), "got 'blue', wanted auto, always, never"),
        (("mask.npy", "--source", "torch.mah"), "Did you mean 'torch.mha'"),
        (("mask.npy", "--source", "torch.mha", "--means", "attend"), "leave it out"),
        (("mask.npy", "--source-option", "q_len=2"), "name it with --source"),
        (("mask.npy", "--source", "torch.mha", "--source-option", "q_len"), "wanted name=value"),
        (("mask.npy", "--source", "torch.mha", "--source-option", "q_len=9"), "q_len of 3 and 9"),
        (("mask.npy", "--source", "torch.mha", "--source-option", "size=9"), "got option size"),
        (("mask.npy", "--tensor", "a"), "leave --tensor out"),
        (("mask.npy", "--means", "additive"), "error"),
    ],
)
def test_bad_input(
    run: Run, saved: Callable[[Any], str], words: tuple[str, ...], told: str
) -> None:
    saved(np.tri(3, dtype=bool))
    code, out, err = run("explain", *words)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


def test_a_mask_file_that_is_none(run: Run, saved: Callable[[Any], str]) -> None:
    for array in (np.zeros((2, 2)) + np.nan, np.full((2, 2), -0.5), np.ones(3), np.ones((0, 2))):
        code, _, err = run("explain", saved(array))
        assert code == 2
        assert err.startswith("error: ")


def test_help_and_colors(run: Run, saved: Callable[[Any], str]) -> None:
    code, out, _ = run("explain", "--help")
    assert code == 0
    assert "sightline explain mask.npy --means ignore" in out
    name = saved(np.tri(3, dtype=bool))
    assert "\x1b[" in run("explain", name, "--color", "always")[1]
    assert "\x1b[" not in run("explain", name, "--color", "never")[1]
    assert "\x1b[" not in run("explain", name)[1]
