"""`sightline shard`: how a mask's work is dealt out to many devices, before any is rented.

Reads the arguments and prints; the shards come from sightline.plan, the tables and the JSON from
shard_report.py, the picture from sightline.views.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Annotated, cast

import typer

from sightline.cli.asking import Expression, Means, Tensor, check_size, lengths_of, mask_from
from sightline.cli.output import output_encoding, use_color, working, write_line
from sightline.cli.shard_report import Sharded, as_json, headline, remarks, render_many, render_one
from sightline.cli.sizes import read_size
from sightline.errors import InvalidArgument
from sightline.masks.mask import Mask
from sightline.plan.block_map import BlockMap
from sightline.plan.planner import plan as plan_blocks
from sightline.plan.scaling import Devices, Layer, head_tail, key_in_pairs
from sightline.plan.shard import shard as cut_plan
from sightline.plan.shard import usual_block
from sightline.views.drawing import KINDS, Kind
from sightline.views.shard_picture import draw_shard
from sightline.views.shard_text import render_shard_text
from sightline.views.text.glyphs import paint

__all__ = ["shard"]

_DEFAULT_SIZE = 4096
_HEADS, _KV_HEADS = 32, 8
_DTYPES = {"float32": 4, "bfloat16": 2, "float16": 2, "float8": 1}
_LARGEST_BLOCK = 4096
_MOST_RANKS = 1 << 16
_USUAL = Devices()

_Size = Annotated[
    str | None, typer.Option(metavar="N|QxK", help="Queries and keys, such as 128k or 1m.")
]
_Ranks = Annotated[
    str, typer.Option(metavar="N[,N...]", help="Devices, or several numbers of them to compare.")
]
_Batch = Annotated[int | None, typer.Option(min=1, metavar="B", help="Batch rows.")]
_Heads = Annotated[int | None, typer.Option(min=1, metavar="H", help="Query heads.")]
_KVHeads = Annotated[int | None, typer.Option(min=1, metavar="H", help="Key/value heads.")]
_HeadDim = Annotated[int, typer.Option(min=1, metavar="D", help="Length of a head's vectors.")]
_Dtype = Annotated[str, typer.Option(metavar="|".join(_DTYPES), help="Of keys and values.")]
_Block = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Tokens that stay together: 128, or fewer for short."),
]
_Communication = Annotated[
    str,
    typer.Option(
        metavar="PAIRS|auto",
        help="What receiving a key costs, in allowed pairs: 0 evens work out, more spares keys; "
        "auto is what --gbytes and --tflops make of it.",
    ),
]
_Tflops = Annotated[
    float, typer.Option(metavar="N", help="10^12 operations a second that attention reaches.")
]
_Gbytes = Annotated[
    float, typer.Option(metavar="N", help="10^9 bytes a second into and out of a device.")
]
_Out = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Draw into a file .svg, .png, .html or .txt, too."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]


def shard(
    expression: Expression = None,
    size: _Size = None,
    ranks: _Ranks = "8",
    batch: _Batch = None,
    heads: _Heads = None,
    kv_heads: _KVHeads = None,
    head_dim: _HeadDim = 128,
    dtype: _Dtype = "bfloat16",
    block: _Block = None,
    communication: _Communication = "0",
    tflops: _Tflops = _USUAL.tflops,
    gbytes: _Gbytes = _USUAL.gbytes,
    means: Means = None,
    tensor: Tensor = None,
    json: _Json = False,
    out: _Out = None,
) -> None:
    """Say how attention would be dealt out to many devices: work, bytes and time of each.

    Beside it stands what is usual: stretches from both ends, and all keys to everybody. Times are
    arithmetic (operations / rate, bytes / bandwidth), not measurements.

    Examples:
      sightline shard 'causal() & window(left=4095)' --size 1m --ranks 64
      sightline shard 'causal() & documents(lengths=[600000, 400000])' --size 1m --ranks 8,64,512
      sightline shard 'causal()' --size 128k --ranks 8 --tflops 400 --gbytes 450 --out plan.svg
      sightline shard 'causal() & documents(lengths=[70000, 61072])' --communication auto
    """
    numbers, kind = _numbers(ranks), _kind(out, ranks)
    mask = mask_from(expression, means, tensor)
    q_len, kv_len = read_size(size) if size else lengths_of(mask, 0, _DEFAULT_SIZE)
    check_size(mask, q_len, kv_len)
    _check_blocks(q_len, block, max(numbers))
    devices = _devices(tflops, gbytes)
    weight = _weight(communication)
    layer = _layer(mask, batch, heads, kv_heads, head_dim, _dtype_bytes(dtype))
    with working("dealing out"):
        started = time.perf_counter()
        plans = _plans(mask, (q_len, kv_len), block, numbers)
        planned = time.perf_counter() - started
        if weight is None:
            weight = key_in_pairs(plans[0], layer, devices)
        pairs = zip(plans, numbers, strict=True)
        found = [_sharded(made, each, weight, layer, devices) for made, each in pairs]
    if out is not None:
        draw_shard(found[0].cut, to=kind, key_bytes=found[0].key_bytes).save(out)
    if json:
        write_line(as_json(found, dtype, weight, planned))
        return
    _print(found, dtype, planned)
    if out is not None:
        write_line(f"wrote {out}")


def _numbers(text: str) -> list[int]:
    """Return the numbers of ranks, each once, in the order given."""
    found: dict[int, None] = {}
    for word in text.split(","):
        digits = word.strip()
        number = int(digits) if digits.isdecimal() else 0
        if not 1 <= number <= _MOST_RANKS:
            raise typer.BadParameter(
                f"got {text!r}; wanted numbers from 1 to {_MOST_RANKS:,} with commas between, such "
                "as 64 or 8,64,512.",
                param_hint="'--ranks'",
            )
        found[number] = None
    return list(found)


def _kind(out: Path | None, ranks: str) -> Kind:
    kind = "svg" if out is None else out.suffix.lower().lstrip(".")
    if kind not in KINDS:
        raise typer.BadParameter(
            f"got {str(out)!r}; end its name in one of {', '.join('.' + k for k in KINDS)}.",
            param_hint="'--out'",
        )
    if out is not None and "," in ranks:
        raise typer.BadParameter(
            f"a picture is of one number of devices; got --ranks {ranks}.", param_hint="'--out'"
        )
    return cast("Kind", kind)


def _plans(
    mask: Mask, lengths: tuple[int, int], block: int | None, numbers: list[int]
) -> list[BlockMap]:
    """Return a plan for each number of ranks, in the blocks that training takes."""
    sides = [block or usual_block(lengths[0], ranks) for ranks in numbers]
    plans = {side: plan_blocks(mask, *lengths, block_q=side, block_kv=side) for side in set(sides)}
    return [plans[side] for side in sides]


def _check_blocks(q_len: int, block: int | None, ranks: int) -> None:
    block = block or usual_block(q_len, ranks)
    if block > _LARGEST_BLOCK:
        raise typer.BadParameter(
            f"got {block}, wanted at most {_LARGEST_BLOCK}.", param_hint="'--block'"
        )
    blocks = -(-q_len // block)
    if blocks < ranks:
        fit = max(1, q_len // ranks)
        instead = f"--block {1 << fit.bit_length() - 1} or " if q_len >= ranks else ""
        raise typer.BadParameter(
            f"got {ranks:,} for {q_len:,} queries in {blocks:,} blocks of {block}; wanted a block "
            f"or more for each; take {instead}at most {blocks:,}.",
            param_hint="'--ranks'",
        )


def _devices(tflops: float, gbytes: float) -> Devices:
    try:
        return Devices(tflops, gbytes)
    except InvalidArgument as error:
        name = "--tflops" if "tflops" in str(error) else "--gbytes"
        raise typer.BadParameter(str(error), param_hint=repr(name)) from None


def _weight(text: str) -> float | None:
    """Return what a key costs; None for what the devices make of it."""
    if text == "auto":
        return None
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not (weight >= 0 and math.isfinite(weight)):
        raise typer.BadParameter(
            f"got {text!r}; wanted a number of pairs, 0 or more, or auto.",
            param_hint="'--communication'",
        )
    return weight


def _dtype_bytes(dtype: str) -> int:
    if dtype not in _DTYPES:
        raise typer.BadParameter(
            f"got {dtype!r}, wanted one of {', '.join(_DTYPES)}.", param_hint="'--dtype'"
        )
    return _DTYPES[dtype]


def _layer(
    mask: Mask,
    batch: int | None,
    heads: int | None,
    kv_heads: int | None,
    head_dim: int,
    dtype_bytes: int,
) -> Layer:
    """Return the layer as asked; what is not said is a usual one, or what the mask has."""
    heads = heads or (mask.heads if mask.heads > 1 else _HEADS)
    kv_heads = kv_heads or (heads if heads % _KV_HEADS else _KV_HEADS)
    return Layer(batch or mask.batch, heads, kv_heads, head_dim, dtype_bytes)


def _sharded(
    made: BlockMap, ranks: int, communication: float, layer: Layer, devices: Devices
) -> Sharded:
    started = time.perf_counter()
    cut = cut_plan(made, ranks, communication=communication)
    seconds = time.perf_counter() - started
    return Sharded.of(cut, head_tail(made, ranks), layer, devices, seconds)


def _print(found: list[Sharded], dtype: str, planned: float) -> None:
    color, encoding = use_color(), output_encoding()
    expression, facts = headline(found, dtype)
    write_line(paint(expression, "title", color))
    write_line(facts)
    write_line()
    if len(found) > 1:
        write_line(render_many(found, color=color, encoding=encoding))
    else:
        write_line(render_one(found[0], color=color, encoding=encoding))
        write_line()
        write_line(render_shard_text(found[0].cut, color=color, encoding=encoding))
    write_line()
    for line in remarks(found, planned):
        write_line(line)
