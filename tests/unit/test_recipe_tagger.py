"""The tagger's recipe: its baseline, its batches, its figures, and a trained run made usable."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sightline as sl
from sightline.errors import DataError, InvalidArgument
from sightline.models.tagger_words import UNKNOWN
from sightline.readers.conllu import TAGS, Sentence
from sightline.recipes.registry import recipe
from sightline.recipes.tagger import RECIPE
from sightline.recipes.tagger.baseline import MostFrequentTag
from sightline.recipes.tagger.outcome import (
    PROBES,
    _confusion_table,
    _example_table,
    _figures,
    _tag_table,
)
from sightline.recipes.tagger.sample import write_sample
from sightline.recipes.tagger.settings import PRESETS, TaggerSettings, config_of
from sightline.recipes.tagger.tagging import load_tagger, probabilities
from sightline.recipes.tagger.task import NO_SPELLING, TaggerTask, build
from sightline.recipes.tagger.treebank import read_treebank
from sightline.recipes.training.checkpoint import Counts, save_weights
from sightline.recipes.training.loop import train
from sightline.recipes.training.run_folder import Run, open_run

pytest.importorskip("conllu")
pytest.importorskip("accelerate")

SMOKE: Any = PRESETS["smoke"]


def quiet(what: str, done: int, total: int) -> None:
    assert 0 < done <= total


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("treebank")
    write_sample(folder)
    return folder


def sentence(text: str) -> Sentence:
    """Read "I/PRON saw/VERB"."""
    pairs = [each.split("/") for each in text.split()]
    words, tags = zip(*pairs, strict=True)
    return Sentence(words, tags, " ".join(words), None, 1)


# -- the baseline -------------------------------------------------------------------------------

TRAIN = [
    sentence("The/DET saw/NOUN saw/VERB"),
    sentence("Kim/PROPN saw/VERB the/DET Can/NOUN"),
    sentence("can/AUX the/PRON Saw/NOUN"),
]


def test_each_word_gets_its_most_frequent_tag() -> None:
    baseline = MostFrequentTag(TRAIN)
    # saw and can are even: the tag that came first wins
    assert baseline.tag(["THE", "saw", "can", "kim"]) == ["DET", "NOUN", "NOUN", "PROPN"]
    assert baseline.tag(["dog", "Dog", "42"]) == ["NOUN", "PROPN", "NOUN"]
    assert [baseline.ambiguous(word) for word in ("Saw", "the", "kim", "dog")] == [1, 1, 0, 0]
    assert [baseline.seen(word) for word in ("KIM", "dog")] == [True, False]


@pytest.mark.data
def test_the_baseline_on_the_english_web_treebank(sightline_data: Path) -> None:
    """The figures that were published with the task's definition: .882, and .8755 on .607."""
    bank = read_treebank(sightline_data / "ewt")
    gold = [list(each.tags) for each in bank.test]
    figures = _figures(bank.test, gold, MostFrequentTag(bank.train), SMOKE)
    found = {figure.name: figure for figure in figures}
    assert found["most-frequent-tag accuracy"].value == pytest.approx(0.8820, abs=5e-5)
    several = found["most-frequent-tag accuracy on words that had several tags in training"]
    assert several.value == pytest.approx(0.8755, abs=5e-5)
    assert several.note.startswith("60.7%")
    unseen = found["most-frequent-tag accuracy on words that training did not have"]
    assert unseen.note.startswith("7.5%")
    assert found["test accuracy"].value == 1


# -- figures and tables -------------------------------------------------------------------------

GOLD = [sentence("the/DET saw/VERB dogs/NOUN ./PUNCT"), sentence("Kim/PROPN can/AUX Lee/PROPN")]
OURS = [["DET", "NOUN", "NOUN", "PUNCT"], ["PROPN", "AUX", "PROPN"]]


def test_accuracies_by_hand() -> None:
    figures = _figures(GOLD, OURS, MostFrequentTag(TRAIN), replace(SMOKE, target=0.5))
    assert [(each.name, each.value) for each in figures] == [
        ("test accuracy", pytest.approx(6 / 7)),
        # the, dogs, Kim, Lee: saw and can are nouns to it, and so is the full stop
        ("most-frequent-tag accuracy", pytest.approx(4 / 7)),
        ("test accuracy on words that had several tags in training", pytest.approx(2 / 3)),
        ("most-frequent-tag accuracy on words that had several tags in training", 1 / 3),
        ("test accuracy on words that training did not have", 1),
        ("most-frequent-tag accuracy on words that training did not have", pytest.approx(2 / 3)),
    ]
    assert figures[0].reached
    assert figures[0].published == 0.9694
    bare = _figures(GOLD, OURS, MostFrequentTag(TRAIN), SMOKE)[0]
    assert (bare.target, bare.published) == (None, None)


def test_tables_by_hand() -> None:
    rows = {row[0]: row[1:] for row in _tag_table(GOLD, OURS).rows}
    assert rows["PROPN"] == ("2", "1.000", "1.000")
    assert rows["NOUN"] == ("1", "0.500", "1.000")
    assert rows["VERB"] == ("1", "-", "0.000")
    assert _confusion_table(GOLD, OURS).rows == (("VERB", "NOUN", "1", "saw"),)
    examples = _example_table(GOLD, [OURS[0], OURS[1]], MostFrequentTag(TRAIN)).rows
    assert examples == (("the saw dogs .", "DET NOUN* NOUN PUNCT", "DET NOUN* NOUN NOUN*"),)


# -- the sample ---------------------------------------------------------------------------------


def test_the_sample_is_a_treebank_in_which_words_alone_do_not_tell(data: Path) -> None:
    bank = read_treebank(data)
    tags: dict[str, set[str]] = defaultdict(set)
    for each in bank.train:
        for word, tag in zip(each.words, each.tags, strict=True):
            tags[word].add(tag)
    assert {"NOUN", "VERB"} <= tags["saw"]
    assert {"NOUN", "AUX"} <= tags["can"]
    text = (data / "en_ewt-ud-train.conllu").read_text(encoding="utf-8")
    assert "\tdon't\t" in text
    assert any("don't" in each.text and "n't" in each.words for each in bank.train)
    assert set(bank.test) != set(bank.dev) != set(bank.train[:24])


def test_the_sample_is_the_same_every_time(data: Path, tmp_path: Path) -> None:
    write_sample(tmp_path)
    for path in data.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


# -- batches and the loss -----------------------------------------------------------------------


def test_a_batch_depends_on_its_number_and_the_seed_alone(data: Path) -> None:
    one, other, apart = (build(SMOKE, data, seed) for seed in (0, 0, 1))
    for number in (0, 25, 9):
        first = one.batch(number)
        _ = other.batch(number + 1)
        again = other.batch(number)
        assert first.keys() == again.keys()
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert not torch.equal(first["targets"], one.batch(number + 1)["targets"])
        differs = apart.batch(number)["targets"]
        assert differs.shape != first["targets"].shape or not torch.equal(differs, first["targets"])


def test_an_epoch_has_each_sentence_once(data: Path) -> None:
    task = build(replace(SMOKE, sentences=7, forget=0.0, blank=0.0), data, 0)
    batches = len(task.rows) // 7
    seen: Counter[bytes] = Counter()
    for number in range(batches, 2 * batches):
        batch = task.batch(number)
        parts = batch["tokens"][0].split(batch["lengths"].tolist())
        seen.update(each.numpy().tobytes() for each in parts)
        assert len(parts) == 7
        wanted = torch.cat([torch.arange(len(each)) for each in parts])[None]
        assert torch.equal(batch["positions"], wanted)
    there = Counter(rows.tobytes() for rows in task.rows)
    assert sum(seen.values()) == 7 * batches
    assert not seen - there


def test_words_are_forgotten_and_blanked_at_their_rates(data: Path) -> None:
    whole = build(replace(SMOKE, forget=0.0, blank=0.0), data, 0)
    forgotten = build(replace(SMOKE, forget=1e12, blank=0.0), data, 0)
    blanked = build(replace(SMOKE, forget=0.0, blank=1.0), data, 0)
    plain, without, gone = (task.batch(3)["tokens"] for task in (whole, forgotten, blanked))
    assert (plain[..., 0] > UNKNOWN).float().mean() > 0.9
    assert (without[..., 0] == UNKNOWN).all()
    assert torch.equal(without[..., 1:], plain[..., 1:])
    assert (gone[..., 0] == UNKNOWN).all()
    assert (gone[..., 1:] == NO_SPELLING).all()
    assert torch.equal(whole.batch(3)["targets"], blanked.batch(3)["targets"])


def test_rare_words_are_forgotten_more_often(data: Path) -> None:
    task = build(replace(SMOKE, forget=2.0, least=1), data, 0)
    counts = Counter(word.lower() for each in task.bank.train for word in each.words)
    for number, word in enumerate(task.words.known, UNKNOWN + 1):
        assert task.forgotten[number] == pytest.approx(2 / (2 + counts[word]))
    drawn = [task._worn(task.rows[0], number, 0)[0, 0] == UNKNOWN for number in range(400)]
    assert np.mean(drawn) == pytest.approx(task.forgotten[task.rows[0][0, 0]], abs=0.1)


@pytest.mark.parametrize("encoder", ["transformer", "lstm"])
def test_the_loss_is_that_of_each_sentence_alone(encoder: str, data: Path) -> None:
    task = build(replace(SMOKE, encoder=encoder), data, 0)
    task.model.eval()
    batch = task.batch(1)
    loss, parts = task.loss(task.model, batch)
    assert parts == {}
    total, start = 0.0, 0
    for length in batch["lengths"].tolist():
        own = slice(start, start + length)
        logits = task.model(batch["tokens"][:, own])
        losses = torch.nn.functional.cross_entropy(
            logits[0].detach(), batch["targets"][0, own], reduction="none"
        )
        total += float(losses.sum())
        start += length
    assert loss.item() == pytest.approx(total / start, abs=1e-5)


def test_the_rate_rises_and_falls(data: Path) -> None:
    task = build(replace(SMOKE, steps=50, warmup=10, peak=0.4), data, 0)
    rates = [task.rate(step) for step in range(1, 51)]
    assert rates[0] == pytest.approx(0.04)
    assert max(rates) == rates[9] == pytest.approx(0.4)
    assert rates[29] == pytest.approx(0.2)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert rates[9:] == sorted(rates[9:], reverse=True)


def test_only_matrices_decay(data: Path) -> None:
    task = build(replace(SMOKE, weight_decay=0.3), data, 0)
    decayed = {
        id(parameter): group["weight_decay"]
        for group in task.optimizer().param_groups
        for parameter in group["params"]
    }
    for name, parameter in task.model.named_parameters():
        bare = name.endswith("bias") or "norm" in name
        assert decayed.pop(id(parameter)) == (0 if bare else 0.3), name
    assert not decayed


def test_held_out_figures_by_hand(data: Path) -> None:
    task = build(SMOKE, data, 0)
    task.model.eval()
    right, nats, words = 0, 0.0, 0
    with torch.no_grad():
        for each in task.bank.dev:
            tokens = torch.from_numpy(task.words.rows(each.words))[None]
            logs = task.model(tokens)[0].log_softmax(-1)
            for row, tag in zip(logs, each.tags, strict=True):
                right += TAGS[int(row.argmax())] == tag
                nats -= float(row[TAGS.index(tag)])
                words += 1
        found = task.evaluate(task.model, quiet)
    assert found == {
        "accuracy": pytest.approx(right / words),
        "loss": pytest.approx(nats / words, abs=1e-5),
    }


# -- settings -----------------------------------------------------------------------------------


def test_positions_and_masks_by_name(data: Path) -> None:
    words = build(SMOKE, data, 0).words
    assert config_of(TaggerSettings(), words).positions == "rotary"
    assert config_of(TaggerSettings(encoder="gru"), words).positions == "none"
    assert config_of(TaggerSettings(positions="learned"), words).positions == "learned"
    assert config_of(TaggerSettings(), words).mask == sl.everything()
    assert config_of(TaggerSettings(window=3), words).mask == sl.window(3, 3)
    assert config_of(TaggerSettings(engine="sdpa"), words).engine == "sdpa"
    with pytest.raises(InvalidArgument, match="positions='none'"):
        config_of(TaggerSettings(encoder="lstm", positions="learned"), words)
    assert config_of(PRESETS["paper"], words).width == 512


def test_what_cannot_be_built_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--data"):
        build(SMOKE, None, 0)
    with pytest.raises(InvalidArgument, match="sentences=1000 a batch; wanted 1 to 160"):
        build(replace(SMOKE, sentences=1000), data, 0)
    for part in ("train", "dev"):
        name = f"en_ewt-ud-{part}.conllu"
        (tmp_path / name).write_bytes((data / name).read_bytes())
    with pytest.raises(DataError, match=r"en_ewt-ud-test\.conllu.*the treebank's test part"):
        build(SMOKE, tmp_path, 0)
    (tmp_path / "en_ewt-ud-test.conllu").write_text("1\tno\ttreebank\n")
    with pytest.raises(DataError, match=r"en_ewt-ud-test\.conllu, line 1: got 3 columns"):
        build(SMOKE, tmp_path, 0)


# -- a trained run ------------------------------------------------------------------------------


def trained(folder: Path, data: Path, **changes: Any) -> tuple[Run, Any]:
    settings = replace(SMOKE, **changes)
    run = Run(folder, "tagger", "smoke", settings, 0)
    open_run(run)
    return run, train(build(settings, data, 0), run, resume=False)


@pytest.fixture(scope="module")
def smoke(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Any]:
    return trained(tmp_path_factory.mktemp("runs") / "smoke", data)


def test_it_learns_from_places_what_words_do_not_say(smoke: tuple[Run, Any]) -> None:
    outcome = smoke[1].outcome
    values = {figure.name: figure.value for figure in outcome.figures}
    several = " accuracy on words that had several tags in training"
    assert values[f"test{several}"] > values[f"most-frequent-tag{several}"] + 0.1
    assert values["'I saw a saw' right (1) or not (0)"] == 1
    assert values["largest difference between the vectors of the two 'saw'"] > 0.1
    probe = outcome.tables[0].rows[0]
    assert probe[0] == "I saw a saw"
    assert len(set(probe[3].split()[1::2])) == 1, "the baseline tags both alike"


def test_pictures_are_those_of_the_model(smoke: tuple[Run, Any]) -> None:
    outcome = smoke[1].outcome
    assert [each.title for each in outcome.attention] == ["layer 1, head 1", "layer 1, head 2"]
    for each in outcome.attention:
        assert each.queries == each.keys == ("I", "saw", "a", "saw")
        assert np.allclose(each.weights.sum(1), 1, atol=1e-5)
    packed = outcome.masks[1]
    allowed = packed.mask.dense(len(packed.queries))[0, 0]
    assert allowed[:4, :4].all()
    assert allowed[4:, 4:].all()
    assert not allowed[:4, 4:].any()
    assert not allowed[4:, :4].any()


def test_without_positions_both_saws_get_one_tag(data: Path, tmp_path: Path) -> None:
    _, done = trained(tmp_path / "none", data, positions="none", steps=20)
    values = {figure.name: figure.value for figure in done.outcome.figures}
    assert values["largest difference between the vectors of the two 'saw'"] <= 1e-5
    assert values["'I saw a saw' right (1) or not (0)"] == 0
    tags = done.outcome.extra["probes"][0]["tags"]
    assert tags[1] == tags[3]


@pytest.mark.parametrize("encoder", ["lstm", "gru"])
def test_recurrent_encoders_train_and_show_no_attention(
    encoder: str, data: Path, tmp_path: Path
) -> None:
    _, done = trained(tmp_path / encoder, data, encoder=encoder)
    values = {figure.name: figure.value for figure in done.outcome.figures}
    several = " accuracy on words that had several tags in training"
    assert values[f"test{several}"] > values[f"most-frequent-tag{several}"] + 0.1
    assert done.outcome.attention == ()
    assert done.outcome.masks == ()


def test_a_run_is_used_again(smoke: tuple[Run, Any]) -> None:
    run, done = smoke
    tagger = load_tagger(run.folder, RECIPE)
    texts = [text.split() for text, _ in PROBES]
    found = tagger.tag([*texts, []])
    wanted = probabilities(done.task.model.eval(), done.task.words, texts)
    for tags, rows in zip(found, wanted, strict=False):
        assert [name for name, _ in tags] == [TAGS[best] for best in rows.argmax(1)]
        assert [sure for _, sure in tags] == pytest.approx(rows.max(1).tolist(), abs=1e-6)
    assert found[-1] == []


def test_sentences_keep_their_order_whatever_their_lengths(smoke: tuple[Run, Any]) -> None:
    task: TaggerTask = smoke[1].task
    texts = [["saw"] * (1 + 7 * n % 11) for n in range(140)]
    told: list[tuple[int, int]] = []
    found = probabilities(
        task.model.eval(), task.words, texts, lambda what, done, total: told.append((done, total))
    )
    assert [len(each) for each in found] == [len(each) for each in texts]
    assert told == [(64, 140), (128, 140), (140, 140)]
    alone = probabilities(task.model, task.words, [texts[5]])[0]
    assert np.abs(found[5] - alone).max() <= 1e-6


def test_damaged_runs_are_refused(smoke: tuple[Run, Any], tmp_path: Path) -> None:
    run, _ = smoke
    with pytest.raises(DataError, match=r"run\.json: got no run there"):
        load_tagger(tmp_path, RECIPE)
    (tmp_path / "run.json").write_bytes((run.folder / "run.json").read_bytes())
    with pytest.raises(DataError, match=r"words\.json: got no such file"):
        load_tagger(tmp_path, RECIPE)
    (tmp_path / "words.json").write_bytes((run.folder / "words.json").read_bytes())
    with pytest.raises(DataError, match=r"best\.safetensors: got no such file"):
        load_tagger(tmp_path, RECIPE)
    save_weights(tmp_path / "best.safetensors", torch.nn.Linear(2, 3), Counts())
    with pytest.raises(DataError, match="weights of another model"):
        load_tagger(tmp_path, RECIPE)


def test_the_table_of_recipes_has_it() -> None:
    assert recipe("tagger") is RECIPE
