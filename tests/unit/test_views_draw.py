"""sl.draw: what it takes, what it refuses, and what it says beside the cells."""

from __future__ import annotations

import builtins
import json
import re
import sys
import types
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.errors import InvalidArgument, InvalidMask, MissingExtra, ShapeMismatch
from sightline.masks.frame import Frame
from sightline.masks.names import NAMES
from sightline.views.draw import paint_scene
from sightline.views.extras import overlay_of
from sightline.views.facets import facets_of
from sightline.views.marks import marks_of
from sightline.views.moving.sheet_svg import SHEET_CSS
from sightline.views.png.paint import rasterize
from sightline.views.png.shapes import outline_of
from sightline.views.png.text import spelled
from sightline.views.scene import Wishes, scene_of
from sightline.views.style import (
    CHARTS_CSS,
    EXTRAS_CSS,
    HOVER_CSS,
    PALETTES,
    SVG_CSS,
    themed,
)

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "<script>alert('&\"')</script>\x00\x1b[0m]]>\ufffe"
MOST_BYTES_OF_64 = 60_000

SIXTY_FOUR = {
    "window": "window(left=5, right=3)",
    "prefix": "prefix(9)",
    "sinks": "causal() & (sinks(2) | window(left=9))",
    "keys": "keys(range(0, 60, 7))",
    "queries": "queries(range(0, 60, 7))",
    "chunks": "chunks(7)",
    "block_causal": "block_causal(7)",
    "dilated": "dilated(2)",
    "strided": "strided(8)",
    "fixed": "fixed(8, summary=1)",
    "log_sparse": "log_sparse(local=2)",
    "log_sparse_row_mask": "log_sparse_row_mask(sub_len=16, win_len=64)",
    "random_blocks": "random_blocks(1, per_row=20, seed=3)",
    "block_diffusion": "block_diffusion(length=32, block=4)",
    "shifted_window": "shifted_window((8, 8), window=4, shift=2)",
    "neighborhood": "neighborhood((8, 8), kernel=3)",
    "axial": "axial((8, 8), axis=0)",
    "padding": "padding(lengths=[64, 50, 33, 1])",
    "documents": "documents(lengths=[9, 20, 1, 1, 1, 32])",
    "spans": f"spans({[0, 0, -1, 1] * 16})",
    "prefix_lm": "prefix_lm([5, 60])",
    "seq2seq": "seq2seq([30, 20]) & padding(lengths=[60, 64])",
    "permutation": f"permutation({[(37 * n) % 64 for n in range(64)]})",
    "tree": f"tree({[-1, *[n // 2 for n in range(63)]]})",
    "per_batch": "per_batch([causal(), dilated(3)])",
    "per_head": "per_head([window(left=1), dilated(2), strided(5)])",
    "dense": f"dense({[[(q * k) % 3 // 2 for k in range(64)] for q in range(64)]}, means='attend')",
    "intervals": f"intervals(start={list(range(64))}, end={[n + 5 for n in range(64)]})",
}


@pytest.mark.parametrize("name", NAMES)
def test_sixty_four_tokens_of_any_mask_stay_small(name: str) -> None:
    if name == "predicate":
        mask = sl.predicate(lambda b, h, q, k: (q * k) % 5 < 2)
    else:
        mask = sl.parse(SIXTY_FOUR.get(name, f"{name}()"))
    words = [f"token{number}" for number in range(64)]
    assert len(sl.draw(mask, tokens=words).content) <= MOST_BYTES_OF_64
    one = sl.draw(mask, 64, blocks=8, batch=0, head=min(1, mask.heads - 1))
    assert len(one.content) <= MOST_BYTES_OF_64


@pytest.mark.parametrize(
    ("mask", "wishes", "size"),
    [
        ("causal()", {}, (8, 8)),
        ("causal()", {"q_offset": 3}, (8, 11)),
        ("padding(lengths=[5, 3])", {}, (5, 5)),
        ("padding(lengths=[5, 3])", {"q_offset": 2}, (3, 5)),
        ("documents(lengths=[5, 3])", {"q_len": 4}, (4, 4)),
        ("causal()", {"tokens": ["a", "b", "c"]}, (3, 3)),
        ("causal()", {"tokens": ["a", "b", "c"], "q_offset": 2}, (1, 3)),
        ("causal()", {"tokens": ["a", "b", "c"], "q_len": 2, "kv_len": 3}, (2, 3)),
        ("causal()", {"query_tokens": ["a", "b"], "key_tokens": list("wxyz")}, (2, 4)),
    ],
)
def test_lengths_follow_from_tokens_and_data(mask: str, wishes: Any, size: tuple[int, int]) -> None:
    summary = sl.draw(sl.parse(mask), **wishes).summary
    assert f"{size[0]} queries by {size[1]} keys" in summary


def test_tokens_label_positions() -> None:
    words = list("abcdef")
    drawn = sl.draw(sl.causal(), tokens=words, q_offset=4, to="txt", title="")
    assert str(drawn).splitlines()[:3] == ["  a b c d e f", "e ■ ■ ■ ■ ■ ·", "f ■ ■ ■ ■ ■ ■"]


@pytest.mark.parametrize(
    ("wishes", "error", "said"),
    [
        ({"to": "pdf"}, InvalidArgument, "'pdf', wanted one of svg, png, html, txt"),
        ({"theme": "blue"}, InvalidArgument, "wanted one of auto, light, dark"),
        ({"against": "causal()"}, InvalidMask, "draw(against=) wants a mask"),
        ({"tokens": "I have a dream"}, InvalidArgument, "text.split()"),
        ({"tokens": 5}, InvalidArgument, "a list of labels"),
        ({"tokens": ["a"], "q_len": 3}, ShapeMismatch, "got 1 token for 3 queries; give one"),
        ({"batch": 2}, ShapeMismatch, "draw(batch=) got 2, but the mask has 2 batch rows, 0 to 1"),
        ({"batch": -1}, ShapeMismatch, "at least 0"),
        ({"batch": []}, ShapeMismatch, "no batch row at all"),
        ({"head": 1.5}, ShapeMismatch, "must be an integer"),
        ({"q_offset": 9}, ShapeMismatch, "draw(q_offset=) got 9, beyond the last query"),
        ({"blocks": (1, 2, 3)}, InvalidArgument, "one size or (block_q, block_kv)"),
        ({"blocks": 0}, InvalidArgument, "draw(blocks=), the size of a block, must be at least 1"),
        ({"blocks": "big"}, InvalidArgument, "draw(blocks=), the size of a block, must be an int"),
        ({"against": "causal()"}, InvalidMask, "read an expression with sl.parse(text)"),
        ({"title": 5}, InvalidArgument, "draw(title=) wants a text, got 5 (int)"),
        ({"fit": 0}, InvalidArgument, "draw(fit=) must be"),
        ({"fit": (1, 2, 3)}, InvalidArgument, "one number or (rows, columns)"),
        ({"against": sl.padding(lengths=[1, 2, 3])}, ShapeMismatch, "2 and 3 batch rows"),
        ({"weights": np.zeros((2, 2, 2))}, ShapeMismatch, "one batch row and head"),
        ({"q_len": -1}, ShapeMismatch, "q_len"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wishes: Any, error: type, said: str) -> None:
    with pytest.raises(error, match=re.escape(said)):
        sl.draw(sl.padding(lengths=[4, 2]), **wishes)


def test_no_mask_is_refused() -> None:
    with pytest.raises(InvalidMask, match="means="):
        sl.draw(np.eye(3))  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidMask):
        sl.draw(None)  # pyright: ignore[reportArgumentType]


def test_a_plan_must_be_of_the_same_mask_and_shape() -> None:
    plan = sl.plan(sl.causal(), 8, block_q=4, block_kv=4)
    assert "blocks of 4 x 4: 1 full, 2 partial, 1 empty" in str(
        sl.draw(sl.causal(), 8, blocks=plan)
    )
    with pytest.raises(ShapeMismatch):
        sl.draw(sl.causal(), 9, blocks=plan)
    with pytest.raises(InvalidArgument):
        sl.draw(sl.everything(), 8, blocks=plan)


def test_blocks_of_each_batch_row_are_its_own() -> None:
    mask = sl.causal() & sl.documents(lengths=[[5, 3], [2, 2]])
    for cuts in ("uniform", "aligned"):
        plan = sl.plan(mask, 8, block_q=2, block_kv=2, cuts=cuts)
        states = plan.states()
        for batch in range(2):
            seen = overlay_of(plan, batch)
            assert seen.states is not None
            rows, columns = seen.states.shape
            np.testing.assert_array_equal(seen.states, states[batch, 0, :rows, :columns])
            assert sum(seen.counts) == rows * columns
            assert seen.counts.full == (seen.states == 2).sum()
            assert seen.counts.partial == (seen.states == 1).sum()
            assert len(seen.q_edges) == rows + 1


def test_more_pictures_than_there_is_room_for() -> None:
    drawn = str(sl.draw(sl.padding(lengths=list(range(1, 31))), 4, 30))
    assert drawn.count('class="frame"') == 12 + 2  # the legend has two
    assert "... and 18 more; choose with batch=" in drawn
    chosen = facets_of((3, 5), None, [4, 1])
    assert chosen.panels == ((0, 4), (0, 1), (1, 4), (1, 1), (2, 4), (2, 1))
    assert facets_of((1, 1), 7, 7).panels == ((0, 0),)
    assert facets_of((9, 9)).left_out == 81 - 12


def marks(mask: sl.Mask, q_len: int, kv_len: int | None = None, **where: int) -> list[Any]:
    frame = Frame.of(q_len, kv_len, where.pop("q_offset", 0))
    return [(m.axis[0], m.start, m.stop, m.label) for m in marks_of(mask, frame, **where)]


def test_marks_name_what_the_expression_says() -> None:
    assert marks(sl.documents(lengths=[[3, 2], [1, 4]]), 5, batch=1) == [
        ("q", 0, 1, "document 0"),
        ("q", 1, 5, "document 1"),
        ("k", 0, 1, "document 0"),
        ("k", 1, 5, "document 1"),
    ]
    assert marks(sl.padding(lengths=[2, 3], side="left"), 4) == [
        ("k", 0, 1, "padding"),
        ("k", 3, 4, "padding"),
    ]
    assert marks(sl.padding(valid=[[1, 0, 0, 1]]), 4, 5) == [
        ("k", 1, 3, "padding"),
        ("k", 4, 5, "padding"),
    ]
    assert marks(sl.padding(lengths=[2]).T, 4) == [("q", 2, 4, "padding")]
    assert marks(sl.spans([-1, 0, 0, 1]), 4)[2:] == [("k", 1, 3, "span 0"), ("k", 3, 4, "span 1")]
    moved = sl.documents(lengths=[3, 2]).shift(key=1)
    assert marks(moved, 4)[2:] == [("k", 1, 4, "document 0")]
    assert marks(sl.prefix_lm([2]).shift(query=1), 4) == [
        ("q", 1, 3, "prefix"),
        ("k", 0, 2, "prefix"),
    ]
    assert marks(sl.window(left=2, right=0), 2, 9, q_offset=5) == [("k", 4, 7, "window of query 6")]
    assert marks(sl.causal(), 4) == []
    both = sl.per_head([sl.prefix(2), sl.chunks(4)])
    assert marks(both, 4, head=0) == [("k", 0, 2, "prefix")]
    assert marks(both, 4, 6, head=1)[1:] == [("k", 0, 4, "chunk 0"), ("k", 4, 6, "chunk 1")]
    assert marks(sl.chunks(5), 2**20) == []
    assert len(marks(sl.documents(lengths=[1] * 10**5), 2**20)) <= 130


def test_padding_is_where_no_query_sees_anything() -> None:
    mask = sl.causal() & sl.padding(lengths=[5, 2])
    for batch in range(2):
        dark = ~mask.dense(7)[batch, 0].any(axis=0)
        named = np.zeros(7, dtype=bool)
        for _, start, stop, _ in marks(mask, 7, batch=batch):
            named[start:stop] = True
        np.testing.assert_array_equal(named, dark)


def test_what_is_estimated_is_said() -> None:
    mask = sl.predicate(lambda b, h, q, k: (q * 7 + k * 13) % 11 < 4)
    wishes = Wishes(fit=(4, 4), most_mixed=8, seconds=0.05)
    picture = scene_of(mask, Frame.of(4096, 4096), wishes).panels[0]
    assert picture.estimated
    assert (picture.share > 0).all()
    assert picture.sure is not None
    assert not picture.sure.any()
    scene = scene_of(mask, Frame.of(4096, 4096), wishes)
    assert "about " in scene.summary

    assert "16 of 16 cells are estimated" in str(paint_scene(scene, "svg"))
    assert "16 of 16 cells are estimated" in str(paint_scene(scene, "txt"))
    assert '"about ' in str(paint_scene(scene, "html"))
    with pytest.raises(InvalidArgument, match="compared"):
        scene_of(mask, Frame.of(4096, 4096), Wishes(fit=(4, 4), most_mixed=8, against=sl.causal()))


def test_themes_are_fixed_or_follow() -> None:
    auto, light, dark = (str(sl.draw(sl.causal(), 3, theme=theme)) for theme in PALETTES_AND_AUTO)
    assert "prefers-color-scheme:dark" in auto
    assert "@media" not in light + dark
    assert 'class="sl-dark"' in dark
    assert ".sl-light .in" not in dark
    assert dark.rindex(".sl-dark .in{fill:#4aa8ff}") > dark.index(".sl-dark .in{fill:#0067b1}")


PALETTES_AND_AUTO = ("auto", "light", "dark")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_palettes_are_those_of_the_style_sheets(theme: Any) -> None:
    sheet = themed(SVG_CSS + EXTRAS_CSS + HOVER_CSS, theme)
    names = {"in", "out", "paper", "bad", "added", "removed", "mixed"}
    for name in names:
        found = re.findall(rf"\.sl-{theme} \.{name}\{{fill:(#\w+)\}}", sheet)
        assert found[-1] == PALETTES[theme][name], name


@pytest.mark.parametrize("kind", ["svg", "html", "txt"])
def test_labels_do_no_harm(kind: Any) -> None:
    drawn = str(sl.draw(sl.causal(), tokens=[EVIL, "b"], title=EVIL, to=kind).content)
    assert "<script>alert" not in drawn or kind == "txt"
    assert "\x00" not in drawn
    assert "\x1b" not in drawn
    if kind == "html":
        data = re.search(r'json">(.*?)</script>', drawn)
        assert data is not None
        assert json.loads(data[1])["panels"][0]["queries"][0].startswith("<script>alert")


def test_a_page_is_whole_and_asks_nobody(tmp_path: Any) -> None:
    drawn = sl.draw(sl.causal(), 3, to="html", title="a & b")
    page = drawn.save(tmp_path / "mask.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert '<meta charset="utf-8">' in page
    assert "<title>a &amp; b: 3 queries by 3 keys; 6 pairs allowed</title>" in page
    assert str(drawn.content) in page
    assert set(re.findall(r"https?://[^\"]*", page)) == {"http://www.w3.org/2000/svg"}
    with pytest.raises(InvalidArgument, match=r"end its name in \.html"):
        drawn.save(tmp_path / "mask.svg")


def test_a_png_needs_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtra, match=r"sightline\[views\]"):
        sl.draw(sl.causal(), to="png")


def test_a_png_leaves_nothing_out() -> None:
    pytest.importorskip("matplotlib")
    begin = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">'
    curve, oval = '<path d="M0 0C1 1 2 2 3 3"/>', '<path d="M0 0a1 2 0 0 1 2 0"/>'
    for element in ("<ellipse/>", curve, oval):
        with pytest.raises(InvalidArgument, match=r"not known here|no half circle"):
            rasterize(f"{begin}{element}</svg>")
    with pytest.raises(InvalidArgument, match="skew"):
        rasterize(f'{begin}<g transform="skewX(3)"/></svg>')


def test_half_circles_bulge_to_their_side() -> None:
    for sweep, low, high in ((0, 5, 10), (1, 0, 5)):
        half = ET.fromstring(f'<path d="M0 5a5 5 0 0 {sweep} 10 0z"/>')
        height = outline_of(half, "path", (9.0, 9.0)).corners[:, 1]
        assert (round(height.min()), round(height.max())) == (low, high)


def test_what_no_font_can_write_is_spelled_out() -> None:
    pytest.importorskip("matplotlib")
    assert spelled("plain é")[0] == "plain é"
    assert spelled("\U0010fffd")[0] == "\\U0010fffd"


def test_a_mask_shows_itself_in_a_notebook() -> None:
    mask = sl.causal() & sl.padding(lengths=[3, 2])
    bundle = mask._repr_mimebundle_()
    assert bundle["text/plain"] == repr(mask)
    assert bundle["image/svg+xml"] in bundle["text/html"] == mask._repr_html_()
    root = ET.fromstring(bundle["image/svg+xml"])
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"batch row 0", "batch row 1"} <= set(texts)
    assert mask._repr_mimebundle_(include=None, exclude=None) == bundle


def test_a_mask_that_cannot_be_drawn_is_still_told() -> None:
    mask = sl.predicate(lambda b, h, q, k: 1 / 0)
    assert mask._repr_mimebundle_() == {"text/plain": repr(mask)}
    assert mask._repr_html_() is None


def test_a_file_is_of_the_kind_that_its_ending_says() -> None:
    drawing = sl.draw(sl.causal(), 3)
    with pytest.raises(InvalidArgument, match=r"end its name in \.svg, or draw it with to='png'"):
        drawing.save("mask.png")
    for other in ("mask", "mask.pdf", "/"):
        with pytest.raises(InvalidArgument, match=r"end its name in \.svg\.$"):
            drawing.save(other)


def test_the_summary_of_a_difference_says_what_differs() -> None:
    drawing = sl.draw(sl.causal(), 4, against=sl.window(left=1, right=1))
    assert drawing.summary.endswith("10 pairs allowed, 3 added, 3 removed")


def test_a_drawing_shows_itself() -> None:
    svg = sl.draw(sl.causal(), 2)._repr_mimebundle_()
    assert set(svg) == {"text/plain", "text/html", "image/svg+xml"}
    assert sl.draw(sl.causal(), 2, to="txt")._repr_mimebundle_()["text/plain"].count("■") == 4


def test_show_writes_text_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    mask = sl.causal() & sl.window(left=1)
    assert mask.show(tokens=["a", "b"], title="", marks=False) is None
    assert capsys.readouterr().out == "  a b\na ■ ·\nb ■ ■\n■ may attend   · may not\n"
    with pytest.raises(InvalidArgument, match="needs a notebook"):
        mask.show(to="svg")
    with pytest.raises(InvalidArgument, match="got 'jpg', wanted one of svg, png, html, txt"):
        mask.show(to="jpg")
    with pytest.raises(TypeError, match="colour"):
        mask.show(colour="red")


def test_show_displays_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    display = types.ModuleType("IPython.display")
    display.display = shown.append  # pyright: ignore[reportAttributeAccessIssue]
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # pyright: ignore
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    sl.causal().show(3)
    sl.causal().show(3, to="svg")
    assert [drawing.kind for drawing in shown] == ["html", "svg"]


def test_masks_ask_for_views_only_when_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = builtins.__import__

    def watch(name: str, *rest: Any) -> Any:
        asked.append(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", watch)
    repr(sl.causal() & sl.padding(lengths=[2]))
    assert not [name for name in asked if "views" in name]


def _ids(page: str) -> list[str]:
    return re.findall(r'<[^<>]* id="([^"]*)"', page)


@pytest.mark.parametrize("to", ["svg", "html"])
def test_drawings_on_one_page_share_no_names(to: Any) -> None:
    one = sl.per_batch([sl.causal(), sl.window(left=1, right=1)])
    weights = np.tril(np.full((4, 4), 0.25))
    pages = [
        str(drawing)
        for drawing in (
            sl.draw(one, 4, against=sl.causal(), to=to),
            sl.draw(one, 4, against=sl.window(left=0), to=to),
            sl.draw(sl.causal(), 4, weights=weights, to=to),
            sl.draw(sl.causal(), 4, weights=weights, to=to, theme="dark"),
        )
    ]
    names = _ids("".join(pages))
    assert len(names) == len(set(names)) > 5
    for page in pages:
        assert set(re.findall(r'fill="url\(#([^)]*)\)"', page)) == set(_ids(page))


def test_a_token_may_look_like_a_name() -> None:
    token = 'fill="url(#sl-hatch)'
    drawing = sl.draw(sl.causal(), weights=[[1.0]], tokens=[token], fit=1)
    texts = [text for each in ET.fromstring(str(drawing)).iter() for text in each.itertext()]
    assert token in texts


def _meanings() -> dict[tuple[str, bool], dict[str, list[str]]]:
    """Return what each sheet for drawings says of a class, in the light and in the dark."""
    sheets = {"SVG": SVG_CSS, "EXTRAS": EXTRAS_CSS, "HOVER": HOVER_CSS, "SHEET": SHEET_CSS}
    sheets["CHARTS"] = CHARTS_CSS
    found: dict[tuple[str, bool], dict[str, list[str]]] = {}
    for name, css in sheets.items():
        for number, piece in enumerate(css.split("@media (prefers-color-scheme:dark){")):
            for names, body in re.findall(r"([^{}]+){([^{}]*)}", piece):
                for one in names.strip().split(","):
                    said = found.setdefault((one.strip(), number > 0), {})
                    said.setdefault(name, []).append(body)
    return found


def test_a_class_means_one_thing_to_all_drawings() -> None:
    """In a notebook their style sheets stand on one page: each applies to all drawings there."""
    meanings = _meanings()
    assert len(meanings) > 60
    clashes = {one: said for one, said in meanings.items() if len(said) > 1}
    assert not clashes
    # Nor may what is drawn in cells, where 1 is a cell, get a line of pixels around it.
    leaky = str(sl.draw(sl.causal(), 2, weights=[[0.5, 0.5], [0.5, 0.5]], to="html"))
    assert '<path class="paper leak" d="M1.5 0.25' in leaky


@pytest.mark.parametrize("to", ["svg", "html", "txt"])
def test_tokens_that_are_not_shown_are_spoken_of(to: Any) -> None:
    words = [f"w{place}" for place in range(200)]
    said = "fit=200 has one each"
    assert said in str(sl.draw(sl.causal(), tokens=words, to=to))
    assert said not in str(sl.draw(sl.causal(), tokens=words, to=to, fit=200))
    assert said not in str(sl.draw(sl.causal(), 200, to=to))
