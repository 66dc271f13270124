"""What a report shows as pictures: curves of a run, its masks with their tokens, attention maps.

How a curve or a mask is drawn is decided in views/.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sightline.masks.mask import Mask
from sightline.recipes.training.outcome import AttentionMap
from sightline.recipes.training.result import Result
from sightline.views.charts.curves import Series, render_curves
from sightline.views.picture import MaskPicture

__all__ = ["attention_drawings", "chart_series", "charts", "mask_pictures"]

Records = Sequence[Mapping[str, Any]]
# Of more queries or keys than these, the first and the last are drawn.
_MOST_TOKENS = 72
_LOSS = "loss"


def charts(result: Result, losses: Records, evaluations: Records) -> list[tuple[str, str]]:
    """Return the charts of a run as SVG for a page, each with its caption."""
    best = f" The weights kept are those of step {result.best_step:,}." if result.best_step else ""
    drawn = []
    for title, series in chart_series(losses, evaluations):
        caption = f"{title}, step by step."
        if any(each.name == "training" for each in series):
            caption = f"{title}: the mean over neighbouring steps, and their spread.{best}"
        drawn.append((render_curves(series, title=title, standalone=False), caption))
    return drawn


def chart_series(losses: Records, evaluations: Records) -> Iterator[tuple[str, list[Series]]]:
    """Yield (title, curves) for each chart: the loss, its parts, and each evaluated figure."""
    training = list(_series(losses, [_LOSS], rename="training"))
    held_out = list(_series(evaluations, [_LOSS], rename="held out"))
    if training or held_out:
        yield "Loss", [*training, *held_out]
    parts = list(_series(losses, [name for name in _names(losses) if name != _LOSS]))
    if parts:
        yield "Parts of the training loss", parts
    for name in _names(evaluations):
        if name != _LOSS:
            yield name, list(_series(evaluations, [name]))


def _names(records: Records) -> list[str]:
    """Return what is recorded in any line, in order, without the step."""
    names: dict[str, None] = {}
    for record in records:
        names.update(dict.fromkeys(record))
    return [name for name in names if name != "step"]


def _series(records: Records, names: Sequence[str], rename: str = "") -> Iterator[Series]:
    for name in names:
        pairs = [(record["step"], record[name]) for record in records if name in record]
        if pairs:
            steps, values = zip(*pairs, strict=True)
            yield Series.of(rename or name, steps, [_finite(value) for value in values])


def _finite(value: Any) -> float:
    return float("nan") if value is None else float(value)


def mask_pictures(result: Result) -> list[tuple[MaskPicture, str]]:
    """Return the masks of a run with their tokens, each with its caption."""
    drawn = []
    for shown in result.outcome.masks:
        rows, columns = _ends(shown.queries), _ends(shown.keys)
        allowed = _allowed(shown.mask, len(shown.queries), len(shown.keys))
        picture = MaskPicture(
            allowed[np.ix_(rows, columns)],
            row_labels=_at(shown.queries, rows),
            column_labels=_at(shown.keys, columns),
            title=shown.title,
        )
        text = repr(shown.mask)
        code = f": `{text}`" if len(text) <= 160 else ""
        drawn.append((picture, f"{shown.title}{code}{_part(shown.queries, shown.keys)}"))
    return drawn


def attention_drawings(result: Result) -> list[tuple[MaskPicture, str]]:
    """Return the attention maps of a run, each with its caption."""
    return [
        (_attention(shown, _mask_of(shown, result)), shown.title + _part(shown.queries, shown.keys))
        for shown in result.outcome.attention
    ]


def _attention(shown: AttentionMap, mask: Mask | None) -> MaskPicture:
    rows, columns = _ends(shown.queries), _ends(shown.keys)
    weights = np.asarray(shown.weights, np.float64)
    allowed = np.ones(weights.shape, bool) if mask is None else _allowed(mask, *weights.shape)
    return MaskPicture(
        allowed[np.ix_(rows, columns)],
        row_labels=_at(shown.queries, rows),
        column_labels=_at(shown.keys, columns),
        title=shown.title,
        weights=weights[np.ix_(rows, columns)],
    )


def _mask_of(shown: AttentionMap, result: Result) -> Mask | None:
    """Return the map's mask: its own, or the only one shown with these tokens, if it fits."""
    if shown.mask is not None:
        return shown.mask
    alike = [
        each.mask
        for each in result.outcome.masks
        if (each.queries, each.keys) == (shown.queries, shown.keys)
    ]
    if len(alike) != 1:
        return None
    allowed = _allowed(alike[0], len(shown.queries), len(shown.keys))
    return alike[0] if not np.asarray(shown.weights)[~allowed].any() else None


def _allowed(mask: Mask, q_len: int, kv_len: int) -> np.ndarray:
    return mask.dense(q_len, kv_len)[0, 0]


def _ends(labels: Sequence[str]) -> list[int]:
    """Return the places that are drawn: all, or the first and the last where there are too many."""
    places = list(range(len(labels)))
    half = _MOST_TOKENS // 2
    return places if len(places) <= _MOST_TOKENS else places[:half] + places[-half:]


def _at(labels: Sequence[str], places: Sequence[int]) -> tuple[str, ...]:
    return tuple(labels[place] for place in places)


def _part(queries: Sequence[str], keys: Sequence[str]) -> str:
    if max(len(queries), len(keys)) <= _MOST_TOKENS:
        return ""
    half = _MOST_TOKENS // 2
    return f" (the first and the last {half} of {len(queries):,} queries and {len(keys):,} keys)"
