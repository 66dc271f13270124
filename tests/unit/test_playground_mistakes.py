"""The classic mistakes: each does what is said of it, as the libraries do it, and is measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from sightline.views.playground.mistake_words import MISTAKE_WORDS
from sightline.views.playground.mistakes import MISTAKES, ROUNDING, Found, find, mistakes_of
from sightline.views.playground.reply import EXAMPLES
from sightline.views.playground.steps import Scene, scene_of
from sightline.views.playground.systems import SYSTEMS, Options, sights

LEAK = {"change", "leaked", "moved"}
# name: system, its attention, the row of the batch, and the figures that are not 0.
SHOWN = {
    "unmasked shift": ("swin", 0, 0, LEAK),
    "content for query": ("xlnet", 1, 0, {*LEAK, "filled"}),
    "target seen by source": ("unilm", 0, 1, LEAK),
    "causal for everyone": ("unilm", 0, 1, {"change"}),
    "no causal mask": ("decoder", 0, 1, LEAK),
    "strict": ("decoder", 0, 1, {"change", "lost"}),
    "wrong direction": ("unilm", 3, 1, LEAK),
    "wrong corner": ("decoder", 0, 1, {"change"}),
    "window and one": ("decoder", 1, 1, LEAK),
    "causal memory": ("seq2seq", 2, 1, {"change"}),
    "no padding mask": ("encoder", 0, 0, LEAK),
    "padding on queries": ("bert", 0, 0, LEAK),
    "first row for all": ("seq2seq", 0, 1, {"change"}),
    "positions of padding": ("encoder left", 0, 0, {"change"}),
    "swapped": ("encoder", 0, 0, LEAK),
    "after softmax": ("encoder", 0, 0, {"change", "lost", "moved"}),
    "zeroed scores": ("encoder", 0, 0, LEAK),
    "added": ("encoder", 0, 0, LEAK),
    "thrown away": ("encoder", 0, 0, LEAK),
    "large number": ("decoder left", 0, 0, {"filled"}),
    "minus infinity": ("decoder left", 0, 0, {"broken", "spread"}),
}
FIGURES = ("change", "leaked", "lost", "moved", "broken", "spread", "filled")


def scene(system: str, attention: int, row: int) -> Scene:
    name, _, side = system.partition(" ")
    options = Options("left" if side else "right", window=2 if name == "swin" else 3)
    return scene_of(sights(name, *EXAMPLES[name]["en"], options)[attention], row)


def made(name: str) -> Found:
    system, attention, row, _ = SHOWN[name]
    return find(MISTAKES[name], scene(system, attention, row))


def test_every_mistake_is_tested_and_told() -> None:
    assert SHOWN.keys() == MISTAKES.keys() == MISTAKE_WORDS.keys()
    for words in MISTAKE_WORDS.values():
        for english, chinese in (words.title, words.wrong, words.shows):
            assert english.isascii() or "×" in english
            assert any("\u4e00" <= character <= "\u9fff" for character in chinese)


@pytest.mark.parametrize("name", SHOWN)
def test_it_does_the_harm_that_is_said(name: str) -> None:
    found = made(name)
    figures = {figure: getattr(found, figure) for figure in FIGURES}
    figures["broken"] = len(found.broken)
    assert {figure for figure, value in figures.items() if value > ROUNDING} == SHOWN[name][3]
    assert not found.harmless
    assert found.moved_right == 0
    assert (found.changed is None) == ("change" not in SHOWN[name][3])


EVERYWHERE = [
    pytest.param(
        mistake.name, system, attention, row, id=f"{mistake.name}-{system}-{attention}-{row}"
    )
    for system in [*SYSTEMS, "encoder left", "decoder left"]
    for attention in range(4)
    for row in range(2)
    if attention < len(sights(name := system.split()[0], *EXAMPLES[name]["en"], Options(window=2)))
    and (name != "swin" or row == 0)
    for mistake in mistakes_of(scene(system, attention, row).sight)
]


@pytest.mark.parametrize(("name", "system", "attention", "row"), EVERYWHERE)
def test_the_right_way_beside_it_is_right(name: str, system: str, attention: int, row: int) -> None:
    own = scene(system, attention, row)
    found = find(MISTAKES[name], own)
    assert found.right is own.seen
    assert found.moved_right == 0
    assert np.isfinite(found.right.output).all()
    np.testing.assert_array_equal(found.empty, np.flatnonzero(~own.allowed.any(axis=1)))
    assert found.wrong.weights.shape == own.allowed.shape
    for figure in FIGURES:
        assert np.isfinite(getattr(found, figure)).all()


def with_torch(own: Scene, **given: object) -> np.ndarray:
    tensors = (
        torch.from_numpy(each.copy())[None, None] for each in (own.query, own.key, own.value)
    )
    return scaled_dot_product_attention(*tensors, **given)[0, 0].numpy()  # type: ignore[arg-type]


def test_swapped_is_what_torch_does_with_the_opposite() -> None:
    own = scene("encoder", 0, 0)
    wrong = with_torch(own, attn_mask=torch.from_numpy(~own.allowed))
    np.testing.assert_allclose(made("swapped").wrong.output, wrong, atol=1e-12)


def test_added_is_what_torch_does_with_floats() -> None:
    own = scene("encoder", 0, 0)
    wrong = with_torch(own, attn_mask=torch.from_numpy(own.allowed.astype(np.float64)))
    np.testing.assert_allclose(made("added").wrong.output, wrong, atol=1e-12)


def test_the_wrong_corner_is_what_torch_does_with_one_query() -> None:
    own, wrong = scene("decoder", 0, 1), made("wrong corner").wrong
    for step in range(own.sight.queries.width):
        query = torch.from_numpy(own.query[step : step + 1].copy())[None, None]
        key, value = (
            torch.from_numpy(each[: step + 1].copy())[None, None] for each in (own.key, own.value)
        )
        out = scaled_dot_product_attention(query, key, value, is_causal=True)[0, 0, 0].numpy()
        np.testing.assert_allclose(wrong.output[step], out, atol=1e-12)


def test_minus_infinity_is_what_torchs_softmax_does() -> None:
    own, wrong = scene("decoder left", 0, 0), made("minus infinity").wrong
    scores = torch.from_numpy(own.scores.copy())
    hidden = scores.masked_fill(~torch.from_numpy(own.allowed.copy()), float("-inf"))
    np.testing.assert_allclose(wrong.weights, hidden.softmax(-1).numpy(), atol=1e-12)
    found = made("minus infinity")
    # The two queries that see nothing; a layer later all five real tokens, too.
    assert (found.broken, found.spread) == ((0, 1), 5)


def test_a_large_number_shares_out_evenly() -> None:
    own, wrong = scene("decoder left", 0, 0), made("large number").wrong
    empty = ~own.allowed.any(axis=1)
    np.testing.assert_allclose(wrong.weights[empty], 1 / own.sight.keys.width)


@pytest.mark.parametrize(
    ("rows", "columns", "window"), [(4, 4, 2), (6, 6, 3), (5, 7, 3), (8, 8, 4)]
)
def test_a_shift_without_a_mask_is_a_roll_and_a_cut(rows: int, columns: int, window: int) -> None:
    picture = "\n".join("x" * columns for _ in range(rows))
    own = scene_of(sights("swin", picture, "", Options(window=window))[0])
    seen = MISTAKES["unmasked shift"].make(own).weights > 0
    tall, wide = (-(-size // window) * window for size in (rows, columns))
    numbers = np.full((tall, wide), -1)
    numbers[:rows, :columns] = np.arange(rows * columns).reshape(rows, columns)
    rolled = np.roll(numbers, (-(window // 2),) * 2, axis=(0, 1))
    wanted = np.zeros_like(seen)
    for top in range(0, tall, window):
        for left in range(0, wide, window):
            inside = rolled[top : top + window, left : left + window].ravel()
            inside = inside[inside >= 0]
            wanted[np.ix_(inside, inside)] = True
    np.testing.assert_array_equal(seen, wanted)


def test_a_window_of_one_more() -> None:
    own, wrong = scene("decoder", 1, 1), made("window and one").wrong
    assert (own.allowed.sum(axis=1) == [1, 2, 3, 3, 3, 3, 3]).all()
    assert ((wrong.weights > 0).sum(axis=1) == [1, 2, 3, 4, 4, 4, 4]).all()


def test_the_first_rows_mask_is_that_of_the_first_sentence() -> None:
    wrong = made("first row for all").wrong
    first = scene("seq2seq", 0, 0).allowed
    np.testing.assert_array_equal(wrong.weights > 0, first)
