"""The front door of pictures: a mask in, a picture of the kind that was asked for out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sightline.errors import InvalidArgument, InvalidMask, ShapeMismatch
from sightline.masks.arguments import as_int, describe, mask_wanted
from sightline.masks.frame import Frame
from sightline.masks.mask import Mask
from sightline.views.drawing import KINDS, Drawing, Kind
from sightline.views.facets import Choice
from sightline.views.scene import Scene, Wishes, scene_of, sizes_of
from sightline.views.style import THEMES, Theme
from sightline.views.svg.words import LANGUAGES, Language, Words

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from sightline.plan.block_map import BlockMap

__all__ = ["arrange", "draw", "paint_scene"]

Tokens = Sequence[str] | None

# Queries and keys that are drawn one by one, and cells of a longer axis.
_SINGLES = 64
_CELLS = {"svg": 128, "html": 128, "png": 256, "txt": 32}
_MOST_CELLS = 2048


def draw(
    mask: Mask,
    q_len: int | None = None,
    kv_len: int | None = None,
    *,
    to: Kind = "svg",
    q_offset: int = 0,
    tokens: Sequence[str] | None = None,
    query_tokens: Sequence[str] | None = None,
    key_tokens: Sequence[str] | None = None,
    batch: Choice = None,
    head: Choice = None,
    blocks: BlockMap | int | tuple[int, int] | None = None,
    against: Mask | None = None,
    weights: ArrayLike | None = None,
    marks: bool = True,
    theme: Theme = "auto",
    title: str | None = None,
    fit: int | tuple[int, int] | None = None,
    language: Language = "en",
) -> Drawing:
    """Draw who may see whom.

    Blue may be seen, gray may not; a query that sees nothing is framed in orange. A mask of any
    size is drawn: beyond ``fit`` queries or keys a cell stands for a square of pairs, and its color
    says how much of it is allowed. That is counted exactly; where counting would take too long it
    is estimated, and the picture says so.

    Args:
        mask: what to draw.
        q_len: queries; None takes as many as there are tokens, else as the mask's data cover,
            else 8.
        kv_len: keys; None takes as many as there are tokens, else ``q_len``, else as above.
        to: ``"svg"``, ``"png"`` (needs matplotlib), ``"html"`` (says what a cell is to whoever
            points at it) or ``"txt"``.
        q_offset: absolute position of the first query.
        tokens: labels of the positions from 0 on, for keys and queries alike.
        query_tokens: labels of the queries that are drawn, instead of ``tokens``.
        key_tokens: labels of the keys, instead of ``tokens``.
        batch: which batch rows, one or several; None draws all of them, up to a dozen pictures.
        head: which heads, likewise.
        blocks: a plan of ``sl.plan``, or the size of its blocks: draws them and their state.
        against: another mask; draws what ``mask`` allows more (added) and less (removed) than it.
        weights: attention weights ``[queries, keys]`` to shade the cells with.
        marks: whether documents, padding, prefixes and windows are named in the margins.
        theme: ``"light"``, ``"dark"``, or ``"auto"``: as the reader's screen is set.
        title: stands above; None is the mask's text.
        fit: at most so many rows and columns of cells, one number or (rows, columns).
        language: of legends, names and notes, ``"en"`` or ``"zh"``; text is in English only,
            since ``sl.recognize`` reads it.

    >>> import sightline as sl
    >>> print(sl.draw(sl.causal() & sl.padding(lengths=[2]), to="txt", tokens=["I", "am", "-"]))
    causal() & padding(lengths=[2])
        I am  -
    I   ■  ·  ·
    am  ■  ■  ·
    -   ■  ■  ·
    ■ may attend   · may not
    keys: padding at 2

    Raises:
        InvalidMask: ``mask`` or ``against`` is none.
        InvalidArgument: there is no such kind of picture, theme, language or size of blocks.
        ShapeMismatch: tokens or weights do not fit, or there is no such batch row or head.
        MissingExtra: a PNG is asked for, and matplotlib is not installed.
    """
    scene = arrange(
        mask,
        q_len,
        kv_len,
        to=to,
        q_offset=q_offset,
        tokens=(tokens, query_tokens, key_tokens),
        fit=fit,
        batch=batch,
        head=head,
        blocks=blocks,
        against=against,
        weights=weights,
        marks=marks,
        title=title,
        words=_words(language, to),
    )
    return paint_scene(scene, to, theme)


def arrange(
    mask: Mask,
    q_len: int | None,
    kv_len: int | None,
    *,
    to: Kind,
    q_offset: int,
    tokens: tuple[Tokens, Tokens, Tokens],
    fit: int | tuple[int, int] | None,
    **wishes: Any,
) -> Scene:
    """Return what ``draw`` draws, for its own arguments; ``tokens`` are the three kinds of it."""
    _check(mask, wishes.get("against"), to)
    if not isinstance(wishes.get("title"), (str, type(None))):
        raise InvalidArgument(f"draw(title=) wants a text, got {describe(wishes['title'])}.")
    first = as_int(q_offset, "draw(q_offset=)", least=0, error=ShapeMismatch)
    queries, keys = _tokens(*tokens, first, q_len)
    frame = Frame.of(*sizes_of(mask, q_len, kv_len, first, (queries, keys)), first)
    return scene_of(
        mask,
        frame,
        Wishes(
            query_labels=None if queries is None else queries[: frame.q_len],
            key_labels=None if keys is None else keys[: frame.kv_len],
            fit=_fit(fit, to, frame),
            **wishes,
        ),
    )


def paint_scene(scene: Scene, to: Kind, theme: Theme = "auto") -> Drawing:
    """Draw what a scene holds as a picture of that kind."""
    if theme not in THEMES:
        raise InvalidArgument(f"draw(theme=) got {theme!r}, wanted one of {', '.join(THEMES)}.")
    if to == "txt":
        from sightline.views.text.terminal import render_scene_text

        return Drawing(to, render_scene_text(scene), scene.summary)
    if to == "html":
        from sightline.views.hover import render_hover

        return Drawing(to, render_hover(scene, theme=theme), scene.summary)
    if to == "png":
        from sightline.views.png.paint import render_png

        return Drawing(to, render_png(scene, theme=theme), scene.summary)
    from sightline.views.svg.render import render_svg_grid

    return Drawing(to, render_svg_grid(scene, theme=theme), scene.summary)


def _words(language: Any, to: Kind) -> Words:
    if language not in LANGUAGES:
        wanted = ", ".join(map(repr, LANGUAGES))
        raise InvalidArgument(f"draw(language=) got {language!r}, wanted one of {wanted}.")
    if to == "txt" and language != "en":
        raise InvalidArgument(
            f"draw(to='txt', language={language!r}): text is drawn in English only, for "
            "sl.recognize to read; take to='svg', 'png' or 'html'."
        )
    return LANGUAGES[language]


def _check(mask: Any, against: Any, to: Any) -> None:
    for name, given in (("draw(mask)", mask), ("draw(against=)", against)):
        if not isinstance(given, Mask) and (given is not None or name == "draw(mask)"):
            raise InvalidMask(f"{name} wants a mask, {mask_wanted(given)}")
    if to not in KINDS:
        raise InvalidArgument(f"draw(to=) got {to!r}, wanted one of {', '.join(KINDS)}.")


def _tokens(
    both: Tokens, queries: Tokens, keys: Tokens, q_offset: int, q_len: int | None
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Return the labels of the queries that are drawn, and those of the keys from 0 on."""
    found: dict[str, tuple[str, ...] | None] = {}
    for name, given in (("tokens", both), ("query_tokens", queries), ("key_tokens", keys)):
        if given is not None and (isinstance(given, (str, bytes)) or not _is_list(given)):
            raise InvalidArgument(
                f"draw({name}=) wants a list of labels, got {describe(given)}; split a text first, "
                "such as text.split() or list(text)."
            )
        found[name] = None if given is None else tuple(str(each) for each in given)
    shared = found["tokens"]
    if shared is not None and found["query_tokens"] is None:
        stop = None if q_len is None else q_offset + q_len
        found["query_tokens"] = shared[q_offset:stop]
    if found["key_tokens"] is None:
        found["key_tokens"] = shared
    return found["query_tokens"], found["key_tokens"]


def _is_list(given: Any) -> bool:
    return isinstance(given, Iterable) and hasattr(given, "__len__")


def _fit(fit: int | tuple[int, int] | None, to: Kind, frame: Frame) -> tuple[int, int]:
    if fit is None:
        return tuple(
            length if length <= _SINGLES else _CELLS[to] for length in (frame.q_len, frame.kv_len)
        )  # pyright: ignore[reportReturnType]
    both = fit if isinstance(fit, (tuple, list)) else (fit, fit)
    if len(both) != 2:
        raise InvalidArgument(f"draw(fit=) got {fit!r}, wanted one number or (rows, columns).")
    rows, columns = (
        as_int(each, "draw(fit=)", least=1, most=_MOST_CELLS, error=InvalidArgument)
        for each in both
    )
    return rows, columns
