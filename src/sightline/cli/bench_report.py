"""The tables and the JSON of `sightline bench`; nothing is measured here.

Ratios are told so that above 1 is good: a peer's time ÷ ours, our rate ÷ that of a plain read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from sightline.recipes.bench.records import BenchReport, Calls, DecodeRow, PassRow, Peer
from sightline.views.page import Cell
from sightline.views.text.table import render_table

__all__ = ["as_json", "render_report"]

# Peer -> the head of its column, in this order.
_COLUMNS = {
    "SDPA with the mask": "masked",
    "SDPA without a mask": "bare",
    "SDPA is_causal": "causal",
    "loop over documents": "loop",
    "FlexAttention": "flex",
}
_NONE = ""
Rows = Sequence[Sequence[str | Cell]]
Draw = Callable[[Sequence[str], Rows, Iterable[int]], str]


def as_json(report: BenchReport) -> str:
    """Return all figures as JSON, field by field; what is no number becomes null."""
    return json.dumps(_plain(asdict(report)), indent=1, allow_nan=False)


def render_report(report: BenchReport, *, color: bool, encoding: str, width: int) -> str:
    """Return the tables, a part for each pass and dtype, and what was left out and why."""

    def draw(columns: Sequence[str], rows: Rows, numeric: Iterable[int]) -> str:
        return render_table(
            columns, rows, numeric=numeric, color=color, encoding=encoding, width=width
        )

    parts: list[str] = []
    for _, group in groupby(report.rows, key=_shape):
        parts.append(_passes(list(group), report, draw))
    for dtype, steps in groupby(report.decode, key=lambda row: row.dtype):
        parts.append(_decode(dtype, list(steps), draw))
    if report.calls is not None:
        parts.append(_calls(report.calls, draw))
    parts.append(_foot(report))
    return "\n\n".join(parts)


def _shape(row: PassRow) -> tuple[object, ...]:
    return row.kind, row.dtype, row.length, row.batch, row.dim


def _passes(rows: list[PassRow], report: BenchReport, draw: Draw) -> str:
    """Return the table of all masks at one shape."""
    first, shown = rows[0], _taking_part(row.peers for row in rows)
    title = (
        f"{first.kind}, {first.dtype}, {first.length:,} tokens, batch {first.batch}, "
        f"{first.heads} heads of {first.dim} (peak {report.peak_gflops[first.dtype]:,.0f} GFLOP/s):"
    )
    heads = ("mask", "ours ms", *(_COLUMNS[name] for name in shown))
    heads = (*heads, "best", "eff", "GFLOP/s", "peak")
    cells = [
        [
            row.mask,
            _own(row.ms, row.refused),
            *(_ms_of(row.peers, name) for name in shown),
            _times(_best(row.peers)),
            _times(row.efficiency),
            _number(row.gflops, 0),
            _percent(row.share_of_peak),
        ]
        for row in rows
    ]
    notes = [f"  {row.mask}: {note}" for row in rows for note in _notes(row)]
    return "\n".join([title, draw(heads, cells, range(1, len(heads))), *notes])


def _notes(row: PassRow) -> list[str]:
    """Return what else there is to say of a row, a line each."""
    notes = [f"{out.name} is left out: {out.reason}" for out in row.left_out]
    if row.compile_seconds is not None:
        notes.append(f"FlexAttention's first call took {row.compile_seconds:.1f} s")
    return [*notes, *_faults(row)]


def _faults(row: PassRow | DecodeRow) -> list[str]:
    faults = [f"the engine refuses: {row.refused}"] if row.refused else []
    if not row.agrees:
        faults.append(f"WRONG NUMBERS: off by {row.difference:.1e} of the largest")
    return faults


def _decode(dtype: str, rows: list[DecodeRow], draw: Draw) -> str:
    first = rows[0]
    shown = _taking_part(row.peers for row in rows)
    heads = ("cache", "MiB", "ours ms", *(_COLUMNS[name] for name in shown))
    heads = (*heads, "GB/s", "read", "of it", "best", "read by")
    cells = [
        [
            row.case,
            f"{row.live_mib:.1f}",
            _own(row.ms, row.refused),
            *(_ms_of(row.peers, name) for name in shown),
            _number(row.gb_per_second, 1),
            f"{row.read_gb_per_second:.1f}",
            _times(row.share_of_read, good=0.9),
            _times(_best(row.peers)),
            row.reader,
        ]
        for row in rows
    ]
    title = (
        f"decode, {dtype}: one query, {first.batch} batch rows, {first.heads} heads of "
        f"{first.dim}, {first.cache:,} keys:"
    )
    notes = [f"  {row.case}: {fault}" for row in rows for fault in _faults(row)]
    return "\n".join([title, draw(heads, cells, range(1, len(heads) - 1)), *notes])


def _calls(calls: Calls, draw: Draw) -> str:
    if calls.refused:
        return f"calls: the engine refuses: {calls.refused}"
    rows = [
        (f"first call with a new mask, {calls.length:,} tokens", f"{calls.first_call_ms:+.2f} ms"),
        ("  a later call", f"{calls.steady_ms:.2f} ms"),
        ("least call, [1, 1, 1, 8]", f"{calls.minimal_us:.1f} us"),
        ("  SDPA's", f"{calls.sdpa_minimal_us:.1f} us"),
    ]
    for row in calls.memory:
        what = f"memory of causal {row.kind}, {row.length:,} tokens"
        if row.refused:
            rows.append((what, f"not known: {row.refused}"))
            continue
        rows.append((what, f"{row.mib:.1f} MiB beyond {row.results_mib:.1f} of results"))
    return "calls, float32:\n" + draw(("", "figure"), rows, [])


def _foot(report: BenchReport) -> str:
    facts = report.machine
    isa = f", {facts['isa']}" if facts.get("isa") else ""
    lines = (
        f"engine {report.settings.engine}{isa}; ms, medians of {report.settings.rounds} by turns",
        "masked, bare, causal: SDPA with the mask, without one, with is_causal",
        "loop: SDPA with is_causal, document by document; flex: compiled FlexAttention",
        "best: the quickest peer's time ÷ ours; eff: density x time of SDPA without a mask ÷ ours",
        "peak: share of what a large product of matrices reaches",
        "MiB, GB/s: of live keys and values; read: a plain read of as many bytes of that memory",
        f"{facts['cpu']}, {facts['threads']} threads, torch {facts['torch']}, load "
        f"{facts['load']}; {report.seconds:.0f} s",
    )
    return "\n".join(lines)


def _taking_part(peers: Iterable[tuple[Peer, ...]]) -> list[str]:
    names = {peer.name for row in peers for peer in row}
    return [name for name in _COLUMNS if name in names]


def _best(peers: tuple[Peer, ...]) -> float:
    """Return the ratio to the quickest peer, NaN if there is none."""
    return peers[0].ratio if peers else math.nan


def _ms_of(peers: tuple[Peer, ...], name: str) -> str:
    return next((_ms(peer.ms) for peer in peers if peer.name == name), _NONE)


def _own(ms: float, refused: str) -> str | Cell:
    return Cell("refused", "bad") if refused else _ms(ms)


def _ms(ms: float) -> str:
    return f"{ms:.3f}" if ms < 1 else f"{ms:.2f}" if ms < 100 else f"{ms:,.0f}"


def _times(ratio: float, good: float = 1.0) -> str | Cell:
    if math.isnan(ratio):
        return _NONE
    return Cell(f"{ratio:.2f}", "good" if ratio >= good else "bad")


def _number(number: float, digits: int) -> str:
    return _NONE if math.isnan(number) else f"{number:,.{digits}f}"


def _percent(share: float) -> str:
    return _NONE if math.isnan(share) else f"{share:.0%}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
