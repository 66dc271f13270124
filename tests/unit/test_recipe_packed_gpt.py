"""The recipe packed-gpt: how documents are packed, what is asked of them, and that none leaks."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from sightline.errors import DataError, InvalidArgument
from sightline.masks.positional import causal
from sightline.recipes.packed_gpt import RECIPE
from sightline.recipes.packed_gpt.outcome import what_came_out
from sightline.recipes.packed_gpt.packing import IGNORED, first_fit, pack, speeches
from sightline.recipes.packed_gpt.settings import PRESETS
from sightline.recipes.packed_gpt.task import PackedTask
from sightline.recipes.training.loop import train
from sightline.recipes.training.run_folder import Run, open_run

SMOKE: Any = RECIPE.presets["smoke"]
PLAY = "".join(f"{who}:\n{'well, ' * words}so.\n\n" for words in range(12) for who in "ABC")

texts = st.lists(
    st.lists(st.integers(0, 9), max_size=40).map(lambda found: np.array(found, np.int64)),
    max_size=30,
)


def quiet(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total


def task(text: str = PLAY, seed: int = 1, **changes: Any) -> PackedTask:
    settings: Any = replace(SMOKE, **{"context": 100, **changes})
    return PackedTask(settings, text, seed)


# -- packing -------------------------------------------------------------------------------------


@given(st.text("ab:\n", max_size=80))
def test_documents_are_what_blank_lines_part(text: str) -> None:
    found = speeches(text)
    assert "".join(found) == text
    for each in found:
        assert "\n\n" not in each.strip("\n")  # none is two
    assert all(each.endswith("\n\n") for each in found[:-1])


@given(st.lists(st.integers(1, 30), max_size=40), st.integers(30, 70))
def test_a_document_goes_into_the_first_sequence_with_room(lengths: list[int], size: int) -> None:
    rows = first_fit(lengths, size)
    where = {document: row for row, chosen in enumerate(rows) for document in chosen}
    assert sorted(where) == list(range(len(lengths)))
    used = [0] * len(lengths)
    for document, length in enumerate(lengths):
        assert where[document] == next(
            row for row, full in enumerate(used) if full + length <= size
        )
        used[where[document]] += length
    assert all(rows)


def test_a_document_longer_than_a_sequence_is_refused_by_the_packer() -> None:
    with pytest.raises(InvalidArgument, match="document of 9 tokens; wanted at most 8"):
        first_fit([3, 9], 8)


@given(texts, st.integers(1, 50))
def test_packed_is_what_one_writes_by_hand(found: list[np.ndarray], context: int) -> None:
    """Tokens, labels, positions and mask, each place worked out from its document alone."""
    packed = pack(found, context)
    parts = [t[i : i + context] for t in found for i in range(0, len(t), context)]
    parts = [part.tolist() for part in parts if len(part) > 1]
    assert packed.documents == len(parts)
    assert packed.asked == sum(len(part) - 1 for part in parts)
    seen = []
    for row, lengths in enumerate(packed.lengths):
        owner = np.repeat(np.arange(len(lengths)), lengths)
        allowed = np.zeros((context, context), bool)
        for query in range(len(owner)):
            for key in range(query + 1):
                allowed[query, key] = owner[query] == owner[key]
        assert np.array_equal(packed.mask([row]).dense(context)[0, 0], allowed)
        for document in range(len(lengths)):
            (places,) = np.nonzero(owner == document)
            part = packed.tokens[row, places].tolist()
            seen.append(part)
            assert packed.labels[row, places].tolist() == [*part[1:], IGNORED]
            assert packed.positions[row, places].tolist() == list(range(len(part)))
        assert (packed.labels[row, len(owner) :] == IGNORED).all()
    assert sorted(seen) == sorted(parts)


def test_sequences_of_a_batch_have_masks_of_their_own() -> None:
    packed = task().learned
    both = packed.mask([2, 0]).dense(100)
    assert both.shape == (2, 1, 100, 100)
    for place, row in enumerate([2, 0]):
        assert np.array_equal(both[place], packed.mask([row]).dense(100)[0])


# -- the task ------------------------------------------------------------------------------------


def test_a_batch_is_a_function_of_its_number_and_an_epoch_has_every_sequence_once() -> None:
    made, other = task(batch=2), task(batch=2)
    count = len(made.learned)
    assert count % 2  # so that a batch spans two epochs
    other.batch(7)
    for number in (3, 0):
        mine, theirs = made.batch(number), other.batch(number)
        assert all(torch.equal(mine[name], theirs[name]) for name in ("tokens", "labels"))
        assert mine["mask"] == theirs["mask"]
    rows = torch.cat([made.batch(number)["tokens"] for number in range(count)]).tolist()
    wanted = sorted(made.learned.tokens.tolist())
    assert sorted(rows[:count]) == sorted(rows[count:]) == wanted
    assert rows[:count] != rows[count:]


def test_the_last_tenth_of_the_documents_is_held_out() -> None:
    text = "".join(f"{chr(200 + n)}{chr(300 + n)}\n\n" for n in range(40))
    made = task(text)
    first = {number: made.characters.numbers(chr(200 + number))[0] for number in range(40)}
    for number, token in first.items():
        assert (token in made.learned.tokens) == (number < 36)
        assert (token in made.held_out.tokens) == (number >= 36)


class Bigram(torch.nn.Module):
    """Logits that depend on the last character and on where it stands."""

    def __init__(self, known: int) -> None:
        super().__init__()
        made = torch.Generator().manual_seed(0)
        self.table = torch.nn.Parameter(torch.randn(known, known, generator=made))

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor, mask: Any) -> torch.Tensor:
        return self.table[tokens] * (1 + positions[..., None] % 5)


@pytest.mark.parametrize("context", [7, 40, 100])
def test_held_out_losses_are_those_of_each_document_by_itself(
    context: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sightline.recipes.packed_gpt.task._EVALUATED_AT_ONCE", 3 * context)
    made = task(context=context)
    assert len(made.held_out) % 3  # the last batch is a smaller one
    model = Bigram(len(made.characters))
    wanted = []
    found = speeches(PLAY)
    for speech in found[9 * len(found) // 10 :]:
        numbers = torch.from_numpy(made.characters.numbers(speech))
        for start in range(0, len(numbers), context):
            part = numbers[start : start + context]
            logits = model(part[:-1], torch.arange(len(part) - 1), None)
            wanted += cross_entropy(logits, part[1:], reduction="none").tolist()
    with torch.no_grad():
        losses = made.held_out_losses(model, quiet)
        mean = made.evaluate(model, quiet)["loss"]
    assert sorted(losses.tolist()) == pytest.approx(sorted(wanted), abs=1e-5)
    assert mean == pytest.approx(np.mean(wanted), abs=1e-6)


@pytest.mark.parametrize("positions", ["rotary", "learned"])
def test_the_loss_of_a_packed_batch_is_that_of_its_documents(positions: str) -> None:
    made = task(positions=positions, batch=2)
    batch = made.batch(0)
    loss, _ = made.loss(made.model, batch)
    weights = list(made.model.parameters())
    packed = torch.autograd.grad(loss, weights)
    losses = []
    for tokens, where in zip(batch["tokens"], batch["positions"], strict=True):
        starts = [*torch.nonzero(where == 0).flatten().tolist(), len(tokens)]
        for start, stop in pairwise(starts):
            if stop - start > 1:
                logits = made.model(tokens[None, start : stop - 1])[0]
                losses.append(cross_entropy(logits, tokens[start + 1 : stop], reduction="none"))
    alone = torch.cat(losses).mean()
    torch.testing.assert_close(loss, alone)
    torch.testing.assert_close(packed, torch.autograd.grad(alone, weights))


@pytest.mark.parametrize("change", [{"engine": "spda"}, {"positions": "up"}, {"context": 0}])
def test_settings_that_cannot_be_are_refused_before_training(change: Any) -> None:
    with pytest.raises(Exception, match=next(iter(change))):
        task(**change)


@pytest.mark.parametrize(
    ("content", "part"),
    [(None, "no such file"), (b"\n\n", "empty file"), (b"One speech.\n", "got 1 documents")],
)
def test_bad_data_are_refused(tmp_path: Path, content: bytes | None, part: str) -> None:
    if content is not None:
        (tmp_path / "input.txt").write_bytes(content)
    with pytest.raises(DataError) as caught:
        RECIPE.build(SMOKE, tmp_path, 0)
    assert part in str(caught.value)
    assert caught.value.path == str(tmp_path / "input.txt")


# -- what comes out ------------------------------------------------------------------------------


def promises(made: PackedTask) -> dict[str, float]:
    with torch.no_grad():
        outcome = what_came_out(made, made.model.eval(), quiet)
    return {each.name: each.value for each in outcome.figures if each.target is not None}


def test_documents_do_not_leak_and_the_check_finds_it_where_they_do() -> None:
    assert all(value <= 1e-5 for value in promises(task(context=300)).values())
    leaking = task(context=300)
    model: Any = leaking.model
    for name in ("forward", "attention_weights"):
        honest = getattr(model, name)

        def blind(tokens: Any, mask: Any = None, *, asked: Any = honest, **others: Any) -> Any:
            return asked(tokens, mask=causal(), **others)

        setattr(model, name, blind)
    found = promises(leaking)
    assert len(found) == 3
    assert all(value > 1e-3 for value in found.values())


def test_the_smoke_run_learns_and_tells_who_holds_what(tmp_path: Path) -> None:
    assert RECIPE.sample is not None
    RECIPE.sample(tmp_path)
    run = Run(tmp_path / "run", RECIPE.name, "smoke", SMOKE, 3, str(tmp_path))
    open_run(run)
    made = RECIPE.build(SMOKE, tmp_path, 3)
    outcome = train(made, run, resume=False).outcome
    figures = {figure.name: figure for figure in outcome.figures}
    unigram = figures["loss of the characters' frequencies alone"].value
    assert figures["validation loss (nats a character)"].value < unigram - 0.5
    promised = [figure for figure in figures.values() if figure.target is not None]
    assert len(promised) == 3
    assert all(figure.reached for figure in promised)
    _, shares, _ = outcome.tables
    assert isinstance(made, PackedTask)
    pairs = made.batch(0)["mask"].count(SMOKE.context)
    for ranks in ("2", "4", "8"):
        rows = [row for row in shares.rows if row[0] == ranks]
        assert [row[1] for row in rows] == [str(rank) for rank in range(int(ranks))]
        assert sum(int(row[2]) for row in rows) == SMOKE.context
        assert sum(int(row[3].replace(",", "")) for row in rows) == pairs
    for seen in outcome.attention:
        assert seen.mask is not None
        assert not seen.weights[~seen.mask.dense(*seen.weights.shape)[0, 0]].any()


@pytest.mark.data
def test_the_corpus_has_its_documents(sightline_data: Path) -> None:
    made = RECIPE.build(RECIPE.presets["small"], sightline_data / "shakespeare", 0)
    assert isinstance(made, PackedTask)
    text = (sightline_data / "shakespeare" / "input.txt").read_text()
    assert len(speeches(text)) == 7222
    assert made.learned.filled > 0.99


def test_a_context_too_short_for_two_documents_is_refused_before_training() -> None:
    with pytest.raises(InvalidArgument, match="context=3; wanted a whole number of at least 4"):
        replace(PRESETS["smoke"], context=3)
    replace(PRESETS["smoke"], context=4)
