"""Makes the pictures and tables of docs/algebra.md and docs/algebra.zh.md; their prose is by hand.

The figures of other pages are drawn here as well. A table stands between two comments that name
it; what is in it comes from the masks themselves.

    python docs/make_algebra.py            write the tables and the pictures
    python docs/make_algebra.py --check    exit 1 if they are not what would be written
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

import make_masks
from algebra_words import COLUMNS, COMPOSED, SAYS, Composed
from filled import fill, table
from settled import settle

import sightline as sl
from sightline.masks.names import NAMES
from sightline.views.picture import MaskPicture, picture_of
from sightline.views.style import SVG_CSS
from sightline.views.svg.render import rectangles, render_svg_row

DOCS = Path(__file__).parent
PAGES = {"en": "algebra.md", "zh": "algebra.zh.md"}
CELL = 14
# The longer side of a small picture, and the gap between two of them, in pixels.
SMALL, GAP = 84, 8
# Where the cost of what is put together is counted.
TOKENS = 4096

# Operators: what is drawn from left to right. Each is drawn at 8 queries and 8 keys.
OPERATORS = {
    "and": ("causal()", "window(left=2, right=2)", "causal() & window(left=2, right=2)"),
    "or": ("window(left=1, right=1)", "keys([0])", "window(left=1, right=1) | keys([0])"),
    "not": ("chunks(3)", "~chunks(3)"),
    "minus": ("causal()", "chunks(2)", "causal() - chunks(2)"),
    "xor": ("causal()", "prefix(4)", "causal() ^ prefix(4)"),
    "transpose": ("padding(lengths=[5])", "padding(lengths=[5]).T"),
    "shift": ("causal()", "causal().shift(key=3)", "causal().shift(query=3)"),
}


@dataclass(frozen=True)
class Panel:
    """A picture within a figure.

    Attributes:
        title: stands above it; nothing means the expression.
        expression: the mask.
        q_len, kv_len, q_offset, batch: what of it is drawn.
        tokens: labels of the keys; of the queries as well where they begin at 0.
    """

    expression: str
    q_len: int
    kv_len: int
    q_offset: int = 0
    batch: int = 0
    title: str = ""
    tokens: tuple[str, ...] = ()


_PADDED = "causal() & padding(lengths=[5, 3], side='left')"
_ROLLING = "causal() & (window(left=2) | sinks(1))"
# Figures of first-steps.md, decoding.md and hugging-face.md.
FIGURES = {
    "left_padding": (Panel(_PADDED, 5, 5, batch=1, tokens=("pad", "pad", "我", "爱", "你")),),
    "alignment": (
        Panel("causal()", 2, 5, title="q_offset=0, top left"),
        Panel("causal()", 2, 5, q_offset=3, title="q_offset=3, bottom right"),
    ),
    "steps": tuple(
        Panel(_ROLLING, 1, at + 1, q_offset=at, title=f"q_offset={at}") for at in (3, 4, 5, 6)
    ),
    "rolling": (Panel(_ROLLING, 8, 8),),
    "two_sequences": (
        Panel("causal() & documents(lengths=[3, 2])", 5, 5, title="told apart"),
        Panel("causal()", 5, 5, title="with a mask of ones"),
    ),
}


def figure(panels: tuple[Panel, ...]) -> str:
    """Draw the panels of a figure side by side."""
    return render_svg_row([panel_picture(each) for each in panels], cell=CELL + 6, tooltips=False)


def panel_picture(panel: Panel) -> MaskPicture:
    """Return what is drawn in a panel, rows and columns under their absolute positions."""
    mask = sl.parse(panel.expression)
    allowed = mask.dense(panel.q_len, panel.kv_len, q_offset=panel.q_offset)
    stop = panel.q_offset + panel.q_len
    return MaskPicture(
        allowed[panel.batch, 0],
        row_labels=panel.tokens or tuple(map(str, range(panel.q_offset, stop))),
        column_labels=panel.tokens or tuple(map(str, range(panel.kv_len))),
        title=panel.title or panel.expression,
    )


def operator_picture(expressions: tuple[str, ...]) -> str:
    """Draw expressions side by side."""
    panels = [picture_of(sl.parse(each), 8) for each in expressions]
    named = [
        MaskPicture(panel.allowed, title=each)
        for panel, each in zip(panels, expressions, strict=True)
    ]
    return render_svg_row(named, cell=CELL, tooltips=False)


def small_picture(example: make_masks.Example) -> str:
    """Draw an example without words, each batch row and head of it side by side."""
    mask = make_masks.mask_of(example.expression)
    allowed = mask.dense(example.q_len, example.kv_len)
    allowed = allowed.reshape(-1, *allowed.shape[2:])
    rows, columns = allowed.shape[1:]
    side = SMALL / max(rows, columns)
    parts: list[str] = []
    for index, panel in enumerate(allowed):
        x = index * (columns * side + GAP)
        inside = "".join(f"M{c} {r}h{w}v{h}h-{w}z" for r, c, h, w in rectangles(panel))
        empty = "".join(
            f'<rect class="empty" y="{r}" width="{columns}" height="{h}" '
            f'stroke-width="{1 / side:.3g}" style="stroke-width:{1.5 / side:.3g}"/>'
            for r, _, h, _ in rectangles(~panel.any(axis=1)[:, None])
        )
        parts.append(
            f'<g transform="translate({x + 1:.5g} 1) scale({side:.5g})">'
            f'<rect class="out" width="{columns}" height="{rows}"/>'
            f'<path class="in" d="{inside}"/>{empty}</g>'
        )
    width = len(allowed) * (columns * side + GAP) - GAP + 2
    height = rows * side + 2
    label = make_masks.alternative(example).replace("\\", "").replace("&", "&amp;")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="sl" role="img" width="{width:.5g}" '
        f'height="{height:.5g}" viewBox="0 0 {width:.5g} {height:.5g}" aria-label="{label}">\n'
        f"<style>\n{SVG_CSS}</style>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def composed_mask(composed: Composed) -> sl.Mask:
    """Return a composition at TOKENS; an order is too long to be written out."""
    order = [turn * 1597 % TOKENS for turn in range(TOKENS)]
    if composed.expression.startswith("permutation(order"):
        stream = "query" if "query" in composed.expression else "content"
        return sl.permutation(order, stream=stream)
    return sl.parse(composed.expression)


def tables(language: str) -> dict[str, str]:
    """Return the tables of a page, by name."""
    rows = {"masks": mask_rows, "composed": composed_rows}
    return {
        name: table(getattr(COLUMNS[name], language), of(language)) for name, of in rows.items()
    }


def mask_rows(language: str) -> Iterator[str]:
    """Yield a row for each mask, under the example that docs/masks.md draws large."""
    for name in NAMES:
        example = make_masks.EXAMPLES[name]
        seen = f"{image(name, example)}<br>{code(example.expression)}"
        yield f"| {seen} | {getattr(SAYS[name], language)} |"


def composed_rows(language: str) -> Iterator[str]:
    """Yield a row for each composition, with what it costs at TOKENS."""
    for name, composed in COMPOSED.items():
        mask = composed_mask(composed)
        share = sl.plan(mask, TOKENS).cost().share_computed
        use = f"{getattr(composed.use, language)}<br>{image(name, small_example(composed))}"
        figures = f"{percent(mask.density(TOKENS))} | {percent(share)}"
        yield f"| {use}<br>{code(composed.expression)} | {figures} |"


def image(name: str, example: make_masks.Example) -> str:
    """Return a small picture for a table, with words for who cannot see it."""
    words = make_masks.alternative(example).replace("|", "&#124;")
    return f"![{words}](pictures/algebra/{name}.svg)"


def code(text: str) -> str:
    """Return code for a table, where a bar would end the cell; not all know it escaped."""
    return f"<code>{escape(text, quote=False).replace('|', '&#124;')}</code>"


def percent(share: float) -> str:
    """Return a share with three figures."""
    return f"{100 * share:.3g} %"


def small_example(composed: Composed) -> make_masks.Example:
    """Return a composition at the size it is drawn at."""
    return make_masks.Example(composed.small, composed.size)


def files() -> dict[Path, str]:
    """Return everything that is made: path -> content."""
    if missing := NAMES.keys() ^ SAYS.keys():
        raise SystemExit(f"SAYS and the table of masks differ in: {sorted(missing)}")
    small = {name: make_masks.EXAMPLES[name] for name in NAMES}
    small |= {name: small_example(composed) for name, composed in COMPOSED.items()}
    drawn = {name: small_picture(example) for name, example in small.items()}
    drawn |= {f"op_{name}": operator_picture(row) for name, row in OPERATORS.items()}
    drawn |= {name: figure(panels) for name, panels in FIGURES.items()}
    made = {DOCS / "pictures" / "algebra" / f"{name}.svg": text for name, text in drawn.items()}
    for language, file in PAGES.items():
        text = (DOCS / file).read_text(encoding="utf-8")
        made[DOCS / file] = fill(text, file, tables(language))
    return made


def main(words: list[str]) -> int:
    """Write or check, and return the exit code."""
    return settle(words, __doc__, "make_algebra", DOCS, files, owned=["pictures/algebra/*.svg"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
