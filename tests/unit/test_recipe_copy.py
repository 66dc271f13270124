"""The copy task: what is drawn, what is held out, what counts as a copy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import sightline as sl

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from sightline.recipes.copy_task import BEGIN, END, PRESETS, RECIPE, CopySettings  # noqa: E402

SETTINGS = replace(
    PRESETS["smoke"], shortest=2, longest=5, width=12, hidden=20, sequences=9, tested=40
)


def tell(what: str, done: int, total: int) -> None:
    """Tell nobody."""


def built(seed: int = 0, **changes: Any) -> Any:
    torch.manual_seed(0)
    return RECIPE.build(replace(SETTINGS, **changes), None, seed)


def rows(batch: dict[str, Any]) -> list[tuple[int, ...]]:
    """Return the sequences of a batch without begin and padding."""
    lengths = (batch["valid"].sum(1) - 1).tolist()
    read = zip(batch["source"].tolist(), lengths, strict=True)
    return [tuple(row[:length]) for row, length in read]


def test_a_batch_follows_from_its_number_and_the_seed() -> None:
    task = built()
    assert task.batch(3)["source"].equal(built().batch(3)["source"])
    assert rows(task.batch(3)) != rows(task.batch(4))
    assert rows(task.batch(3)) != rows(built(seed=1).batch(3))


def test_what_is_held_out_is_never_learnt_from() -> None:
    task = built()
    held_out = {tuple(row) for row in task.held_out}
    learnt = {row for number in range(60) for row in rows(task.batch(number))}
    assert not held_out & learnt
    # Of two symbols there are 64, so that nearly all that are not held out have been learnt from.
    assert len({row for row in learnt if len(row) == 2}) > 40
    assert {len(row) for row in learnt} == {len(row) for row in held_out} == {2, 3, 4, 5}


def test_labels_are_the_sequence_and_its_end() -> None:
    batch = built().batch(0)
    for row, target, label in zip(rows(batch), batch["target"], batch["labels"], strict=True):
        assert target.tolist()[: len(row) + 1] == [BEGIN, *row]
        assert label.tolist()[: len(row) + 1] == [*row, END]


def test_the_loss_knows_nothing_of_padding() -> None:
    task = built()
    batch = task.batch(0)
    spoiled = {**batch, "source": batch["source"].clone(), "labels": batch["labels"].clone()}
    spoiled["source"][batch["source"] == 0] = 9
    spoiled["labels"][~batch["valid"]] = -100
    one, two = (float(task.loss(task.model.eval(), each)[0].detach()) for each in (batch, spoiled))
    assert one == two


def test_only_whole_copies_count() -> None:
    """A model that writes an end at once has copied nothing."""
    task = built()
    with torch.no_grad():
        task.model.layers.decoder.norm.weight.zero_()
        task.model.layers.decoder.norm.bias.fill_(1.0)
        task.model.head.weight.zero_()
        task.model.head.weight[END] = 1.0
    with torch.no_grad():
        outcome = task.finish(task.model.eval(), tell)
    assert (outcome.figures[0].value, outcome.figures[0].reached) == (0.0, False)
    assert {row[1] for row in outcome.tables[0].rows} == {"end"}
    for shown in outcome.masks:
        assert not shown.mask.dense(len(shown.queries), len(shown.keys))[0].all()


def test_rates_are_the_published_ones() -> None:
    task = built()
    task.settings = PRESETS["paper"]
    published = [0.5 * 512**-0.5 * min(step**-0.5, step * 400**-1.5) for step in (1, 400, 900)]
    assert [task.rate(step) for step in (1, 400, 900)] == pytest.approx(published)


def test_bad_settings_are_refused() -> None:
    for bad in ({"shortest": 0}, {"shortest": 6, "longest": 5}, {"vocab": 3}):
        with pytest.raises(sl.InvalidArgument, match="1 <= shortest <= longest"):
            CopySettings(**bad)
