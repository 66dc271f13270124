"""The front doors of what moves: decoding step by step, and reach layer by layer.

What happens is worked out in decoding.py and reach.py; here it becomes a sheet of panels with
words, which sheet_svg.py, sheet_png.py, sheet_text.py and frames_page.py draw.
"""

from __future__ import annotations

from collections.abc import Sequence

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.masks.arguments import as_int, describe
from sightline.masks.mask import Mask
from sightline.views.drawing import Drawing, Kind
from sightline.views.labels import ranges_text
from sightline.views.moving.arguments import check_choices, texts_of
from sightline.views.moving.decoding import Decoding, Step, follow_decoding
from sightline.views.moving.frames_page import render_decoding_page, render_reach_page
from sightline.views.moving.reach import Layer, Reach, follow_reach
from sightline.views.moving.sheet import Look, Panel, Sheet, labels_or_numbers, some
from sightline.views.moving.sheet_svg import moving_rows, render_svg_sheet
from sightline.views.moving.sheet_text import render_text_sheet
from sightline.views.style import Theme

__all__ = ["draw_decoding", "draw_reach"]

_MOST_STEPS = 256
_SHORTEST = 8  # where nothing says how long
# In the order of the states of decoding.py.
_DECODING = (
    Look("paper", "", " ", ""),
    Look("in", "", "■", "seen now, and again later"),
    Look("in", "hole", "◈", "seen now for the last time"),
    Look("paper", "ring", "□", "not seen now, but later"),
    Look("out", "strike", "–", "never seen again: may be dropped"),
)
# In the order of the states of reach.py.
_REACH = (
    Look("out", "", "·", "no influence"),
    Look("pale", "", "■", "could influence before"),
    Look("in", "plus", "+", "new with this layer"),
    Look("out", "minus", "-", "no more, but before"),
)


def draw_decoding(
    mask: Mask,
    length: int | None = None,
    *,
    prompt: int = 1,
    tokens: Sequence[str] | None = None,
    batch: int = 0,
    head: int = 0,
    to: Kind = "html",
    theme: Theme = "auto",
    title: str | None = None,
) -> Drawing:
    """Draw what happens while tokens are decoded one by one with a cache, step by step.

    Each step shows the keys that are there: which the new token sees, which are kept for later,
    and which no later token up to ``length`` sees, so that a cache may drop them. Where the mask
    allows keys that are not there yet, the drawing says how many pairs that takes away.

    Args:
        mask: who may see whom.
        length: tokens in all, at most 256; None takes it from ``tokens``, else from the mask's
            data, else 8.
        prompt: so many tokens are there from the start and make the first step together.
        tokens: one for each position.
        batch: which batch row of the mask.
        head: which head of the mask.
        to: "html" plays and steps; "svg" moves by itself, unless the reader wants less motion, and
            is whole where nothing moves; "png" and "txt" have a row for each step.
        theme: "light", "dark", or "auto": as the reader's screen is set.
        title: what is drawn; None is the mask's text.

    Raises:
        InvalidArgument: no mask, a length or prompt that cannot be, no such ``to``.
        ShapeMismatch: tokens that do not fit, no such batch row or head.
        MissingExtra: a PNG without matplotlib.

    >>> import sightline as sl
    >>> print(sl.draw_decoding(sl.sinks(1) & sl.causal() | sl.window(1, 0), 5, to="txt"))
    causal() & prefix(1) | window(left=1, right=0): decoding 5 tokens
      0 1 2 3 4
    0 ■           sees 1 of 1 key
    1 ■ ■         sees 2 of 2 keys
    2 ■ ◈ ■       sees 3 of 3 keys, 1 may be dropped
    3 ■ – ◈ ■     sees 3 of 4 keys, 2 may be dropped
    4 ◈ – – ◈ ◈   sees 3 of 5 keys, 5 may be dropped
    ■ seen now, and again later   ◈ seen now for the last time   – never seen again: may be dropped
    at most 2 keys must be kept after a step; a cache that drops nothing holds 5
    later is up to query 4, the last one drawn
    """
    check_choices(to, theme)
    if not isinstance(mask, Mask):
        raise InvalidArgument(
            f"draw_decoding wants a mask, got {describe(mask)}; wrap an array as "
            "sl.dense(array, means=...)."
        )
    size = _length(mask, length, tokens)
    if size > _MOST_STEPS:
        raise InvalidArgument(
            f"got {size} tokens; every step is a row of the drawing, at most {_MOST_STEPS}. Draw a "
            "shorter length; sl.plan and the atlas show a mask of any size."
        )
    given = as_int(prompt, "prompt", error=InvalidArgument)
    followed = follow_decoding(mask, size, prompt=given, batch=batch, head=head)
    labels = labels_or_numbers(tokens, size)
    sheet = _decoding_sheet(mask, followed, labels, title, batch, head)
    if to == "html":
        return render_decoding_page(sheet, followed, theme)
    cells = moving_rows(sheet.panels[0]) if to == "svg" else ""
    return _still(sheet, to, theme, cells)


def draw_reach(
    mask: Mask | Sequence[Mask],
    layers: int | None = None,
    length: int | None = None,
    *,
    residual: bool = True,
    mix_heads: bool = True,
    tokens: Sequence[str] | None = None,
    batch: int = 0,
    head: int = 0,
    to: Kind = "html",
    theme: Theme = "auto",
    title: str | None = None,
) -> Drawing:
    """Draw who can influence whom after 0, 1, ... layers of self-attention, a frame for each.

    The pairs that a layer adds are marked. More than 64 positions are drawn in cells of several
    pairs. The numbers are those of ``sl.reach``.

    Args:
        mask: who may see whom in every layer; or one mask for each layer, from the first on.
        layers: how many, at most 64; with a list of masks None or their number.
        length: positions; None takes it from ``tokens``, else from the mask's data, else 8.
        residual: every position also keeps what it had; see ``sl.reach``.
        mix_heads: what one head sees, all of them know in the next layer; see ``sl.reach``.
        tokens: one for each position, at most 64.
        batch: which batch row of the mask.
        head: which head, where ``mix_heads`` is False and heads stay apart.
        to: "html" plays and steps; "svg" and "png" show all frames side by side, "txt" one under
            the other.
        theme: "light", "dark", or "auto": as the reader's screen is set.
        title: what is drawn; None is the mask's text.

    Raises:
        InvalidArgument: what ``sl.reach`` refuses, too many layers, no such ``to``.
        ShapeMismatch: tokens that do not fit, no such batch row or head.
        MissingExtra: a PNG without matplotlib.

    >>> import sightline as sl
    >>> print(sl.draw_reach(sl.window(left=1, right=0), layers=2, length=4, to="txt"))
    window(left=1, right=0): reach over 2 layers
    <BLANKLINE>
    after 0 layers
      0 1 2 3
    0 + · · ·
    1 · + · ·
    2 · · + ·
    3 · · · +
    4 pairs: every position itself
    <BLANKLINE>
    after 1 layer
      0 1 2 3
    0 ■ · · ·
    1 + ■ · ·
    2 · + ■ ·
    3 · · + ■
    7 pairs, 3 of them new; as far as 1 position
    <BLANKLINE>
    after 2 layers
      0 1 2 3
    0 ■ · · ·
    1 ■ ■ · ·
    2 + ■ ■ ·
    3 · + ■ ■
    9 pairs, 2 of them new; as far as 2 positions
    · no influence   ■ could influence before   + new with this layer
    """
    check_choices(to, theme)
    first = mask[0] if isinstance(mask, (list, tuple)) and mask else mask
    size = _length(first, length, tokens) if isinstance(first, Mask) else _SHORTEST
    found = follow_reach(
        mask, layers, size, residual=residual, mix_heads=mix_heads, batch=batch, head=head
    )
    if tokens is not None and found.cell != (1, 1):
        raise ShapeMismatch(
            f"got tokens for {size} positions; a cell is {found.cell[0]} x {found.cell[1]} pairs "
            "there. Leave tokens out, or draw at most 64 positions."
        )
    sheet = _reach_sheet(found, _name(mask) if title is None else title, tokens)
    if to == "html":
        return render_reach_page(sheet, found, theme)
    return _still(sheet, to, theme)


def _still(sheet: Sheet, to: Kind, theme: Theme, cells: str = "") -> Drawing:
    if to == "svg":
        return Drawing("svg", render_svg_sheet(sheet, theme=theme, cells=cells), sheet.summary)
    if to == "png":
        from sightline.views.moving.sheet_png import render_png_sheet

        return Drawing("png", render_png_sheet(sheet, theme=theme), sheet.summary)
    return Drawing("txt", render_text_sheet(sheet), sheet.summary)


def _length(mask: Mask, length: int | None, tokens: Sequence[str] | None) -> int:
    if length is not None:
        return as_int(length, "length", least=1, error=InvalidArgument)
    if tokens is not None:
        return max(1, len(tokens))
    ends = [end for end in mask.extent() if end is not None]
    return max(1, min(ends)) if ends else _SHORTEST


def _name(mask: Mask | Sequence[Mask]) -> str:
    different = texts_of(mask)
    return different[0] if len(different) == 1 else "a mask of its own for each layer"


# -- decoding ----------------------------------------------------------------------------------


def _decoding_sheet(
    mask: Mask,
    followed: Decoding,
    labels: tuple[str, ...],
    title: str | None,
    batch: int,
    head: int,
) -> Sheet:
    which = f", batch row {batch}" if mask.batch > 1 else ""
    which += f", head {head}" if mask.heads > 1 else ""
    name = f"{repr(mask) if title is None else title}: decoding {some(len(labels), 'token')}{which}"
    needed = max(step.needed for step in followed.steps)
    keep = (
        f"at most {some(needed, 'key')} must be kept after a step; a cache that drops nothing "
        f"holds {len(labels)}"
    )
    panel = Panel(
        title="",
        cells=followed.states,
        row_labels=tuple(_step_label(step, labels) for step in followed.steps),
        column_labels=labels,
        caption="\n".join(_step_words(step) for step in followed.steps),
    )
    return Sheet(
        title=name,
        panels=(panel,),
        looks=_DECODING,
        notes=(keep, f"later is up to query {len(labels) - 1}, the last one drawn"),
        warnings=_decoding_warnings(followed),
        summary=f"{name}; {keep}",
    )


def _decoding_warnings(followed: Decoding) -> tuple[str, ...]:
    warnings = []
    if followed.early:
        warnings.append(
            f"the mask allows {some(followed.early, 'pair')} whose key comes after the query and "
            "is not there yet: decoding is not the same as one pass over all tokens"
        )
    if followed.empty:
        queries = "query" if len(followed.empty) == 1 else "queries"
        sees = "sees" if len(followed.empty) == 1 else "see"
        warnings.append(f"{queries} {ranges_text(followed.empty)} {sees} nothing when decoded")
    return tuple(warnings)


def _step_label(step: Step, labels: tuple[str, ...]) -> str:
    if step.first == step.last:
        return labels[step.last]
    return f"{step.first}-{step.last}"


def _step_words(step: Step) -> str:
    dropped = f", {step.droppable} may be dropped" if step.droppable else ""
    return f"sees {step.seen} of {some(step.held, 'key')}{dropped}"


# -- reach -------------------------------------------------------------------------------------


def _reach_sheet(found: Reach, name: str, tokens: Sequence[str] | None) -> Sheet:
    side = found.cell[0]
    numbers = tuple(str(start) for start in range(0, found.length, side))
    labels = numbers if tokens is None else labels_or_numbers(tokens, found.length)
    panels = tuple(_layer_panel(layer, labels) for layer in found.layers)
    count = len(found.layers) - 1
    notes = (
        (f"1 cell = {side} x {side} pairs; it is new where at least one pair in it is",)
        if side > 1
        else ()
    )
    last = found.layers[-1]
    title = f"{name}: reach over {some(count, 'layer')}"
    return Sheet(
        title=title,
        panels=panels,
        looks=_REACH,
        notes=notes,
        summary=f"{title} of {some(found.length, 'position')}: {last.pairs:,} pairs",
    )


def _layer_panel(layer: Layer, labels: tuple[str, ...]) -> Panel:
    words = f"{layer.pairs:,} pairs"
    if not layer.layers:
        words += ": every position itself"
    else:
        words += f", {layer.added:,} of them new"
        words += f", {layer.lost:,} lost" if layer.lost else ""
        if layer.farthest >= 0:
            words += f"; as far as {some(layer.farthest, 'position')}"
    return Panel(
        title=f"after {some(layer.layers, 'layer')}",
        cells=layer.states,
        row_labels=labels,
        column_labels=labels,
        caption=words,
    )
