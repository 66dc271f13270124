"""Attention weights as a piece of a page: pickers, one large map, a small one for every head.

What it says about the whole stands here as text, so that it is there without scripts too; the rest
is weights.js.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sightline.views.drawing import Drawing
from sightline.views.moving.attention import Attention
from sightline.views.moving.fragment import fragment, text
from sightline.views.moving.packing import pack_bits, pack_weights
from sightline.views.style import Theme

__all__ = ["MOST_WEIGHTS", "faults_text", "render_page"]

# 12 layers of 12 heads of 64 x 64 take 1.6 MB of text.
MOST_WEIGHTS = 700_000
_AXES = ("layer", "batch", "head")
_WORDS = {"layer": "layer", "batch": "batch row", "head": "head"}
_LEGEND = (
    ("k-ramp", "", "heaviest", "weight"),
    ("k-out", "", "", "may not attend: not in play"),
    ("k-bad", "×", "", "weight where none may be"),
    ("k-nan", "?", "", "not a number"),
    ("k-empty", "", "", "a query that may see nothing"),
    ("k-sum", "Σ", "", "the row does not add up to 1"),
)


def render_page(
    seen: Attention,
    queries: Sequence[str],
    keys: Sequence[str],
    q_offset: int,
    title: str,
    theme: Theme = "auto",
) -> Drawing:
    """Return the drawing of kind "html"."""
    layers, batches, heads = seen.weights.shape[:3]
    packed = pack_weights(seen.weights)
    allowed = _compact(seen.allowed)
    whole = faults_text(seen)
    summary = f"attention weights over {title}: {layers} x {batches} x {heads} maps of "
    summary += f"{len(queries)} queries by {len(keys)} keys; {whole}"
    data = {
        "shape": seen.weights.shape,
        "codes": packed.codes,
        "step": packed.step,
        "zero": packed.zero,
        "mask": pack_bits(allowed),
        "mask_shape": allowed.shape[:3],
        "queries": queries,
        "keys": keys,
        "q_offset": q_offset,
        "numbers": [seen.layers, seen.batches, seen.heads],
        "names": [_WORDS[a] if n > 1 else "" for a, n in zip(_AXES, seen.sizes, strict=True)],
        "faults": {name: faults.tolist() for name, faults in seen.faults.items()},
        "sums": _sums(seen),
        "aria": f"attention weights, {len(queries)} queries by {len(keys)} keys",
    }
    body = _body(seen, title, whole, packed.step)
    return Drawing("html", fragment("weights", body, data, label=summary, theme=theme), summary)


def faults_text(seen: Attention) -> str:
    """Return what is wrong with the weights as a whole, or that nothing is.

    >>> import sightline as sl
    >>> from sightline.views.moving.attention import read_attention
    >>> faults_text(read_attention(np.full((1, 2, 2), 0.5), sl.causal()))
    '1 forbidden pair carries weight (at most 0.5)'
    """
    found = {name: int(numbers.sum()) for name, numbers in seen.faults.items()}
    said = []
    if found["leaks"]:
        most = np.abs(seen.weights[seen.leaks & seen.finite]).max()
        said.append(
            _many(found["leaks"], "forbidden pair carries", "forbidden pairs carry")
            + f" weight (at most {most:.3g})"
        )
    if found["broken"]:
        said.append(_many(found["broken"], "weight is", "weights are") + " not a number")
    if found["negative"]:
        said.append(_many(found["negative"], "weight is", "weights are") + " below 0")
    if found["uneven"]:
        said.append(_many(found["uneven"], "row does", "rows do") + " not add up to 1")
    if not said:
        return "no weight where none may be; every row adds up to 1" + (
            " or is empty" if seen.empty.any() else ""
        )
    return "; ".join(said)


def _many(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _compact(allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask with size 1 on each of the first three axes along which it is the same."""
    for axis in range(3):
        first = allowed.take([0], axis=axis)
        if (allowed == first).all():
            allowed = first
    return allowed


def _sums(seen: Attention) -> dict[str, str]:
    """Return the sums of the rows that do not add up to 1, by the number of the row."""
    rows = np.flatnonzero(seen.uneven)
    sums = seen.sums.reshape(-1)[rows]
    return {str(row): f"{total:.4g}" for row, total in zip(rows.tolist(), sums, strict=True)}


def _body(seen: Attention, title: str, whole: str, step: float) -> str:
    warn = "" if whole.startswith("no weight") else ' class="warn"'
    several = seen.weights[..., 0, 0].size > 1
    parts = [
        f'<p class="title">{text(title)}</p>',
        f"<p{warn}>{'All maps: ' if several else ''}{text(whole)}.</p>",
        "<noscript><p>Scripts are off, so the maps themselves cannot be shown.</p></noscript>",
        f'<div class="controls">{"".join(_pickers(seen))}</div>',
        '<div class="main"><div class="map"><canvas class="base" tabindex="0" role="img"></canvas>'
        '<canvas class="over" aria-hidden="true"></canvas></div>',
        '<div class="side"><p class="facts"></p><p class="read" aria-live="polite">'
        "Point at a pair, or move with the arrow keys.</p>"
        '<p class="bars-title soft" hidden>Heaviest keys of this query</p>'
        f'<ol class="bars"></ol><div class="legend">{_legend()}</div>'
        f'<p class="soft">Weights are shown to within {step:.1g}; 0 is exactly 0. A row adds up '
        f"to 1 if its sum is within {seen.tolerance:g}.</p></div></div>",
        _thumbnails(seen),
    ]
    return "\n".join(part for part in parts if part)


def _pickers(seen: Attention) -> list[str]:
    parts = []
    for axis, numbers in zip(_AXES, (seen.layers, seen.batches, seen.heads), strict=True):
        if len(numbers) < 2:
            continue
        options = "".join(f'<option value="{n}">{own}</option>' for n, own in enumerate(numbers))
        word = _WORDS[axis].capitalize()
        parts.append(f'<label>{word} <select class="pick-{axis}">{options}</select></label>')
    return parts


def _legend() -> str:
    return "".join(
        f'<span><i class="{name}" aria-hidden="true">{sign}</i>'
        + (f'<b class="{own}" style="font-weight:400">{words}</b>' if own else words)
        + "</span>"
        for name, sign, own, words in _LEGEND
    )


def _thumbnails(seen: Attention) -> str:
    """Return a small map for each layer and head, where there are several."""
    layers, _, heads = seen.weights.shape[:3]
    if layers * heads < 2:
        return ""
    side = f'style="grid-template-columns:max-content repeat({heads},minmax(18px,64px))"'
    cells = ["<span></span>"]
    cells += [f'<span class="top-name">{number}</span>' for number in seen.heads]
    for i, own in enumerate(seen.layers):
        name = f"layer {own}" if seen.sizes[0] > 1 else "head"
        cells.append(f'<span class="side-name">{name}</span>')
        cells += [_thumbnail(i, j, own, number) for j, number in enumerate(seen.heads)]
    note = "one row for each layer, one column for each head" if layers > 1 else "one for each head"
    return (
        f'<p class="soft">Every map, {note}; each is shaded by its own heaviest weight.</p>'
        f'<div class="thumbs" {side}>{"".join(cells)}</div>'
    )


def _thumbnail(layer: int, head: int, layer_name: int, head_name: int) -> str:
    return (
        f'<button type="button" data-layer="{layer}" data-head="{head}" aria-pressed="false" '
        f'title="layer {layer_name}, head {head_name}"><canvas></canvas>'
        '<span class="mark" hidden>!</span></button>'
    )
