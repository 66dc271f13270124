"""`sightline convert` as a user meets it: tables, files, refusals, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import sightline as sl
from sightline.cli import convert as convert_module
from sightline.lower.destinations import NAMES
from sightline.readers.mask_file import read_stored

Run = Callable[..., tuple[int, str, str]]


def test_a_table_of_the_parts_and_small_arrays(run: Run) -> None:
    code, out, err = run("convert", "causal()", "--to", "numpy.additive", "--size", "2")
    assert (code, err) == (0, "")
    assert out == (
        "causal()\n"
        "2 queries x 2 keys, as numpy.additive\n"
        "\n"
        " part      type      shape           holds\n"
        "────────────────────────────────────────────────────────────\n"
        " (array)   float32   1 x 1 x 2 x 2   75.0% 0, the rest -inf\n"
        "\n"
        "array =\n"
        "[[[[  0. -inf]\n"
        "   [  0.   0.]]]]\n"
    )


def test_keywords_and_what_true_means(run: Run) -> None:
    pytest.importorskip("torch")
    words = ("convert", "causal() & padding(lengths=[3, 2])", "--to", "torch.mha")
    code, out, _ = run(*words)
    assert code == 0
    assert "3 queries x 3 keys, as torch.mha" in out
    assert " attn_mask          bool   3 x 3   33.3% True\n" in out
    assert " is_causal          bool           False\n" in out
    assert "True, or 1: is ignored" in out
    assert "key_padding_mask =\n[[0 0 0]\n [0 0 1]]\n" in out


def test_an_array_goes_into_npy_and_back(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mask.npy"
    words = ("convert", "causal()", "--to", "numpy.bool", "--size", "2x5", "--q-offset", 3)
    code, out, _ = run(*words, "--out", path)
    assert code == 0
    assert out.endswith(f"wrote {path}\n")
    assert "2 queries from position 3 x 5 keys" in out
    np.testing.assert_array_equal(np.load(path), sl.causal().dense(2, 5, 3))
    code, out, _ = run("convert", path, "--means", "attend", "--to", "numpy.additive")
    assert code == 0
    assert out.startswith("causal()\n2 queries from position 3 x 5 keys")


def test_several_parts_go_into_safetensors_and_back(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    path = tmp_path / "call.safetensors"
    mask = "causal() & padding(lengths=[5, 3])"
    assert run("convert", mask, "--to", "torch.mha", "--out", path)[0] == 0
    held = read_stored(path)
    assert isinstance(held, dict)
    assert set(held) == {"attn_mask", "key_padding_mask", "need_weights", "is_causal"}
    assert held["is_causal"] is False
    np.testing.assert_array_equal(held["attn_mask"], ~np.tri(5, dtype=bool))
    words = ("convert", path, "--source", "torch.mha", "--to", "torch.sdpa", "--json")
    code, out, _ = run(*words)
    assert code == 0
    assert json.loads(out)["expressions"] == [mask]


def test_as_json(run: Run) -> None:
    words = ("convert", "causal() & padding(lengths=[2, 1])", "--to", "numpy.bool", "--json")
    facts = json.loads(run(*words)[1])
    assert facts == {
        "expressions": ["causal() & padding(lengths=[2, 1])"],
        "to": "numpy.bool",
        "q_len": 2,
        "kv_len": 2,
        "q_offset": 0,
        "parts": [
            {"name": "", "type": "bool", "shape": [2, 1, 2, 2], "density": 0.625, "value": None}
        ],
        "file": None,
    }


def test_options_reach_the_form(run: Run) -> None:
    words = ("convert", "causal()", "--to", "numpy.additive", "--size", "2", "--json")
    out = run(*words, "--option", "dtype=float16", "--option", "constant=min")[1]
    assert json.loads(out)["parts"][0]["type"] == "float16"


def test_a_refusal_is_no_error_but_a_finding(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "never.npy"
    words = ("convert", "nothing()", "--to", "numpy.additive", "--size", "2", "--out", path)
    code, out, err = run(*words, "--option", "constant=min")
    assert (code, err) == (1, "")
    assert 'numpy.additive with constant="min" cannot say this mask exactly' in out
    assert "\n  what:    rows that may see nothing (2 of 2, first: batch 0" in out
    assert "\n  instead: " in out
    assert not path.exists()
    code, out, _ = run(*words, "--option", "constant=min", "--json")
    assert code == 1
    assert set(json.loads(out)["refused"]) == {"destination", "part", "reason", "alternative"}


def test_lists_of_blocks_at_a_million_tokens(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    words = ("convert", "causal() & window(left=4095)", "--to", "torch.flex", "--size", "1m")
    code, out, _ = run(*words)
    assert code == 0
    assert "block_mask.kv_num_blocks" in out
    assert "<function mask_mod>" in out
    code, _, err = run(*words, "--out", tmp_path / "mask.safetensors")
    assert code == 2
    assert "block_mask.mask_mod is no data" in err
    assert list(tmp_path.iterdir()) == []


def test_all_forms_are_listed(run: Run) -> None:
    code, out, _ = run("convert", "--list")
    assert code == 0
    for name in NAMES:
        assert f"\n {name} " in out
    rows = json.loads(run("convert", "--list", "--json")[1])
    assert [row["name"] for row in rows] == list(NAMES)


def test_a_million_tokens_in_a_form_that_lists_no_pairs(run: Run) -> None:
    pytest.importorskip("torch")
    words = ("convert", "causal() & documents(lengths=[600000, 400000])", "--to", "flash_attn")
    code, out, err = run(*words, "--size", "1m")
    assert (code, err) == (0, "")
    assert "0 to 1000000" in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "'--to'"),
        (("causal()",), "name a form, such as torch.sdpa"),
        (("--to", "numpy.bool"), "give a mask expression"),
        (("causal()", "--to", "numpy.boool", "--size", "2"), "Did you mean 'numpy.bool'"),
        (("causal()", "--to", "numpy.bool"), "'--size'"),
        (("causal()", "--to", "numpy.bool", "--size", "0"), "at least one query"),
        (("causal()", "--to", "numpy.bool", "--size", "1m"), "too many to write out"),
        (("causal(", "--to", "numpy.bool", "--size", "2"), "^"),
        (("causal()", "causal()", "--to", "numpy.bool", "--size", "2"), "got 2 masks"),
        (("causal()", "--to", "numpy.bool", "--size", "2", "--out", "a.txt"), "ends in .npy"),
        (("causal()", "--to", "numpy.bool", "--size", "2", "--option", "x=1"), "got option x"),
        (("causal()", "--to", "numpy.bool", "--size", "2", "--option", "x"), "wanted name=value"),
        (("causal()", "--to", "numpy.bool", "--size", "2", "--means", "attend"), "a mask file"),
        (("no.npy", "--to", "numpy.bool", "--means", "attend"), "no such file"),
        (("padding(lengths=[2])", "--to", "numpy.bool", "--q-offset", "9"), "'--size'"),
        (
            ("causal()", "--to", "numpy.additive", "--size", "2", "--option", "dtype=[1]"),
            "numpy.additive",
        ),
    ],
)
def test_bad_input(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run("convert", *words)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_a_file_keeps_its_size(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mask.npy"
    np.save(path, np.tri(3, dtype=bool))
    words = ("convert", path, "--means", "attend", "--to", "numpy.bool")
    assert run(*words, "--size", "3")[0] == 0
    code, _, err = run(*words, "--size", "4")
    assert code == 2
    assert "the file holds 3 queries x 3 keys" in err


def test_what_a_library_itself_refuses_is_told_without_a_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise AssertionError("Torch not compiled with CUDA enabled.\nmore")

    monkeypatch.setattr(convert_module, "lower", fail)
    code, _, err = run("convert", "causal()", "--to", "numpy.bool", "--size", "2")
    assert code == 2
    assert err == ("error: numpy.bool cannot be made so: Torch not compiled with CUDA enabled.\n")


def test_a_form_said_without_an_array_writes_nothing(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    words = ("convert", "causal()", "--to", "torch.sdpa", "--size", "3")
    code, out, _ = run(*words)
    assert code == 0
    assert " is_causal   bool               True\n" in out
    code, _, err = run(*words, "--out", tmp_path / "a.npy")
    assert code == 2
    assert "said without an array (attn_mask=None, is_causal=True)" in err
    many = ("convert", "causal() & padding(lengths=[3, 2])", "--to", "torch.mha")
    code, _, err = run(*many, "--out", tmp_path / "a.npy")
    assert code == 2
    assert "holds one array, and these are 2 (attn_mask, key_padding_mask)" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("flash_attn" not in NAMES, reason="no such form here")
def test_packed_tokens_go_into_a_file_and_back(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    path = tmp_path / "call.safetensors"
    mask = "causal() & documents(lengths=[[3, 2], [1, 4]])"
    assert run("convert", mask, "--to", "flash_attn", "--out", path)[0] == 0
    code, out, _ = run("explain", path, "--source", "flash_attn", "--json")
    assert code == 0
    assert json.loads(out)["masks"][0]["expression"] == mask
