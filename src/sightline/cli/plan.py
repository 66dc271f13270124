"""`sightline plan`: what work a mask leaves at a shape, without holding or asking every pair.

Reads the arguments and prints; the facts come from sightline.plan and sightline.views.survey, the
table and the JSON from plan_report.py.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from sightline.cli.asking import (
    MOST_MIXED,
    Expression,
    Means,
    QOffset,
    Tensor,
    check_size,
    lengths_of,
    mask_from,
)
from sightline.cli.output import output_encoding, progress_bar, use_color, write_line
from sightline.cli.plan_report import Planned, as_json, headline, render_facts
from sightline.cli.show_report import Shown, remarks
from sightline.cli.sizes import read_size
from sightline.masks.mask import Mask
from sightline.plan.block_map import BlockMap
from sightline.plan.cost import cost_of
from sightline.plan.planner import plan as plan_blocks
from sightline.views.picture import picture_from
from sightline.views.survey import Survey, survey
from sightline.views.text.glyphs import paint
from sightline.views.text.terminal import render_text

__all__ = ["plan"]

_DEFAULT_SIZE = 4096
# The bits of one block are held whole: 2 MiB.
_LARGEST_BLOCK = 4096
# Up to 32 tokens are drawn one by one; more are drawn in 16 cells each way.
_MOST_SINGLE, _CELLS = 32, 16
_PAIRS_WORTH_A_BAR = 10**9

_Size = Annotated[
    str | None, typer.Option(metavar="N|QxK", help="Queries and keys, such as 4k, 1m or 1x128k.")
]
_Block = Annotated[str, typer.Option(metavar="N|QxK", help="Queries and keys of a block.")]
_Cuts = Annotated[
    str,
    typer.Option(
        metavar="uniform|aligned", help="Blocks of equal size, or begun anew with each sequence."
    ),
]
_Heads = Annotated[
    int | None, typer.Option(min=1, metavar="H", help="Count for so many query heads.")
]
_HeadDim = Annotated[int, typer.Option(min=1, metavar="D", help="Length of a head's vectors.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")]


def plan(
    expression: Expression = None,
    size: _Size = None,
    q_offset: QOffset = 0,
    block: _Block = "128",
    cuts: _Cuts = "uniform",
    heads: _Heads = None,
    head_dim: _HeadDim = 64,
    means: Means = None,
    tensor: Tensor = None,
    json: _Json = False,
) -> None:
    """Say what work a mask leaves to do: blocks, pairs, operations, memory; at any length.

    Examples:
      sightline plan 'causal() & window(left=4095)' --size 1m
      sightline plan 'causal() & documents(lengths=[600, 424])' --cuts aligned --heads 32
      sightline plan 'causal() & window(left=1023)' --size 1x128k --q-offset 131071
    """
    mask = mask_from(expression, means, tensor)
    q_len, kv_len = read_size(size) if size else lengths_of(mask, q_offset, _DEFAULT_SIZE)
    check_size(mask, q_len, kv_len)
    block_map, seconds = _timed(mask, (q_len, kv_len), q_offset, _block(block), cuts)
    cost = cost_of(block_map, heads=heads, head_dim=head_dim)
    seen = _look(block_map)
    planned = Planned(block_map, cost, seen, seconds, heads or mask.heads, head_dim)
    if json:
        write_line(as_json(planned))
    else:
        _print(planned)


def _block(text: str) -> tuple[int, int]:
    sizes = read_size(text, "--block")
    if max(sizes) > _LARGEST_BLOCK:
        raise typer.BadParameter(
            f"got {text!r}, wanted at most {_LARGEST_BLOCK} queries and keys a block.",
            param_hint="'--block'",
        )
    return sizes


def _timed(
    mask: Mask, lengths: tuple[int, int], q_offset: int, block: tuple[int, int], cuts: Any
) -> tuple[BlockMap, float]:
    """Plan, and take the time; a process of its own has no plans kept from before."""
    started = time.perf_counter()
    made = plan_blocks(
        mask, *lengths, q_offset=q_offset, block_q=block[0], block_kv=block[1], cuts=cuts
    )
    return made, time.perf_counter() - started


def _look(block_map: BlockMap) -> Survey:
    lengths = block_map.q_len, block_map.kv_len
    fit = _CELLS if max(lengths) > _MOST_SINGLE else _MOST_SINGLE
    wanted = block_map.all_pairs > _PAIRS_WORTH_A_BAR
    with progress_bar("looking", block_map.q_len, wanted=wanted) as progress:
        return survey(
            block_map.mask,
            *lengths,
            q_offset=block_map.q_offset,
            fit=fit,
            progress=progress,
            most_mixed=MOST_MIXED,
        )


def _print(planned: Planned) -> None:
    color, encoding = use_color(), output_encoding()
    expression, facts = headline(planned)
    write_line(paint(expression, "title", color))
    write_line(facts)
    write_line()
    write_line(render_facts(planned, color=color, encoding=encoding))
    write_line()
    shown = Shown.of(planned.block_map.mask, None, None)
    title = shown.name(0, 0) and f"{shown.name(0, 0)}, of {len(shown)} drawn by `sightline show`"
    picture = picture_from(planned.seen, title=title)
    write_line(render_text(picture, color=color, encoding=encoding))
    for line in remarks(planned.seen, shown, len(shown)):
        write_line(line)
