"""Attention weights over their mask: what is read, found, packed, and drawn."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import sightline as sl
from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.views.moving.attention import read_attention
from sightline.views.moving.packing import BROKEN, pack_bits, pack_weights, unpack_weights
from sightline.views.moving.weights_page import MOST_WEIGHTS

EVIL = "</script><script>alert(1)</script>\x00<!--"


def softmax_over(mask: sl.Mask, *shape: int, q_offset: int = 0) -> np.ndarray:
    """Return weights [..., heads, Q, K] that obey the mask; an empty row is 0."""
    scores = np.random.default_rng(7).normal(size=shape)
    allowed = np.broadcast_to(mask.dense(*shape[-2:], q_offset=q_offset), shape)
    powers = np.exp(scores) * allowed
    total = powers.sum(axis=-1, keepdims=True)
    return np.divide(powers, total, out=np.zeros_like(powers), where=total > 0)


MASK = sl.causal() & sl.padding(lengths=[3, 5])
GOOD = softmax_over(MASK, 2, 2, 3, 5, 5)  # layers, batch, heads, Q, K


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


# -- packing -----------------------------------------------------------------------------------

WEIGHTS = hnp.arrays(
    np.float64,
    st.integers(0, 30),
    elements=st.one_of(
        st.floats(0, 1), st.just(0.0), st.floats(allow_nan=True, allow_infinity=True)
    ),
)


@given(WEIGHTS)
@example(np.array([-1e-239, 1e90]))  # where the one is not even a step below 0
def test_packed_weights_come_back_within_a_step(weights: np.ndarray) -> None:
    packed = pack_weights(weights)
    back = unpack_weights(packed)
    finite = np.isfinite(weights)
    assert (np.isnan(back) == ~finite).all()
    own, kept = weights[finite], back[finite]
    # A hair for the arithmetic of numbers as large as there are.
    assert (np.abs(own / 2 - kept / 2) <= packed.step / 2 * (1 + 1e-9) + 1e-12 * np.abs(own)).all()
    assert (np.sign(own) == np.sign(kept)).all()  # 0 is 0, and nothing else is
    span = max(1.0, own.max(initial=0)) / 2 - min(0.0, own.min(initial=0)) / 2
    assert packed.step <= span / 32000


@given(hnp.arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 9))))
def test_packed_bits_come_back(bools: np.ndarray) -> None:
    bits = np.unpackbits(np.frombuffer(b64decode(pack_bits(bools)), np.uint8), count=bools.size)
    assert (bits.astype(bool) == bools.reshape(-1)).all()


def test_ordinary_weights_take_the_step_that_is_promised() -> None:
    packed = pack_weights(np.array([0.0, 0.25, 1.0]))
    assert (packed.zero, round(1 / packed.step)) == (0, 65500)
    assert unpack_weights(packed)[2] == pytest.approx(1.0, abs=1e-12)
    assert np.frombuffer(b64decode(pack_weights(np.array([np.inf])).codes), "<u2") == [BROKEN]


def test_a_page_holds_weights_and_mask_as_given() -> None:
    data = data_of(str(sl.draw_weights(GOOD, MASK)))
    codes = np.frombuffer(b64decode(data["codes"]), "<u2").astype(float)
    back = ((codes - data["zero"]) * data["step"]).reshape(data["shape"])
    assert np.abs(back - GOOD).max() <= data["step"]
    assert ((back == 0) == (GOOD == 0)).all()
    shape = (*data["mask_shape"], 5, 5)
    size = int(np.prod(shape))
    bits = np.unpackbits(np.frombuffer(b64decode(data["mask"]), np.uint8), count=size)
    assert data["mask_shape"] == [1, 2, 1]
    wanted = np.broadcast_to(MASK.dense(5), GOOD.shape)
    assert (np.broadcast_to(bits.reshape(shape).astype(bool), GOOD.shape) == wanted).all()


def test_twelve_layers_of_twelve_heads_fit_in_two_megabytes() -> None:
    weights = softmax_over(sl.causal(), 12, 1, 12, 64, 64)
    html = str(sl.draw_weights(weights, sl.causal()))
    assert len(html.encode()) < 2_000_000
    assert weights.size <= MOST_WEIGHTS


# -- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        (GOOD[0, 1], (1, 1, 3, 5, 5)),
        (GOOD[0], (1, 2, 3, 5, 5)),
        (GOOD, (2, 2, 3, 5, 5)),
        ([GOOD[0], GOOD[1]], (2, 2, 3, 5, 5)),
        ((GOOD[0, 1], GOOD[1, 1]), (2, 1, 3, 5, 5)),
    ],
)
def test_every_layout_is_read(given: Any, shape: tuple[int, ...]) -> None:
    mask = MASK if shape[1] == 2 else sl.causal()
    seen = read_attention(given, mask)
    assert seen.weights.shape == seen.allowed.shape == shape
    assert not seen.leaks.any()


def test_what_is_chosen_is_what_is_shown() -> None:
    seen = read_attention(GOOD, MASK, layer=-1, batch=[1], head=(2, 0))
    assert (seen.layers, seen.batches, seen.heads) == ((1,), (1,), (2, 0))
    np.testing.assert_array_equal(seen.weights[0, 0, 0], GOOD[1, 1, 2])
    np.testing.assert_array_equal(seen.weights[0, 0, 1], GOOD[1, 1, 0])
    np.testing.assert_array_equal(seen.allowed[0, 0, 0], MASK.dense(5)[1, 0])


def test_tensors_are_read_from_wherever_they_are() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(GOOD[0], dtype=torch.bfloat16, requires_grad=True)
    seen = read_attention(tensor, MASK)
    np.testing.assert_allclose(seen.weights[0], GOOD[0], atol=4e-3)
    assert not seen.uneven.any()  # rounded to 8 bits, and no more
    assert read_attention(tensor.double().detach().numpy(), MASK).uneven.any()


def test_a_mask_for_each_layer() -> None:
    both = np.stack(
        [softmax_over(sl.causal(), 1, 2, 4, 4), softmax_over(sl.window(1, 0), 1, 2, 4, 4)]
    )
    assert not read_attention(both, [sl.causal(), sl.window(1, 0)]).leaks.any()
    assert read_attention(both, [sl.window(1, 0), sl.causal()]).leaks.any()
    assert not read_attention(both, [sl.nothing(), sl.window(1, 0)], layer=1).leaks.any()


def test_queries_begin_where_the_offset_says() -> None:
    weights = softmax_over(sl.causal(), 1, 1, 2, 6, q_offset=4)
    assert not read_attention(weights, sl.causal(), q_offset=4).leaks.any()
    assert read_attention(weights, sl.causal()).leaks.any()
    data = data_of(str(sl.draw_weights(weights, sl.causal(), q_offset=4, tokens=list("abcdef"))))
    assert (data["queries"], data["keys"], data["q_offset"]) == (["e", "f"], list("abcdef"), 4)


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        ({"weights": None}, InvalidArgument, "eager"),
        ({"weights": [GOOD[0], None]}, InvalidArgument, "layer 1.*eager"),
        ({"weights": []}, InvalidArgument, "empty list"),
        ({"weights": GOOD[0, 0, 0]}, ShapeMismatch, r"weights\[None\]"),
        ({"weights": [GOOD[0], GOOD[1, :, :2]]}, ShapeMismatch, "layer 1"),
        ({"weights": np.zeros((1, 0, 3))}, ShapeMismatch, "nothing to draw"),
        ({"weights": "no"}, InvalidArgument, "numbers"),
        ({"weights": GOOD.astype(complex)}, InvalidArgument, "real"),
        ({"mask": np.tri(5)}, InvalidArgument, r"sl\.dense"),
        ({"mask": [MASK]}, ShapeMismatch, "1 masks for 2 layers"),
        ({"mask": sl.padding(lengths=[1, 2, 3])}, ShapeMismatch, "3 batch rows, the weights 2"),
        ({"layer": 2}, InvalidArgument, "there are 2"),
        ({"head": []}, InvalidArgument, "shows nothing"),
        ({"head": True}, InvalidArgument, "head=True"),
        ({"tokens": ["a"]}, ShapeMismatch, "5 keys"),
        ({"tokens": "abcde"}, InvalidArgument, "a list"),
        ({"tokens": list("abcde"), "key_tokens": list("abcde")}, InvalidArgument, "not both"),
        ({"tokens": list("abcde"), "q_offset": 3}, ShapeMismatch, "query_tokens"),
        ({"q_offset": -1}, InvalidArgument, "at least 0"),
        ({"to": "gif"}, InvalidArgument, "html"),
        ({"weights": np.zeros((1, 3, 900, 900)), "mask": sl.causal()}, InvalidArgument, "choose"),
        ({"weights": np.zeros((5, 5, 2, 2)), "mask": sl.causal(), "to": "svg"}, InvalidArgument,
         "at most 24"),
    ],
)  # fmt: skip
def test_wrong_input_is_refused_kindly(
    wrong: dict[str, Any], kind: type[Exception], words: str
) -> None:
    arguments = {"weights": GOOD, "mask": MASK, **wrong}
    with pytest.raises(kind, match=words):
        sl.draw_weights(**arguments)


# -- what is found -----------------------------------------------------------------------------


def spoiled() -> np.ndarray:
    weights = GOOD.copy()
    weights[0, 1, 2, 1, 4] = 1e-12  # a leak that no picture could show by its size
    weights[1, 0, 0, 4, 0] = np.nan
    weights[1, 1, 1, 3] *= 0.9
    weights[0, 0, 1, 2, 0] *= -1
    return weights


def test_faults_are_counted_where_they_are() -> None:
    drawing = sl.draw_weights(spoiled(), MASK)
    faults = {name: np.reshape(n, (2, 2, 3)) for name, n in data_of(str(drawing))["faults"].items()}
    assert {name: np.argwhere(n).tolist() for name, n in faults.items()} == {
        "leaks": [[0, 1, 2]],
        "broken": [[1, 0, 0]],
        "negative": [[0, 0, 1]],
        "uneven": [[0, 0, 1], [1, 1, 1]],
    }
    for words in ("1 forbidden pair carries", "1 weight is not a number", "2 rows do not add up"):
        assert words in drawing.summary
    sums = data_of(str(drawing))["sums"]
    assert sums[str(((1 * 2 + 1) * 3 + 1) * 5 + 3)] == "0.9"
    assert len(sums) == 2


def test_one_weight_is_wrong_in_one_way() -> None:
    weights = GOOD[0, 0, :1].copy()
    weights[0, 0, 1], weights[0, 0, 2] = np.nan, -0.5  # both forbidden
    seen = read_attention(weights, sl.causal())
    found = {name: int(counts.sum()) for name, counts in seen.faults.items()}
    assert found == {"leaks": 1, "broken": 1, "negative": 0, "uneven": 0}


def test_a_tiny_leak_is_not_packed_away() -> None:
    data = data_of(str(sl.draw_weights(spoiled(), MASK)))
    codes = np.frombuffer(b64decode(data["codes"]), "<u2").reshape(2, 2, 3, 5, 5)
    assert codes[0, 1, 2, 1, 4] == data["zero"] + 1


def test_weights_that_obey_are_said_to() -> None:
    summary = sl.draw_weights(GOOD, MASK).summary
    assert summary.endswith("no weight where none may be; every row adds up to 1")
    strict = sl.causal(strict=True)
    summary = sl.draw_weights(softmax_over(strict, 1, 1, 4, 4), strict).summary
    assert summary.endswith("every row adds up to 1 or is empty")


def test_weight_in_an_empty_row_is_a_leak_and_not_a_sum() -> None:
    seen = read_attention(np.full((1, 2, 2), 0.5), sl.nothing())
    assert seen.leaks.all()
    assert not seen.uneven.any()


def test_still_pictures_name_their_maps_and_say_what_is_wrong() -> None:
    for to in ("svg", "txt"):
        content = str(sl.draw_weights(spoiled(), MASK, to=to, layer=0, batch=1))  # type: ignore[arg-type]
        for head in range(3):
            assert f"layer 0, batch row 1, head {head}" in content, to
        assert "1 forbidden pair carries weight" in content, to
    text = str(sl.draw_weights(spoiled(), MASK, to="txt", layer=0, batch=1, head=2))
    row = next(line for line in text.splitlines() if line.startswith("1 ")).split()
    assert row[3:] == ["·", "·", "!"]


def test_a_png_is_one() -> None:
    pytest.importorskip("matplotlib")
    drawing = sl.draw_weights(spoiled(), MASK, to="png", layer=0, batch=1)
    assert bytes(drawing.content)[:4] == b"\x89PNG"  # type: ignore[arg-type]
    assert "1 forbidden pair carries weight" in drawing.summary


@pytest.mark.parametrize("to", ["html", "svg"])
def test_tokens_cannot_break_out(to: Any) -> None:
    tokens = [EVIL, "日本", "👍🏽", '"&', "e"]
    drawing = sl.draw_weights(GOOD[0, 0, :1], sl.causal(), tokens=tokens, to=to, title=EVIL)
    assert "<script>alert" not in str(drawing)
    assert "\x00" not in str(drawing)


def test_pages_ask_for_nothing_from_elsewhere() -> None:
    assert not re.search(r"(?:src|href)=|url\(|@import|https?://", str(sl.draw_weights(GOOD, MASK)))
