"""Pictures of shards: who holds and receives what, where bars end, and that all of it is drawn."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import InvalidArgument
from sightline.plan.scaling import head_tail
from sightline.plan.shard import Shard
from sightline.views.shard_panels import MOST_OWNERS, bars_panel
from sightline.views.shard_picture import draw_shard, shard_html
from sightline.views.shard_rows import rank_rows, row_names, row_starts
from sightline.views.shard_text import render_shard_text

SVG = "{http://www.w3.org/2000/svg}"
PACKED = sl.causal() & sl.documents(lengths=[300, 500, 224])


def packed(ranks: int) -> Shard:
    return sl.shard(sl.plan(PACKED, 1024, block_q=16, block_kv=16), ranks)


@given(
    ranks=st.integers(1, 9), rows=st.integers(1, 9), cells=st.integers(1, 70), fold=st.booleans()
)
def test_cells_are_those_of_the_dense_mask(ranks: int, rows: int, cells: int, fold: bool) -> None:
    made = sl.plan(PACKED, 1024, block_q=16, block_kv=16)
    cut = head_tail(made, ranks) if fold else sl.shard(made, ranks)
    found = rank_rows(cut, rows, cells)
    assert len(found.names) <= rows
    assert found.held.shape[1] <= cells
    dense = PACKED.dense(1024)[0, 0]
    rank = np.repeat(cut.queries.owner[0], 16)
    side = 16 * -(-64 // cells)
    starts = [int(name.split("-")[0]) for name in found.names]
    assert starts[0] == 0
    pairs = np.array([dense[rank == each].sum() for each in range(ranks)])
    for row, (first, stop) in enumerate(zip(starts, [*starts[1:], ranks], strict=True)):
        several = range(first, stop)
        for cell in range(found.held.shape[1]):
            here = slice(cell * side, (cell + 1) * side)
            assert found.held[row, cell] == any((rank[here] == each).any() for each in several)
            assert found.received[row, cell] == any(
                (dense[rank == each][:, here].any(axis=0) & (rank[here] != each)).any()
                for each in several
            )
        assert found.area[row] == pytest.approx(pairs[first:stop].max() / pairs.mean())
        assert found.keys[row] == cut.received[first:stop].max()


def test_rows_of_several_ranks() -> None:
    assert row_names(64, row_starts(64, 16))[-1] == "60-63"
    assert row_names(17, row_starts(17, 16)) == (
        "0-1",
        *(f"{n}-{n + 1}" for n in range(2, 16, 2)),
        "16",
    )
    assert row_names(3, row_starts(3, 16)) == ("0", "1", "2")


def test_signs_of_a_window_by_hand() -> None:
    cut = head_tail(sl.plan(sl.window(left=20, right=0), 64, block_q=8, block_kv=8), 2)
    assert render_shard_text(cut).split("\n")[:2] == ["0 ██·░░░██", "1 ░░████··"]
    assert render_shard_text(cut, encoding="ascii").split("\n")[:2] == ["0 ##.---##", "1 --####.."]
    assert "\x1b[" in render_shard_text(cut, color=True)


def elements(svg: str, name: str) -> list[ET.Element]:
    return [each for each in ET.fromstring(svg).iter() if each.get("class") == name]


@pytest.mark.parametrize("ranks", [1, 2, MOST_OWNERS, 9, 64])
def test_a_drawing_is_whole(ranks: int) -> None:
    cut = packed(ranks)
    drawing = draw_shard(cut)
    svg = str(drawing)
    root = ET.fromstring(svg)
    texts = [each.text or "" for each in root.iter(f"{SVG}text")]
    assert "causal() & documents(lengths=[300, 500, 224])" in texts
    assert f"1,024 tokens in blocks of 16 on {ranks} ranks" in texts
    assert f"largest {cut.balance:.3f}; dotted: the mean" in texts
    assert f"at most {cut.received.max():,} keys received" in drawing.summary
    assert ("blocks to compute, by the rank of the query" in texts) == (ranks <= MOST_OWNERS)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    assert width == 680
    for group in root.iter(f"{SVG}g"):
        match = re.fullmatch(r"translate\(([\d.]+) ([\d.]+)\)", group.get("transform", ""))
        if match:
            assert float(match[1]) < width
            assert float(match[2]) < height
    assert "nan" not in svg
    assert len(svg) < 60_000


def test_colors_never_stand_alone() -> None:
    cut = packed(4)
    root = ET.fromstring(str(draw_shard(cut)))
    panel = next(
        group
        for group in root.iter(f"{SVG}g")
        if any("by the rank" in (each.text or "") for each in group.findall(f"{SVG}text"))
    )
    numbers = {each.text for each in panel.findall(f"{SVG}text")}
    assert {"0", "1", "2", "3"} <= numbers, "every rank has its number beside its rows"
    colors = {path.get("class") for path in panel.iter(f"{SVG}path")} - {"axis"}
    assert colors == {"f0", "f1", "f2", "f3"}


def test_bars_are_as_long_as_their_numbers() -> None:
    panel = bars_panel(
        "t", ["0", "1", "2", "3"], [4.0, 1.0, 0.0, 2.0], ["a"] * 4, full=4.0, mark=2.0, foot="f"
    )
    (path,) = [each for each in panel.elements if 'class="in"' in each]
    lengths = [float(each) for each in re.findall(r"h([\d.]+)v", path)]
    assert lengths == [150.0, 37.5, 75.0], "nothing is drawn for nothing"
    starts = [float(each) for each in re.findall(r"M([\d.]+) ", path)]
    (line,) = [each for each in panel.elements if 'class="target"' in each]
    at = float(re.findall(r"M([\d.]+) ", line)[0])
    assert at == pytest.approx(starts[0] + 75)


def test_bytes_are_those_of_the_keys() -> None:
    cut = packed(4)
    texts = [
        each.text for each in ET.fromstring(str(draw_shard(cut, key_bytes=1024))).iter(f"{SVG}text")
    ]
    assert "bytes received" in texts
    assert (
        f"largest {cut.received.max():.1f} KiB; dotted: all keys of the others, 768.0 KiB" in texts
    )


def test_a_notebook_shows_panels_that_wrap() -> None:
    cut = packed(4)
    html = cut._repr_html_()
    assert html == shard_html(cut)
    page = ET.fromstring(html.replace("<br>", "<br/>"))
    drawn = list(page.iter(f"{SVG}svg"))
    assert len(drawn) == 4
    assert max(float(each.get("width", 0)) for each in drawn) < 366, "fits a telephone"
    assert "flex-wrap:wrap" in html
    for style in (".sl .in{fill:#0067b1}", "prefers-color-scheme:dark"):
        assert style in html


def test_a_long_mask_is_named_shortly() -> None:
    lengths = [100] * 400
    cut = sl.shard(sl.plan(sl.documents(lengths=lengths), 40_000), 4)
    for kind in ("svg", "html"):
        drawing = cut.draw(kind)
        assert "documents(" in drawing.summary
        assert len(drawing.summary) < 300
        assert "100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100" not in str(drawing)


def test_kinds() -> None:
    cut = packed(2)
    assert str(cut.draw("txt")).startswith("0 ")
    assert cut.draw("html").content == shard_html(cut)
    with pytest.raises(InvalidArgument, match="got to='pdf'; wanted one of svg, png, html, txt"):
        cut.draw("pdf")


def test_a_picture_of_pixels() -> None:
    pytest.importorskip("matplotlib")
    content = packed(4).draw("png").content
    assert isinstance(content, bytes)
    assert content.startswith(b"\x89PNG")


def test_batch_rows_and_other_keys() -> None:
    rows = sl.shard(sl.plan(sl.padding(lengths=[256, 100]), 256), 2)
    assert "2 batch rows (the first is drawn)" in str(rows.draw())
    assert "batch row 0, head 0; paler" in str(rows.draw())
    assert ", batch row 0: " in str(rows.draw("txt"))
    other = sl.shard(sl.plan(sl.everything(), 256, 512), 2)
    assert "256 queries, 512 keys in blocks of 128 on 2 ranks" in str(other.draw())
    many = sl.shard(sl.plan(sl.causal(), 2**15), 128)
    assert "on 128 ranks, 2 to a row: the most of each" in str(many.draw())
    nothing = sl.shard(sl.plan(sl.nothing(), 512), 2)
    ET.fromstring(str(nothing.draw()))
