"""A plan in a notebook: well-formed, small, and its cells those of the states."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames
from sightline.views import plan_picture
from sightline.views.plan_picture import coverage


@given(data=st.data(), cells=st.sampled_from([1, 2, 3, 64]))
def test_cells_are_those_of_the_states(data: st.DataObject, cells: int) -> None:
    frame = data.draw(frames(longest=14))
    mask = build(data.draw(expressions(frame, depth=2)))
    plan = sl.plan(mask, frame.q_len, frame.kv_len, block_q=2, block_kv=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_picture, "_CELLS", cells)
        covered, whole, side = coverage(plan)
    states = plan.states()[0, 0]
    assert max(covered.shape) <= cells
    for row, column in np.ndindex(covered.shape):
        block = states[row * side : (row + 1) * side, column * side : (column + 1) * side]
        assert covered[row, column] == (block > 0).mean()
        assert whole[row, column] == (block == 2).all()


def test_what_a_notebook_shows() -> None:
    html = sl.plan(sl.causal() & sl.padding(lengths=[300, 5]), 512)._repr_html_()
    page = ET.fromstring(html.replace("<br>", "<br/>"))
    # Partial are the blocks on the diagonal, and of the last row the one in which padding begins.
    svg = "{http://www.w3.org/2000/svg}"
    (holes,) = (path for path in page.iter(f"{svg}path") if path.get("class") == "paper mark")
    places = re.findall(r"M([\d.]+) ([\d.]+)", holes.get("d", ""))
    assert {(int(float(y)), int(float(x))) for x, y in places} == {(0, 0), (1, 1), (2, 2), (3, 2)}
    texts = [text.text for text in page.iter(f"{svg}text")]
    assert "batch row 0, head 0" in texts
    assert "causal() &amp; padding" in html
    assert "4 x 4 blocks, 9 to compute" in html


def test_a_plan_looks_like_a_mask() -> None:
    plan, mask = (made._repr_html_() for made in (sl.plan(sl.causal(), 640), sl.causal()))
    assert mask is not None
    for style in (".sl .in{fill:#0067b1}", "prefers-color-scheme:dark"):
        assert style in plan
        assert style in mask
    # A row of blocks in which there is nothing to compute is one of queries that see nothing.
    none = sl.plan(sl.causal() & sl.queries([0]), 4, block_q=2, block_kv=2)._repr_html_()
    assert "orange rows: no key for these queries" in none


def test_cells_begin_where_blocks_do() -> None:
    plan = sl.plan(sl.documents(lengths=[300, 200]), 500, cuts="aligned")
    page = ET.fromstring(plan._repr_html_().replace("<br>", "<br/>"))
    texts = [text.text for text in page.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("300") == texts.count("428") == 2
    assert "384" not in texts


def test_a_million_tokens_stay_small() -> None:
    html = sl.plan(sl.causal(), 2**20)._repr_html_()
    assert "1 cell = 128 x 128 blocks" in html
    assert len(html) < 200_000
    assert sl.plan(sl.causal(), 0)._repr_html_().startswith("<div>")
