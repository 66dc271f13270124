"""The parts of the page as HTML: one step, one query, one mistake beside the right way.

What is measured comes from steps.py and mistakes.py; every text from a visitor is escaped here.
"""

from __future__ import annotations

from html import escape

from sightline.views.labels import visible
from sightline.views.playground.drawings import (
    draw_numbers,
    draw_pairs,
    draw_patches,
    signed,
)
from sightline.views.playground.mistake_words import MISTAKE_WORDS
from sightline.views.playground.mistakes import ROUNDING, Found, Mistake, find
from sightline.views.playground.steps import WIDTH, Floats, Scene
from sightline.views.playground.words import LANGUAGES, Language, said

__all__ = ["show_mistake", "show_query", "show_step"]

_DIMENSIONS = tuple(str(n) for n in range(1, WIDTH + 1))
_MARK = "▸ "


def show_step(scene: Scene, step: str, query: int, language: Language) -> str:
    """Return one step's picture; where queries come one after another, up to this one."""
    rows, columns = scene.sight.labels(scene.row)
    marked = tuple(_MARK * (row == query) + label for row, label in enumerate(rows))
    title = said(language, f"step {step}")
    q = slice(query + 1 if scene.sight.writes else len(rows))
    k = slice(query + 1 if scene.sight.writes and scene.sight.to_itself else len(columns))
    if step == "tokens":
        return _vectors(scene, q, k, language)
    if step == "scores":
        return draw_numbers(scene.scores[q, k], marked[q], columns[k], title=title)
    if step == "output":
        return draw_numbers(scene.seen.output[q], marked[q], _DIMENSIONS, title=title)
    return draw_pairs(
        scene.allowed[q, k],
        marked[q],
        columns[k],
        title=title,
        language=language,
        weights=scene.seen.weights[q, k] if step == "weights" else None,
    )


def _vectors(scene: Scene, q: slice, k: slice, language: Language) -> str:
    """Return the vectors of the keys; those of the queries where they are others."""
    rows, columns = scene.sight.labels(scene.row)
    title = said(language, "step tokens")
    if scene.sight.blind:
        return draw_numbers(scene.query_vectors[q], rows[q], _DIMENSIONS, title=title)
    return draw_numbers(scene.key_vectors[k], columns[k], _DIMENSIONS, title=title)


def show_query(scene: Scene, query: int, language: Language) -> str:
    """Return what one query sees, key by key; of a patch, a picture of where it looks."""
    label = _text(scene.sight.labels(scene.row)[0][query])
    heading = f"<h3>{said(language, 'query heading', token=label)}</h3>"
    note = ""
    if not scene.allowed[query].any():
        note = f'<p class="note warn">{said(language, "empty told")}</p>'
    body = _patches(scene, query, language) if scene.sight.grid else _table(scene, query, language)
    numbers = " ".join(signed(each, 2) for each in scene.seen.output[query])
    end = f'<p class="numbers">{said(language, "the output")}: {numbers}</p>'
    return heading + note + body + end


def _table(scene: Scene, query: int, language: Language) -> str:
    columns = scene.sight.labels(scene.row)[1]
    names = ("key", "score", "sees", "weight")
    head = "".join(f'<th scope="col">{said(language, name)}</th>' for name in names)
    last = query + 1 if scene.sight.writes and scene.sight.to_itself else len(columns)
    lines = []
    for key in range(last):
        allowed, weight = scene.allowed[query, key], scene.seen.weights[query, key]
        sees = said(language, "yes" if allowed else "no")
        bar = f'<span class="bar" style="width:{weight * 5:.2f}rem"></span>{weight:.2f}'
        lines.append(
            f'<tr class="{"seen" if allowed else "unseen"}"><th scope="row">'
            f"{_text(columns[key])}</th><td>{signed(scene.scores[query, key], 2)}</td>"
            f"<td>{'✓' if allowed else '✗'} {sees}</td><td>{bar if allowed else '–'}</td></tr>"
        )
    return (
        '<div class="scroll keys-box" tabindex="0">'
        f'<table class="keys"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _patches(scene: Scene, query: int, language: Language) -> str:
    """Return the picture with the weights of one patch on it."""
    grid = scene.sight.grid
    assert grid is not None
    drawn = draw_patches(
        scene.allowed[query].reshape(grid),
        scene.seen.weights[query].reshape(grid),
        scene.sight.keys.tokens[scene.row],
        query,
        title=said(language, "patch picture"),
        language=language,
    )
    return f'<div class="scroll">{drawn}</div>'


def show_mistake(mistake: Mistake, scene: Scene, language: Language) -> str:
    """Return a mistake beside the right way: codes, pictures and what was measured."""
    found = find(mistake, scene)
    told = MISTAKE_WORDS[mistake.name]
    column = LANGUAGES.index(language)
    parts = [f"<p>{escape(told.wrong[column])}</p>"]
    if found.harmless:
        parts.append(
            f'<p class="note">{said(language, "harmless")} {escape(told.shows[column])}</p>'
        )
    codes = (("people write", mistake.written), ("write instead", mistake.cure))
    parts += [f"<h4>{said(language, name)}</h4><pre>{escape(code)}</pre>" for name, code in codes]
    parts.append('<div class="pictures">')
    for name, weights in (("wrong way", found.wrong.weights), ("right way", found.right.weights)):
        parts.append(f"<figure><figcaption>{said(language, name)}</figcaption>")
        drawn = _weights(scene, weights, said(language, name), language)
        parts.append(f'<div class="scroll">{drawn}</div></figure>')
    parts.append("</div>")
    parts.append(_figures(found, scene, language))
    return "".join(parts)


def _weights(scene: Scene, weights: Floats, title: str, language: Language) -> str:
    rows, columns = scene.sight.labels(scene.row)
    return draw_pairs(
        scene.allowed, rows, columns, title=title, language=language, weights=weights, cell=22
    )


def _figures(found: Found, scene: Scene, language: Language) -> str:
    """Return the table of what was measured, the wrong way beside the right."""
    change = _shown(found.change)
    tokens = scene.sight.labels(scene.row)[0]
    if found.changed is not None:
        token = _text(tokens[found.changed])
        change = said(language, "change at", value=change, token=token)
    lines = [
        ("change", change, "0", found.changed is not None),
        ("leaked", f"{found.leaked:.1%}", "0.0%", found.leaked > ROUNDING),
        ("lost", _shown(found.lost), "0", found.lost > ROUNDING),
        ("moved", _shown(found.moved), _shown(found.moved_right), found.moved > ROUNDING),
        ("broken", _named(found.broken, tokens, language), "0", bool(found.broken)),
        ("spread", str(found.spread), "0", found.spread > 0),
    ]
    if found.empty:
        lines.append(("filled", _shown(found.filled), "0", found.filled > ROUNDING))
    head = "".join(
        f'<th scope="col">{said(language, name)}</th>'
        for name in ("measured", "wrong way", "right way")
    )
    body = "".join(
        f'<tr data-figure="{name}"><td>{said(language, f"figure {name}")}</td>'
        f'<td class="{"bad" if bad else "good"}">{wrong}</td><td class="good">{right}</td></tr>'
        for name, wrong, right, bad in lines
    )
    return (
        f'<div class="scroll"><table class="figures"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _shown(value: float) -> str:
    return f"{value:.3g}" if value > ROUNDING else "0"


def _named(queries: tuple[int, ...], tokens: tuple[str, ...], language: Language) -> str:
    if not queries:
        return "0"
    names = ", ".join(_text(tokens[query]) for query in queries)
    return said(language, "of", n=len(queries), total=len(tokens), tokens=names)


def _text(label: str) -> str:
    return escape(visible(label))
