"""`sightline bench` as a user meets it, at sizes that take seconds: tables, JSON, exit codes."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import sightline as sl
from sightline.cli import bench as command
from sightline.cli.bench_report import as_json, render_report
from sightline.recipes.bench import decoding, passes, peers
from sightline.recipes.bench.cases import MASKS, case_named
from sightline.recipes.bench.compare import largest_difference, within_rounding
from sightline.recipes.bench.peers import LOOP, SDPA_CAUSAL, SDPA_MASK, field_of
from sightline.recipes.bench.records import BenchReport, Settings
from sightline.recipes.bench.run import count_steps, run_bench
from sightline.recipes.bench.timing import alternate, ratio

Run = Callable[..., tuple[int, str, str]]
TINY = ("bench", "--engine", "sdpa", "--rounds", "1", "--lengths", "24", "--dims", "8")


@pytest.fixture(scope="module")
def report() -> BenchReport:
    """Everything once, at a size where nothing takes long."""
    settings = Settings(
        engine="sdpa", masks=tuple(MASKS), lengths=(24,), dims=(8,), context=32, rounds=1
    )
    steps: list[int] = []
    made = run_bench(settings, on_step=lambda: steps.append(1))
    assert len(steps) == count_steps(settings) == 2 * len(MASKS) + 4 + 5
    return made


def test_the_tables_have_every_row(report: BenchReport) -> None:
    text = render_report(report, color=False, encoding="utf-8", width=100)
    for title in ("forward, float32", "backward, float32", "decode, float32", "calls, float32"):
        assert f"\n{title}" in f"\n{text}"
    for name in MASKS:
        assert len(re.findall(rf"^ {name} +[0-9]", text, re.MULTILINE)) == 2
    for case in decoding.CASES:
        assert f"\n {case.name} " in text
    assert "first call with a new mask, 32 tokens" in text
    assert "memory of causal backward, 64 tokens" in text
    assert "engine sdpa" in text
    assert "WRONG" not in text
    assert max(map(len, text.split("\n"))) <= 100


def test_the_json_is_the_report(report: BenchReport) -> None:
    facts = json.loads(as_json(report), parse_constant=pytest.fail)
    assert facts["settings"]["engine"] == "sdpa"
    assert {"cpu", "cores", "threads", "torch", "isa", "python", "load"} <= facts["machine"].keys()
    assert [row["mask"] for row in facts["rows"]] == 2 * list(MASKS)
    assert [row["case"] for row in facts["decode"]] == [case.name for case in decoding.CASES]
    assert facts["calls"]["minimal_us"] > 0
    assert all(row["results_mib"] > 0 for row in facts["calls"]["memory"])


def test_the_figures_of_a_row_belong_together(report: BenchReport) -> None:
    for row in report.rows:
        assert row.density == case_named(row.mask, 24).mask.count(24) / 24**2
        per_pair = {"forward": 4, "backward": 10}[row.kind]
        operations = per_pair * 8 * row.heads * row.batch * row.density * 24**2
        assert row.gflops == pytest.approx(operations / row.ms / 1e6)
        assert row.share_of_peak == pytest.approx(row.gflops / report.peak_gflops["float32"])
        # One round: the median of the ratios is the ratio.
        assert row.efficiency == pytest.approx(row.density * row.dense_ms / row.ms)
        for peer in row.peers:
            assert peer.ratio == pytest.approx(peer.ms / row.ms)
        assert list(row.peers) == sorted(row.peers, key=lambda peer: peer.ms)


def test_the_bytes_of_a_decode_step(report: BenchReport) -> None:
    full, ragged, grouped, _ = report.decode
    assert full.live_mib == 2 * 8 * 16 * 32 * 64 * 4 / 2**20
    assert grouped.live_mib == full.live_mib / 4
    lengths = [2, 6, 10, 14, 19, 23, 27, 32]
    assert ragged.live_mib == pytest.approx(full.live_mib * sum(lengths) / (8 * 32), rel=0.02)
    for row in report.decode:
        assert row.gb_per_second == pytest.approx(row.live_mib * 2**20 / row.ms / 1e6)
        assert row.share_of_read == pytest.approx(row.gb_per_second / row.read_gb_per_second)


def test_who_takes_part(report: BenchReport) -> None:
    named = {row.mask: {peer.name for peer in row.peers} for row in report.rows}
    assert named["full"] == {SDPA_MASK, "SDPA without a mask"}
    assert named["causal"] == {SDPA_MASK, SDPA_CAUSAL}
    assert named["ragged"] == named["documents-512"] == {SDPA_MASK, LOOP}
    assert named["window-512"] == named["prefix-lm"] == {SDPA_MASK}


@pytest.mark.parametrize("name", MASKS)
def test_peers_compute_what_the_mask_says(name: str) -> None:
    """At a length where documents and windows are shorter than the row."""
    length = 1100
    tensors = (
        torch.randn(1, 1, length, 4),
        torch.randn(1, 1, length, 4),
        torch.randn(1, 1, length, 4),
    )
    case = case_named(name, length)
    found = field_of(case, tensors, dense_seconds=0.0, longest=1.0, side_by_side=1)
    wanted = sl.attend(*tensors, case.mask, engine="reference")
    for peer in found.runs.values():
        assert largest_difference((peer(),), [(wanted,)]) < 1e-5


def test_wrong_numbers_are_told_and_are_findings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sl.attend
    monkeypatch.setattr(passes.sl, "attend", lambda *a, **k: 1.01 * real(*a, **k))
    code, out, _ = run(*TINY, "--masks", "causal", "--pass", "forward")
    assert code == 1
    assert "  causal: WRONG NUMBERS: off by 1.0e-02" in out


def test_a_refusal_is_a_row(run: Run, tmp_path: Path) -> None:
    """What an engine refuses ends nothing: the peers have their figures."""
    path = tmp_path / "figures.json"
    words = (*TINY, "--masks", "causal", "--pass", "forward,calls", "--json", path)

    def refuse(*args: object, **named: object) -> None:
        raise sl.CannotExpress(
            destination="engine 'new'", part="this", reason="it is a test", alternative="another"
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes.sl, "attend", refuse)
        code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert "refused" in out
    assert "the engine refuses: " in out
    row = json.loads(path.read_text())["rows"][0]
    assert row["ms"] is None
    assert row["peers"][0]["ms"] > 0
    assert row["refused"]


def test_what_takes_too_long_is_left_out_and_told() -> None:
    tensors = (torch.randn(1, 1, 8, 4),) * 3
    case = case_named("causal", 8)
    slow = field_of(case, tensors, dense_seconds=5.0, longest=4.0, side_by_side=1)
    assert list(slow.runs) == [SDPA_CAUSAL]
    assert slow.left_out[0].reason == "at least 5.0 s a call, more than 4 s"
    large = field_of(case, tensors, dense_seconds=0.0, longest=4.0, side_by_side=10**12)
    assert list(large.runs) == [SDPA_CAUSAL]
    assert "GiB" in large.left_out[0].reason


def test_flex_that_does_not_compile_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("no compiler\nmore")

    monkeypatch.setattr(peers, "_compiled_flex", fail)
    found = peers.Field()
    peers.add_flex(found, case_named("causal", 8), (torch.ones(1, 1, 8, 4),) * 3)
    assert found.runs == {}
    assert found.left_out[0].reason == "it does not compile: RuntimeError: no compiler"


def test_masks_share_slow_runs_without_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(engine="sdpa", masks=("full", "causal"), rounds=1)
    shape = passes.Shape("forward", "float32", 16, 8, 1)
    contests: list[list[str]] = []

    def watch(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
        contests.append(list(runs))
        return alternate(runs, rounds)

    monkeypatch.setattr(passes, "alternate", watch)
    monkeypatch.setattr(passes, "_SHARED", 1e9)
    assert len(list(passes.measure_passes(settings, shape))) == 2
    assert [names.count("dense") for names in contests] == [1, 1]
    contests.clear()
    monkeypatch.setattr(passes, "_SHARED", 0.0)
    assert len(list(passes.measure_passes(settings, shape))) == 2
    assert [names.count("dense") for names in contests] == [1]


def test_turns_rotate_and_reverse(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    runs = {name: lambda name=name: order.append(name) for name in "abc"}
    monkeypatch.setattr("sightline.recipes.bench.timing._SAMPLE", 0.0)
    alternate(runs, 3)
    assert "".join(order[6:]) == "abc" + "acb" + "cab"
    assert ratio([1.0, 9.0, 8.0], [1.0, 3.0, 4.0]) == 2.0


def test_differences() -> None:
    one = (torch.tensor([1.0, -2.0]),)
    assert largest_difference(one, [one, (torch.tensor([1.0, -4.0]),)]) == 0.5
    assert largest_difference(one, [(torch.tensor([1.0, math.nan]),)]) == math.inf
    assert not within_rounding(math.inf, "bfloat16")
    assert within_rounding(largest_difference(one, []), "float32")


def test_a_report_with_wrong_numbers_does_not_agree(report: BenchReport) -> None:
    assert report.agrees
    row = dataclasses.replace(report.decode[0], agrees=False, difference=0.25)
    wrong = dataclasses.replace(report, decode=(row,))
    assert not wrong.agrees
    text = render_report(wrong, color=False, encoding="ascii", width=100)
    assert "  full rows: WRONG NUMBERS: off by 2.5e-01" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--masks", "causal,nonsense"], "'--masks': got 'nonsense', wanted some of full, causal"),
        (["--pass", "sideways"], "'--pass': got 'sideways'"),
        (["--dtype", "int8"], "'--dtype': got 'int8'"),
        (["--lengths", "1k,,4k"], "'--lengths': got '1k,,4k', wanted a list"),
        (["--lengths", "many"], "'--lengths': got 'many', wanted a number"),
        (["--lengths", "4x8"], "'--lengths': got '4x8', wanted one number"),
        (["--lengths", "0"], "'--lengths': got '0'"),
        (["--dims", "x"], "'--dims': got 'x'"),
        (["--batches", "-1"], "'--batches': got '-1'"),
        (["--context", ""], "'--context': got ''"),
        (["--rounds", "0"], "--rounds"),
        (["--engine", "spda"], "got engine 'spda'; wanted one of auto"),
        (["--json", "/nowhere/at/all.json"], "'--json': there is no folder /nowhere/at"),
        (["--json", "/"], "'--json': / is a folder"),
        (["causal()"], "unexpected extra argument"),
    ],
)
def test_bad_usage(run: Run, words: list[str], said: str) -> None:
    code, out, err = run("bench", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.startswith("error: ")
    assert "Traceback" not in err


def test_full_and_quick_are_where_options_begin(
    run: Run, monkeypatch: pytest.MonkeyPatch, report: BenchReport
) -> None:
    asked: list[Settings] = []
    monkeypatch.setattr(command, "_run", lambda settings: asked.append(settings) or report)
    for words in ((), ("--full",), ("--full", "--masks", "ragged, full,ragged", "--dims", "32")):
        assert run("bench", *words)[0] == 0
    quick, full, narrowed = asked
    assert (quick.engine, quick.rounds, quick.dtypes, quick.dims) == ("cpu", 7, ("float32",), (64,))
    assert (full.masks, full.lengths) == (tuple(MASKS), (1024, 4096, 16384))
    assert (full.dims, full.batches) == ((64, 128), (1, 4))
    assert (narrowed.masks, narrowed.dims) == (("ragged", "full"), (32,))
    assert narrowed.lengths == full.lengths


def test_json_file_and_table_in_one_go(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    code, out, err = run(*TINY, "--masks", "causal", "--pass", "forward", "--json", path)
    assert (code, err) == (0, "")
    assert "forward, float32" in out
    assert json.loads(path.read_text())["rows"][0]["mask"] == "causal"
    assert list(tmp_path.iterdir()) == [path]
