"""Shards as text for terminals and logs: who holds and receives what, in signs; bars of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.views.shard_rows import rank_rows
from sightline.views.text.glyphs import Glyphs, glyphs_for, paint

if TYPE_CHECKING:
    from sightline.plan.shard import Shard

__all__ = ["bar", "render_shard_text"]

_ROWS, _CELLS = 16, 64


def render_shard_text(cut: Shard, *, color: bool = False, encoding: str = "utf-8") -> str:
    """Return a row of signs for each rank: the stretches of keys that it holds and receives.

    >>> import sightline as sl
    >>> cut = sl.shard(sl.plan(sl.causal() & sl.window(left=127), 1024), 2)
    >>> print(render_shard_text(cut))
    0 ████····
    1 ···░████
    1 cell = 128 keys: █ held  ░ received  ▓ both  · neither
    """
    rows = rank_rows(cut, _ROWS, _CELLS)
    signs = glyphs_for(encoding)
    width = max(len(name) for name in rows.names)
    lines = []
    for name, held, received in zip(rows.names, rows.held, rows.received, strict=True):
        text = "".join(
            paint(_sign(a, b, signs), "allowed" if a else "forbidden", color)
            for a, b in zip(held.tolist(), received.tolist(), strict=True)
        )
        lines.append(f"{name:>{width}} {text}")
    return "\n".join([*lines, _legend(cut, signs)])


def _sign(held: bool, received: bool, signs: Glyphs) -> str:
    if held:
        return signs.shades[2] if received else signs.shades[3]
    return signs.shades[0] if received else signs.forbidden


def _legend(cut: Shard, signs: Glyphs) -> str:
    blocks = -(-cut.plan.kv_blocks // _CELLS)
    low, _, both, full = signs.shades
    size = f"1 cell = {blocks * cut.plan.block_kv:,} keys"
    row = ", batch row 0" if cut.batch > 1 else ""
    return f"{size}{row}: {full} held  {low} received  {both} both  {signs.forbidden} neither"


def bar(value: float, full: float, width: int, signs: Glyphs) -> str:
    """Return a bar, as long as a value is of what would fill it; what is not 0 shows.

    >>> bar(1, 2, 8, glyphs_for("ascii")), bar(1e-6, 2, 8, glyphs_for("ascii"))
    ('####', '-')
    """
    cells = min(width, round(width * value / full)) if full > 0 else 0
    return signs.shades[3] * cells or (signs.shades[0] if value > 0 else "")
