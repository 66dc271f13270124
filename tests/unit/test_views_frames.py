"""Decoding and layered reach as frames: numbers against brute force, drawings against numbers."""

from __future__ import annotations

import io
import json
import re
import sys
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import InvalidArgument, MissingExtra, ShapeMismatch
from sightline.testing.specs import build
from sightline.testing.strategies import Frame, expressions
from sightline.views.moving.decoding import ABSENT, GONE, KEPT, LAST, SEEN, follow_decoding
from sightline.views.moving.reach import ADDED, BEFORE, LOST, NEVER, follow_reach
from sightline.views.style import PALETTES

PIECE = re.compile(r"M(\d+) (\d+)h(\d+)v(\d+)h-(\d+)z")
EVIL = "</script><script>alert(1)</script>\x00<!--"


@st.composite
def masked(draw: st.DrawFn) -> tuple[sl.Mask, int]:
    """Draw a mask of 2 batch rows and 3 heads (or 1), and a length that it has."""
    length = draw(st.integers(1, 9))
    return build(draw(expressions(Frame(length, length, 0, 0, 2, 3), 2))), length


def state_of(allowed: np.ndarray, prompt: int, step: int, key: int) -> int:
    """Return what a key is to a step, from its meaning, pair by pair."""

    def sees(query: int) -> bool:
        there = prompt - 1 if query < prompt else query
        return key <= there and bool(allowed[query, key])

    queries = range(prompt) if step == 0 else [prompt - 1 + step]
    if key > queries[-1]:
        return ABSENT
    now = any(sees(query) for query in queries)
    later = any(sees(query) for query in range(queries[-1] + 1, len(allowed)))
    return {(True, True): SEEN, (True, False): LAST, (False, True): KEPT}.get((now, later), GONE)


@given(masked(), st.data())
def test_each_step_is_what_the_mask_says_pair_by_pair(
    drawn: tuple[sl.Mask, int], data: st.DataObject
) -> None:
    mask, length = drawn
    prompt = data.draw(st.integers(1, length))
    batch, head = (
        data.draw(st.integers(0, mask.batch - 1)),
        data.draw(st.integers(0, mask.heads - 1)),
    )
    allowed = mask.dense(length)[batch, head]
    found = follow_decoding(mask, length, prompt=prompt, batch=batch, head=head)
    steps = length - prompt + 1
    wanted = [[state_of(allowed, prompt, s, k) for k in range(length)] for s in range(steps)]
    assert found.states.tolist() == wanted
    for number, step in enumerate(found.steps):
        row = found.states[number]
        assert (step.first, step.last) == (0 if number == 0 else step.last, prompt - 1 + number)
        assert step.held == step.last + 1
        assert step.seen == np.isin(row, (SEEN, LAST)).sum()
        # A key that is dropped is one that no later step sees.
        assert step.droppable == np.isin(row, (LAST, GONE)).sum()
        assert step.needed == np.isin(row, (SEEN, KEPT)).sum()
    there = [[k <= max(q, prompt - 1) for k in range(length)] for q in range(length)]
    assert found.early == (allowed & ~np.array(there)).sum()
    assert list(found.empty) == [q for q in range(length) if not (allowed & there)[q].any()]


@given(masked())
def test_a_key_called_droppable_is_never_seen_again(drawn: tuple[sl.Mask, int]) -> None:
    found = follow_decoding(*drawn)
    for number in range(len(found.steps)):
        dropped = np.isin(found.states[number], (LAST, GONE))
        assert not (np.isin(found.states[number + 1 :], (SEEN, LAST, KEPT)) & dropped).any()


def test_a_window_needs_no_more_than_its_width() -> None:
    found = follow_decoding(sl.window(left=3, right=0), 20)
    assert [step.needed for step in found.steps] == [1, 2, *[3] * 17, 0]
    assert found.early == 0
    assert found.empty == ()


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        ({"prompt": 0}, InvalidArgument, "from 1 to 4"),
        ({"prompt": 5}, InvalidArgument, "from 1 to 4"),
        ({"prompt": 1.5}, InvalidArgument, "integer"),
        ({"length": 257}, InvalidArgument, "at most 256"),
        ({"length": 0}, InvalidArgument, "at least 1"),
        ({"tokens": ["a"]}, ShapeMismatch, "a list of 4"),
        ({"tokens": "abcd"}, ShapeMismatch, "one text"),
        ({"head": -1}, ShapeMismatch, "has 1 of them"),
        ({"to": "gif"}, InvalidArgument, "html"),
    ],
)
def test_decoding_refuses_kindly(wrong: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        sl.draw_decoding(sl.causal(), **{"length": 4, **wrong})


def test_a_mask_that_tells_no_rows_apart_serves_all() -> None:
    for draw in (sl.draw_decoding, lambda mask, n, **at: sl.draw_reach(mask, 2, n, **at)):
        assert str(draw(sl.causal(), 4, batch=3, head=9)) == str(draw(sl.causal(), 4))
        with pytest.raises(ShapeMismatch, match="2 of them"):
            draw(sl.padding(lengths=[4, 2]), 4, batch=2)


def test_decoding_wants_a_mask() -> None:
    with pytest.raises(InvalidArgument, match=r"sl\.dense"):
        sl.draw_decoding(np.tri(3), 3)  # type: ignore[arg-type]


def test_lengths_come_from_tokens_and_from_data() -> None:
    assert "decoding 3 tokens" in sl.draw_decoding(sl.causal(), tokens=["a", "b", "c"]).summary
    data = sl.dense(np.tri(5), means="attend")
    assert "decoding 5 tokens" in sl.draw_decoding(data).summary
    assert "decoding 8 tokens" in sl.draw_decoding(sl.causal()).summary


# -- drawings of decoding ----------------------------------------------------------------------


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


MASK = sl.causal() & (sl.sinks(1) | sl.window(left=2))


def test_the_text_has_a_row_for_each_step() -> None:
    text = str(sl.draw_decoding(MASK, 6, prompt=2, to="txt"))
    rows = [line.split("  sees")[0].split() for line in text.splitlines() if "sees " in line]
    assert rows == [
        ["0-1", "■", "■"],
        ["2", "■", "■", "■"],
        ["3", "■", "◈", "■", "■"],
        ["4", "■", "–", "◈", "■", "■"],
        ["5", "◈", "–", "–", "◈", "◈", "◈"],
    ]


def test_the_page_holds_the_very_states() -> None:
    html = str(sl.draw_decoding(MASK, 12, prompt=3, to="html"))
    found = follow_decoding(MASK, 12, prompt=3)
    panel = data_of(html)["panels"][0]
    assert [list(map(int, row)) for row in panel["cells"]] == found.states.tolist()
    assert len(data_of(html)["captions"]) == len(found.steps)


def test_the_svg_shows_the_very_states() -> None:
    svg = str(sl.draw_decoding(MASK, 12, to="svg"))
    states = follow_decoding(MASK, 12).states
    fills = {ABSENT: "", SEEN: "in", LAST: "in", KEPT: "", GONE: "out"}
    # The legend's cells are drawn after the panel, in groups of their own.
    panel = svg[: svg.index("seen now, and again later")]
    drawn = np.full(states.shape, "", dtype=object)
    for name, outline in re.findall(r'<path class="(in|out)" d="([^"]+)"', panel):
        if outline == "M0 0h1v1h-1z":
            continue
        for column, row, wide, tall, _ in (map(int, p) for p in PIECE.findall(outline)):
            drawn[row : row + tall, column : column + wide] = name
    wanted = np.vectorize(fills.get, otypes=[object])(states)
    assert (drawn == wanted).all()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_png_shows_the_very_states(theme: Any) -> None:
    pytest.importorskip("matplotlib")
    from PIL import Image

    drawing = sl.draw_decoding(MASK, 9, to="png", theme=theme)
    assert isinstance(drawing.content, bytes)
    pixels = np.asarray(Image.open(io.BytesIO(drawing.content)).convert("RGB"))
    states = follow_decoding(MASK, 9).states
    # The sheet as svg, with its panel's cells in it, says where the cells stand.
    svg = str(sl.draw_decoding(MASK, 9, to="svg", theme=theme))
    moved = re.search(r'<g transform="translate\(([\d.]+) ([\d.]+)\)"><g transform="translate', svg)
    cells = re.search(r'"translate\(([\d.]+) ([\d.]+)\) scale\(([\d.]+)\)" shape-', svg)
    assert moved is not None
    assert cells is not None
    x, y = float(moved[1]) + float(cells[1]), float(moved[2]) + float(cells[2])
    side = float(cells[3])
    named = PALETTES[theme]
    fills = {ABSENT: "paper", SEEN: "in", LAST: "in", KEPT: "paper", GONE: "out"}
    for row, column in np.ndindex(states.shape):
        # Near the upper edge of a cell: no sign and no line between cells is there.
        down, across = 2 * (y + (row + 0.12) * side), 2 * (x + (column + 0.5) * side)
        wanted = hex_color(named[fills[int(states[row, column])]])
        assert pixels[int(down), int(across)].tolist() == wanted, (row, column)


def hex_color(text: str) -> list[int]:
    digits = text[1:] if len(text) == 7 else "".join(2 * each for each in text[1:])
    return [int(digits[place : place + 2], 16) for place in (0, 2, 4)]


def test_a_png_without_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    tokens = ["日", "本"]
    for draw in (
        lambda: sl.draw_decoding(MASK, tokens=tokens, to="png"),
        lambda: sl.draw_reach(MASK, 2, tokens=tokens, to="png"),
        lambda: sl.draw_weights(np.eye(2)[None], MASK, tokens=tokens, to="png"),
    ):
        with pytest.raises(MissingExtra, match=r"sightline\[views\]"):
            draw()


def test_the_svg_moves_only_for_who_wants_it_and_is_whole_without() -> None:
    svg = str(sl.draw_decoding(MASK, 6, to="svg"))
    moving = svg.index("prefers-reduced-motion:no-preference")
    assert svg.index("animation:") > moving
    assert re.search(r"-cover\{transform:scaleY\(0\)", svg[:moving])
    assert re.search(r"-now\{visibility:hidden\}", svg[:moving])
    assert "animation" not in str(sl.draw_decoding(MASK, 1, to="svg"))


def test_what_decoding_cannot_do_is_said_everywhere() -> None:
    mask = sl.window(left=1, right=1) - sl.queries([2])
    for to in ("html", "svg", "txt"):
        content = re.sub(r"<[^>]*>|\s+", " ", str(sl.draw_decoding(mask, 6, to=to)))  # type: ignore[arg-type]
        content = re.sub(" +", " ", content)
        assert "allows 4 pairs whose key comes after the query" in content, to
        assert "uery 2 sees nothing when decoded" in content, to
    assert "not there yet:" not in str(sl.draw_decoding(sl.causal(), 6, to="txt"))


@pytest.mark.parametrize("to", ["html", "svg"])
def test_tokens_cannot_break_out(to: Any) -> None:
    tokens = [EVIL, "日本", "👍🏽", '"&']
    for drawing in (
        sl.draw_decoding(sl.causal(), tokens=tokens, to=to, title=EVIL),
        sl.draw_reach(sl.causal(), 2, tokens=tokens, to=to, title=EVIL),
    ):
        content = str(drawing)
        assert "<script>alert" not in content
        assert "</script><script>a" not in content
        assert "\x00" not in content
        if to == "svg":
            ET.fromstring(content)


# -- reach -------------------------------------------------------------------------------------


@given(masked(), st.integers(0, 4), st.booleans(), st.booleans(), st.data())
def test_layers_are_matrix_products(
    drawn: tuple[sl.Mask, int], layers: int, residual: bool, mixed: bool, data: st.DataObject
) -> None:
    mask, length = drawn
    batch = data.draw(st.integers(0, mask.batch - 1)) if layers else 0
    head = data.draw(st.integers(0, mask.heads - 1)) if layers and not mixed else 0
    found = follow_reach(
        mask, layers, length, residual=residual, mix_heads=mixed, batch=batch, head=head
    )
    allowed = mask.dense(length)[batch]
    one = allowed.any(axis=0) if mixed else allowed[head]
    one = one | np.eye(length, dtype=bool) if residual else one
    before, now = np.zeros((length, length), bool), np.eye(length, dtype=bool)
    assert [layer.layers for layer in found.layers] == list(range(layers + 1))
    for layer in found.layers:
        states = np.where(now, np.where(before, BEFORE, ADDED), np.where(before, LOST, NEVER))
        assert layer.states.tolist() == states.tolist()
        assert layer.pairs == now.sum()
        assert (layer.added, layer.lost) == ((now & ~before).sum(), (before & ~now).sum())
        query, key = np.nonzero(now)
        assert layer.farthest == np.abs(query - key).max(initial=-1)
        before, now = now, (one.astype(int) @ now.astype(int)) > 0


@given(st.integers(1, 3), st.integers(1, 40), st.booleans())
def test_cells_of_many_pairs_add_up(layers: int, length: int, residual: bool) -> None:
    mask = sl.dilated(2) & sl.window(left=5, right=1)
    fine = follow_reach(mask, layers, length, residual=residual)
    coarse = follow_reach(mask, layers, length, residual=residual, fit=8)
    side = coarse.cell[0]
    for one, other in zip(fine.layers, coarse.layers, strict=True):
        assert (one.pairs, one.added, one.lost) == (other.pairs, other.added, other.lost)
        for row, column in np.ndindex(other.states.shape):
            here = one.states[row * side : (row + 1) * side, column * side : (column + 1) * side]
            kinds = set(here.reshape(-1).tolist())
            wanted = next(k for k in (ADDED, BEFORE, LOST, NEVER) if k in kinds)
            assert other.states[row, column] == wanted


def test_a_million_positions_are_drawn() -> None:
    drawing = sl.draw_reach(sl.causal() & sl.window(left=4095), 2, 2**20, to="txt")
    assert "1 cell = 16384 x 16384 pairs" in str(drawing)
    wide = sl.window(left=8190, right=0).count(2**20)
    assert f"{wide:,} pairs" in drawing.summary


def test_layers_of_different_masks() -> None:
    drawing = sl.draw_reach([sl.window(1, 0), sl.causal()], length=4, to="txt")
    assert "a mask of its own for each layer: reach over 2 layers" in str(drawing)
    assert "10 pairs, 3 of them new" in str(drawing)


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        ({"layers": 65}, InvalidArgument, "at most 64"),
        ({"layers": -1}, InvalidArgument, "at least 0"),
        ({"layers": None}, InvalidArgument, "layers"),
        ({"batch": -1}, ShapeMismatch, "there are 1|has? 1"),
        ({"length": 9000}, InvalidArgument, "pair by pair"),
        ({"length": 100, "tokens": ["a"] * 100}, ShapeMismatch, "at most 64 positions"),
        ({"tokens": ["a"]}, ShapeMismatch, "a list of 6"),
        ({"to": "gif"}, InvalidArgument, "html"),
    ],
)
def test_reach_refuses_kindly(wrong: dict[str, Any], kind: type[Exception], words: str) -> None:
    mask = sl.dilated(3) & sl.window(left=9)
    with pytest.raises(kind, match=words):
        sl.draw_reach(mask, **{"layers": 2, "length": 6, **wrong})


def test_reach_wants_masks() -> None:
    with pytest.raises(InvalidArgument, match=r"sl\.dense"):
        sl.draw_reach(np.tri(3), 2, 3)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="wants a mask"):
        sl.draw_reach([sl.causal(), None], length=3)  # type: ignore[list-item]
    assert "after 1 layer" not in str(sl.draw_reach([], length=3, to="txt"))  # as sl.reach([])


def test_the_page_of_reach_holds_the_very_states() -> None:
    mask = sl.window(left=1, right=0)
    panels = data_of(str(sl.draw_reach(mask, 3, 7)))["panels"]
    found = follow_reach(mask, 3, 7)
    assert [[list(map(int, row)) for row in panel["cells"]] for panel in panels] == [
        layer.states.tolist() for layer in found.layers
    ]


def test_pages_ask_for_nothing_from_elsewhere() -> None:
    for html in (str(sl.draw_decoding(MASK, 6)), str(sl.draw_reach(MASK, 2, 6))):
        assert not re.search(
            r'(?:src|href)=|url\(|@import|https?://(?!www\.w3\.org/2000/svg")', html
        )


def test_a_theme_is_light_or_dark_for_good() -> None:
    for draw in (sl.draw_decoding, lambda mask, **how: sl.draw_reach(mask, 2, **how)):
        dark = str(draw(MASK, to="svg", theme="dark"))
        assert 'class="sl-dark"' in dark
        assert "prefers-color-scheme" not in dark
        assert ".sl-dark .pale{fill:#4aa8ff}" in dark
        page = str(draw(MASK, theme="light"))
        assert 'class="slv slv-frames slv-light"' in page
        assert 'class="sl"' not in page
        with pytest.raises(InvalidArgument, match="theme"):
            draw(MASK, theme="sepia")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "mask", [MASK, sl.fixed(8, 2), sl.log_sparse(), sl.causal() & sl.window(left=8)], ids=repr
)
def test_the_svg_of_64_tokens_is_small(mask: sl.Mask) -> None:
    assert len(str(sl.draw_decoding(mask, 64, to="svg")).encode()) <= 60_000
