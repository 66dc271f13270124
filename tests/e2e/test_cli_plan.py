"""`sightline plan` as a user meets it: the table, the JSON, exit codes, bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len

import sightline as sl
from sightline.cli import plan as plan_module
from sightline.cli.sizes import read_size

Result = tuple[int, str, str]
Run = Callable[..., Result]


def figures(out: str) -> dict[str, list[str]]:
    """Return the rows of the table by name; columns are two spaces apart or more."""
    lines = out.split("\n\n")[1].split("\n")[2:]
    rows = [[piece.strip() for piece in line.split("  ") if piece.strip()] for line in lines]
    return {row[0]: row[1:] for row in rows}


def test_causal_by_hand(run: Run) -> None:
    code, out, err = run("plan", "causal()", "--size", "512", "--heads", "2", "--head-dim", "32")
    assert (code, err) == (0, "")
    assert out.startswith("causal()\n512 queries x 512 keys, 2 heads of 32\n\n")
    assert figures(out) == {
        "blocks to compute": ["10", "16", "62.5%"],
        "full": ["6", "37.5%"],
        "partial": ["4", "25.0%"],
        "blocks to skip": ["6", "37.5%"],
        "pairs allowed": ["262,656", "524,288", "50.1%"],
        "pairs computed": ["327,680", "524,288", "62.5%"],
        "FLOPs forward": ["41.9 M", "67.1 M", "62.5%"],
        "FLOPs backward": ["104.9 M", "167.8 M", "62.5%"],
        # 256 KiB of queries and outputs; 10 or 16 blocks of 128 keys and values for 2 heads.
        "bytes moved, float32": ["896.0 KiB", "1.2 MiB", "70.0%"],
        "plan, or mask as bools": figures(out)["plan, or mask as bools"],
        "scores as float32": ["2.0 MiB"],
    }
    assert ": 7 runs of blocks of 128 x 128; 1 pattern\n" in out
    assert "1 cell = 32 x 32 pairs" in out
    assert "nothing" not in out


MASKS = (
    "causal()",
    "causal() & documents(lengths=[300000, 700000])",
    "window(left=4095, right=0) | prefix(1000)",
    "causal() & padding(lengths=[1000000, 5, 0])",
)


@pytest.mark.parametrize("expression", MASKS)
def test_a_million_tokens_fit_in_80_columns(run: Run, expression: str) -> None:
    code, out, err = run("plan", expression, "--size", "1m")
    assert (code, err) == (0, "")
    assert max(cell_len(line) for line in out.split("\n")) <= 80
    assert len(out.split("\n")) < 45
    assert "1 cell = 65536 x 65536 pairs" in out


def test_empty_rows_and_batch_rows_are_told(run: Run) -> None:
    _, out, _ = run("plan", "causal() & documents(lengths=[300000, 700000])", "--size", "1m")
    assert out.endswith("\nqueries 1000000-1048575 see nothing\n")
    _, out, _ = run("plan", "padding(lengths=[4, 0])", "--size", "4")
    assert "4 queries x 4 keys, 2 batch rows, 1 head of 64" in out
    assert "batch row 0, of 2 drawn by `sightline show`" in out
    assert out.endswith("batch row 1: queries 0-3 see nothing\n")


def test_json_has_all_of_it_exactly(run: Run) -> None:
    mask = sl.causal() & sl.documents(lengths=[300000, 700000])
    size = 1 << 20
    code, out, err = run("plan", repr(mask), "--size", "1m", "--heads", 32, "--json")
    facts = json.loads(out)
    assert (code, err) == (0, "")
    made = sl.plan(mask, size)
    assert sl.parse(facts["expression"]) == mask
    assert facts["blocks"] == made.counts._asdict()
    assert facts["pairs"] == mask.count(size) == 290_000_500_000
    assert facts["density"] == made.density
    assert (facts["runs"], facts["patterns"]) == (len(made.pattern), len(made.patterns))
    assert facts["plan_bytes"] == made.nbytes
    assert facts["cost"]["pairs"] == 32 * facts["pairs"]
    assert facts["cost"]["forward_flops"] == made.cost(heads=32).forward_flops
    assert facts["cost"]["dense_pairs"] == 32 * size * size
    assert facts["empty_queries"] == 48_576
    assert facts["empty_rows"] == [{"batch": 0, "head": 0, "queries": [[1_000_000, size - 1]]}]
    assert facts["seconds_to_plan"] > 0


def test_blocks_cuts_and_offsets(run: Run) -> None:
    documents = "documents(lengths=[100, 28])"
    facts = json.loads(run("plan", documents, "--block", "64x32", "--json")[1])
    assert (facts["q_len"], facts["block_q"], facts["block_kv"]) == (128, 64, 32)
    aligned = json.loads(run("plan", documents, "--cuts", "aligned", "--json")[1])
    assert aligned["blocks"] == {"empty": 2, "partial": 0, "full": 2}
    words = ("plan", "causal() & window(left=9)", "--size", "1x4k", "--q-offset", "4095")
    code, out, _ = run(*words)
    assert code == 0
    assert "1 query from position 4,095 x 4,096 keys" in out
    assert figures(out)["pairs allowed"][0] == "10"
    assert "1,000 queries x 1,000 keys" in run("plan", "causal()", "--size", "1000")[1]
    assert "4,096 queries x 4,096 keys" in run("plan", "causal()")[1]


def test_a_mask_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "mask.npy"
    np.save(path, np.tri(3, 4, dtype=bool))
    facts = json.loads(run("plan", path, "--means", "attend", "--json")[1])
    assert (facts["q_len"], facts["kv_len"], facts["pairs"]) == (3, 4, 6)


def test_sizes_of_millions() -> None:
    assert read_size("8m") == (8 << 20, 8 << 20)
    assert read_size("1x128k") == (1, 128 << 10)


BAD_INPUT = {
    "no expression": (["plan"], "give a mask expression, such as 'causal()'."),
    "unknown mask": (["plan", "causl()"], "did you mean 'causal'"),
    "bad size": (["plan", "causal()", "--size", "many"], "got 'many'"),
    "too large": (["plan", "causal()", "--size", "9999999m"], "are too many (at most"),
    "bad block": (["plan", "causal()", "--block", "0"], "'--block'"),
    "huge block": (["plan", "causal()", "--block", "1m"], "wanted at most 4096"),
    "cuts": (["plan", "causal()", "--cuts", "round"], "'uniform' or 'aligned'"),
    "heads": (["plan", "per_head([causal(), nothing()])", "--heads", "3"], "tells 2 along heads"),
    "no heads": (["plan", "causal()", "--heads", "0"], "--heads"),
    "head dim": (["plan", "causal()", "--head-dim", "x"], "--head-dim"),
    "offset": (["plan", "causal()", "--q-offset", "-1"], "--q-offset"),
    "far offset": (["plan", "padding(lengths=[3])", "--q-offset", "3"], "last query at 2"),
    "means": (["plan", "causal()", "--means", "attend"], "is read as an expression"),
    "no such file": (["plan", "no.npy", "--means", "attend"], "no.npy: there is no such file"),
    "dense": (["plan", "dense([[1]], means='attend')", "--size", "2"], "asked for queries up to 2"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_error_and_code_2(run: Run, case: str) -> None:
    words, complaint = BAD_INPUT[case]
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert complaint in err
    assert "Traceback" not in err


def test_a_mask_without_structure_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "MOST_MIXED", 10)
    code, out, err = run("plan", "dilated(3)", "--size", "1k")
    assert (code, out) == (2, "")
    assert "has too little structure to look at 1024 queries" in err


def test_help_has_an_example_and_ascii_is_enough(run: Run) -> None:
    code, out, _ = run("plan", "--help")
    assert code == 0
    assert "\n    sightline plan 'causal() & window(left=4095)' --size 1m" in out
    done = subprocess.run(
        [sys.executable, "-m", "sightline.cli.main", "plan", "causal()"],
        capture_output=True,
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert done.stdout.isascii()
    assert done.stderr == b""
    assert b"\x1b" not in done.stdout
