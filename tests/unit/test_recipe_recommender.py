"""The recommender's own parts: what is held out, what is asked, batches, layouts, ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sightline.errors import DataError, InvalidArgument  # noqa: E402
from sightline.models.sasrec import SASRec  # noqa: E402
from sightline.readers.clicks import Clicks, read_clicks  # noqa: E402
from sightline.readers.lines import find_file  # noqa: E402
from sightline.recipes.recommender import RECIPE, RecommenderSettings, RecommenderTask  # noqa: E402
from sightline.recipes.recommender.answers import (  # noqa: E402
    popularity_ranks,
    ranks_among_all,
    sampled_ranks,
    sampled_scores,
)
from sightline.recipes.recommender.layout import last_features, lay_out, score  # noqa: E402
from sightline.recipes.recommender.ranking import hit_rate, ndcg, ranks_of_first  # noqa: E402
from sightline.recipes.recommender.sample import FILE, write_sample  # noqa: E402
from sightline.recipes.recommender.splits import Split  # noqa: E402


def clicks_of(*sequences: list[int], items: int = 30) -> Clicks:
    each = [np.array(sequence, dtype=np.int64) for sequence in sequences]
    return Clicks(each, np.arange(1, len(each) + 1), np.arange(1, items + 1))


SEQUENCES = ([5, 3, 8, 1, 9], [2, 7], [4], [6, 1, 2], [8, 8, 3, 5, 1, 2, 6, 4])


@pytest.fixture
def split() -> Split:
    return Split(clicks_of(*SEQUENCES), "clicks.txt")


def settings(**options: Any) -> RecommenderSettings:
    sizes = {"width": 8, "context": 5, "batch": 2, "dropout": 0.0, "negatives": 7}
    return RecommenderSettings(**{**sizes, **options})


def quiet(*_: Any) -> None:
    pass


# -- what is held out -----------------------------------------------------------------------------


def test_the_last_two_clicks_are_held_out_where_there_are_three(split: Split) -> None:
    kept = [[5, 3, 8], [2, 7], [4], [6], [8, 8, 3, 5, 1, 2]]
    assert [each.tolist() for each in split.training] == kept
    assert split.learned.tolist() == [0, 1, 4]  # a click to start from and one to predict
    assert split.tested.tolist() == [0, 3, 4]


@pytest.mark.parametrize(
    ("part", "right", "histories"),
    [
        ("validation", [1, 1, 6], [[5, 3, 8], [6], [8, 8, 3, 5, 1, 2]]),
        ("test", [9, 2, 4], [[5, 3, 8, 1], [6, 1], [8, 8, 3, 5, 1, 2, 6]]),
    ],
)
def test_questions(split: Split, part: Any, right: list[int], histories: list[list[int]]) -> None:
    asked = split.questions(part, negatives=40)
    assert asked.candidates.shape == (3, 41)
    assert asked.candidates[:, 0].tolist() == right
    assert [each.tolist() for each in asked.histories] == histories
    for user, others in zip(asked.users, asked.candidates[:, 1:], strict=True):
        assert not set(others.tolist()) & {0, *SEQUENCES[user]}
        assert len(set(others.tolist())) > 5
    again = Split(clicks_of(*SEQUENCES), "clicks.txt").questions(part, negatives=40)
    assert np.array_equal(asked.candidates, again.candidates)
    assert len(split.questions(part, negatives=4, most=2).users) == 2


@pytest.mark.parametrize(
    ("sequences", "got"),
    [(([1, 2], [3]), "no user with 3 clicks"), (([1], [2, 3, 1, 3]), "the user 2 who clicked all")],
)
def test_corpora_that_cannot_be_asked_about(sequences: Any, got: str) -> None:
    with pytest.raises(DataError, match=got) as caught:
        Split(clicks_of(*sequences, items=3), "some/clicks.txt")
    assert caught.value.path == "some/clicks.txt"


# -- ranks ----------------------------------------------------------------------------------------


def test_ranks_worked_out_by_hand() -> None:
    scores = np.array([[0.5, 0.1, 0.2], [0.5, 0.9, 0.8], [0.5, 0.5, 0.9]])
    ranks = ranks_of_first(scores)
    assert ranks.tolist() == [0.0, 2.0, 1.5]
    assert hit_rate(ranks, 2) == pytest.approx(2 / 3)
    assert ndcg(ranks, 2) == pytest.approx((1 + 1 / np.log2(3.5)) / 3)
    assert ndcg(np.array([9.0, 10.0])) == pytest.approx(0.5 / np.log2(11))


def test_popularity_counts_training_only(split: Split) -> None:
    counts = split.popularity
    assert counts[[1, 2, 3, 8, 9, 4]].tolist() == [1, 2, 2, 3, 0, 1]  # 9 is held out only
    asked = split.questions("test", negatives=3)
    more = (counts[asked.candidates[:, 1:]] > counts[asked.candidates[:, :1]]).sum(1)
    assert (popularity_ranks(counts, asked) >= more).all()


def test_rank_among_all_items_leaves_out_what_was_clicked(split: Split) -> None:
    task = RecommenderTask(settings(), split, seed=1)
    asked = split.questions("test", negatives=3)
    with torch.no_grad():
        features = task.features(task.model, asked.histories, "", quiet)
        found = ranks_among_all(features, task.model, asked)
        for place, history in enumerate(asked.histories):
            read = torch.from_numpy(history)[None, -task.settings.context :]
            scores = task.model(read)[0, -1]
            right = asked.candidates[place, 0]
            others = set(range(1, split.vocab)) - {right, *history.tolist()}
            assert found[place] == sum(scores[item] > scores[right] for item in others)


# -- batches --------------------------------------------------------------------------------------


def test_a_batch_is_a_function_of_its_number(split: Split) -> None:
    one, other = (RecommenderTask(settings(), split, seed=4) for _ in range(2))
    _ = [other.batch(number) for number in (7, 0, 2)]
    for number in (0, 5, 3):
        for name, tensor in one.batch(number).items():
            assert torch.equal(tensor, other.batch(number)[name])
    assert not torch.equal(one.batch(0)["candidates"], one.batch(2)["candidates"])


def test_an_epoch_takes_every_user_once_and_asks_for_the_next_click(split: Split) -> None:
    task = RecommenderTask(settings(), split, seed=0)
    assert task.batches == 2
    read, following = [], []
    for number in (2, 3):
        laid = task.batch(number)
        ends = laid["lengths"].cumsum(0)[:-1]
        assert torch.equal(
            laid["lengths"],
            torch.tensor([len(p) for p in (laid["positions"][0].tensor_split(ends))]),
        )
        read += [each.tolist() for each in laid["items"][0].tensor_split(ends)]
        following += [each.tolist() for each in laid["candidates"][0, :, 0].tensor_split(ends)]
        beside = laid["candidates"][0, :, 1].tensor_split(ends)
        for clicks, others in zip(read[-len(beside) :], beside, strict=True):
            assert not set(others.tolist()) & {0, *clicks}
    assert sorted(read) == [[2], [5, 3], [8, 8, 3, 5, 1]]  # five at most
    assert sorted(following) == [[3, 8], [7], [8, 3, 5, 1, 2]]


def test_layouts_give_the_same_loss_and_the_same_scores(split: Split) -> None:
    packed, padded = (
        RecommenderTask(settings(layout=layout), split, seed=2) for layout in ("packed", "padded")
    )
    assert packed.batch(0)["items"].shape[0] == 1
    assert padded.batch(0)["items"].shape == (2, 5)
    for number in range(3):
        losses = [
            float(each.loss(each.model, each.batch(number))[0].detach())
            for each in (packed, padded)
        ]
        assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    asked = split.questions("test", negatives=9)
    with torch.no_grad():
        scores = [
            each.features(each.model, asked.histories, "", quiet) for each in (packed, padded)
        ]
    assert torch.allclose(*scores, atol=1e-6)


def test_the_loss_is_the_published_one(split: Split) -> None:
    task = RecommenderTask(settings(layout="padded"), split, seed=0)
    laid = task.batch(1)
    scores = score(task.model, laid, task.mask).detach()
    right, wrong = scores[..., 0].sigmoid(), scores[..., 1].sigmoid()
    real = laid["items"] != 0
    expected = (-(right + 1e-24).log() - (1 - wrong + 1e-24).log())[real].sum() / real.sum()
    assert float(task.loss(task.model, laid)[0].detach()) == pytest.approx(
        float(expected), rel=1e-5
    )


@pytest.mark.parametrize("encoder", ["gru", "lstm"])
def test_recurrent_encoders_learn_from_padded_users(split: Split, encoder: str) -> None:
    task = RecommenderTask(settings(encoder=encoder), split, seed=0)
    laid = task.batch(0)
    loss, _ = task.loss(task.model, laid)
    loss.backward()
    grads = [each.grad for each in task.model.parameters()]
    assert all(each is not None and each.isfinite().all() for each in grads)
    history = np.array([5, 3, 8])
    with torch.no_grad():
        last = last_features(task.model, lay_out([history], context=5, packed=False))
        alone = task.model.features(torch.from_numpy(history)[None])[0, -1]
    assert torch.allclose(last[0], alone, atol=1e-6)


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "packed", "left_out"),
    [
        ({}, True, set()),
        ({"ablate": "causal"}, True, {"causal_mask"}),
        ({"ablate": "key"}, False, {"key_mask"}),
        ({"ablate": "query"}, False, {"query_mask"}),
        (
            {"ablate": "all"},
            False,
            {"causal_mask", "key_mask", "query_mask", "clear_padding"},
        ),
    ],
)
def test_ablations(split: Split, options: Any, packed: bool, left_out: set[str]) -> None:
    chosen = settings(**options)
    assert chosen.packed == packed
    model = RecommenderTask(chosen, split, seed=0).model
    assert isinstance(model, SASRec)
    masks = ("causal_mask", "key_mask", "query_mask", "clear_padding")
    assert {name for name in masks if not getattr(model.config, name)} == left_out


@pytest.mark.parametrize(
    "options",
    [
        {"encoder": "rnn"},
        {"ablate": "keys"},
        {"layout": "left"},
        {"batch": 0},
        {"encoder": "gru", "ablate": "key"},
        {"layout": "packed", "ablate": "key"},
        {"layout": "packed", "encoder": "lstm"},
    ],
)
def test_settings_refused(options: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"got .*; wanted"):
        settings(**options)


# -- the sample -----------------------------------------------------------------------------------


def test_the_sample_reads_as_the_corpus_does(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_sample(tmp_path / folder)
    texts = [(tmp_path / folder / FILE).read_text() for folder in ("one", "two")]
    assert texts[0] == texts[1]
    clicks = read_clicks(tmp_path / "one" / FILE)
    assert len(clicks.users) == 300
    task = RECIPE.build(RECIPE.presets["smoke"], tmp_path / "one", 0)
    asked = task.split.questions("test", negatives=20)
    with torch.no_grad():
        features = task.features(task.model.eval(), asked.histories, "", quiet)
        ranks = sampled_ranks(features, task.model, asked)
        expected = [
            sampled_scores(features[[n]], task.model, asked.candidates[[n]]) for n in (0, 299)
        ]
    assert np.array_equal(ranks[[0, 299]], ranks_of_first(np.concatenate(expected)))
    assert len(ranks) == len(task.split.tested) > 256  # more than are asked about at once
    assert 0.3 < hit_rate(ranks) < 0.7  # untrained: by chance 10 of 21


def test_what_comes_home(split: Split) -> None:
    task = RecommenderTask(settings(context=12), split, seed=0)
    with torch.no_grad():
        outcome = task.finish(task.model.eval(), quiet)
    names = [figure.name for figure in outcome.figures]
    assert names[:2] == ["Hit@10 among 7 sampled items", "NDCG@10 among 7 sampled items"]
    assert outcome.figures[0].published is None  # of another corpus
    order, whole = outcome.masks[0], outcome.masks[-1]
    size = len(order.keys)
    real = [label != "pad" for label in order.keys]
    assert 0 < sum(real) < size
    expected = np.tri(size, dtype=bool) & np.array(real) & np.array(real)[:, None]
    assert np.array_equal(whole.mask.dense(size)[0, 0], expected)
    # (The query mask follows from the other two where padding is on the left.)
    assert np.array_equal(outcome.masks[2].mask.dense(size)[0, 0], np.tile(real, (size, 1)).T)
    assert len(outcome.masks) == 4
    assert len(outcome.attention) == 2
    for shown in outcome.attention:
        assert not np.triu(shown.weights, 1).any()


@pytest.mark.parametrize(("options", "masks"), [({"ablate": "query"}, 3), ({"ablate": "all"}, 1)])
def test_only_masks_that_are_there_are_shown(split: Split, options: Any, masks: int) -> None:
    task = RecommenderTask(settings(context=12, **options), split, seed=0)
    with torch.no_grad():
        outcome = task.finish(task.model.eval(), quiet)
    assert len(outcome.masks) == masks
    whole = outcome.masks[-1].mask.dense(10)
    assert whole.all() == (masks == 1)


@pytest.mark.data
def test_the_published_corpus(sightline_data: Path) -> None:
    path = find_file(sightline_data / "sasrec", FILE, "clicks")
    clicks = read_clicks(path)
    assert (len(clicks.users), len(clicks.items)) == (31013, 23715)
    assert sum(len(each) for each in clicks.sequences) == 287107
    assert len(Split(clicks, str(path)).tested) == 30901
