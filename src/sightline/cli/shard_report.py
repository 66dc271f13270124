"""The words, the tables and the JSON of `sightline shard`; a rank stands for a device.

Nothing is dealt out here; arguments are read and output is written in shard.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sightline.plan.scaling import Devices, Layer, Loads, Prediction, predict
from sightline.plan.shard import Shard
from sightline.views.shard_rows import largest, row_names, row_starts
from sightline.views.shard_text import bar
from sightline.views.sizes import bytes_text
from sightline.views.text.glyphs import glyphs_for
from sightline.views.text.table import render_table

__all__ = ["Sharded", "as_json", "headline", "remarks", "render_many", "render_one"]

_ROWS, _BAR, _WIDTH = 16, 9, 80


@dataclass(frozen=True)
class Sharded:
    """What there is to tell of one number of ranks.

    Attributes:
        cut: the shards.
        usual: stretches from both ends, whatever the mask.
        layer, devices: what is computed, and on what.
        loads, times: of the shards.
        usual_loads, usual_times: of the usual, with all keys sent to everybody.
        seconds: what dealing out took.
    """

    cut: Shard
    usual: Shard
    layer: Layer
    devices: Devices
    loads: Loads
    times: Prediction
    usual_loads: Loads
    usual_times: Prediction
    seconds: float

    @classmethod
    def of(
        cls, cut: Shard, usual: Shard, layer: Layer, devices: Devices, seconds: float
    ) -> Sharded:
        """Work out the loads and the times."""
        own, other = Loads.of(cut, layer), Loads.all_gather(usual, layer)
        times = (predict(each, layer, devices) for each in (own, other))
        return cls(cut, usual, layer, devices, own, next(times), other, next(times), seconds)

    @property
    def key_bytes(self) -> int:
        """Bytes of one key and value, over the batch rows that the shards do not tell apart."""
        return self.layer.batch // self.cut.batch * self.layer.key_bytes


def headline(found: Sequence[Sharded], dtype: str) -> tuple[str, str]:
    """Return the expression, and a line about its shape and the layer's."""
    made, layer = found[0].cut.plan, found[0].layer
    what = f"{made.q_len:,} tokens"
    if made.kv_len != made.q_len:
        what = f"{made.q_len:,} queries x {made.kv_len:,} keys"
    sides = sorted({one.cut.plan.block_q for one in found})
    blocks = " to ".join(str(side) for side in dict.fromkeys((sides[0], sides[-1])))
    rows = f"{layer.batch} batch rows, " if layer.batch > 1 else ""
    many = f" on {found[0].cut.ranks:,} rank{'s' * (found[0].cut.ranks > 1)}"
    return repr(made.mask), (
        f"{what} in blocks of {blocks}{many if len(found) == 1 else ''}; {rows}"
        f"{layer.heads} heads of {layer.head_dim} on {layer.kv_heads}, {dtype}"
    )


def render_one(one: Sharded, *, color: bool, encoding: str) -> str:
    """Return the table of ranks, and that of the plan beside what is usual."""
    starts, signs = row_starts(one.cut.ranks, _ROWS), glyphs_for(encoding)
    mean = one.loads.pairs.mean() or 1.0
    area = largest(one.loads.pairs / mean, starts)
    received, sent = (largest(each, starts) for each in (one.loads.received, one.loads.sent))
    tokens = largest(one.cut.queries.lengths * one.cut.queries.batch, starts)
    most = int(one.usual_loads.received.max())
    rows = [
        (
            name,
            f"{tokens[row]:,}",
            f"{area[row]:.3f}",
            bar(area[row], area.max(), _BAR, signs),
            bytes_text(int(received[row])),
            bar(received[row], most, _BAR, signs),
            bytes_text(int(sent[row])),
        )
        for row, name in enumerate(row_names(one.cut.ranks, starts))
    ]
    head = ("rank", "tokens", "area / mean", "", "received", "", "sent")
    style = {"color": color, "encoding": encoding, "width": _WIDTH}
    table = render_table(head, rows, numeric=(1, 2, 4, 6), **style)
    several = ""
    if len(starts) < one.cut.ranks:
        several = f"a row is {starts[1]} ranks, and has the largest number of each; "
    legend = f"{several}received: a full bar is all the keys of the others ({bytes_text(most)})"
    table += "\n" + legend if len(legend) <= _WIDTH else "\n" + legend.replace("; ", ";\n", 1)
    return f"{table}\n\n{_beside(one, style)}"


def _beside(one: Sharded, style: dict[str, Any]) -> str:
    """Return the table of the plan, of head-tail with an all-gather, and of what is the least."""
    own, usual = one.loads.received, one.usual_loads.received
    ideal = [float(each.mean()) for each in (one.times.forward, one.times.backward)]
    # A rank is sent the keys that its queries see and it does not hold: fewer would not do.
    rows = [
        (
            "largest / mean area",
            f"{_balance(one.loads):.3f}",
            f"{_balance(one.usual_loads):.3f}",
            f"{one.cut.balance_at_least:.3f}",
        ),
        ("received, largest", *(bytes_text(int(each.max())) for each in (own, usual, own))),
        ("received, all ranks", *(bytes_text(int(each.sum())) for each in (own, usual, own))),
    ]
    for overlap, how in ((True, "sending beside"), (False, "sending before")):
        ours, others = (each.seconds(overlap=overlap) for each in (one.times, one.usual_times))
        for place, name in enumerate(("forward", "backward")):
            times = (ours[place], others[place], ideal[place])
            rows.append((f"{name}, {how}", *map(_time, times)))
    head = ("", "this plan", "head-tail, all-gather", "at least")
    table = render_table(head, rows, numeric=(1, 2, 3), **style)
    return f"{table}\nat least received: given who holds what, the keys that its queries see"


def render_many(found: Sequence[Sharded], *, color: bool, encoding: str) -> str:
    """Return a row for each number of ranks."""
    rows = []
    for one in found:
        both, usual = (sum(t.seconds(overlap=True)) for t in (one.times, one.usual_times))
        received, all_keys = (int(x.received.max()) for x in (one.loads, one.usual_loads))
        rows.append(
            (
                f"{one.cut.ranks:,}",
                f"{_balance(one.loads):.3f}",
                f"{_balance(one.usual_loads):.3f}",
                bytes_text(received),
                f"{received / all_keys:.1%}" if all_keys else "",
                _time(both),
                _time(usual),
                f"{one.times.efficiency(overlap=True):.0%}",
            )
        )
    head = ("ranks", "balance", "head-tail", "received", "of all", "time", "usual", "busy")
    table = render_table(head, rows, numeric=range(8), color=color, encoding=encoding, width=_WIDTH)
    return (
        f"{table}\n"
        "balance, head-tail: largest / mean area, of this plan and of the usual one;\n"
        "received: the most of a rank, in bytes and of all keys; busy: ideal / time;\n"
        "time, usual: forward and backward, sending beside computing; the usual is\n"
        "head-tail with an all-gather"
    )


def remarks(found: Sequence[Sharded], planned: float) -> list[str]:
    """Return the lines below the tables."""
    devices = found[0].devices
    took = ", ".join(f"{each.seconds * 1e3:.1f}" for each in found)
    return [
        f"planned in {planned * 1e3:.1f} ms, dealt out in {took} ms",
        f"times are arithmetic, not measured: a layer at {devices.tflops:g} TFLOP/s and "
        f"{devices.gbytes:g} GB/s a device",
    ]


def as_json(found: Sequence[Sharded], dtype: str, communication: float, planned: float) -> str:
    """Return the facts as JSON; all of them but the seconds it took are the same on every run."""
    made, layer = found[0].cut.plan, found[0].layer
    facts = {
        "expression": repr(made.mask),
        "q_len": made.q_len,
        "kv_len": made.kv_len,
        **asdict(layer),
        "dtype": dtype,
        "communication": communication,
        **asdict(found[0].devices),
        "pairs": made.pairs * (layer.batch // made.batch) * (layer.heads // made.heads),
        "seconds_to_plan": planned,
        "shards": [_facts(each) for each in found],
    }
    return json.dumps(facts, indent=2)


def _facts(one: Sharded) -> dict[str, Any]:
    return {
        "ranks": one.cut.ranks,
        "block": one.cut.plan.block_q,
        "seconds_to_shard": one.seconds,
        "balance": _balance(one.loads),
        "balance_at_least": one.cut.balance_at_least,
        "tokens": (one.cut.queries.lengths * one.cut.queries.batch).tolist(),
        "pairs": one.loads.pairs.astype(np.int64).tolist(),
        "bytes_received": one.loads.received.tolist(),
        "bytes_sent": one.loads.sent.tolist(),
        "predicted": _predicted(one.times),
        "usual": {
            "balance": _balance(one.usual_loads),
            "bytes_received": one.usual_loads.received.tolist(),
            "predicted": _predicted(one.usual_times),
        },
    }


def _predicted(times: Prediction) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for overlap, name in ((True, "overlapped"), (False, "in_turn")):
        forward, backward = times.seconds(overlap=overlap)
        found[name] = {
            "forward_seconds": forward,
            "backward_seconds": backward,
            "efficiency": times.efficiency(overlap=overlap),
        }
    return found


def _balance(loads: Loads) -> float:
    mean = float(loads.pairs.mean())
    return float(loads.pairs.max()) / mean if mean else 1.0


def _time(seconds: float) -> str:
    """Return a time in a unit that suits it.

    >>> _time(2.5), _time(0.0302), _time(0.000002)
    ('2.5 s', '30.2 ms', '2 us')
    """
    for unit, step in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= step:
            return f"{seconds / step:.3g} {unit}" if seconds / step < 1000 else f"{seconds:,.0f} s"
    return f"{seconds * 1e6:.3g} us"
