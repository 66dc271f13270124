"""Text drawings read back: every cell as it was drawn, or a refusal that names the line."""

from __future__ import annotations

from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import InvalidArgument, ParseError, ShapeMismatch, SightlineError
from sightline.recognize.drawn import read_drawing
from sightline.recognize.drawn_signs import ALPHABETS, LEGEND, Signs
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames
from sightline.views.picture import MaskPicture, picture_of
from sightline.views.text.glyphs import ASCII, UNICODE, Glyphs, legend_of
from sightline.views.text.terminal import render_text

WORDS = st.sampled_from(
    ["I", "have", "a", "dream", "<eos>", "▁the", "##ing", "我", "一个", "👍🏽", "naïve", "0", "42"]
)
# Labels that could be taken for cells, numbers or words of a legend.
ODD = st.sampled_from(
    [*"■·!?ox.#-+*█←", "<-", "· ·", "a .", "0 1", ". . .", "  ", "\u3000", "\x1b[31m", ""]
) | st.sampled_from(["keys: 0", "weight: 1", "1 cell = 2", "sees nothing"])
ENCODINGS = st.sampled_from(["utf-8", "ascii", "latin-1"])


def cells_of(text: str) -> np.ndarray:
    return read_drawing(text).cells


# -- there and back --------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.data())
def test_every_mask_comes_back(data: st.DataObject) -> None:
    frame = data.draw(frames(9))
    mask = build(data.draw(expressions(frame, depth=1)))
    q_len, kv_len, q_offset, _ = frame.at
    batch = data.draw(st.integers(0, mask.batch - 1))
    head = data.draw(st.integers(0, mask.heads - 1))
    picture = picture_of(mask, q_len, kv_len, q_offset=q_offset, batch=batch, head=head, title="")
    options = data.draw(
        st.fixed_dictionaries(
            {"encoding": ENCODINGS, "color": st.booleans(), "legend": st.booleans()}
        )
    )
    text = render_text(picture, **options)
    drawn = read_drawing(text)
    assert drawn.q_offset == q_offset
    np.testing.assert_array_equal(drawn.cells, picture.allowed[None, None])
    found = sl.recognize(text)
    assert found.q_offset == q_offset
    np.testing.assert_array_equal(found.mask.dense(*frame.at[:3]), picture.allowed[None, None])


@settings(deadline=None)
@given(st.data())
def test_labels_of_any_script_are_no_cells(data: st.DataObject) -> None:
    allowed, rows, columns = data.draw(pictures(WORDS, WORDS))
    picture = MaskPicture(
        allowed, rows, columns, title=data.draw(st.sampled_from(["", "a\nb", "我"]))
    )
    text = render_text(picture, encoding=data.draw(ENCODINGS), legend=data.draw(st.booleans()))
    np.testing.assert_array_equal(cells_of(text)[0, 0], allowed)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_labels_that_look_like_cells_are_told_apart_or_refused(data: st.DataObject) -> None:
    allowed, rows, columns = data.draw(pictures(ODD | WORDS, ODD | WORDS))
    picture = MaskPicture(allowed, rows, columns, title=data.draw(st.just("") | ODD))
    text = render_text(picture, encoding=data.draw(ENCODINGS), legend=data.draw(st.booleans()))
    try:
        cells = cells_of(text)
    except SightlineError:
        return
    np.testing.assert_array_equal(cells[0, 0], allowed)


@st.composite
def pictures(draw: st.DrawFn, row: Any, column: Any) -> tuple[np.ndarray, list[str], list[str]]:
    rows = draw(st.lists(row, min_size=1, max_size=6))
    columns = draw(
        st.lists(column, min_size=1, max_size=6) | st.lists(column, min_size=30, max_size=50)
    )
    hypothesis.assume(any(columns) and any(rows))  # what has no label at all has no header
    seed = draw(st.integers(0, 999))
    share = draw(st.sampled_from([0.2, 0.5, 0.9]))
    return np.random.default_rng(seed).random((len(rows), len(columns))) < share, rows, columns


def test_every_form_of_header_is_read() -> None:
    long = ["internationalisation", *"bcdefghijkl!"]
    for labels in (
        long,
        ["dot."] * 13,
        [str(n) for n in range(13)],
        list("我有一个梦想我有一个梦想我"),
    ):
        allowed = np.random.default_rng(len(labels[0])).random((3, 13)) < 0.5
        text = render_text(MaskPicture(allowed, ("a", "b", "c"), labels, title="several\nlines"))
        np.testing.assert_array_equal(cells_of(text)[0, 0], allowed)


def test_weights_and_use_are_drawn_over_the_mask() -> None:
    allowed = np.tri(3, dtype=bool)
    weights = np.where(allowed, [[0.5], [0.25], [1.0]], 0.0)
    np.testing.assert_array_equal(
        cells_of(render_text(MaskPicture(allowed, weights=weights)))[0, 0], allowed
    )
    weights[0, 2] = 0.5
    for picture in (MaskPicture(allowed, weights=weights), MaskPicture(allowed, used=weights > 0)):
        for encoding in ("utf-8", "ascii"):
            found = sl.recognize(render_text(picture, encoding=encoding))
            assert found.mask == sl.causal()
            assert found.warnings == ("1 forbidden pairs are drawn as used",)


def test_batch_rows_and_heads_are_told_by_their_names(run_show: Any) -> None:
    mask = sl.per_batch([sl.causal(), sl.everything()]) & sl.per_head(
        [sl.window(left=1), sl.prefix(2)]
    )
    text = run_show(repr(mask), "--size", "3x4")
    found = sl.recognize(text)
    assert found.evidence[1] == "4 drawings, by their names"
    np.testing.assert_array_equal(found.mask.dense(3, 4), mask.dense(3, 4))
    alone = sl.recognize(run_show(repr(mask), "--size", "3x4", "--batch", "1", "--head", "0"))
    assert alone.evidence[1] == "it draws batch row 1, head 0 alone"
    np.testing.assert_array_equal(alone.mask.dense(3, 4)[0, 0], mask.dense(3, 4)[1, 0])


@pytest.fixture
def run_show(capsys: pytest.CaptureFixture[str]) -> Any:
    from sightline.cli.main import main

    def show(*words: str) -> str:
        assert main(["show", *words]) == 0
        return capsys.readouterr().out

    return show


def test_what_show_prints_is_read_whole(run_show: Any) -> None:
    for expression in (
        "causal() & padding(lengths=[5, 3], side='left')",
        "tree(parents=[-1, 0, 0])",
    ):
        found = sl.recognize(run_show(expression))
        size = sl.parse(expression).extent()[0]
        assert sl.equivalent(found.mask, sl.parse(expression), size)
    part = run_show("per_head([" + "causal(), " * 5 + "causal(strict=True)])")
    with pytest.raises(ParseError, match="not all batch rows and heads are drawn"):
        sl.recognize(part)


# -- drawn by hand ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "x..\nxx.\nxxx",
        "  X . .\n  X X .\n  X X X\n",
        "\n■··\n■■·\n■■■\n\n",
        "#..\n##.\n###",
        "\n\n  a b c\na x . .\nb x x .\nc x x x",
        "\x1b[34mx\x1b[0m . .\r\nx x .\r\nx x x",
    ],
)
def test_by_hand(text: str) -> None:
    found = sl.recognize(text)
    assert (found.mask, found.convention) == (sl.causal(), "attend")
    assert "means" not in " ".join(found.evidence)


def test_two_by_hand_are_batch_rows() -> None:
    found = sl.recognize("x.\nxx\n\nxx\nxx")
    assert found.mask == sl.prefix_lm([0, 2])
    assert "without names: read as batch rows" in found.ambiguous[0]


def test_0_and_1_are_numbers_that_do_not_say_their_sense() -> None:
    text = "1 0 0\n1 1 0\n1 1 1\n"
    with pytest.raises(InvalidArgument, match=r"0 and 1 only .* Say which"):
        sl.recognize(text)
    assert sl.recognize(text, "attend").mask == sl.causal()
    assert sl.recognize("011\n001\n000", "ignore").mask == sl.causal()
    assert sl.recognize("10\n11\n\n11\n11", "attend").mask.batch == 2


def test_row_numbers_are_positions() -> None:
    assert sl.recognize("  0 1 2\n2 x x x").q_offset == 2
    assert sl.recognize("  0 1 2\n1 x x .\n2 x x x").mask == sl.causal()
    with pytest.raises(ShapeMismatch, match="is labelled 2"):
        sl.recognize("  0 1 2\n2 x x x", q_offset=1)
    # Beside words a number may be a token.
    assert read_drawing("  a b c\n2 x x x").q_offset is None


# -- refused ---------------------------------------------------------------------------------------

THREE = "\n\n".join(
    f"batch row {row}, head {head}\n  0\n0 x" for row, head in ((0, 0), (0, 1), (1, 0))
)
AGGREGATED = render_text(picture_of(sl.causal(), 128))
HALF, WIDE = (
    render_text(picture_of(sl.chunks(4), *size, fit=fit), encoding="ascii", legend=False)
    for size, fit in (((160, 160), 40), ((1, 60), 15))
)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("xx.\nx.\nxxx", 2, "does not line up with the lines above"),
        ("xx\n\nxxx", 3, "this row has 3 cells, the first one has 2"),
        ("x.\n\nx.\nxx", 3, "2 queries begins here, the first one has 1"),
        ("x . .\nx y .\nx x x", 2, "does not line up"),
        ("  0 1 2\n0 x . .\n1 x y .\n2 x x x", 3, "does not line up"),
        ("  0 1 2\n0 x . .\n1 x x y\n2 x x x", 4, "go on below a line that is no row"),
        ("  0 1 2\n0 x . .\n1 x x y", 3, "neither a row of cells nor a legend"),
        ("  0 1 2\n0 x . .\n1 x x\n2 x x x", 3, "does not line up"),
        ("  0 1 2\n0 x x\n1 x x\n2 x x", 2, "does not line up"),
        ("  0 1\n0 x . .\n1 x x .\n2 x x x", 2, "does not line up"),
        ("  0 1\n0 x .\n1 x x\n3 x x", 4, "row 3 follows row 1, and one is missing"),
        ("  0 1\n0 x .\n2 x x", 2, "a cell stands for several pairs"),
        ("  0 1\n0 x .\n1 x x\n  0 1\n0 x .\n1 x x", 5, "leave a blank line"),
        ("  a b\nq x .\nlong x x", 2, "does not line up"),
        ("         a b\nlonglong x x\nq    x x", 2, "does not line up"),
        ("  ab\na x.\nb xx", 2, "a cell stands for several pairs"),
        ("  0 1\n  x .\n1 x x", 2, "does not line up"),
        ("   aaa bbb\nxyz x   .", 2, "does not line up"),
        ("          0\na         ■\nkeys: 0 b ·", 3, "neither a row"),
        ("x x  x\nx x  x", 1, "does not line up"),
        (THREE, 11, "batch rows or heads are missing"),
        (AGGREGATED, 67, "a cell stands for several pairs"),
        (AGGREGATED.rpartition("\n")[0], 3, "no legend says which"),
        (HALF, 3, "a cell stands for several pairs"),
        (WIDE, 3, "does not line up"),
        ("  0 1\n0 ■ ?\n1 ■ ■", 2, "a weight that is no number"),
        ("  0 1\n0 ■ −\n1 ■ ■\n■ in both   − removed   · in neither", 4, "a difference"),
        ("head 0\n  0\n0 x\n\nhead 2\n  0\n0 x", 7, "head 2 is drawn here, out of order"),
        ("head 0\n  0\n0 x\n\n  0\n0 x", 6, "without the number of its batch row or head"),
        ("■\n\na weight !", 3, "does not line up"),
        ("= .", 1, "does not line up with what is below"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(ParseError, match=rf"(?s)^line {line}: .*{said}"):
        sl.recognize(text)


@pytest.mark.parametrize("text", ["", "causal()", "no mask\nin here\n", "0 1 2"])
def test_texts_without_a_drawing(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"wanted an array, or a drawing"):
        sl.recognize(text)


def test_a_drawing_says_itself_what_it_means() -> None:
    with pytest.raises(InvalidArgument, match="leave means out"):
        sl.recognize("x.\nxx", "ignore")
    assert sl.recognize("x.\nxx", "attend").mask == sl.causal()


# -- the same signs as are drawn -------------------------------------------------------------------


@pytest.mark.parametrize(("glyphs", "signs"), [(UNICODE, ALPHABETS[0]), (ASCII, ALPHABETS[1])])
def test_the_signs_are_those_that_are_drawn(glyphs: Glyphs, signs: Signs) -> None:
    assert signs.allowed == glyphs.allowed + glyphs.unused
    assert signs.forbidden == glyphs.forbidden + glyphs.leak
    assert signs.shades == "".join(glyphs.shades)
    assert (signs.broken, signs.leak) == (glyphs.broken, glyphs.leak)


def test_the_legends_are_those_that_are_drawn() -> None:
    allowed, cells = np.tri(2, dtype=bool), np.eye(2, dtype=bool)
    for glyphs in (UNICODE, ASCII):
        for picture in (
            MaskPicture(allowed),
            MaskPicture(allowed, weights=cells),
            MaskPicture(allowed, used=cells),
            MaskPicture(allowed, used=~cells),
            MaskPicture(~allowed, used=allowed),
        ):
            assert LEGEND.match(legend_of(picture, glyphs)), legend_of(picture, glyphs)


def test_what_is_no_array_says_how_it_is_read() -> None:
    with pytest.raises(InvalidArgument, match=r"got causal\(\) .*, a mask already"):
        sl.recognize(sl.causal())
    with pytest.raises(InvalidArgument, match=r"str\(sl\.draw\(\.\.\., to='txt'\)\)"):
        sl.recognize(sl.draw(sl.causal(), 4, to="txt"))
