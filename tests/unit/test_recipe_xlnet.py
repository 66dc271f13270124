"""The XLNet recipe: how texts are laid out, what is asked of them, and what comes out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import sightline as sl  # noqa: E402
from sightline.recipes.xlnet import RECIPE  # noqa: E402
from sightline.recipes.xlnet.recipe import XLNetSettings, XLNetTask  # noqa: E402
from sightline.recipes.xlnet.shown import SHORT, by_turn, examples  # noqa: E402
from sightline.recipes.xlnet.texts import Layout, Texts, draw_texts  # noqa: E402

SEP, CLS = 1000, 1001
SMOKE, PAPER = (cast("XLNetSettings", RECIPE.presets[name]) for name in ("smoke", "paper"))
CORPUS = np.arange(900)  # each token is its place
LAYOUT = Layout(length=40, reused=16, memory=6, perm_size=8, part=6, longest_run=5, context=6)


def drawn(seed: int = 0, batch: int = 5, **sizes: int) -> Texts:
    layout = replace(LAYOUT, **sizes)
    return draw_texts(np.random.default_rng(seed), CORPUS, (SEP, CLS), batch, layout)


def small_task(seed: int = 1, **options: Any) -> XLNetTask:
    text = "the quick grey fox jumps over two lazy dogs; " * 60
    return XLNetTask(replace(SMOKE, **{"batch": 3, "held_out": 2, **options}), text, seed)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    reused=st.sampled_from([0, 8, 16]),
    length=st.integers(21, 60),
    memory=st.integers(0, 9),
)
def test_layout(seed: int, reused: int, length: int, memory: int) -> None:
    sizes = {"reused": reused, "length": length, "memory": memory}
    texts = drawn(seed, batch=2, **sizes)
    for row, tokens in enumerate(texts.tokens):
        (first, second), (last,) = (np.flatnonzero(tokens == mark) for mark in (SEP, CLS))
        assert (second, last) == (length - 2, length - 1)
        assert reused < first < second - 1  # A and B have a token each, at least
        # The memory, the reused part and A stand one after another in the corpus; so does B.
        before = np.concatenate([texts.past[row], tokens[:first]])
        assert (np.diff(before) == 1).all()
        assert len(before) == memory + first
        assert (np.diff(tokens[first + 1 : second]) == 1).all()
        wanted = [0] * (first + 1) + [1] * (second - first) + [2]
        assert texts.segments[row].tolist() == wanted


def test_b_follows_a_about_half_of_the_time() -> None:
    texts = drawn(batch=400)
    follows = []
    for tokens in texts.tokens:
        first = int(np.flatnonzero(tokens == SEP)[0])
        follows.append(tokens[first + 1] == tokens[first - 1] + 1)
    assert 0.4 < np.mean(follows) < 0.6


def test_targets_are_as_many_as_published_in_each_part() -> None:
    texts = drawn(batch=50)
    assert LAYOUT.targets == (2, 4)
    assert texts.targets.shape == (50, 6)
    for row, columns in enumerate(texts.targets):
        assert len(set(columns.tolist())) == 6
        assert (columns < 16).tolist() == [True] * 2 + [False] * 4  # the reused part comes first
        assert (texts.tokens[row, columns] < SEP).all()  # no mark is a target
        assert (np.diff(texts.order.ranks[row, columns]) > 0).all()  # in the order of the turns
        np.testing.assert_array_equal(np.flatnonzero(texts.order.targets[row]), np.sort(columns))
        marks = np.flatnonzero(texts.tokens[row] >= SEP)
        assert (texts.order.ranks[row, marks] >= 0).all()  # marks stand in the order


def test_the_published_sizes_have_85_targets() -> None:
    assert sum(PAPER.layout.targets) == 85


@pytest.mark.parametrize("name", ["content_mask", "query_mask"])
def test_the_reused_part_sees_nothing_of_the_rest(name: str) -> None:
    texts = drawn()
    mask = getattr(texts, name).dense(40)[:, 0]
    assert not mask[:, :16, 16:].any()
    assert mask[:, 16:, :16].any()
    order = {"content_mask": texts.order.content_mask, "query_mask": texts.order.query_mask}[name]
    np.testing.assert_array_equal(mask[:, :16, :16], order.dense(40)[:, 0, :16, :16])
    np.testing.assert_array_equal(mask[:, 16:], order.dense(40)[:, 0, 16:])


def test_a_batch_is_a_function_of_its_number() -> None:
    first, again = small_task(), small_task()
    other = small_task(seed=2).batch(3)
    for name, each in first.batch(3).items():
        assert torch.equal(each, again.batch(3)[name])
    assert not torch.equal(first.batch(3)["tokens"], first.batch(4)["tokens"])
    assert not torch.equal(first.batch(3)["tokens"], other["tokens"])
    for own, same in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(own, same)


def test_masks_are_read_back_from_a_batch() -> None:
    task = small_task()
    texts = task._texts(task.learned, "texts", 0)
    words = task.words(task.batch(0))
    assert words["mask"] == texts.content_mask
    assert words["query_mask"] == texts.query_mask


def test_held_out_texts_are_not_learned_from() -> None:
    text = "".join(chr(0x4E00 + place) for place in range(600))  # each character once
    task = XLNetTask(SMOKE, text, 0)
    learned = {int(each) for number in range(30) for each in task.batch(number)["tokens"].flatten()}
    held_out = set(task._texts(task.held_out, "held out", 0).tokens.flatten().tolist())
    assert len(held_out) > 20
    assert learned & held_out == set(task.marks)


@torch.no_grad()
def test_loss_is_that_of_the_targets() -> None:
    task = small_task(memory=0)
    model, batch = task.model.eval(), task.batch(0)
    loss, _ = task.loss(model, batch)
    losses = []
    for row in range(3):
        words = task.words({name: each[row : row + 1] for name, each in batch.items()})
        logits = model(batch["tokens"][row : row + 1], **words)[0]
        for place, column in enumerate(batch["targets"][row]):
            share = logits[place].log_softmax(0)[batch["tokens"][row, column]]
            losses.append(-float(share))
    assert float(loss) == pytest.approx(np.mean(losses), abs=1e-5)


def test_what_was_before_counts() -> None:
    task = small_task()
    batch = task.batch(0)
    with torch.no_grad():
        logits = task.predict(task.model.eval(), batch)
        past = (batch["past"] + 1) % len(task.characters)
        other = task.predict(task.model, {**batch, "past": past})
    assert not torch.equal(logits, other)


def test_no_gradient_goes_through_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    task = small_task()
    given: list[Any] = []
    whole = task.model.forward

    def forward(tokens: Any, **words: Any) -> Any:
        given.extend(words["memory"])
        return whole(tokens, **words)

    monkeypatch.setattr(task.model, "forward", forward)
    task.loss(task.model, task.batch(0))[0].backward()
    assert len(given) == 2
    assert not any(each.requires_grad for each in given)


def test_rates() -> None:
    task = small_task(steps=100, warm_up=20, peak_rate=0.5)
    assert task.rate(1) == pytest.approx(0.025)
    assert task.rate(20) == pytest.approx(0.5)
    assert task.rate(60) == pytest.approx(0.25)
    assert 0 < task.rate(100) < 1e-4
    assert [round(group["weight_decay"], 3) for group in task.optimizer().param_groups] == [0.01, 0]


def test_outcome() -> None:
    task = small_task()
    told: list[tuple[str, int, int]] = []
    model = task.model.eval()
    with torch.no_grad():
        figures = task.evaluate(model, lambda *what: told.append(what))
        outcome = task.finish(model, lambda *what: told.append(what))
    assert told[:2] == [("held-out texts", 1, 2), ("held-out texts", 2, 2)]
    assert figures["loss"] > 2
    loss, accuracy, change = outcome.figures
    assert loss.target is not None
    assert 2 < loss.target < 3.3  # about the entropy of English letters
    assert 0 <= accuracy.value <= 1
    assert change.value == 0.0
    content, query = outcome.masks
    assert content.mask.dense(SHORT["length"]).shape[2] == len(content.queries) == len(content.keys)
    assert query.mask.dense(len(query.queries), len(query.keys)).any()
    for shown in outcome.attention:
        assert shown.weights.shape == (len(shown.queries), len(shown.keys))
        assert shown.mask is not None
        assert (shown.weights[~shown.mask.dense(*shown.weights.shape)[0, 0]] == 0).all()


def test_a_model_that_sees_its_targets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    task = small_task()
    right = task.words

    def words(batch: Any) -> dict[str, Any]:
        return {**right(batch), "query_mask": sl.everything()}

    monkeypatch.setattr(task, "words", words)
    with torch.no_grad():
        outcome = task.finish(task.model.eval(), lambda *what: None)
    assert outcome.figures[2].value > 1e-4


def test_examples() -> None:
    texts = drawn(batch=1, memory=0)
    labels = (*(chr(0x4E00 + place) for place in range(1000)), "[SEP]", "[CLS]")
    predicted = texts.tokens[:1][:, texts.targets[0]].copy()
    predicted[0, 0] += 1
    ((gaps, filled, whole, right),) = examples(labels, texts, predicted).rows
    assert gaps.count("·") == 6
    assert whole == "".join(labels[token] for token in texts.tokens[0])
    assert sum(one != other for one, other in zip(filled, whole, strict=True)) == 1
    assert right == "5 of 6"


def test_losses_by_turn() -> None:
    losses = np.array([[1.0, 3.0, 1.0, 2.0, 3.0, 4.0], [3.0, 5.0, 3.0, 2.0, 3.0, 4.0]])
    rows = by_turn(losses, (2, 4)).rows
    assert rows == (
        ("first quarter of its part", "2.000"),
        ("second quarter of its part", "2.000"),
        ("third quarter of its part", "3.500"),
        ("last quarter of its part", "4.000"),
    )


def test_the_sample_is_read_as_any_text(tmp_path: Path) -> None:
    assert RECIPE.sample is not None
    RECIPE.sample(tmp_path)
    task = RECIPE.build(SMOKE, tmp_path, 0)
    assert isinstance(task, XLNetTask)
    assert len(task.learned) > 5000
    task.save(tmp_path)
    assert (tmp_path / "vocabulary.json").exists()


def test_a_text_too_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "input.txt").write_text("too short\n", encoding="utf-8")
    with pytest.raises(sl.errors.DataError, match=r"10 characters; wanted at least 450"):
        RECIPE.build(SMOKE, tmp_path, 0)
    with pytest.raises(sl.InvalidArgument, match="--data"):
        RECIPE.build(SMOKE, None, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": 0}, "part=0"),
        ({"memory": -1}, "memory=-1"),
        ({"length": 52}, "reused=48"),
        ({"reused": 40}, "perm_size=48"),
    ],
)
def test_settings_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sl.InvalidArgument, match=message):
        XLNetSettings(**options)
