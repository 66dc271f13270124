"""The parts of the translation recipe: corpus, subwords, batches, rates, losses, results.

That it learns is tested with the other recipes' smoke presets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
pytest.importorskip("accelerate")

from sightline.readers.parallel_text import read_parallel  # noqa: E402
from sightline.recipes.translation import RECIPE  # noqa: E402
from sightline.recipes.translation.decoding import translate  # noqa: E402
from sightline.recipes.translation.results import bleu, cross_attention, results  # noqa: E402
from sightline.recipes.translation.sample import write_sample  # noqa: E402
from sightline.recipes.translation.task import (  # noqa: E402
    PRESETS,
    Translation,
    TranslationSettings,
    held_out_loss,
    packed,
)
from sightline.recipes.translation.vocabulary import (  # noqa: E402
    BEGIN,
    END,
    Vocabulary,
)

SETTINGS = replace(PRESETS["smoke"], width=12, heads=2, hidden=20, sentences=7)


def tell(what: str, done: int, total: int) -> None:
    """Tell nobody."""


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    write_sample(folder)
    return folder


@pytest.fixture
def task(sample: Path) -> Translation:
    return built(sample)


def built(folder: Path, seed: int = 0, **changes: Any) -> Translation:
    torch.manual_seed(5)
    return Translation(replace(SETTINGS, **changes), folder, seed)


# -- the sample ---------------------------------------------------------------------------------


def test_the_sample_holds_different_sentences_in_the_three_parts(sample: Path) -> None:
    parts = [read_parallel(sample, n, "de", "en") for n in ("train", "val", "test_2016_flickr")]
    assert [len(part) for part in parts] == [120, 20, 20]
    assert len({source for part in parts for source in part.sources}) == 160
    wanted = {"Ich sehe, dass der Hund im Park schläft.", "Der Hund schläft im Park."}
    assert wanted <= {source for part in parts for source in part.sources}


# -- subwords -----------------------------------------------------------------------------------


def test_text_comes_back_and_a_vocabulary_is_a_file(task: Translation, tmp_path: Path) -> None:
    text = "Ich sehe, dass ein Kind am See wartet."
    (tokens,) = task.words.tokens([text])
    assert task.words.text([BEGIN, *tokens, END]) == text
    assert "".join(task.words.pieces(tokens)).replace("▁", " ").strip() == text
    task.save(tmp_path)
    again = Vocabulary.load(tmp_path / "tokenizer.json")
    assert (again.tokens([text]), again.size) == ([tokens], task.words.size)


def test_other_files_are_no_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with pytest.raises(sl.DataError, match="train first"):
        Vocabulary.load(path)
    path.write_text("{}")
    with pytest.raises(sl.DataError, match="no tokenizer") as caught:
        Vocabulary.load(path)
    assert caught.value.path == str(path)
    from sightline.recipes.subwords import train_subwords

    path.write_text(train_subwords(["a dog"] * 2, 30, ("<a>", "<b>")).to_str())
    with pytest.raises(sl.DataError, match="whose first tokens are"):
        Vocabulary.load(path)


# -- batches ------------------------------------------------------------------------------------


def test_a_batch_follows_from_its_number_and_the_seed(sample: Path, task: Translation) -> None:
    again, other = built(sample), built(sample, seed=1)
    for number in (0, 40):
        one, two = task.batch(number), again.batch(number)
        assert one["source"].equal(two["source"])
        assert one["masks"]["memory_mask"] == two["masks"]["memory_mask"]
        assert not one["source"].equal(other.batch(number)["source"])
    assert not task.batch(0)["source"].equal(task.batch(17)["source"])  # the next epoch's first


def test_an_epoch_holds_no_pair_twice(task: Translation) -> None:
    per_epoch = 120 // 7
    seen: list[tuple[int, ...]] = []
    for number in range(per_epoch):
        batch = task.batch(number)
        ends = (batch["source"][0] == END).nonzero()[:, 0].tolist()
        starts = [0, *(end + 1 for end in ends)]
        seen += [
            tuple(batch["source"][0, a : b + 1].tolist())
            for a, b in zip(starts, ends, strict=False)
        ]
    assert len(seen) == len(set(seen)) == 7 * per_epoch


def test_labels_are_the_next_tokens(task: Translation) -> None:
    batch = packed(task.train, [3, 8])
    wanted: list[int] = []
    for i in (3, 8):
        wanted += [*task.train.targets[i], END]
    assert batch["labels"].tolist() == wanted
    begins = (batch["target"][0] == BEGIN).nonzero()[:, 0].tolist()
    assert begins == [0, len(task.train.targets[3]) + 1]


def test_long_pairs_are_left_out(sample: Path) -> None:
    whole, cut = built(sample), built(sample, longest=11)
    assert 7 <= len(cut.kept) < len(whole.kept) == 120
    longest = max(len(cut.train.sources[i]) for i in cut.kept)
    assert longest < 11 <= max(map(len, cut.train.sources))
    with pytest.raises(sl.DataError, match="one batch"):
        built(sample, longest=3)


# -- losses and rates ---------------------------------------------------------------------------


def alone(task: Translation, i: int, smoothing: float) -> tuple[float, int]:
    """Return the summed loss of a held-out pair by itself, and how many tokens it has."""
    source = torch.tensor([[*task.held_out.sources[i], END]])
    target = torch.tensor([[BEGIN, *task.held_out.targets[i]]])
    logprobs = task.model(source, target)[0].log_softmax(-1)
    labels = torch.tensor([*task.held_out.targets[i], END])
    own = -logprobs.gather(1, labels[:, None]).sum()
    spread = -logprobs.mean(1).sum()
    return float(((1 - smoothing) * own + smoothing * spread).detach()), len(labels)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_of_a_packed_batch_is_that_of_its_sentences(
    sample: Path, smoothing: float
) -> None:
    task = built(sample, smoothing=smoothing)
    task.model.double().eval()
    chosen = [4, 0, 9]
    sums = [alone(task, i, smoothing) for i in chosen]
    wanted = sum(total for total, _ in sums) / sum(count for _, count in sums)
    loss, _ = task.loss(task.model, packed(task.held_out, chosen))
    assert float(loss.detach()) == pytest.approx(wanted, rel=1e-9)


def test_the_held_out_loss_counts_every_token_once(task: Translation) -> None:
    task.model.double().eval()
    sums = [alone(task, i, 0.0) for i in range(20)]
    wanted = sum(total for total, _ in sums) / sum(count for _, count in sums)
    with torch.no_grad():
        assert held_out_loss(task.model, task.held_out, tell) == pytest.approx(wanted, rel=1e-9)
        figures = task.evaluate(task.model, tell)
    assert figures["perplexity"] == pytest.approx(math.exp(wanted))


def test_rates_rise_and_fall(sample: Path) -> None:
    task = built(sample, peak=0.5, warmup=10, steps=110)
    rates = [task.rate(step) for step in (1, 5, 10, 60, 110)]
    assert rates == pytest.approx([0.05, 0.25, 0.5, 0.25, 0.0], abs=1e-12)
    task = built(sample, peak=0.5, warmup=10, decay="inverse-root")
    assert [task.rate(step) for step in (5, 10, 40)] == pytest.approx([0.25, 0.5, 0.25])
    paper = PRESETS["paper"]
    published = [512**-0.5 * min(step**-0.5, step * 4000**-1.5) for step in (1, 4000, 90_000)]
    task.settings = paper
    assert [task.rate(step) for step in (1, 4000, 90_000)] == pytest.approx(published, rel=0.01)


def test_bad_settings_and_missing_data_are_refused() -> None:
    with pytest.raises(sl.InvalidArgument, match="'cosine' or 'inverse-root'"):
        TranslationSettings(decay="linear")
    with pytest.raises(sl.InvalidArgument, match="sentences=0"):
        TranslationSettings(sentences=0)
    with pytest.raises(sl.InvalidArgument, match="parallel text"):
        RECIPE.build(SETTINGS, None, 0)


# -- translating --------------------------------------------------------------------------------


@pytest.mark.parametrize("beams", [1, 3])
def test_sentences_keep_their_order_and_their_translation(task: Translation, beams: int) -> None:
    task.model.double()
    sentences = sorted(task.test.text.sources[:4], key=len, reverse=True)
    assert len({len(tokens) for tokens in task.words.tokens(sentences)}) > 1
    options: dict[str, Any] = {"beams": beams, "length_penalty": 0.7}
    together = translate(task.model, task.words, sentences, **options)
    for sentence, made in zip(sentences, together, strict=True):
        (one,) = translate(task.model, task.words, [sentence], **options)
        assert (one.tokens, one.ended) == (made.tokens, made.ended)
        assert one.score == pytest.approx(made.score, abs=1e-9)
    assert len({made.tokens for made in together}) > 1


def test_what_ends_has_no_end_in_its_text(task: Translation) -> None:
    # A model that always writes "end".
    with torch.no_grad():
        task.model.head.weight.zero_()
        task.model.layers.decoder.norm.weight.zero_()
        task.model.layers.decoder.norm.bias.fill_(1.0)
        task.model.head.weight[END] = 1.0
    for beams in (1, 2):
        (made,) = translate(task.model, task.words, ["Ein Kind."], beams=beams, length_penalty=1.0)
        assert (made.text, made.tokens, made.ended) == ("", (), True)


# -- results ------------------------------------------------------------------------------------


def test_bleu_counts_as_sacrebleu_does() -> None:
    wanted = ["The dog runs in the park.", "A child laughs at the lake."]
    assert bleu(wanted, wanted)[0] == pytest.approx(100.0)
    # Of 15 words 10 are right, of 13 pairs of them 6, and so on; the lengths are equal.
    made = ["The dog runs in a house.", "A man laughs at the sea now."]
    score, signature = bleu(made, ["The dog runs in the park.", "A man laughs at a lake here."])
    counts = [(10, 15), (6, 13), (4, 11), (2, 9)]
    by_hand = 100 * math.exp(np.mean([math.log(right / all_) for right, all_ in counts]))
    assert score == pytest.approx(by_hand)
    assert "tok:13a" in signature
    assert "case:mixed" in signature


def test_attention_of_the_last_layer_is_a_distribution(task: Translation) -> None:
    model = task.model.double().eval()
    weights, mask = cross_attention(model, [5, 6, 7, END], [BEGIN, 8])
    assert weights.shape == (2, 4)
    np.testing.assert_allclose(weights.sum(1), 1.0)
    assert mask.dense(2, 4).all()


def test_what_comes_home(task: Translation) -> None:
    with torch.no_grad():
        outcome = results(task, task.model.eval(), tell)
    assert [figure.name for figure in outcome.figures] == [
        "test BLEU, 2 beams",
        "test BLEU, greedy",
        "held-out loss, nats a subword",
        "held-out perplexity of a subword",
    ]
    assert outcome.figures[0].target == 30
    ours, examples = outcome.tables
    assert [len(table.rows) for table in outcome.tables] == [6, 8]
    assert {row[0] for row in examples.rows} <= set(task.test.text.sources)
    assert not {row[0] for row in ours.rows} & set(task.test.text.sources)
    assert len(outcome.masks) == 3
    assert len(outcome.attention) == 2
    for shown in outcome.masks:
        shape = len(shown.queries), len(shown.keys)
        assert not shown.mask.empty_rows(*shape).any()
        assert not shown.mask.dense(*shape).all()
    for each in outcome.attention:
        assert each.weights.shape == (len(each.queries), len(each.keys))
    assert "tok:13a" in outcome.extra["sacrebleu"]


def test_the_recipe_and_its_presets() -> None:
    assert RECIPE.corpus == "multi30k"
    published = PRESETS["paper"]
    assert (published.layers, published.width, published.hidden) == (6, 512, 2048)
    writes: Callable[[Path], None] | None = RECIPE.sample
    assert writes is write_sample
