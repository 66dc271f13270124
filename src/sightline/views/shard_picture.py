"""Shards as a picture: who holds and receives which keys, and each rank's work and bytes.

What is drawn is in shard_panels.py; here it is put together, as a drawing or for a notebook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.errors import InvalidArgument
from sightline.masks.text import short
from sightline.views.charts.parts import document, xml
from sightline.views.drawing import KINDS, Drawing, Kind
from sightline.views.labels import clip, visible
from sightline.views.png.paint import rasterize
from sightline.views.shard_panels import (
    MOST_OWNERS,
    Panel,
    bars_panel,
    mask_panel,
    stretches_panel,
)
from sightline.views.shard_rows import rank_rows
from sightline.views.shard_text import render_shard_text
from sightline.views.sizes import bytes_text
from sightline.views.style import CHARTS_CSS
from sightline.views.svg.numbers import number

if TYPE_CHECKING:
    from sightline.plan.shard import Shard

__all__ = ["draw_shard", "shard_html"]

_ROWS, _CELLS = 64, 128
_WIDTH, _HEADING = 680.0, 48.0


def draw_shard(cut: Shard, *, to: Kind = "svg", key_bytes: int | None = None) -> Drawing:
    """Return a picture of shards: who holds what, receives what, and has how much to do.

    Args:
        cut: the shards.
        to: ``"svg"``, ``"png"`` (extra ``views``), ``"html"`` or ``"txt"``.
        key_bytes: bytes of the keys and values of one position, over the batch rows that the
            shards do not tell apart; None to count keys.

    Raises:
        InvalidArgument: another kind.
        MissingExtra: a PNG without matplotlib.

    >>> import sightline as sl
    >>> cut = sl.shard(sl.plan(sl.causal(), 1024), 4)
    >>> draw_shard(cut)
    <Drawing svg: causal() on 4 ranks: largest / mean area 1.000, at most 768 keys received>
    """
    if to not in KINDS:
        raise InvalidArgument(f"got to={to!r}; wanted one of {', '.join(KINDS)}.")
    if to == "txt":
        return Drawing(to, render_shard_text(cut) + "\n", _summary(cut))
    panels = _panels(cut, key_bytes)
    if to == "html":
        return Drawing(to, _html(cut, panels), _summary(cut))
    svg = _sheet(cut, panels)
    return Drawing(to, rasterize(svg) if to == "png" else svg, _summary(cut))


def shard_html(cut: Shard) -> str:
    """Return what a notebook shows of shards."""
    return _html(cut, _panels(cut, None))


def _panels(cut: Shard, key_bytes: int | None) -> list[Panel]:
    rows = rank_rows(cut, _ROWS, _CELLS)
    all_keys = int((cut.plan.kv_len - cut.keys.lengths).max()) * cut.batch
    unit = key_bytes or 1
    found = [mask_panel(cut)] if cut.ranks <= MOST_OWNERS else []
    found.append(stretches_panel(rows, cut))
    found.append(
        bars_panel(
            "area / mean",
            rows.names,
            rows.area.tolist(),
            [f"{area:.3f}" for area in rows.area],
            full=max(1.0, float(rows.area.max(initial=1.0))),
            mark=1.0,
            foot=f"largest {cut.balance:.3f}; dotted: the mean",
        )
    )
    say = bytes_text if key_bytes else "{:,}".format
    most = say(int(rows.keys.max()) * unit)
    found.append(
        bars_panel(
            "bytes received" if key_bytes else "keys received",
            rows.names,
            (rows.keys * unit).tolist(),
            [say(int(each) * unit) for each in rows.keys],
            full=float(max(all_keys, 1) * unit),
            mark=float(all_keys * unit),
            foot=f"largest {most}; dotted: all keys of the others, {say(all_keys * unit)}",
        )
    )
    return found


def _sheet(cut: Shard, panels: list[Panel]) -> str:
    """Return one drawing of all panels, side by side as far as they fit."""
    body, x, y, high = [*_heading(cut)], 0.0, _HEADING, 0.0
    for panel in panels:
        if x and x + panel.width > _WIDTH:
            x, y, high = 0.0, y + high, 0.0
        body += [f'<g transform="translate({number(x)} {number(y)})">', *panel.elements, "</g>"]
        x, high = x + panel.width, max(high, panel.height)
    return document(body, _WIDTH, y + high, _summary(cut), standalone=True, style=CHARTS_CSS)


def _html(cut: Shard, panels: list[Panel]) -> str:
    """Return the panels as drawings of their own, which a narrow page sets one below the other."""
    drawn = "".join(
        document(
            panel.elements,
            panel.width,
            panel.height,
            _summary(cut),
            standalone=True,
            style=CHARTS_CSS,
        )
        for panel in panels
    )
    row = f'<div style="display:flex;flex-wrap:wrap;align-items:flex-start;gap:4px">{drawn}</div>'
    name = f"<code>{xml(visible(short(cut.plan.mask)))}</code>"
    return f"<div>{name}<br><small>{xml(_about(cut))}</small>{row}</div>"


def _heading(cut: Shard) -> list[str]:
    name = clip(visible(short(cut.plan.mask)), 84)
    return [
        f'<text class="title" x="12" y="22">{xml(name)}</text>',
        f'<text class="note" x="12" y="40">{xml(_about(cut))}</text>',
    ]


def _about(cut: Shard) -> str:
    plan = cut.plan
    what = f"{plan.q_len:,} tokens"
    if plan.kv_len != plan.q_len:
        what = f"{plan.q_len:,} queries, {plan.kv_len:,} keys"
    rows = f", {cut.batch} batch rows (the first is drawn)" if cut.batch > 1 else ""
    each = f", {-(-cut.ranks // _ROWS)} to a row: the most of each" if cut.ranks > _ROWS else ""
    return f"{what} in blocks of {plan.block_q} on {cut.ranks:,} ranks{each}{rows}"


def _summary(cut: Shard) -> str:
    most = int(cut.received.max(initial=0))
    return (
        f"{visible(short(cut.plan.mask))} on {cut.ranks} ranks: largest / mean area "
        f"{cut.balance:.3f}, at most {most:,} keys received"
    )
