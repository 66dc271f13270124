"""The demo's records: what is right is right to the bit, and a leak would not go unseen."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.recipes.demo.alone import filled_padding, pairs_alone, sentences_alone
from sightline.recipes.demo.checks import checks_of
from sightline.recipes.demo.decoding import every_prefix, twin_words
from sightline.recipes.demo.frame import Frame, frame_of
from sightline.recipes.demo.layer import AUTO, AUTO_DOUBLE, HEADS, REFERENCE, WIDTH, Model
from sightline.recipes.demo.records import STEPS, DemoReport, Drawing
from sightline.recipes.demo.run import example_of, one_thread, pairs_of, run_demo
from sightline.recipes.demo.text import BOS, EOS, Corpus, read_corpus

CORPUS = read_corpus()
SENTENCES = [(*sentence.tokens, EOS) for sentence in CORPUS.sentences]


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    """On matrices this small, threads wait longer than they work."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def report() -> DemoReport:
    return run_demo(CORPUS)


@pytest.fixture(scope="module")
def frame() -> Frame:
    return frame_of(CORPUS, SENTENCES)


def model_of(frame: Frame, way: object = AUTO) -> Model:
    return Model.seeded(len(CORPUS.vocabulary), frame.width, way)


class BlindFrame(Frame):
    """A frame that forgets its padding: the fault that the comparisons are there to find."""

    @property
    def padding(self) -> sl.Mask:
        return sl.everything()


def blind(frame: Frame) -> Frame:
    return BlindFrame(frame.ids, frame.rows, frame.lengths, frame.side)


# ------------------------------------------------------------------------------------- the frame


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_padding_mask_allows_exactly_the_real_tokens(side: str) -> None:
    frame = frame_of(CORPUS, SENTENCES, side=side)
    allowed = frame.padding.dense(1, frame.width)[:, 0, 0]
    np.testing.assert_array_equal(allowed, frame.valid.numpy())
    assert frame.width == max(map(len, SENTENCES))
    for row, sentence in enumerate(SENTENCES):
        assert frame.alone(row)[0].tolist() == CORPUS.ids(sentence)


def test_a_frame_of_equal_lengths_still_has_padding() -> None:
    assert frame_of(CORPUS, [("I", "saw"), ("a", "saw")]).width == 4
    assert frame_of(CORPUS, [("I", "saw")]).width == 4


# ------------------------------------------------------------------------------------- the layer


def test_the_layer_is_torchs_own_multihead_attention(frame: Frame) -> None:
    model = model_of(frame)
    states, mask = model.embed(frame.ids), sl.causal() & frame.padding
    call = sl.lower(mask, to="torch.mha", q_len=frame.width, num_heads=HEADS)
    expected, _ = model.encoder.as_torch_module()(states, states, states, **call)
    torch.testing.assert_close(model.encoder(states, mask), expected, rtol=0, atol=1e-5)


def test_every_way_has_the_same_weights(frame: Frame) -> None:
    single, double = model_of(frame, AUTO), model_of(frame, AUTO_DOUBLE)
    torch.testing.assert_close(single.words, double.words.float())
    torch.testing.assert_close(single.cross.value, double.cross.value.float())
    assert double.words.dtype == torch.float64


def test_positions_are_sines_and_cosines(frame: Frame) -> None:
    positions = model_of(frame, AUTO_DOUBLE).positions
    assert positions.shape == (frame.width, WIDTH)
    assert positions[0, :4].tolist() == [0, 1, 0, 1]
    assert positions[3, 0].item() == pytest.approx(math.sin(3))
    assert positions[3, 3].item() == pytest.approx(math.cos(3 / 10_000 ** (2 / WIDTH)))


def test_torchs_randomness_and_threads_are_left_alone() -> None:
    torch.manual_seed(7)
    torch.set_num_threads(2)
    before = torch.get_rng_state()
    run_demo(CORPUS)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


# ------------------------------------------------------------------------------ padded and alone


def test_padded_is_alone_to_the_bit_in_the_reference_and_to_rounding_elsewhere(
    report: DemoReport,
) -> None:
    agreements = [*report.self_agreements, *report.pair_agreements]
    sentences, pairs = len(CORPUS.sentences), len(report.pairs)
    assert len(report.self_agreements) == 3 * sentences
    assert len(report.pair_agreements) == 3 * 3 * pairs
    for found in agreements:
        limit = {AUTO.name: 1e-5, AUTO_DOUBLE.name: 1e-13, REFERENCE.name: 0.0}[found.way]
        assert found.max_difference <= limit, found
        assert found.identical or found.way != REFERENCE.name, found


def test_nothing_in_the_padding_changes_a_bit(report: DemoReport) -> None:
    assert len(report.filled_agreements) == 3
    assert all(found.identical for found in report.filled_agreements)
    assert any("NaN" in found.way for found in report.filled_agreements)


@pytest.mark.parametrize("way", [AUTO, REFERENCE], ids=lambda way: way.name)
def test_a_leak_from_the_padding_is_seen(frame: Frame, way: object) -> None:
    model = model_of(frame, way)
    for found in sentences_alone(model, blind(frame)):
        leaks = frame.lengths[found.sentence] < frame.width
        assert (found.max_difference > 0.01) == leaks, found
    filled = filled_padding(model, blind(frame))
    assert not any(found.identical for found in filled)
    # A NaN that gets through is no small difference.
    assert filled[-1].max_difference == math.inf


def test_a_leak_in_each_of_the_three_attentions_is_seen() -> None:
    sources = frame_of(CORPUS, SENTENCES[::2])
    targets = frame_of(CORPUS, [(BOS, *sentence[:-1]) for sentence in SENTENCES[1::2]])
    model = Model.seeded(len(CORPUS.vocabulary), 16)

    def leaking(sources: Frame, targets: Frame) -> set[str]:
        found = pairs_alone(model, sources, targets)
        return {a.attention for a in found if a.max_difference > 0.01}

    assert leaking(sources, targets) == set()
    # Causal attention hides padding on the right from real words even without a padding mask.
    assert leaking(sources, blind(targets)) == set()
    assert leaking(blind(sources), targets) == {"encoder self", "cross"}


# ------------------------------------------------------------------------------------- prefixes


def test_one_pass_is_every_prefix(report: DemoReport) -> None:
    found = report.decoding
    assert found.prefixes == sum(map(len, SENTENCES))
    assert found.different_guesses == 0
    assert found.max_difference_alone <= 1e-5
    assert found.max_difference_decode <= 1e-5
    assert [step.prefix for step in found.steps] == [
        SENTENCES[found.sentence][: t + 1] for t in range(len(found.steps))
    ]
    assert len({step.guess_one_pass for step in found.steps}) > 1


def test_a_decoder_that_sees_the_future_is_caught(
    frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(frame)
    monkeypatch.setattr(sl, "causal", sl.everything)
    found = every_prefix(model, CORPUS, frame, 0)
    assert found.max_difference_alone > 0.1
    assert found.different_guesses > 0


def test_a_decode_step_from_the_wrong_position_is_caught(
    frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, attend = model_of(frame), sl.attend

    def forgetful(*args: object, q_offset: int = 0, **options: object) -> object:
        return attend(*args, **options)

    monkeypatch.setattr(sl, "attend", forgetful)
    found = every_prefix(model, CORPUS, frame, 0)
    assert found.max_difference_alone <= 1e-5
    assert found.max_difference_decode > 0.1


def test_the_triangle_grows_by_a_word_a_row(report: DemoReport) -> None:
    weights, size = report.triangle.weights, len(report.triangle.columns)
    assert weights is not None
    assert (weights[np.triu_indices(size, 1)] == 0).all()
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    assert report.triangle.rows[:3] == ("I", "I have", "I have a")


def test_a_word_in_two_places(report: DemoReport) -> None:
    found = report.twins
    assert found is not None
    assert (found.word, found.places) == ("saw", (1, 3))
    assert found.plain <= 1e-6
    assert found.with_causal_mask > 0.01
    assert found.with_positions > 0.01


def test_no_word_in_two_places() -> None:
    frame = frame_of(CORPUS, [("I", "saw", "a"), ("a", "dream")])
    assert twin_words(model_of(frame), frame) is None


# ------------------------------------------------------------------------ drawings and the rest


def every_drawing(report: DemoReport) -> list[Drawing]:
    drawn = [*report.mask_drawings, *report.combined_drawings, report.left_drawing]
    return [*drawn, *report.pair_drawings, report.triangle]


def test_drawings_fit_their_words_and_hide_what_is_forbidden(report: DemoReport) -> None:
    for drawing in every_drawing(report):
        shape = (len(drawing.rows), len(drawing.columns))
        assert drawing.allowed.shape == shape
        if drawing.weights is not None:
            assert drawing.weights.shape == shape
            assert (drawing.weights[~drawing.allowed] == 0).all()


def test_the_four_masks_by_hand(report: DemoReport) -> None:
    keys, queries, causal, both = (drawing.allowed for drawing in report.mask_drawings)
    real = np.array([True] * 5 + [False] * 3)
    np.testing.assert_array_equal(keys, np.broadcast_to(real, (8, 8)))
    np.testing.assert_array_equal(queries, keys.T)
    np.testing.assert_array_equal(causal, np.tri(8, dtype=bool))
    np.testing.assert_array_equal(both, np.tri(8, dtype=bool) & real)


def test_padding_on_the_left_leaves_queries_without_a_key(report: DemoReport) -> None:
    lengths = [len(sentence) for sentence in SENTENCES]
    assert list(report.empty_rows.empty_rows) == [max(lengths) - length for length in lengths]
    assert report.empty_rows.largest_output == 0
    assert report.empty_rows.nan_outputs == report.empty_rows.nan_gradients == 0
    assert report.left_drawing.allowed[:6].any() == np.False_


def test_cross_attention_sees_the_same_keys_from_every_target_word(report: DemoReport) -> None:
    cross = report.pair_drawings[2]
    assert cross.rows[0] == BOS
    assert (cross.allowed == cross.allowed[0]).all()
    assert cross.rows != cross.columns


def test_every_check_holds_and_none_is_vacuous(report: DemoReport) -> None:
    assert [check.claim for check in report.checks if not check.holds] == []
    assert len({check.claim for check in report.checks}) == len(report.checks)
    assert all(0 <= check.limit <= 2e-5 for check in report.checks)
    assert not dataclasses.replace(report.checks[0], measured=math.nan).holds
    assert not dataclasses.replace(report.checks[0], measured=1.0).holds


def test_every_record_has_its_check(report: DemoReport) -> None:
    first, rest = report.filled_agreements[0], report.filled_agreements[1:]
    found, empty, twins = report.decoding, report.empty_rows, report.twins
    assert twins is not None
    for changed in (
        {"filled_agreements": (dataclasses.replace(first, max_difference=1e-7), *rest)},
        # Equal numbers, but a 0 with another sign: not the same bits.
        {"filled_agreements": (dataclasses.replace(first, identical=False), *rest)},
        {"decoding": dataclasses.replace(found, max_difference_alone=0.1)},
        {"decoding": dataclasses.replace(found, max_difference_decode=0.1)},
        {"decoding": dataclasses.replace(found, different_guesses=1)},
        {"empty_rows": dataclasses.replace(empty, largest_output=1e-30)},
        {"empty_rows": dataclasses.replace(empty, nan_outputs=1)},
        {"empty_rows": dataclasses.replace(empty, nan_gradients=1)},
        {"twins": dataclasses.replace(twins, plain=0.1)},
    ):
        checks = checks_of(dataclasses.replace(report, **changed))
        assert sum(not check.holds for check in checks) == 1, changed


@pytest.mark.parametrize("field", ["self_agreements", "pair_agreements"])
def test_every_comparison_has_its_check(report: DemoReport, field: str) -> None:
    agreements = getattr(report, field)
    for place, found in enumerate(agreements):
        worse = dataclasses.replace(found, max_difference=0.1, identical=False)
        changed = {field: (*agreements[:place], worse, *agreements[place + 1 :])}
        checks = checks_of(dataclasses.replace(report, **changed))
        assert sum(not check.holds for check in checks) == 1, found


def test_every_mistake_has_its_check(report: DemoReport) -> None:
    for place, mistake in enumerate(report.mistakes):
        harmful = dataclasses.replace(mistake, right_harm=0.01)
        mistakes = (*report.mistakes[:place], harmful, *report.mistakes[place + 1 :])
        checks = checks_of(dataclasses.replace(report, mistakes=mistakes))
        failing = [check.claim for check in checks if not check.holds]
        assert len(failing) == 1
        assert mistake.name in failing[0]


def test_pairs_are_neighbors_and_nobody_is_left_out() -> None:
    def pairs(count: int) -> list[tuple[int, int]]:
        return [(pair.source, pair.target) for pair in pairs_of(count)]

    assert pairs(1) == [(0, 0)]
    assert pairs(4) == [(0, 1), (2, 3)]
    assert pairs(5) == [(0, 1), (2, 3), (4, 4)]


def test_the_example_is_short_but_not_too_short() -> None:
    def chosen(*lengths: int) -> int:
        words = ("I", "saw", "a", "dream", "have", "so", "in")
        return example_of(frame_of(CORPUS, [words[:length] for length in lengths]))

    assert chosen(2, 7, 4, 5) == 2
    assert chosen(1, 3, 2) == 1


def test_progress_is_told_step_by_step() -> None:
    told: list[int] = []
    run_demo(CORPUS, on_step=told.append)
    assert told == list(range(len(STEPS)))


def test_a_run_is_the_same_again(report: DemoReport) -> None:
    again = run_demo(CORPUS)
    assert again.self_agreements == report.self_agreements
    assert again.checks == report.checks
    assert [m.harm for m in again.mistakes] == [m.harm for m in report.mistakes]


@pytest.mark.parametrize(
    "text",
    ["Hello", "a", "a b\nc d\ne f", "一二三\nx", "😀 👍🏽\n" * 3, "w " * 48 + "\nw"],
    ids=["one word", "one letter", "equal lengths", "scripts", "emoji", "longest and shortest"],
)
def test_any_sentences_will_do(tmp_path: Path, text: str) -> None:
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    report = run_demo(read_corpus(path))
    assert [check.claim for check in report.checks if not check.holds] == []
    for mistake in report.mistakes:
        assert mistake.harm > 0, mistake.name


def test_the_corpus_is_what_was_read() -> None:
    assert isinstance(CORPUS, Corpus)
    assert run_demo(CORPUS).batch.texts == tuple(s.text for s in CORPUS.sentences)
