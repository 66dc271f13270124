"""Makes the tables and charts of docs/scaling.md, and what docs/plan.md shows of shards.

python docs/make_scaling.py            write them
python docs/make_scaling.py --check    exit 1 if they are not what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filled import fill, table
from settled import settle

import sightline as sl
from sightline.cli.shard_report import Sharded, headline, render_many
from sightline.plan.scaling import (
    Devices,
    Layer,
    Loads,
    Prediction,
    head_tail,
    key_in_pairs,
    predict,
)
from sightline.views.charts.chart import Line, render_chart
from sightline.views.sizes import bytes_text

DOCS = Path(__file__).parent
TOKENS = 2**20
RANKS = (8, 16, 32, 64, 128, 256, 512, 1024)
# What plan.md shows a picture of.
EXAMPLE = sl.causal() & sl.documents(lengths=[300_000, 700_000])
# The last row: its neighbours' colors in the charts stay.
PRICED = "packed, keys priced"
# What the table of loads shows.
SHOWN = (8, 64, 512)
LAYER, DEVICES = Layer(), Devices()


class Dealt(NamedTuple):
    """One mask on one number of ranks: dealt out as it is, and as is usual."""

    loads: Loads
    times: Prediction
    usual: Loads
    usual_times: Prediction


def masks() -> dict[str, sl.Mask]:
    """Return the masks by name."""
    documents = sl.documents(lengths=document_lengths())
    return {
        "causal": sl.causal(),
        "packed": sl.causal() & documents,
        "window": sl.window(left=4095, right=0),
        "prefix-LM": sl.causal() | sl.prefix(TOKENS // 4),
        "block diffusion": sl.block_diffusion(TOKENS // 2, 512),
    }


def document_lengths() -> list[int]:
    """Return lengths of documents, log-normal with a median of 8,192 tokens, that fill the row."""
    drawn = np.exp(np.random.default_rng(0).normal(np.log(8192), 1.0, 1000)).astype(int) + 1
    ends = np.cumsum(drawn)
    kept = drawn[: int(np.searchsorted(ends, TOKENS))].tolist()
    return [*kept, TOKENS - sum(kept)]


@lru_cache(maxsize=1)
def dealt() -> dict[str, dict[int, Dealt]]:
    """Return every mask on every number of ranks."""
    found = {}
    for name, mask in masks().items():
        made = sl.plan(mask, TOKENS)
        found[name] = {ranks: one(made, ranks) for ranks in RANKS}
    made = sl.plan(masks()["packed"], TOKENS)
    price = key_in_pairs(made, LAYER, DEVICES)
    return {**found, PRICED: {ranks: one(made, ranks, price) for ranks in RANKS}}


def one(made: sl.BlockMap, ranks: int, price: float = 0.0) -> Dealt:
    """Return what becomes of a plan on so many ranks, where a key costs so many pairs."""
    loads = Loads.of(sl.shard(made, ranks, communication=price), LAYER)
    usual = Loads.all_gather(head_tail(made, ranks), LAYER)
    times = (predict(each, LAYER, DEVICES) for each in (loads, usual))
    return Dealt(loads, next(times), usual, next(times))


def load_rows() -> Iterator[str]:
    """Yield how even the work is, and what is received."""
    for name, by_ranks in dealt().items():
        for ranks in SHOWN:
            here = by_ranks[ranks]
            own, usual = int(here.loads.received.max()), int(here.usual.received.max())
            cells = (
                name if ranks == SHOWN[0] else "",
                f"{ranks:,}",
                balance(here.loads),
                balance(here.usual),
                bytes_text(own),
                bytes_text(usual),
                f"{own / usual:.1%}",
            )
            yield f"| {' | '.join(cells)} |"


def balance(loads: Loads) -> str:
    """Return largest ÷ mean area."""
    return f"{loads.pairs.max() / loads.pairs.mean():.3f}"


def time_rows(overlap: bool) -> Iterator[str]:
    """Yield the time of a layer forward and backward, and of the usual way, for each mask."""
    for name, by_ranks in dealt().items():
        times = [
            f"{layer_time(here.times, overlap)} ({layer_time(here.usual_times, overlap)})"
            for here in by_ranks.values()
        ]
        yield f"| {name} | {' | '.join(times)} |"


def layer_time(times: Prediction, overlap: bool) -> str:
    """Return milliseconds forward and backward, of three digits."""
    milliseconds = sum(times.seconds(overlap=overlap)) * 1e3
    return f"{float(f'{milliseconds:.3g}'):,g}"


def busy_chart(usual: bool) -> str:
    """Return the chart of how busy devices are."""
    lines = []
    for name, by_ranks in dealt().items():
        if usual and name == PRICED:
            continue  # for which the usual way is that of "packed"
        times = [here.usual_times if usual else here.times for here in by_ranks.values()]
        shares = [100 * each.efficiency(overlap=True) for each in times]
        lines.append(Line.of(name, RANKS, shares))
    how = "head-tail, all keys to everybody" if usual else "dealt out by the mask"
    return render_chart(
        lines, title=f"Computing, % of the time: {how}", x_name="devices", log_x=True, target=100
    )


def tables() -> dict[str, str]:
    """Return the tables of the page, by name."""
    head = "| mask | devices | area | head-tail | received | all-gather | of it |"
    ranks = " | ".join(f"{each:,}" for each in RANKS)
    return {
        "loads": table(head, load_rows()),
        "beside": table(f"| mask | {ranks} |", time_rows(overlap=True)),
        "before": table(f"| mask | {ranks} |", time_rows(overlap=False)),
    }


def command() -> str:
    """Return what `sightline shard` prints of a window, but for the time that it took."""
    made = sl.plan(masks()["window"], TOKENS)
    cuts = [sl.shard(made, ranks) for ranks in SHOWN]
    found = [Sharded.of(cut, head_tail(made, cut.ranks), LAYER, DEVICES, 0.0) for cut in cuts]
    ranks = ",".join(map(str, SHOWN))
    lines = [
        "```console",
        f"$ sightline shard 'causal() & window(left=4095)' --size 1m --ranks {ranks}",
        *headline(found, "bfloat16"),
        "",
        render_many(found, color=False, encoding="utf-8"),
        "```",
    ]
    return "\n".join(lines)


def files() -> dict[Path, str]:
    """Return the pages with their tables made anew, and the pictures."""
    made = {"scaling.md": tables(), "plan.md": {"command": command()}}
    pages = {
        DOCS / page: fill((DOCS / page).read_text(encoding="utf-8"), page, parts)
        for page, parts in made.items()
    }
    folder = DOCS / "pictures" / "scaling"
    return {
        **pages,
        folder / "packed.svg": str(sl.shard(sl.plan(EXAMPLE, TOKENS), 8).draw()),
        folder / "busy.svg": busy_chart(usual=False),
        folder / "usual.svg": busy_chart(usual=True),
    }


def main(words: list[str]) -> int:
    """Write or check, and return the exit code."""
    return settle(words, __doc__, "make_scaling", DOCS, files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
