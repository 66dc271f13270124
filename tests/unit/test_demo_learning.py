"""The demo's model that learns and writes: what it may know, what it says, and faults that show."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import sightline as sl
from sightline.cli import demo_tables, demo_words
from sightline.recipes.demo import learning
from sightline.recipes.demo.checks import checks_of
from sightline.recipes.demo.learning import Learned, learn, lowest_loss
from sightline.recipes.demo.records import DemoReport, LearningRecord
from sightline.recipes.demo.run import one_thread, run_demo
from sightline.recipes.demo.text import BOS, EOS, Corpus, read_corpus
from sightline.recipes.demo.writing import largest_difference, starts_of, write
from sightline.views.page import Cell

CORPUS = read_corpus()


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def learned() -> Learned:
    return learn(CORPUS)


@pytest.fixture(scope="module")
def record(learned: Learned) -> LearningRecord:
    return write(learned, CORPUS)


@pytest.fixture(scope="module")
def report() -> DemoReport:
    return run_demo(CORPUS)


def corpus_of(folder: Path, text: str) -> Corpus:
    path = folder / "text.txt"
    path.write_text(text, encoding="utf-8")
    return read_corpus(path)


# ------------------------------------------------------------------------------------- learning


def test_the_model_learns_all_that_the_past_can_tell(learned: Learned) -> None:
    assert learned.losses[0] == pytest.approx(math.log(len(CORPUS.vocabulary)), rel=0.1)
    assert learned.lowest < learned.losses[-1] < learned.lowest + 0.02
    assert not learned.model.training
    assert learned.sentences == tuple(sentence.tokens for sentence in CORPUS.sentences)


def test_a_model_that_sees_the_future_gets_below_the_lowest_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(learning, "_NEAR", -0.1)  # do not stop there
    cheated = learn(CORPUS, sl.everything())
    assert cheated.losses[-1] < cheated.lowest - 0.1
    monkeypatch.setattr(learning, "_MOST_STEPS", 80)
    honest = learn(CORPUS)
    assert min(honest.losses) >= honest.lowest


def test_the_lowest_loss_by_hand() -> None:
    # After the start A or B; after A three times X, once the end; all else is certain.
    sentences = [("A", "X"), ("A", "X"), ("A", "X"), ("A",), ("B",)]
    first = -(4 * math.log(4 / 5) + math.log(1 / 5))
    second = -(3 * math.log(3 / 4) + math.log(1 / 4))
    assert lowest_loss(sentences) == pytest.approx((first + second) / (5 + 4 + 3 + 1))


def test_only_the_first_sentences_are_learned(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, "\n".join(f"word{n} is here" for n in range(10)))
    learned = learn(corpus)
    assert len(learned.sentences) == 8
    assert learned.sentences[7] == ("word7", "is", "here")
    assert len(write(learned, corpus).texts) == 8


# ------------------------------------------------------------------------------------- writing


def test_it_writes_the_sentences_from_their_starts(record: LearningRecord) -> None:
    assert [text.start for text in record.texts[:3]] == [
        (BOS, "I", "saw"),
        (BOS, "我", "看"),
        (BOS, "I", "have"),
    ]
    assert record.texts[0].words == ("a", "saw", ".", EOS)
    assert all(text.known for text in record.texts)
    assert all(0.5 < text.probability <= 1 for text in record.texts)
    assert all(text.words[-1] == EOS for text in record.drawn if text.known)
    assert sum(text.known for text in record.drawn) > 0
    assert len({text.words for text in record.drawn}) > 1


def test_the_cache_and_the_batch_change_nothing(record: LearningRecord) -> None:
    assert record.different_in_batch == 0
    assert record.max_difference_cache <= (0.0 if record.exact else 2e-5)
    assert record.cached_per_second > 0
    assert record.anew_per_second > 0


class WrongCache(torch.nn.Module):
    """A model that forgets with the cache what it knows without: the fault to be found."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.new_cache = model.new_cache

    def forward(self, tokens: torch.Tensor, cache: Any = None) -> torch.Tensor:
        if cache is not None and tokens.shape[1] == 1:
            return self.model(tokens, cache=cache, mask=sl.window(left=0, right=0))
        return self.model(tokens, cache=cache)


def test_a_cache_that_forgets_is_caught(learned: Learned) -> None:
    text = torch.tensor(CORPUS.ids((BOS, "I", "saw", "a", "saw")))
    assert largest_difference(learned.model, text, 2) <= 2e-5
    assert largest_difference(WrongCache(learned.model), text, 2) > 0.1  # type: ignore[arg-type]


def test_a_text_that_changes_with_its_batch_is_caught(
    learned: Learned, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = sl.nn.generate

    def forgetful(model: Any, prompts: Any, **options: Any) -> Any:
        return generate(model, [prompts[0][:1]] if len(prompts) == 1 else prompts, **options)

    monkeypatch.setattr(sl.nn, "generate", forgetful)
    assert write(learned, CORPUS).different_in_batch > 0


@pytest.mark.parametrize(
    ("sentences", "starts"),
    [
        (["a"], [""]),
        (["abc", "abd"], ["abc", "abd"]),
        (["ab", "abc", "b"], ["ab", "abc", "b"]),
        (["abc", "abc", "bc"], ["a", "b"]),
    ],
)
def test_starts_tell_sentences_apart(sentences: list[str], starts: list[str]) -> None:
    given = starts_of([tuple(sentence) for sentence in sentences])
    assert ["".join(start) for start in given] == starts


# ------------------------------------------------------------------------- checks and the report


@pytest.mark.parametrize(
    "fault",
    [{"max_difference_cache": 1e-3}, {"different_in_batch": 1}, {"losses": (3.0, 0.0)}],
    ids=str,
)
def test_every_figure_has_its_check(report: DemoReport, fault: dict[str, Any]) -> None:
    changed = dataclasses.replace(report.learning, **fault)
    checks = checks_of(dataclasses.replace(report, learning=changed))
    assert sum(not check.holds for check in checks) == 1


def test_what_is_said_follows_the_figures(report: DemoReport) -> None:
    found = dataclasses.replace(
        report.learning,
        sentences=3,
        steps=17,
        training_seconds=1.25,
        max_difference_cache=3e-4,
        different_in_batch=2,
        cached_per_second=4000.0,
        anew_per_second=100.0,
        lowest_loss=0.0,
    )
    changed = dataclasses.replace(report, learning=found)
    said = demo_words.about_learning(changed)
    assert "the first 3 of these sentences" in said
    assert "17 steps (1.2 s)" in said
    assert "begin alike" not in said
    assert "begin alike" in demo_words.about_learning(report)
    said = demo_words.about_writing(changed)
    assert "differ by at most 3e-04" in said
    assert "2 texts are not the same" in said
    assert "4,000 next words" in said
    assert "40 times" in said


def test_a_text_that_is_not_a_sentence_is_told(report: DemoReport) -> None:
    first = dataclasses.replace(report.learning.texts[0], known=False)
    texts = (first, *report.learning.texts[1:])
    changed = dataclasses.replace(
        report, learning=dataclasses.replace(report.learning, texts=texts)
    )
    told = [row[3] for row in demo_tables.texts_table(changed).rows]
    assert told == ["no", *[Cell("yes", "good")] * (len(told) - 1)]


def test_drawn_texts_are_told_once_and_without_their_end(report: DemoReport) -> None:
    one = report.learning.drawn[0]
    found = dataclasses.replace(report.learning, drawn=(one, one))
    said = demo_words.about_drawn(dataclasses.replace(report, learning=found))
    assert said.count("/") == 0
    assert EOS not in said
