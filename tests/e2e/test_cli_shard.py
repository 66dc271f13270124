"""`sightline shard` as a user meets it: the tables, the JSON, pictures, exit codes, bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len

import sightline as sl

Result = tuple[int, str, str]
Run = Callable[..., Result]

PACKED = "causal() & documents(lengths=[300, 500, 224])"
MILLION = (
    "causal()",
    "causal() & documents(lengths=[300000, 700000])",
    "window(left=4095, right=0)",
    "prefix(1000) | causal()",
)
# Bytes of the keys and values of a position in 2 key/value heads of 16 in float32.
LAYER = ("--heads", 4, "--kv-heads", 2, "--head-dim", 16, "--dtype", "float32")
KEY_BYTES = 2 * 2 * 16 * 4


def rows_of(part: str) -> list[list[str]]:
    """Return the rows of a table; columns are two spaces apart or more."""
    lines = part.split("\n")[2:]
    return [[piece.strip() for piece in line.split("  ") if piece.strip()] for line in lines]


def counted(mask: sl.Mask, length: int, owner: np.ndarray, block: int) -> dict[str, Any]:
    """Count from the dense mask what ranks do, hold and receive."""
    dense = mask.dense(length)[:, 0]
    rank = np.repeat(owner, block)[:length]
    ranks = range(int(owner.max()) + 1)
    seen = [dense[:, rank == each].any(axis=1) for each in ranks]
    return {
        "pairs": [int(dense[:, rank == each].sum()) for each in ranks],
        "received": [int((seen[each] & (rank != each)).sum()) for each in ranks],
        "sent": [
            sum(int((seen[other] & (rank == each)).sum()) for other in ranks if other != each)
            for each in ranks
        ],
    }


def facts_of(run: Run, *words: object) -> dict[str, Any]:
    code, out, err = run("shard", *words, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


@pytest.mark.parametrize("ranks", [1, 3, 4])
@pytest.mark.parametrize("expression", [PACKED, "window(left=70, right=9)", "causal()"])
def test_the_figures_are_those_of_the_dense_mask(run: Run, expression: str, ranks: int) -> None:
    words = (expression, "--size", 1024, "--ranks", ranks, "--block", 16, *LAYER)
    facts = facts_of(run, *words)
    mask = sl.parse(expression)
    cut = sl.shard(sl.plan(mask, 1024, block_q=16, block_kv=16), ranks)
    exact = counted(mask, 1024, cut.queries.owner[0], 16)
    (found,) = facts["shards"]
    assert facts["pairs"] == 4 * mask.count(1024) == sum(found["pairs"])
    assert found["pairs"] == [4 * each for each in exact["pairs"]]
    assert found["balance"] == pytest.approx(max(exact["pairs"]) / np.mean(exact["pairs"]))
    assert sum(found["tokens"]) == 1024
    for name in ("received", "sent"):
        assert found[f"bytes_{name}"] == [KEY_BYTES * each for each in exact[name]]


def test_the_json_has_all_of_it_and_nothing_else(run: Run) -> None:
    facts = facts_of(run, "causal()", "--size", "1k", "--ranks", "2", *LAYER)
    assert sl.parse(facts["expression"]) == sl.causal()
    assert (facts["q_len"], facts["kv_len"], facts["batch"]) == (1024, 1024, 1)
    layer = ("heads", "kv_heads", "head_dim", "dtype", "dtype_bytes", "tflops", "gbytes")
    assert [facts[name] for name in layer] == [4, 2, 16, "float32", 4, 500.0, 50.0]
    assert set(facts) == {
        *("expression", "q_len", "kv_len", "batch", "communication", "pairs", *layer),
        *("seconds_to_plan", "shards"),
    }
    (found,) = facts["shards"]
    assert set(found) == {
        *("ranks", "block", "seconds_to_shard", "balance", "balance_at_least", "tokens", "pairs"),
        *("bytes_received", "bytes_sent", "predicted", "usual"),
    }
    assert set(found["usual"]) == {"balance", "bytes_received", "predicted"}
    for times in (found["predicted"], found["usual"]["predicted"]):
        assert set(times) == {"overlapped", "in_turn"}
        for each in times.values():
            assert set(each) == {"forward_seconds", "backward_seconds", "efficiency"}
    again = facts_of(run, "causal()", "--size", "1k", "--ranks", "2", *LAYER)
    for each in (facts, again):
        del each["seconds_to_plan"], each["shards"][0]["seconds_to_shard"]
    assert facts == again, "but for the time it took, it is the same on every run"


def test_times_are_operations_by_rate_and_bytes_by_bandwidth(run: Run) -> None:
    words = (PACKED, "--size", 1024, "--ranks", 4, *LAYER, "--tflops", 2, "--gbytes", 0.5)
    (found,) = facts_of(run, *words)["shards"]
    work = np.array(found["pairs"]) * 4 * 16 / 2e12
    sending = np.maximum(found["bytes_received"], found["bytes_sent"]) / 0.5e9
    assert found["predicted"]["in_turn"]["forward_seconds"] == pytest.approx((work + sending).max())
    beside = found["predicted"]["overlapped"]
    assert beside["forward_seconds"] == pytest.approx(np.maximum(work, sending).max())
    assert beside["backward_seconds"] == pytest.approx(np.maximum(2.5 * work, sending).max())
    taken = beside["forward_seconds"] + beside["backward_seconds"]
    assert beside["efficiency"] == pytest.approx(3.5 * work.mean() / taken)
    # Beside it: two stretches of 128 tokens for each rank, and all keys of the others to all.
    dense = sl.parse(PACKED).dense(1024)[0, 0].reshape(8, 128, 1024).sum(axis=(1, 2))
    usual = dense[:4] + dense[:3:-1]
    assert found["usual"]["balance"] == pytest.approx(usual.max() / usual.mean())
    assert found["usual"]["bytes_received"] == [KEY_BYTES * 768] * 4
    work, sending = usual * 4 * 4 * 16 / 2e12, KEY_BYTES * 768 / 0.5e9
    both = found["usual"]["predicted"]["in_turn"]["backward_seconds"]
    assert both == pytest.approx(2.5 * work.max() + sending)


def test_the_tables_say_what_the_json_says(run: Run) -> None:
    words = (PACKED, "--size", 1024, "--ranks", 4, *LAYER)
    (facts,) = facts_of(run, *words)["shards"]
    code, out, err = run("shard", *words)
    assert (code, err) == (0, "")
    head, ranks, beside, picture, last = out.split("\n\n")
    assert head == f"{PACKED}\n1,024 tokens in blocks of 32 on 4 ranks; 4 heads of 16 on 2, float32"
    mean = np.mean(facts["pairs"])
    for place, row in enumerate(rows_of(ranks)[:4]):
        assert row[:3] == [str(place), "256", f"{facts['pairs'][place] / mean:.3f}"]
        assert f"{facts['bytes_received'][place] / 1024:.1f} KiB" in row or "0 B" in row
    figures = {row[0]: row[1:] for row in rows_of(beside)[:-1]}
    balance = [facts["balance"], facts["usual"]["balance"], facts["balance_at_least"]]
    assert figures["largest / mean area"] == [f"{each:.3f}" for each in balance]
    assert figures["received, largest"][1] == "192.0 KiB"
    assert figures["received, all ranks"][1] == "768.0 KiB"
    assert len(figures) == 7
    assert [line[0] for line in picture.split("\n")[:4]] == list("0123")
    assert "planned in " in last
    assert "arithmetic, not measured: a layer at 500 TFLOP/s and 50 GB/s a device" in last


@pytest.mark.parametrize("expression", MILLION)
def test_a_million_tokens_fit_in_80_columns(run: Run, expression: str) -> None:
    for ranks in (64, "8,64,512"):
        code, out, err = run("shard", expression, "--size", "1m", "--ranks", ranks)
        assert (code, err) == (0, "")
        assert max(cell_len(line) for line in out.split("\n")) <= 80
        assert len(out.split("\n")) < 60
        assert "\x1b" not in out
    assert "60-63" in run("shard", expression, "--size", "1m", "--ranks", 64)[1]


def test_several_numbers_of_ranks(run: Run) -> None:
    words = ("window(left=1023) & documents(lengths=[50000, 15536])", "--ranks", "4,64,16")
    facts = facts_of(run, *words)
    assert [each["ranks"] for each in facts["shards"]] == [4, 64, 16]
    rows = rows_of(run("shard", *words)[1].split("\n\n")[1])
    assert [row[0] for row in rows[:3]] == ["4", "64", "16"]
    for row, each in zip(rows, facts["shards"], strict=False):
        usual = each["usual"]
        received, everything = (max(x["bytes_received"]) for x in (each, usual))
        times = [x["predicted"]["overlapped"] for x in (each, usual)]
        both = [f"{(x['forward_seconds'] + x['backward_seconds']) * 1e3:.3g} ms" for x in times]
        assert row[1:] == [
            f"{each['balance']:.3f}",
            f"{usual['balance']:.3f}",
            f"{received / 2**20:.1f} MiB",
            f"{received / everything:.1%}",
            *both,
            f"{times[0]['efficiency']:.0%}",
        ]


def test_blocks_are_those_that_training_takes(run: Run) -> None:
    words = ("causal()", "--size", "16k", "--ranks", "8,64")
    assert [each["block"] for each in facts_of(run, *words)["shards"]] == [128, 32]
    assert "16,384 tokens in blocks of 32 to 128; 32 heads" in run("shard", *words)[1]
    least = facts_of(run, "causal()", "--size", "1k", "--ranks", 8, "--block", 128)
    assert least["shards"][0]["tokens"] == [128] * 8, "a block for each is enough"
    facts = facts_of(run, *words, "--block", 256)
    assert [each["block"] for each in facts["shards"]] == [256, 256]


def test_what_a_key_costs(run: Run) -> None:
    words = (PACKED, "--size", 1024, "--ranks", 4, *LAYER, "--tflops", 2, "--gbytes", 0.5)
    facts = facts_of(run, *words, "--communication", "auto")
    key, pair = 2 * KEY_BYTES / 0.5e9, 3.5 * 4 * 4 * 16 / 2e12
    assert facts["communication"] == pytest.approx(key / pair)
    again = facts_of(run, *words, "--communication", facts["communication"])
    assert again["shards"][0]["pairs"] == facts["shards"][0]["pairs"]
    made = sl.plan(sl.parse(PACKED), 1024, block_q=32, block_kv=32)
    cut = sl.shard(made, 4, communication=key / pair)
    assert facts["shards"][0]["bytes_received"] == [KEY_BYTES * each for each in cut.received]
    assert facts_of(run, *words)["communication"] == 0


def test_batch_rows_and_heads(run: Run) -> None:
    facts = facts_of(run, "padding(lengths=[1024, 512])", "--ranks", 2, "--batch", 2, *LAYER)
    assert facts["pairs"] == 4 * (1024 * 1024 + 1024 * 512)
    assert sum(facts["shards"][0]["pairs"]) == facts["pairs"]
    heads = facts_of(run, "per_head([causal(), window(left=3)])", "--size", 1024, "--ranks", 2)
    assert (heads["heads"], heads["kv_heads"]) == (2, 2)
    causal = facts_of(run, "causal()", "--size", 1024, "--ranks", 2, "--batch", 3, *LAYER)
    one = facts_of(run, "causal()", "--size", 1024, "--ranks", 2, *LAYER)
    for name in ("pairs", "bytes_received"):
        thrice = [3 * each for each in one["shards"][0][name]]
        assert causal["shards"][0][name] == thrice


def test_queries_and_keys_of_two_sequences(run: Run) -> None:
    facts = facts_of(run, "everything()", "--size", "512x1024", "--ranks", 4, *LAYER)
    assert facts["shards"][0]["bytes_received"] == [KEY_BYTES * 768] * 4
    out = run("shard", "everything()", "--size", "512x1024", "--ranks", 4)[1]
    assert "512 queries x 1,024 keys" in out


@pytest.mark.parametrize("ending", ["svg", "html", "txt", "png"])
def test_a_picture(run: Run, tmp_path: Path, ending: str) -> None:
    if ending == "png":
        pytest.importorskip("matplotlib")
    path = tmp_path / f"plan.{ending}"
    code, out, err = run("shard", PACKED, "--size", 1024, "--ranks", 4, "--out", path)
    assert (code, err) == (0, "")
    assert out.endswith(f"\nwrote {path}\n")
    drawn = path.read_bytes()
    if ending == "svg":
        ET.fromstring(drawn)
        assert b"1,024 tokens in blocks of 32 on 4 ranks" in drawn
    assert drawn[:4] == {"svg": b"<svg", "html": b"<!DO", "png": b"\x89PNG"}.get(ending, drawn[:4])
    facts = json.loads(run("shard", PACKED, "--ranks", 4, "--out", path, "--json")[1])
    assert facts["shards"][0]["ranks"] == 4


BAD_INPUT = {
    "no expression": ([], "give a mask expression, such as 'causal()'."),
    "unknown mask": (["causl()"], "did you mean 'causal'"),
    "no ranks": (["causal()", "--ranks", "0"], "'--ranks': got '0'; wanted numbers from 1"),
    "negative": (["causal()", "--ranks", "-4"], "got '-4'; wanted numbers from 1"),
    "words": (["causal()", "--ranks", "8,many"], "got '8,many'; wanted numbers"),
    "empty": (["causal()", "--ranks", "8,,16"], "got '8,,16'; wanted numbers"),
    "few blocks": (
        ["causal()", "--size", "1k", "--ranks", "9", "--block", "128"],
        "got 9 for 1,024 queries in 8 blocks of 128; wanted a block or more for each; take "
        "--block 64 or at most 8.",
    ),
    "few tokens": (
        ["causal()", "--size", "8", "--ranks", "16"],
        "got 16 for 8 queries in 8 blocks of 1; wanted a block or more for each; take at most 8.",
    ),
    "block": (["causal()", "--block", "1000000"], "wanted at most 4096"),
    "size": (["causal()", "--size", "many"], "got 'many'"),
    "too large": (["causal()", "--size", "9999999m"], "are too many (at most"),
    "dtype": (["causal()", "--dtype", "int4"], "got 'int4', wanted one of float32"),
    "rate": (["causal()", "--tflops", "0"], "'--tflops': got tflops=0.0; wanted a number above 0"),
    "width": (["causal()", "--gbytes", "nan"], "'--gbytes': got gbytes=nan"),
    "communication": (["causal()", "--communication", "-1"], "got '-1'; wanted a number of pairs"),
    "weight": (["causal()", "--communication", "some"], "got 'some'; wanted a number of pairs, 0"),
    "endless": (["causal()", "--communication", "inf"], "got 'inf'; wanted a number of pairs"),
    "heads": (["causal()", "--heads", "6", "--kv-heads", "4"], "4 key/value heads do not divide 6"),
    "mask heads": (
        ["per_head([causal(), nothing()])", "--size", "1k", "--heads", "3"],
        "tells 2 along heads",
    ),
    "batch": (["padding(lengths=[1024, 1024])", "--batch", "3"], "tells 2 along batch"),
    "ending": (["causal()", "--out", "plan.pdf"], "end its name in one of .svg"),
    "pictures": (["causal()", "--ranks", "2,4", "--out", "x.svg"], "one number of devices"),
    "means": (["causal()", "--means", "attend"], "is read as an expression"),
    "no such file": (["no.npy", "--means", "attend"], "no.npy: there is no such file"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_is_one_error_and_code_2(run: Run, case: str) -> None:
    words, complaint = BAD_INPUT[case]
    code, out, err = run("shard", *words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert complaint in err
    assert "Traceback" not in err


def test_a_mask_that_allows_nothing(run: Run) -> None:
    facts = facts_of(run, "nothing()", "--size", "1k", "--ranks", 2)
    assert facts["shards"][0]["balance"] == 1.0
    assert facts["shards"][0]["predicted"]["overlapped"]["efficiency"] == 1.0
    assert run("shard", "nothing()", "--size", "1k", "--ranks", 2)[0] == 0


def test_help_has_an_example_and_ascii_is_enough(run: Run) -> None:
    code, out, _ = run("shard", "--help")
    assert code == 0
    assert "\n    sightline shard 'causal() & window(left=4095)' --size 1m --ranks 64" in out
    done = subprocess.run(
        [sys.executable, "-m", "sightline.cli.main", "shard", "causal()", "--ranks", "4"],
        capture_output=True,
        check=True,
        timeout=120,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert done.stdout.isascii()
    assert done.stderr == b""
    assert b"\x1b" not in done.stdout
