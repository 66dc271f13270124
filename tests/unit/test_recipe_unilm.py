"""The pieces of UniLM's recipe: what is masked, how batches mix, what is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from sightline.models.unilm_masks import MODES  # noqa: E402
from sightline.recipes.subwords import train_subwords  # noqa: E402
from sightline.recipes.training.checkpoint import Counts, save_weights  # noqa: E402
from sightline.recipes.training.run_folder import Run, open_run  # noqa: E402
from sightline.recipes.unilm import RECIPE  # noqa: E402
from sightline.recipes.unilm.cloze import (  # noqa: E402
    CLS,
    MASK,
    SEP,
    SPECIAL,
    Masking,
    Pair,
    cloze,
    flat_places,
    lay_out,
)
from sightline.recipes.unilm.judging import unigram_loss, writing_losses  # noqa: E402
from sightline.recipes.unilm.settings import UniLMSettings  # noqa: E402
from sightline.recipes.unilm.showing import write  # noqa: E402
from sightline.recipes.unilm.task import TOKENIZER, UniLMTask, assemble  # noqa: E402
from sightline.recipes.unilm.writer import open_writer  # noqa: E402

VOCAB = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("corpus")
    assert RECIPE.sample is not None
    RECIPE.sample(made)
    return made


@pytest.fixture(scope="module")
def task(folder: Path) -> UniLMTask:
    torch.manual_seed(0)
    return RECIPE.build(RECIPE.presets["smoke"], folder, 0)  # type: ignore[return-value]


def pairs(count: int) -> list[Pair]:
    rng = np.random.default_rng(4)
    sides = [rng.integers(5, VOCAB, size=size).tolist() for size in rng.integers(3, 12, 2 * count)]
    return [Pair(*both) for both in zip(sides[::2], sides[1::2], strict=True)]


# -- the cloze task -----------------------------------------------------------------------------


def masked(masking: Masking, count: int = 400) -> list[Any]:
    rng = np.random.default_rng(0)
    return [cloze(lay_out(pair, "seq2seq"), masking, VOCAB, rng) for pair in pairs(count)]


def test_fifteen_in_a_hundred_are_asked_for_and_nothing_else_changes() -> None:
    found = masked(Masking())
    for each, pair in zip(found, pairs(400), strict=True):
        before = lay_out(pair, "seq2seq").tokens
        wanted = max(1, round(0.15 * (len(before) - 3)))
        assert len(each.places) == wanted
        assert (np.diff(each.places) > 0).all()
        assert (each.answers == before[each.places]).all()
        elsewhere = np.delete(np.arange(len(before)), each.places)
        assert (each.tokens[elsewhere] == before[elsewhere]).all()
        assert not np.isin(each.answers, [CLS, SEP]).any()


def test_eighty_become_mask_ten_another_token_ten_stay() -> None:
    found = masked(Masking(share=0.5))
    now = np.concatenate([each.tokens[each.places] for each in found])
    before = np.concatenate([each.answers for each in found])
    many = len(now)
    deviation = 4 * (0.8 * 0.2 / many) ** 0.5
    assert abs((now == MASK).mean() - 0.8) < deviation
    stayed = 0.1 + 0.1 / (VOCAB - len(SPECIAL))  # some are exchanged for themselves
    assert abs((now == before).mean() - stayed) < deviation
    changed = now[(now != MASK) & (now != before)]
    assert changed.min() >= len(SPECIAL)


@pytest.mark.parametrize(("spans", "least", "most"), [(0.0, 0.0, 0.2), (1.0, 0.5, 1.0)])
def test_spans_stand_side_by_side(spans: float, least: float, most: float) -> None:
    long = Pair(list(range(5, 55)), list(range(5, 55)))
    rng = np.random.default_rng(1)
    near = [
        np.mean(
            np.diff(cloze(lay_out(long, "seq2seq"), Masking(0.1, spans), VOCAB, rng).places) == 1
        )
        for _ in range(50)
    ]
    assert least <= np.mean(near) <= most


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 4), st.integers(0, 6), st.integers(0, 99))
def test_any_share_of_any_pair(
    share: float, spans: float, source: int, target: int, seed: int
) -> None:
    sequence = lay_out(Pair([7] * source, [9] * target), "seq2seq")
    for only in (False, True):
        rng = np.random.default_rng(seed)
        found = cloze(sequence, Masking(share, spans, only), VOCAB, rng)
        may = target + 1 if only else source + target
        assert len(found.places) == min(may, max(1, round(share * may)))
        assert not only or (found.places >= sequence.source).all()


def test_fine_tuning_asks_for_the_target_and_its_end() -> None:
    found = masked(Masking(share=1.0, target_only=True))
    for each, pair in zip(found, pairs(400), strict=True):
        assert each.answers.tolist() == [*pair.target, SEP]


@pytest.mark.parametrize("wrong", [{"share": 1.5}, {"spans": -0.1}])
def test_shares_outside_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(sl.InvalidArgument, match=next(iter(wrong))):
        Masking(**wrong)


# -- batches ------------------------------------------------------------------------------------


def test_a_batch_is_a_function_of_its_number(task: UniLMTask) -> None:
    one, same, other = task.batch(3), task.batch(3), task.batch(4)
    assert one["mask"] == same["mask"]
    for name in ("tokens", "segments", "positions", "places", "answers", "first", "follows"):
        assert torch.equal(one[name], same[name])
    assert not torch.equal(one["answers"], other["answers"])


def test_the_mixture_is_exact(task: UniLMTask) -> None:
    batch = task.batch(0)
    size = task.settings.sequences
    begin = batch["segments"][batch["positions"] == 0]
    assert [int((begin == first).sum()) for first in (0, 4, 2, 3)] == [
        size // 3,
        size // 3,
        size // 6,
        size // 6,
    ]
    assert len(batch["first"]) == len(batch["follows"]) == size // 3
    assert (batch["tokens"][0, batch["first"]] == CLS).all()


def test_half_of_the_pairs_read_from_both_sides_are_not_pairs(task: UniLMTask) -> None:
    settings = replace(task.settings, tuning=0)
    whole = UniLMTask(settings, task.texts, 0)
    follows = torch.cat([whole.batch(number)["follows"] for number in range(60)])
    assert abs(float(follows.float().mean()) - 0.5) < 4 * 0.5 / len(follows) ** 0.5


def test_follows_is_0_for_a_source_and_its_own_target(task: UniLMTask) -> None:
    rng = np.random.default_rng(0)
    read = [task._read(pair, "bidirectional", rng) for pair in task.train[:40]]
    own = [lay_out(pair, "bidirectional") for pair in task.train[:40]]
    labels = assemble(read)["follows"].tolist()
    assert 0 < sum(labels) < 40
    for label, each, its_own in zip(labels, read, own, strict=True):
        if label == 0:
            assert each.tokens.tolist() == its_own.tokens.tolist()
        else:
            assert each.tokens[: each.source].tolist() == its_own.tokens[: its_own.source].tolist()
    # The neighbour drawn may be the pair itself, or say the same; mostly it does not.
    changed = [a.tokens.tolist() != b.tokens.tolist() for a, b in zip(read, own, strict=True)]
    assert sum(changed) > 0.8 * sum(labels)


def test_settings_reach_the_model(task: UniLMTask) -> None:
    other = UniLMTask(replace(task.settings, engine="sdpa", layers=1, heads=4), task.texts, 0)
    config = other.model.config
    assert (config.engine, config.layers, config.heads) == ("sdpa", 1, 4)


def test_the_rate_rises_and_falls(task: UniLMTask) -> None:
    rates = [task.rate(step) for step in range(1, task.settings.steps + 1)]
    warmup = task.settings.warmup
    assert max(rates) == pytest.approx(task.settings.learning_rate)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


def test_an_epoch_holds_every_pair_once(task: UniLMTask) -> None:
    many = len(task.train)
    assert sorted(task._indices(0, many)) == list(range(many))
    assert sorted(task._indices(many, many)) == list(range(many))
    assert task._indices(0, many) != task._indices(many, many)
    epochs = [index for epoch in range(4) for index in task._indices(epoch * many, many)]
    assert task._indices(5, 3 * many) == epochs[5 : 5 + 3 * many]


def test_fine_tuning_comes_last_and_keeps_the_other_ways(task: UniLMTask) -> None:
    settings = task.settings
    batches = [task.batch(number) for number in range(settings.steps - 20, settings.steps)]
    share = np.mean(
        [float((each["segments"][each["positions"] == 0] == 4).float().mean()) for each in batches]
    )
    wanted = settings.tuning_share + (1 - settings.tuning_share) / 3
    assert abs(share - wanted) < 0.08
    asked_ends = sum(int((each["answers"] == SEP).sum()) for each in batches)
    assert asked_ends > 0
    first = settings.steps - settings.tuning - 1
    assert not (task.batch(first)["answers"] == SEP).any()


def test_packed_places_are_where_the_answers_stood() -> None:
    rng = np.random.default_rng(2)
    laid = [lay_out(pair, mode) for pair, mode in zip(pairs(4), MODES, strict=True)]
    made = [cloze(each, Masking(0.4), VOCAB, rng) for each in laid]
    before = np.concatenate([each.tokens for each in laid])
    batch = assemble(made)
    assert (before[flat_places(made)] == batch["answers"].numpy()).all()
    asked = batch["modes"].bincount(minlength=4).tolist()
    assert asked == [len(each.places) for each in made]
    assert not len(batch["first"])


def test_the_loss_is_the_mean_over_masked_tokens_and_pairs(task: UniLMTask) -> None:
    task.model.eval()
    batch = task.batch(1)
    with torch.no_grad():
        loss, parts = task.loss(task.model, batch)
    counts = batch["modes"].bincount(minlength=4).tolist()
    together = sum(parts[mode] * count for mode, count in zip(MODES, counts, strict=True))
    assert float(loss) == pytest.approx(together / sum(counts) + parts["follows"], rel=1e-5)


def test_a_batch_without_questions_about_pairs_still_reaches_every_weight(task: UniLMTask) -> None:
    sequences = [
        cloze(lay_out(pair, "seq2seq"), task.tuning, task.vocab, np.random.default_rng(0))
        for pair in task.train[:3]
    ]
    task.model.zero_grad()
    task.loss(task.model, assemble(sequences))[0].backward()
    assert all(weight.grad is not None for weight in task.model.parameters())
    task.model.zero_grad()


# -- what is measured ---------------------------------------------------------------------------


def test_one_pass_gives_what_each_appended_mask_token_says(task: UniLMTask) -> None:
    """The loss of writing, target by target: [MASK] is appended, then gives way to the token."""
    model = task.model.double().eval()
    chosen = task.pairs["val"][:3]
    wanted = []
    with torch.no_grad():
        found = writing_losses(model, chosen)
        for pair in chosen:
            source = [CLS, *pair.source, SEP]
            target = [*pair.target, SEP]
            for step, token in enumerate(target):
                row = [*source, *target[:step], MASK]
                batch = sl.Batch.from_sequences([row])
                logits = model.read(batch, "seq2seq", [len(source)]).mlm[0, -1]
                wanted.append(-float(logits.log_softmax(-1)[token]))
    task.model.float()
    assert found.shape == (len(wanted),)
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_unigram_loss_is_a_mean_over_what_is_asked(task: UniLMTask) -> None:
    loss = unigram_loss(task)
    assert 1.0 < loss < np.log(task.vocab)


def test_evaluation_is_the_same_twice(task: UniLMTask) -> None:
    task.model.eval()
    told: list[tuple[int, int]] = []
    with torch.no_grad():
        one = task.evaluate(task.model, lambda what, done, total: told.append((done, total)))
        assert one == task.evaluate(task.model, lambda *_: None)
    assert set(one) == {"writing", *MODES, "follows"}
    assert told[-1][0] == told[-1][1]


def test_all_sources_are_written_and_long_ones_cut(task: UniLMTask) -> None:
    task.model.eval()
    long = Pair(list(range(5, 5 + 200)), [7])
    texts = write(task, task.model, [*task.pairs["val"][:3], long], lambda *_: None)
    assert len(texts) == 4


@pytest.fixture
def run_folder(task: UniLMTask, tmp_path: Path) -> Path:
    """A run's folder as training leaves it, but for the training."""
    run = Run(tmp_path / "run", "unilm", "smoke", task.settings, 0)
    open_run(run)
    task.save(run.folder)
    save_weights(run.best, task.model, Counts())
    return run.folder


def test_a_run_writes_what_its_task_writes(task: UniLMTask, run_folder: Path) -> None:
    task.model.eval()
    writer = open_writer(run_folder)
    text = task.texts["val"][0][0]
    pieces: list[str] = []
    found = writer.write(text, tokens=15, on_text=pieces.append)
    wanted = write(task, task.model, [task.pairs["val"][0]], lambda *_: None)
    assert "".join(pieces) == found
    assert wanted[0].startswith(found[1:])
    drawn = [writer.write(text, tokens=15, temperature=2.0, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_cannot_be_written_is_refused(run_folder: Path) -> None:
    writer = open_writer(run_folder)
    with pytest.raises(sl.InvalidArgument, match="tokens=0"):
        writer.write("Ein Hund", tokens=0)
    with pytest.raises(sl.InvalidArgument, match="a source of"):
        writer.write("Ein Hund läuft. " * 30, tokens=4)


@pytest.mark.parametrize("content", [None, "{", "no tokenizer"])
def test_damaged_subwords_are_refused_by_name(run_folder: Path, content: str | None) -> None:
    path = run_folder / TOKENIZER
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(sl.DataError, match=TOKENIZER):
        open_writer(run_folder)


def test_settings_that_do_not_fit_are_refused() -> None:
    for wrong, said in (
        ({"tuning": 9000}, "tuning=9000"),
        ({"tuning_share": 1.5}, "tuning_share"),
        ({"sequences": 0}, "sequences=0"),
        ({"longest": 158}, "context=160"),
    ):
        with pytest.raises(sl.InvalidArgument, match=said):
            replace(UniLMSettings(), **wrong)  # type: ignore[arg-type]


def test_no_pair_short_enough_is_refused(task: UniLMTask) -> None:
    with pytest.raises(sl.InvalidArgument, match="longest=2"):
        UniLMTask(replace(task.settings, longest=2), task.texts, 0)


# -- subwords -----------------------------------------------------------------------------------


@given(st.text("derhun .,!", max_size=40))
def test_subwords_spell_what_they_were_cut_from(text: str) -> None:
    read = spelling().encode(f"der hund {text}")
    assert "[UNK]" not in read.tokens
    assert spelling().decode(read.ids) == " ".join(f"der hund {text}".split())


def spelling() -> Any:
    if not _KEPT:
        lines = ["der hund, der und er.", "und der, nur er!", "du, er und der hund"]
        _KEPT.append(train_subwords(lines, 30, SPECIAL))
    return _KEPT[0]


_KEPT: list[Any] = []


def test_lower_case_is_asked_for() -> None:
    lines = ["Der Hund", "der hund"] * 3
    assert "D" in train_subwords(lines, 40, SPECIAL).get_vocab()
    assert "D" not in train_subwords(lines, 40, SPECIAL, lowercase=True).get_vocab()


def test_no_room_for_subwords_is_refused() -> None:
    with pytest.raises(sl.InvalidArgument, match="vocab=5"):
        train_subwords(["a b"], 5, SPECIAL)
