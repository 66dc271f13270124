"""Decoding and layered reach as a piece of a page that plays, steps, and answers to the pointer.

Without scripts every frame is there, one beside the other; frames.js shows one at a time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sightline.views.drawing import Drawing
from sightline.views.labels import visible
from sightline.views.moving.decoding import Decoding, Step
from sightline.views.moving.fragment import fragment, text
from sightline.views.moving.reach import Reach
from sightline.views.moving.sheet import Panel, Sheet, some
from sightline.views.moving.sheet_svg import SHEET_CSS, panel_frame, panel_svg, swatch
from sightline.views.style import SVG_CSS, Theme, root_class, themed

__all__ = ["render_decoding_page", "render_reach_page"]

_MOST_PIXELS = 460
_BUTTONS = (
    ("first", "|◀", "first frame"),
    ("back", "◀", "one frame back"),
    ("play", "▶ Play", "play"),
    ("next", "▶", "one frame on"),
    ("last", "▶|", "last frame"),
)
_KEYS = "Keys: ← → step, space plays, Home and End."


def render_decoding_page(sheet: Sheet, followed: Decoding, theme: Theme = "auto") -> Drawing:
    """Return decoding as a drawing of kind "html": a frame for each step."""
    (panel,) = sheet.panels
    captions = [_caption(step, panel) for step in followed.steps]
    label = f"a row for each step, a column for each key; {sheet.summary}"
    picture = panel_svg(
        panel, sheet.looks, label, _cover(panel), most=_MOST_PIXELS, root=root_class(theme)
    )
    body = (
        f'{_head(sheet, captions[-1], theme)}<div class="main">'
        f'<div class="pictures"><figure class="timeline">{picture}</figure></div>'
        '<div class="side"><p class="soft cache-title">The cache after this step, key by key</p>'
        f'<ol class="cache"></ol></div></div>{_foot(sheet, theme)}'
    )
    data = {**_data(sheet, captions, theme), "kind": "decoding", "panels": [_panel(panel)]}
    html = fragment("frames", body, data, label=sheet.summary, theme=theme)
    return Drawing("html", html, sheet.summary)


def render_reach_page(sheet: Sheet, found: Reach, theme: Theme = "auto") -> Drawing:
    """Return layered reach as a drawing of kind "html": a frame after each layer."""
    captions = [_sentence(f"{panel.title}: {panel.caption}") for panel in sheet.panels]
    root = root_class(theme)
    pictures = "".join(
        '<figure class="frame">'
        + panel_svg(_bare(panel), sheet.looks, words, most=_MOST_PIXELS, root=root)
        + f"<figcaption>{text(words)}</figcaption></figure>"
        for panel, words in zip(sheet.panels, captions, strict=True)
    )
    head, foot = _head(sheet, captions[-1], theme), _foot(sheet, theme)
    body = f'{head}<div class="pictures">{pictures}</div>{foot}'
    data = {
        **_data(sheet, captions, theme),
        "kind": "reach",
        "panels": [_panel(_bare(panel)) for panel in sheet.panels],
        "cell": found.cell[0],
        "length": found.length,
    }
    html = fragment("frames", body, data, label=sheet.summary, theme=theme)
    return Drawing("html", html, sheet.summary)


def _caption(step: Step, panel: Panel) -> str:
    if step.first == step.last:
        label = panel.column_labels[step.last]
        named = "" if label == str(step.last) else f" “{visible(label)}”"
        who = f"Query {step.last}{named}"
    else:
        who = f"The prompt, queries {step.first}-{step.last},"
    drop = f"{step.droppable or 'None'} may be dropped, {step.needed or 'none'} must be kept."
    sees = "sees" if step.first == step.last else "see"
    return f"{who} {sees} {step.seen} of {some(step.held, 'key')}. {drop}"


def _bare(panel: Panel) -> Panel:
    """Return the panel without its title, which stands beside it."""
    return replace(panel, title="")


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _head(sheet: Sheet, caption: str, theme: Theme) -> str:
    buttons = "".join(
        f'<button type="button" class="go-{name}" aria-label="{words}">{sign}</button>'
        for name, sign, words in _BUTTONS
    )
    warnings = "".join(f'<p class="warn">{text(_sentence(words))}</p>' for words in sheet.warnings)
    return (
        f"<style>\n{themed(SVG_CSS + SHEET_CSS, theme)}</style>\n"
        f'<p class="title">{text(sheet.title)}</p>{warnings}'
        f'<div class="controls player" hidden>{buttons}'
        '<input type="range" class="slider" min="0" step="1" aria-label="frame">'
        '<output class="number"></output></div>'
        f'<p class="caption" aria-live="polite">{text(caption)}</p>'
    )


def _foot(sheet: Sheet, theme: Theme) -> str:
    legend = "".join(
        f"<span><i>{swatch(look, root_class(theme))}</i>{text(look.words)}</span>"
        for _, look in sheet.used()
    )
    notes = "".join(f'<p class="soft">{text(_sentence(note))}</p>' for note in sheet.notes)
    return (
        '<p class="read soft" aria-live="polite"></p>'
        f'<div class="legend">{legend}</div>{notes}<p class="soft keys" hidden>{_KEYS}</p>'
    )


def _data(sheet: Sheet, captions: list[str], theme: Theme) -> dict[str, Any]:
    return {
        "captions": captions,
        "words": [look.words or "not there yet" for look in sheet.looks],
        "swatches": [swatch(look, root_class(theme)) for look in sheet.looks],
    }


def _panel(panel: Panel) -> dict[str, Any]:
    """Return what the script must know of a panel: its cells as digits, and where they stand."""
    frame = panel_frame(panel, _MOST_PIXELS)
    return {
        "cells": ["".join(map(str, row)) for row in panel.cells.tolist()],
        "rows": [visible(label) for label in panel.row_labels],
        "columns": [visible(label) for label in panel.column_labels],
        "left": frame.left,
        "top": frame.top,
        "side": frame.side,
    }


def _cover(panel: Panel) -> str:
    """Return what hides the steps to come, and what marks the step at hand; both start as none."""
    frame = panel_frame(panel, _MOST_PIXELS)
    wide = panel.cells.shape[1] * frame.side
    return (
        f'<rect class="paper cover" x="{frame.left}" y="{frame.top}" width="{wide}" height="0" '
        'fill-opacity=".86"/>'
        f'<rect class="now" x="{frame.left}" y="{frame.top}" width="{wide}" '
        f'height="{frame.side}" visibility="hidden"/>'
    )
