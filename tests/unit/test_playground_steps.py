"""The playground's numbers: attention as it is defined, the same on every machine."""

from __future__ import annotations

import numpy as np
import pytest

from sightline.views.playground.reply import EXAMPLES
from sightline.views.playground.steps import WIDTH, Scene, scene_of
from sightline.views.playground.systems import SYSTEMS, Options, Sight, sights

OPTIONS = {"swin": Options(window=2), "decoder": Options(side="left")}
ALL = [
    pytest.param(sight, row, id=f"{system}-{sight.name}-{row}")
    for system in SYSTEMS
    for sight in sights(system, *EXAMPLES[system]["en"], OPTIONS.get(system))
    for row in range(len(sight.queries.tokens))
]


@pytest.mark.parametrize(("sight", "row"), ALL)
def test_weights_and_output_follow_the_formula(sight: Sight, row: int) -> None:
    scene = scene_of(sight, row)
    scores = scene.query @ scene.key.T / np.sqrt(WIDTH)
    np.testing.assert_allclose(scene.scores, scores)
    cells = sight.mask.dense(sight.queries.width, sight.keys.width)[:, 0]
    np.testing.assert_array_equal(scene.allowed, cells[row if len(cells) > 1 else 0])
    raised = np.exp(scores) * scene.allowed
    total = raised.sum(axis=1, keepdims=True)
    weights = np.divide(raised, total, out=np.zeros_like(raised), where=total > 0)
    np.testing.assert_allclose(scene.seen.weights, weights, atol=1e-12)
    np.testing.assert_allclose(scene.seen.output, weights @ scene.value, atol=1e-12)
    assert (scene.seen.weights[~scene.allowed] == 0).all()


@pytest.mark.parametrize(("sight", "row"), ALL)
def test_what_may_not_be_seen_changes_no_bit(sight: Sight, row: int) -> None:
    scene = scene_of(sight, row)
    for key in range(sight.keys.width):
        moved = (scene.with_another(key).seen.output != scene.seen.output).any(axis=1)
        np.testing.assert_array_equal(moved, scene.allowed[:, key])


def test_a_sentence_is_the_same_alone_and_beside_a_longer_one() -> None:
    for side in ("right", "left"):
        options = Options(side=side)
        for system in ("encoder", "decoder"):
            alone = scene_of(sights(system, "I have a dream", "", options)[0])
            beside = scene_of(sights(system, "I have a dream\n" + "x " * 20, "", options)[0])
            np.testing.assert_array_equal(beside.seen.output[beside.real], alone.seen.output)


def test_a_decoder_writes_one_token_after_another() -> None:
    """What stands later changes nothing before: the beginning alone gives the same rows."""
    whole = scene_of(sights("decoder", "the cat sat on the mat")[0])
    for length in range(1, 6):
        words = " ".join(["the", "cat", "sat", "on", "the", "mat"][:length])
        start = scene_of(sights("decoder", words)[0])
        np.testing.assert_array_equal(start.seen.output[:length], whole.seen.output[:length])


def test_a_query_of_xlnet_does_not_know_its_own_token() -> None:
    one, other = (scene_of(sights("xlnet", f"I {word} you")[1]) for word in ("see", "hear"))
    assert one.sight.name == "query"
    np.testing.assert_array_equal(one.query, other.query)
    np.testing.assert_array_equal(one.seen.output[1], other.seen.output[1])
    content, also = (scene_of(sights("xlnet", f"I {word} you")[0]) for word in ("see", "hear"))
    assert (content.query[1] != also.query[1]).any()


def test_the_numbers_are_always_the_same_ones() -> None:
    scene = scene_of(sights("decoder", "我 am")[0])
    np.testing.assert_allclose(scene.key_vectors[0], FIRST_VECTOR, atol=1e-9)
    np.testing.assert_allclose(scene.seen.output[1], SECOND_OUTPUT, atol=1e-9)


def test_patches_know_their_row_and_their_column() -> None:
    picture = sights("swin", "aaaa\naaaa\naaaa\naaaa", "", Options(window=2))[0]
    vectors = scene_of(picture).key_vectors
    half = WIDTH // 2
    places = vectors - vectors[0]
    # Patches 0 and 3 share their row, 0 and 12 their column.
    np.testing.assert_allclose(places[3, :half], 0, atol=1e-12)
    np.testing.assert_allclose(places[12, half:], 0, atol=1e-12)
    assert len({tuple(vector.round(9)) for vector in vectors}) == 16


def test_positions_may_be_counted_from_the_padding() -> None:
    sight = sights("encoder", "a\nb c d", "", Options(side="left"))[0]
    right, wrong = Scene(sight, 0), Scene(sight, 0, counted_from_padding=True)
    assert (right.key_vectors != wrong.key_vectors).any()
    longest = Scene(sight, 1), Scene(sight, 1, counted_from_padding=True)
    np.testing.assert_array_equal(longest[0].key_vectors, longest[1].key_vectors)


FIRST_VECTOR = [
    -0.39399176,
    0.5287828515,
    0.6566314118,
    0.5386554036,
    0.1270736505,
    0.6356674092,
    0.6654553904,
    0.8461181033,
]
SECOND_OUTPUT = [
    0.7528432669,
    -0.3419921636,
    -0.8323346418,
    0.2441601547,
    -0.5393171596,
    -0.7052703414,
    -1.3833751757,
    -1.2982190552,
]
