"""A plan in a notebook: well-formed, small, and its cells those of the states."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.plan import block_html
from sightline.plan.block_html import coverage
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames


@given(data=st.data(), cells=st.sampled_from([1, 2, 3, 64]))
def test_cells_are_those_of_the_states(data: st.DataObject, cells: int) -> None:
    frame = data.draw(frames(longest=14))
    mask = build(data.draw(expressions(frame, depth=2)))
    plan = sl.plan(mask, frame.q_len, frame.kv_len, block_q=2, block_kv=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_html, "_CELLS", cells)
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
    assert len(page.findall(".//svg/circle")) == 4
    assert "causal() &amp; padding" in html
    assert "1 cell = 1 x 1 blocks of batch row 0, head 0" in html


def test_a_million_tokens_stay_small() -> None:
    html = sl.plan(sl.causal(), 2**20)._repr_html_()
    assert "1 cell = 128 x 128 blocks" in html
    assert len(html) < 200_000
    assert sl.plan(sl.causal(), 0)._repr_html_().startswith("<div>")
