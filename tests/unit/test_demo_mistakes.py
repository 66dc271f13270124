"""The mistakes do harm, the right way does none, and a wrong "right way" would be found out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.recipes.demo.frame import frame_of
from sightline.recipes.demo.layer import Model
from sightline.recipes.demo.mistakes import MISTAKES, make_every_mistake
from sightline.recipes.demo.records import Mistake
from sightline.recipes.demo.run import one_thread, run_demo
from sightline.recipes.demo.scene import Scene, scores_of, share_on
from sightline.recipes.demo.text import EOS, read_corpus

CORPUS = read_corpus()


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with one_thread():
        yield


EXAMPLE = 2


def new_scene() -> Scene:
    sentences = [(*sentence.tokens, EOS) for sentence in CORPUS.sentences]
    frame, left = frame_of(CORPUS, sentences), frame_of(CORPUS, sentences, side="left")
    return Scene.of(Model.seeded(len(CORPUS.vocabulary), frame.width), frame, left, EXAMPLE)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return new_scene()


@pytest.fixture(scope="module")
def mistakes(scene: Scene) -> dict[str, Mistake]:
    return {mistake.name: mistake for mistake in make_every_mistake(scene)}


NAMES = [
    "No mask on the padding",
    "No causal mask",
    "Mask after softmax",
    "Scores set to zero",
    "True and False swapped",
    "A decode step with is_causal",
    "Padding vectors of -inf",
    "A large negative number",
    "Softmax over nothing",
]


def test_all_of_them_are_made(mistakes: dict[str, Mistake]) -> None:
    assert list(mistakes) == NAMES
    assert len(MISTAKES) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_does_harm_and_the_right_way_does_none(mistakes: dict[str, Mistake], name: str) -> None:
    mistake = mistakes[name]
    assert mistake.harm > 0.1
    # Only what sums to 1 in floating point may be off, and by no more than that.
    assert mistake.tolerance == (1e-6 if name == "Mask after softmax" else 0)
    assert 0 <= mistake.right_harm <= mistake.tolerance
    assert mistake.right.startswith("sl.")
    assert re.search(r"\d", mistake.happened), "a measured figure"


@pytest.mark.parametrize("name", NAMES)
def test_the_right_picture_is_clean_and_the_wrong_one_is_not(
    mistakes: dict[str, Mistake], name: str
) -> None:
    wrong, right = mistakes[name].wrong_picture, mistakes[name].right_picture
    assert wrong is not None
    assert right is not None
    assert (right.weights[~right.allowed] == 0).all()
    assert np.isfinite(right.weights).all()
    sees = right.allowed.any(1)
    np.testing.assert_allclose(right.weights.sum(1)[sees], 1, atol=1e-6)
    assert not (
        np.isfinite(wrong.weights).all()
        and (wrong.weights[~wrong.allowed] == 0).all()
        and (wrong.weights[wrong.allowed] > 0).all()
        and np.allclose(wrong.weights.sum(1)[sees], 1)
    )


def test_figures_that_can_be_worked_out(mistakes: dict[str, Mistake], scene: Scene) -> None:
    size = scene.frame.lengths[EXAMPLE]
    assert mistakes["True and False swapped"].harm == pytest.approx(1)
    assert mistakes["A decode step with is_causal"].harm == pytest.approx((size - 1) / size)
    assert mistakes["A large negative number"].harm == pytest.approx(1)
    assert mistakes["Softmax over nothing"].harm == 1
    # Every sentence that has padding is lost, the others are not.
    lost = sum(length for length in scene.frame.lengths if length < scene.frame.width)
    share = lost / sum(scene.frame.lengths)
    assert mistakes["Padding vectors of -inf"].harm == pytest.approx(share)


def torch_outputs(scene: Scene, states: torch.Tensor, **masks: torch.Tensor) -> torch.Tensor:
    """Run torch's own module with the same weights: another way to the same figures."""
    return scene.layer.as_torch_module()(states, states, states, need_weights=False, **masks)[0]


def test_the_harm_of_no_mask_by_torchs_own_module(
    mistakes: dict[str, Mistake], scene: Scene
) -> None:
    together, moved = torch_outputs(scene, scene.states), 0.0
    for row, length in enumerate(scene.frame.lengths):
        alone = torch_outputs(scene, scene.states[row : row + 1, :length])[0]
        moved = max(moved, (together[row, :length] - alone).abs().max().item())
    assert f"up to {moved:.2f}" in mistakes["No mask on the padding"].happened


def test_the_harm_of_no_causal_mask_by_torchs_own_module(
    mistakes: dict[str, Mistake], scene: Scene
) -> None:
    ids, moved = scene.frame.ids.clone(), 0.0
    for row, length in enumerate(scene.frame.lengths):
        ids[row, length - 1] = 1 + ids[row, length - 1] % (len(CORPUS.vocabulary) - 1)
    padding = {"key_padding_mask": ~scene.frame.valid}
    before = torch_outputs(scene, scene.states, **padding)
    after = torch_outputs(scene, scene.model.embed(ids), **padding)
    for row, length in enumerate(scene.frame.lengths):
        moved = max(moved, (before - after)[row, : length - 1].abs().max().item())
    assert mistakes["No causal mask"].harm == pytest.approx(moved, rel=1e-4)


def test_figures_are_measured_on_the_text_at_hand(
    mistakes: dict[str, Mistake], tmp_path: Path
) -> None:
    path = tmp_path / "text.txt"
    path.write_text("Snow fell on the old bridge all night.\nNo one crossed it.\n")
    for mistake in run_demo(read_corpus(path)).mistakes:
        other = mistakes[mistake.name]
        assert (mistake.harm, mistake.happened) != (other.harm, other.happened) or other.harm == 1
        if mistake.harm < 0.99:
            assert mistake.harm != other.harm


def test_shares_by_hand() -> None:
    weights = torch.tensor([[[[0.25, 0.75], [0.0, 0.0]]]])
    cells = torch.tensor([[[[False, True], [True, True]]]])
    both = torch.tensor([[True, True]])
    assert share_on(weights, cells, both) == 0.75
    assert share_on(weights, ~cells, both) == 0.25


def test_scores_are_scaled(scene: Scene) -> None:
    scores = scores_of(scene.query, scene.key)
    expected = (scene.query[1, 2, 3] @ scene.key[1, 2, 4]) / 4
    assert scores[1, 2, 3, 4].item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_past_moves_only_through_a_leak(scene: Scene) -> None:
    assert scene.change_of_the_past(lambda states: states) == 0
    assert scene.change_of_the_past(lambda states: states.roll(-1, dims=1)) > 0.1


# ----------------------------------------------------------- a wrong "right way" must be found out


def failing(scene: Scene) -> set[str]:
    found = make_every_mistake(scene)
    return {m.name for m in found if not m.right_harm <= m.tolerance}


def test_weights_that_ignore_the_mask_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, scene = sl.attention_weights, new_scene()

    def blind(query: object, key: object, mask: object, **options: object) -> object:
        return weights(query, key, sl.everything())

    monkeypatch.setattr(sl, "attention_weights", blind)
    caught = failing(scene)
    assert caught >= {"No mask on the padding", "Scores set to zero", "A large negative number"}


def test_an_engine_that_ignores_the_mask_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    attend, scene = sl.attend, new_scene()

    def blind(query: object, key: object, value: object, mask: object, **options: object) -> object:
        return attend(query, key, value, sl.everything(), engine="auto")

    monkeypatch.setattr(sl, "attend", blind)
    assert failing(scene) >= {"No causal mask", "Padding vectors of -inf"}
    claims = [check.claim for check in run_demo(CORPUS).checks if not check.holds]
    assert any("sentence alone" in claim for claim in claims)
    assert any("NaN: no bit changes" in claim for claim in claims)
    assert any("one pass a prefix" in claim for claim in claims)


def test_a_translation_that_is_upside_down_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lower, scene = sl.lower, new_scene()

    def inverted(mask: sl.Mask, **options: object) -> dict[str, object]:
        call = lower(mask, **options)
        return {**call, "attn_mask": ~call["attn_mask"]}

    monkeypatch.setattr(sl, "lower", inverted)
    assert failing(scene) == {"True and False swapped"}


def test_an_engine_that_averages_over_nothing_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights, scene = sl.attention_weights, new_scene()

    def averaging(query: object, key: object, mask: sl.Mask, **options: object) -> object:
        found = weights(query, key, mask, **options)
        return found.where(found.sum(-1, keepdim=True) > 0, 1 / found.shape[-1])

    monkeypatch.setattr(sl, "attention_weights", averaging)
    assert failing(scene) == {"A large negative number"}
