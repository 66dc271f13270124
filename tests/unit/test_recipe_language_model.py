"""The recipe language-model, the growing triangle, and writing through the cache."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.errors import DataError, InvalidArgument
from sightline.models.gpt import GPT, GPTConfig
from sightline.readers.plain_text import Characters
from sightline.recipes.language_model import RECIPE
from sightline.recipes.language_model.growing_triangle import SENTENCE, GrowingTriangle
from sightline.recipes.language_model.settings import PRESETS, published
from sightline.recipes.language_model.task import LanguageModelTask
from sightline.recipes.language_model.trained import open_writer
from sightline.recipes.language_model.writer import Writer, write_uncached
from sightline.recipes.training.loop import train
from sightline.recipes.training.recipe import Settings
from sightline.recipes.training.run_folder import Run, change_settings, open_run

SMOKE = RECIPE.presets["smoke"]


def quiet(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total


def task(text: str = "", seed: int = 1, **changes: Any) -> LanguageModelTask:
    settings: Any = replace(SMOKE, **changes)
    return LanguageModelTask(settings, text or "abcd efgh.\n" * 60, seed)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke run, once for all."""
    folder = tmp_path_factory.mktemp("run")
    data = tmp_path_factory.mktemp("data")
    assert RECIPE.sample is not None
    RECIPE.sample(data)
    run = Run(folder / "run", RECIPE.name, "smoke", SMOKE, 3, str(data))
    open_run(run)
    trained = train(RECIPE.build(SMOKE, data, 3), run, resume=False)
    figures = {figure.name: figure for figure in trained.outcome.figures}
    # What cannot be met by chance: better than all that knows no order, and the promises hold.
    unigram = figures["loss of the characters' frequencies alone"].value
    assert figures["validation loss (nats a character)"].value < unigram - 0.5
    promised = [figure for figure in figures.values() if figure.target is not None]
    assert len(promised) == 3
    assert all(figure.reached and figure.value == 0.0 for figure in promised)
    assert trained.outcome.tables[1].rows[-1] == ("4", "I have a dream", "<eos>")
    for seen in trained.outcome.attention:
        assert seen.weights.shape == (len(seen.queries), len(seen.keys))
        assert not np.triu(seen.weights, 1).any()
    return folder / "run"


# -- the task ----------------------------------------------------------------------------------


def test_a_batch_is_a_function_of_its_number() -> None:
    text = "".join(map(chr, range(100, 1100)))  # every character once: a window says where it is
    one, other = task(text), task(text)
    other.batch(0)
    for number in (5, 2):
        for mine, theirs in zip(one.batch(number), other.batch(number), strict=True):
            assert torch.equal(mine, theirs)
    tokens, following = one.batch(5)
    assert tokens.shape == following.shape == (SMOKE.batch, SMOKE.context)
    assert torch.equal(tokens[:, 1:], following[:, :-1])
    assert torch.equal(following, tokens + 1)
    assert not torch.equal(tokens, one.batch(6)[0])
    assert not torch.equal(tokens, task(text, seed=2).batch(5)[0])


def test_windows_come_from_the_first_nine_tenths_and_from_all_of_it() -> None:
    text = "".join(map(chr, range(100, 800)))
    made = task(text, batch=97)
    seen = torch.cat([torch.cat(made.batch(number), 1) for number in range(30)])
    assert (int(seen.min()), int(seen.max())) == (0, 629)
    assert made.held_out.tolist() == list(range(630, 700))


class Bigram(torch.nn.Module):
    """Logits that depend on the last character alone."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.table = torch.nn.Parameter(table)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.table[tokens]


@pytest.mark.parametrize("context", [3, 8, 61])
def test_every_held_out_character_counts_once(context: int) -> None:
    """Of a model without a memory the loss does not depend on where windows end."""
    text = "".join(np.random.default_rng(0).choice(list("abcde"), 1234))
    made = task(text, context=context)
    table = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    chances = table.log_softmax(1)
    wanted = -chances[made.held_out[:-1], made.held_out[1:]].mean()
    with torch.no_grad():
        found = made.evaluate(Bigram(table), quiet)["loss"]
    assert found == pytest.approx(float(wanted), abs=1e-6)


def test_the_rate_goes_up_in_a_line_and_down_along_a_cosine() -> None:
    made = task(steps=110, warm_up=10, rate=3e-3, least_rate=1e-3)
    assert [made.rate(step) for step in (1, 5, 10)] == pytest.approx([3e-4, 1.5e-3, 3e-3])
    assert made.rate(60) == pytest.approx(2e-3)  # half way down
    assert made.rate(35) == pytest.approx(2e-3 + 1e-3 * math.sqrt(0.5))
    assert made.rate(110) == pytest.approx(1e-3)


def test_only_matrices_decay() -> None:
    made = task()
    decaying, others = made.optimizer().param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.1, 0.0)
    assert {weight.ndim for weight in decaying["params"]} == {2}
    assert {weight.ndim for weight in others["params"]} == {1}
    assert len(decaying["params"]) + len(others["params"]) == len(list(made.model.parameters()))
    assert decaying["betas"] == (0.9, 0.99)


def test_the_published_settings() -> None:
    """As nanoGPT's README and config/train_shakespeare_char.py have them."""
    small: Any = RECIPE.presets["small"]
    paper: Any = RECIPE.presets["paper"]
    sizes = ("layers", "heads", "width", "context", "batch", "steps", "dropout")
    assert [getattr(small, name) for name in sizes] == [4, 4, 128, 64, 12, 2000, 0.0]
    assert [getattr(paper, name) for name in sizes] == [6, 6, 384, 256, 64, 5000, 0.2]
    for each in (small, paper):
        assert (each.rate, each.least_rate, each.warm_up, each.clip) == (1e-3, 1e-4, 100, 1.0)


def test_the_published_figure_stands_beside_the_published_settings_only() -> None:
    assert published(PRESETS["smoke"]) == {}
    assert published(PRESETS["small"])["published"] == 1.88
    assert published(PRESETS["paper"])["published"] == 1.4697
    assert published(replace(PRESETS["small"], positions="rotary")) == {}


@pytest.mark.parametrize("change", ["engine=spda", "positions=sideways", "heads=3", "batch=0"])
def test_settings_that_cannot_be_are_refused_before_training(change: str) -> None:
    with pytest.raises(sl.errors.SightlineError, match=change.partition("=")[0]):
        LanguageModelTask(_changed(change), "abcdefgh" * 90, 0)


def _changed(change: str) -> Any:
    settings: Settings = change_settings(SMOKE, [change])
    return settings


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (None, "no such file"),
        (b"", "empty file"),
        (b"short", "got a text of 6 characters; wanted at least 241"),
        (b"fine\n\xff\n", "line 2: got bytes that are not UTF-8"),
    ],
)
def test_bad_data_are_refused(tmp_path: Path, content: bytes | None, part: str) -> None:
    if content is not None:
        (tmp_path / "input.txt").write_bytes(content)
    with pytest.raises(DataError) as caught:
        RECIPE.build(SMOKE, tmp_path, 0)
    assert part in str(caught.value)
    assert caught.value.path == str(tmp_path / "input.txt")


def test_the_shortest_text_that_is_enough() -> None:
    text = "ab" * 120 + "a"
    made = task(text)
    with torch.no_grad():
        assert made.evaluate(made.model, quiet)["loss"] > 0
    with pytest.raises(DataError, match="got a text of 240 characters; wanted at least 241"):
        task(text[:-1])


# -- the growing triangle ------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["cpu", "sdpa"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_growing_triangle(seed: int, engine: str) -> None:
    state = torch.get_rng_state()
    triangle = GrowingTriangle(seed, engine)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(triangle.weights > 0, torch.ones(5, 5).tril().bool())  # exact zeros
    assert torch.allclose(triangle.weights.sum(1), torch.ones(5))
    for step in range(1, 5):
        assert triangle.says(*SENTENCE[:step]) == SENTENCE[step:]
        # Step t alone, with t words and no more, sees the same.
        with torch.no_grad():
            (grown,) = triangle.model.attention_weights(torch.arange(step)[None])
        alone = grown[0].mean(0)[-1]
        assert torch.allclose(alone, triangle.weights[step - 1, :step], atol=1e-6)
    shown = triangle.mask()
    assert shown.mask.dense(5, 5)[0, 0].tolist() == np.tri(5, dtype=bool).tolist()
    assert shown.queries == shown.keys == ("I", "have", "a", "dream", "<eos>")


# -- writing -------------------------------------------------------------------------------------


def writer(context: int = 13, kind: Any = "learned") -> Writer:
    torch.manual_seed(5)
    config = GPTConfig(
        vocab=7, layers=2, heads=2, width=16, context=context, positions=kind, tied=False
    )
    model = GPT(config).eval()
    with torch.no_grad():
        for weight in model.parameters():  # so that texts do not go in circles
            weight.mul_(4.0).add_(torch.randn_like(weight), alpha=0.2)
    return Writer(model, Characters("\nabcdef"))


@pytest.mark.parametrize(
    ("context", "kind"), [(1, "learned"), (2, "learned"), (13, "learned"), (13, "rotary")]
)
@pytest.mark.parametrize("prompt", ["a", "abcdefabcdefa", "\n" * 20 + "bad"])
def test_with_the_cache_and_without(context: int, kind: str, prompt: str) -> None:
    made = writer(context, kind)
    wanted = write_uncached(made.model, made.characters, prompt, tokens=30)
    assert made.write(prompt, tokens=30, temperature=0.0) == wanted
    assert len(wanted) == 30


def test_what_is_shown_is_what_is_returned_and_follows_the_seed() -> None:
    made, shown = writer(), []
    text = made.write("dad", tokens=45, temperature=1.5, seed=4, on_text=shown.append)
    assert "".join(shown) == text
    assert len(text) == len(shown) == 45
    assert made.write("dad", tokens=45, temperature=1.5, seed=4) == text
    assert made.write("dad", tokens=30, temperature=1.5, seed=4) == text[:30]
    assert made.write("dad", tokens=45, temperature=1.5, seed=5) != text
    most = made.write("dad", tokens=45, temperature=1.5, top_k=1, seed=4)
    assert most == made.write("dad", tokens=45, temperature=0.0)
    assert made.write("", tokens=9, seed=1) == made.write("\n", tokens=9, seed=1)


def test_passages_that_come_again_are_not_continued_as_before() -> None:
    """With one character in sight, draws of one seed for all would go in circles."""
    made = writer(context=1)
    made.model.head.weight.data.zero_()  # every character is as probable
    text = made.write("a", tokens=60, seed=0)
    assert len(set(pairwise(text))) > 2 * len(made.characters)


def test_what_cannot_be_written_is_refused() -> None:
    made = writer()
    with pytest.raises(InvalidArgument, match="'z' at position 3 after 'ab'"):
        made.write("abz", tokens=3)
    with pytest.raises(InvalidArgument, match="tokens=0"):
        made.write("ab", tokens=0)
    with pytest.raises(InvalidArgument, match="temperature"):
        made.write("ab", tokens=3, temperature=math.nan)


def test_a_finished_run_writes(run_folder: Path) -> None:
    made = open_writer(run_folder)
    assert not made.model.training
    text = made.write("The lamp", tokens=70, temperature=0.0)
    assert len(set(text[30:])) > 2  # words, not one letter: what is in sight matters
    assert text == write_uncached(made.model, made.characters, "The lamp", tokens=70)


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (lambda folder: (folder / "run.json").unlink(), "no run there"),
        (lambda folder: (folder / "vocabulary.json").unlink(), "no such file"),
        (
            lambda folder: (folder / "vocabulary.json").write_text('{"characters": ["a"]}'),
            "weights",
        ),
        (lambda folder: (folder / "best.safetensors").unlink(), "wanted a checkpoint"),
        (lambda folder: (folder / "best.safetensors").write_bytes(b"none"), "damaged"),
    ],
    ids=["no run", "no characters", "other characters", "no weights", "damaged weights"],
)
def test_a_spoiled_run_is_refused(run_folder: Path, tmp_path: Path, spoil: Any, part: str) -> None:
    for path in run_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    spoil(tmp_path)
    with pytest.raises(DataError, match=part):
        open_writer(tmp_path)


@pytest.mark.data
def test_the_corpus_has_the_published_sizes(sightline_data: Path) -> None:
    made = RECIPE.build(RECIPE.presets["small"], sightline_data / "shakespeare", 0)
    assert isinstance(made, LanguageModelTask)
    assert (len(made.characters), len(made.learned), len(made.held_out)) == (65, 1003854, 111540)
