"""Every family of masks is read back by its own name, from arrays drawn by hand or by formulas."""

from __future__ import annotations

import numpy as np
import pytest

import sightline as sl
from sightline.reference.dense import dense as oracle


def read(rows: str | list[str]) -> str:
    """Return the text of what is recognized in drawings of x and ., one for each batch row."""
    pictures = [picture.split() for picture in ([rows] if isinstance(rows, str) else rows)]
    array = np.array([[[c == "x" for c in row] for row in picture] for picture in pictures])
    return repr(sl.recognize(array, "attend").mask)


DRAWN = [
    ("xxx xxx", "everything()"),
    ("... ...", "nothing()"),
    ("x... xx.. xxx. xxxx", "causal()"),
    (".... x... xx.. xxx.", "causal(strict=True)"),
    ("xxxx .xxx ..xx ...x", "window(left=0)"),
    ("x... .x.. ..x. ...x", "window(left=0, right=0)"),
    ("xx.. xxx. .xxx ..xx", "window(left=1, right=1)"),
    ("xxx... xxxx.. xxxxx. .xxxxx ..xxxx ...xxx", "window(left=2, right=2)"),
    ("..xxxx ...xxx ....xx .....x ...... ......", "~window(right=1)"),
    ("...... x..... xx.... .xx... ..xx.. ...xx.", "window(left=1, right=0).shift(key=-1)"),
    ("xx..... xx..... xx.....", "prefix(2)"),
    ("..xxx ..xxx", "~prefix(2)"),
    (".xx.. .xx.. .xx..", "keys(range(1, 3))"),
    ("x.x.. x.x.. x.x..", "keys([0, 2])"),
    (".x.xx .x.xx .x.xx", "keys([1, 3, 4])"),
    ("..... xxxxx ..... xxxxx .....", "queries([1, 3])"),
    ("xx... xx... xxx.. xxxx. xxxxx", "prefix_lm(lengths=[2])"),
    ("xx... xx... ..xxx ..xxx ..xxx", "documents(lengths=[2, 3])"),
    ("xx.... xx.... ..xx.. ..xx.. ....xx ....xx", "chunks(2)"),
    ("xx... xx... xxxx. xxxx. xxxxx", "block_causal(2)"),
    ("x..x. .x..x ..x.. x..x. .x..x", "dilated(3)"),
    (".x.x. x.x.x .x.x. x.x.x .x.x.", "dilated(2, phase=1)"),
    ("...... .xx... .xx... ...... ....xx ....xx", "spans([-1, 0, 0, -1, 1, 1])"),
    ("x.x.. .x... x.x.. ...xx ...xx", "spans([0, 1, 0, 2, 2])"),
]


@pytest.mark.parametrize(("rows", "text"), DRAWN)
def test_drawn(rows: str, text: str) -> None:
    assert read(rows) == text


BATCHED = [
    (["xxx. " * 4, "x... " * 4], "padding(lengths=[3, 1])"),
    (["xxxx " * 4, "..xx " * 4], "padding(lengths=[4, 2], side='left')"),
    (["..xx " * 4, ".xxx " * 4], "padding(lengths=[2, 3], side='left', total=4)"),
    (["x.xx " * 4, ".xx. " * 4], "padding(valid=[[1, 0, 1, 1], [0, 1, 1, 0]])"),
    (["xxxx xxxx .... ....", "xxxx .... .... ...."], "padding(lengths=[2, 1]).T"),
    (["xx. xx. ..x", "x.. .xx .xx"], "documents(lengths=[[2, 1], [1, 2]])"),
    (["xx. xx. xxx", "xxx xxx xxx"], "prefix_lm(lengths=[2, 3])"),
    (["x.. xx. xxx", "xx. xxx xxx"], "per_batch([causal(), window(right=1)])"),
]


@pytest.mark.parametrize(("pictures", "text"), BATCHED)
def test_drawn_for_each_batch_row(pictures: list[str], text: str) -> None:
    assert read(pictures) == text


FORMULAS = [
    "strided(4)",
    "log_sparse()",
    "shifted_window(grid=(4, 6), window=(2, 3), shift=(1, 1))",
    "shifted_window(grid=(6, 4), window=(3, 2), shift=(0, 0))",
    "chunks(7)",
    "block_causal(5)",
    "block_causal(5).T",
    "prefix_lm(lengths=[9]).T",
    "~chunks(4)",
    "~dilated(5)",
    "~documents(lengths=[10, 14])",
    "~window(left=2, right=3)",
    "~shifted_window(grid=(4, 6), window=(2, 3), shift=(1, 1))",
    "causal() & documents(lengths=[7, 5, 12])",
    "causal() | documents(lengths=[7, 5, 12])",
    "causal() & padding(lengths=[20, 24, 5])",
    "causal() & padding(lengths=[20, 24, 5], side='left')",
    "causal() & padding(lengths=[20, 21, 5], side='left', total=24)",
    "causal() & chunks(5)",
    "causal() & dilated(3)",
    "causal() & ~dilated(3)",
    "causal() | prefix_lm(lengths=[3, 8]).T",
    "documents(lengths=[3, 10, 11]) | documents(lengths=[8, 10])",
    "causal() & (prefix(2) | window(left=3))",
    "causal() & padding(lengths=[22, 20]) & (prefix(2) | window(left=3))",
    "causal() & documents(lengths=[10, 14]) & padding(lengths=[22, 20])",
    "prefix(2) | causal() & chunks(6)",
    "block_causal(4) & shifted_window(grid=(4, 6), window=(2, 3), shift=(1, 1))",
    "causal() & per_head([window(left=1), window(left=4), dilated(2)])",
    "per_head([causal(), window(left=1), causal() & chunks(3)])",
    "window(left=2, right=0) | per_head([chunks(4), prefix(3), documents(lengths=[19, 2, 3])])",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_come_back_as_they_were_written(text: str) -> None:
    mask = sl.parse(text)
    array = oracle(mask, 24)
    found = sl.recognize(array, "attend").mask
    assert found == mask
    np.testing.assert_array_equal(np.broadcast_to(oracle(found, 24), array.shape), array)


NARROW = [
    ("causal() & window(left=6)", 3, 20, 17),
    ("causal() & padding(lengths=[20, 18])", 5, 20, 15),
    ("causal() & documents(lengths=[11, 9])", 8, 20, 12),
    ("block_causal(4)", 8, 20, 12),
    ("causal() & chunks(6)", 8, 20, 12),
    ("causal() & queries([14, 16])", 8, 20, 12),
    ("causal()", 9, 4, 0),
    ("causal() & spans([0, 1, 0, 1, 0, 1, 0, 2, 2])", 4, 9, 5),
]


@pytest.mark.parametrize(("text", "q_len", "kv_len", "q_offset"), NARROW)
def test_parts_of_a_picture(text: str, q_len: int, kv_len: int, q_offset: int) -> None:
    mask = sl.parse(text)
    array = oracle(mask, q_len, kv_len, q_offset)
    found = sl.recognize(array, "attend", q_offset=q_offset).mask
    np.testing.assert_array_equal(
        np.broadcast_to(oracle(found, q_len, kv_len, q_offset), array.shape), array
    )
    assert len(repr(found)) <= len(repr(mask))


def test_what_no_expression_fits_is_listed() -> None:
    array = np.random.default_rng(0).random((2, 3, 20, 17)) < 0.5
    found = sl.recognize(array, "attend", q_offset=4)
    assert repr(found.mask).startswith("intervals(")
    assert any("listed" in line for line in found.evidence)
    np.testing.assert_array_equal(oracle(found.mask, 20, 17, 4), array)


def test_one_batch_row_that_no_expression_fits() -> None:
    noise = np.random.default_rng(1).random((1, 1, 20, 20)) < 0.5
    array = np.concatenate([noise, sl.causal().dense(20)])
    found = sl.recognize(array, "attend").mask
    assert repr(found).startswith("per_batch([intervals(")
    assert repr(found).endswith(", causal()])")
