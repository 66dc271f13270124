"""The recipes bert and bert-overfit: their text, their batches, what they measure and show."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")
pytest.importorskip("conllu")

from sightline.errors import DataError, InvalidArgument  # noqa: E402
from sightline.readers.documents import read_documents  # noqa: E402
from sightline.recipes.bert import held_out, overfit  # noqa: E402
from sightline.recipes.bert.batches import call, pack  # noqa: E402
from sightline.recipes.bert.outcome import unigram_loss  # noqa: E402
from sightline.recipes.bert.task import BertSettings, PreTraining, evaluate  # noqa: E402
from sightline.recipes.wordpiece import CLS, MASK, SEP, SPECIAL, train_wordpiece  # noqa: E402

TINY = BertSettings(
    steps=40,
    vocab=130,
    layers=2,
    heads=3,
    width=24,
    hidden=40,
    dropout=0.0,
    max_length=40,
    duplicates=2,
    batch=7,
    warmup=10,
    rate=1e-3,
)


def quiet(what: str, done: int, total: int) -> None:
    """Tell nobody."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any) -> Path:
    made = tmp_path_factory.mktemp("sample")
    for recipe in (held_out.RECIPE, overfit.RECIPE):
        assert recipe.sample is not None
        recipe.sample(made)
    return made


@pytest.fixture(scope="module")
def task(folder: Path) -> PreTraining:
    return held_out.build(TINY, folder, 0)


# -- tokens ----------------------------------------------------------------------------------------

TEXTS = ["The hen sees the hedge, the shed and the sheep.", "Then she heeds them: sheep see her!"]


def test_a_vocabulary_is_the_same_each_time() -> None:
    first, *others = (train_wordpiece(TEXTS, 60).get_vocab() for _ in range(6))
    assert all(other == first for other in others)
    assert [first[token] for token in SPECIAL] == [0, 1, 2, 3, 4]
    assert sorted(first.values()) == list(range(len(first)))
    assert {"the", "sheep"} <= set(first)  # merges were learned


def test_what_is_told_apart_can_be_put_together_again() -> None:
    tokenizer = train_wordpiece(TEXTS, 60)
    encoded = tokenizer.encode("the shed, then the sheep", add_special_tokens=False)
    assert tokenizer.decode(encoded.ids) == "the shed, then the sheep"
    assert tokenizer.encode("quiz", add_special_tokens=False).tokens == ["[UNK]"]


def test_rare_characters_are_unknown() -> None:
    tokenizer = train_wordpiece([*TEXTS, "x"], 60, most_characters=9)
    assert tokenizer.encode("x the", add_special_tokens=False).tokens == ["[UNK]", "the"]
    assert "x" not in tokenizer.get_vocab()
    with pytest.raises(InvalidArgument, match="at least"):
        train_wordpiece(TEXTS, 20)


def test_special_tokens_in_a_text_are_text(folder: Path) -> None:
    texts = {"train": [["the [SEP] is [MASK]"], ["anna has a dog ."]]}
    made = overfit.ByHeart(replace(TINY, vocab=60), texts["train"], 0)
    special = {made.tokenizer.token_to_id(token) for token in (CLS, SEP, MASK)}
    assert not special & {token for doc in made.documents["train"] for s in doc for token in s}


# -- text ------------------------------------------------------------------------------------------


def test_documents_of_a_treebank_keep_their_sentences_in_order(folder: Path) -> None:
    texts = held_out.read_treebank(folder)
    assert {part: len(each) for part, each in texts.items()} == {"train": 60, "dev": 12, "test": 12}
    for document in texts["train"]:
        assert len(document) == 6
        (person,) = {word for word in " ".join(document).split() if word in NAMES}
        assert any(person in sentence for sentence in document)


NAMES = {"anna", "boris", "clara", "david", "elena", "farid", "greta", "hugo"}


@pytest.mark.parametrize("recipe", [held_out.RECIPE, overfit.RECIPE], ids=lambda it: it.name)
def test_a_missing_file_is_named(recipe: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"en_ewt-ud-train\.conllu|sample_text\.txt"):
        recipe.build(TINY, tmp_path, 0)
    with pytest.raises(InvalidArgument, match="--data"):
        recipe.build(TINY, None, 0)


def test_a_single_document_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sample_text.txt").write_text("One sentence.\nAnother one.\n")
    with pytest.raises(InvalidArgument, match="at least two"):
        overfit.build(TINY, tmp_path, 0)


@pytest.mark.data
def test_the_real_texts(sightline_data: Path) -> None:
    texts = held_out.read_treebank(sightline_data / "ewt")
    assert len(texts["train"]) == 540
    assert sum(map(len, texts["train"])) == 12_544
    sample = list(read_documents(sightline_data / "bert" / "sample_text.txt"))
    assert [len(document) for document in sample] == [3, 13, 15]


# -- batches ---------------------------------------------------------------------------------------


def test_a_batch_is_a_function_of_its_number(task: PreTraining, folder: Path) -> None:
    again = held_out.build(TINY, folder, 0)
    for number in (0, 3, 40):
        one, other = task.batch(number), again.batch(number)
        assert one["mask"] == other["mask"]
        for name in one.keys() - {"mask"}:
            assert torch.equal(one[name], other[name]), (number, name)
    assert not torch.equal(task.batch(0)["tokens"], task.batch(1)["tokens"])
    weights = [dict(each.model.state_dict()) for each in (task, again)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_an_epoch_has_every_instance_once(task: PreTraining) -> None:
    train = task.instances["train"]
    batches = len(train) // TINY.batch
    for epoch in range(2):
        seen: Counter[bytes] = Counter()
        for number in range(epoch * batches, (epoch + 1) * batches):
            batch = task.batch(number)
            stops = [*batch["first"].tolist(), batch["tokens"].shape[1]]
            for start, stop in itertools.pairwise(stops):
                seen[batch["tokens"][0, start:stop].numpy().tobytes()] += 1
        whole = Counter(each.tokens.tobytes() for each in train)
        assert seen.total() == batches * TINY.batch
        assert not seen - whole


def test_packed_instances_get_what_each_gets_alone(task: PreTraining) -> None:
    model = task.model.eval()
    instances = task.instances["dev"][:5]
    assert len({len(each) for each in instances}) > 1
    with torch.no_grad():
        together = call(model, pack(instances))
        alone = [call(model, pack([each])) for each in instances]
    assert torch.allclose(together.mlm, torch.cat([each.mlm for each in alone]), atol=1e-6)
    assert torch.allclose(together.nsp, torch.cat([each.nsp for each in alone]), atol=1e-6)


def test_what_is_learned_is_what_was_masked(task: PreTraining) -> None:
    instances = task.instances["train"][:6]
    batch = pack(instances)
    tokens = batch["tokens"][0].clone()
    tokens[batch["places"]] = batch["masked"]
    whole = np.concatenate([each.original for each in instances])
    assert (tokens.numpy() == whole).all()
    assert (tokens[batch["first"]] == task.tokenizer.token_to_id(CLS)).all()
    assert batch["is_random"].tolist() == [int(each.is_random) for each in instances]


def test_the_rate_rises_and_falls_in_lines(task: PreTraining) -> None:
    rates = [task.rate(step) for step in range(1, TINY.steps + 1)]
    assert rates[9] == TINY.rate == max(rates)
    assert np.diff(rates[:10]) == pytest.approx(TINY.rate / 10)
    assert np.diff(rates[9:]) == pytest.approx(-TINY.rate / 31)
    assert rates[-1] == pytest.approx(TINY.rate / 31)


def test_biases_and_norms_do_not_decay(task: PreTraining) -> None:
    decaying, plain = task.optimizer().param_groups
    assert (decaying["weight_decay"], plain["weight_decay"]) == (TINY.decay, 0.0)
    named = {id(weight): name for name, weight in task.model.named_parameters()}
    assert all(weight.ndim > 1 for weight in decaying["params"])
    assert all(
        "bias" in named[id(weight)] or "norm" in named[id(weight)] for weight in plain["params"]
    )
    assert len(decaying["params"]) + len(plain["params"]) == len(named)


# -- measures --------------------------------------------------------------------------------------


def test_means_do_not_depend_on_the_batches(task: PreTraining) -> None:
    model, instances = task.model.eval(), task.instances["dev"]
    with torch.no_grad():
        found = [evaluate(model, instances, size, quiet) for size in (1, 5, 1000)]
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-4)
    with torch.no_grad():
        logits = call(model, pack(instances))
    told = logits.mlm.argmax(-1).numpy() == np.concatenate([each.masked for each in instances])
    assert found[0]["mlm_accuracy"] == pytest.approx(told.mean())
    pairs = logits.nsp.argmax(-1).numpy() == [each.is_random for each in instances]
    assert found[0]["nsp_accuracy"] == pytest.approx(pairs.mean())


def test_unigram_loss_is_that_of_counts() -> None:
    documents = [[[1, 1, 2]], [[1], [0]]]
    shares = np.array([2, 4, 2, 1]) / 9  # each counted once more
    tokens = np.array([1, 3, 3])
    wanted = -(math.log(shares[1]) + 2 * math.log(shares[3])) / 3
    assert unigram_loss(documents, tokens, 4) == pytest.approx(wanted)


def trained(recipe: Any, folder: Path) -> PreTraining:
    """Train a recipe's smoke preset without the loop; return the task."""
    settings = recipe.presets["smoke"]
    task = recipe.build(settings, folder, 0)
    optimizer = task.optimizer()
    task.model.train()
    for step in range(1, settings.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = task.rate(step)
        optimizer.zero_grad()
        task.loss(task.model, task.batch(step - 1))[0].backward()
        torch.nn.utils.clip_grad_norm_(task.model.parameters(), settings.clip)
        optimizer.step()
    task.model.eval()
    return task


@pytest.mark.parametrize("recipe", [held_out.RECIPE, overfit.RECIPE], ids=lambda it: it.name)
def test_the_smoke_preset_reaches_the_targets(recipe: Any, folder: Path, tmp_path: Path) -> None:
    task = trained(recipe, folder)
    with torch.no_grad():
        outcome = task.finish(task.model, quiet)
    for figure in outcome.figures:
        assert figure.reached in (None, True), figure
    assert sum(figure.target is not None for figure in outcome.figures) >= 2
    named = {figure.name: figure.value for figure in outcome.figures}
    assert named["largest attention weight on [PAD]"] == 0.0
    assert named["smallest attention weight on [MASK]"] > 0.0
    tokens, pairs = outcome.tables
    assert len(tokens.rows) == len(pairs.rows) == 10
    assert any(MASK in row[0] for row in tokens.rows)
    assert {row[2] for row in pairs.rows} == {"random", "next"}
    (shown,) = outcome.masks
    size = len(shown.queries)
    assert shown.keys[-3:] == ("[PAD]",) * 3
    assert not shown.mask.dense(size)[..., -3:].any()
    assert shown.mask.dense(size)[..., :-3].all()
    for attention in outcome.attention:
        assert attention.weights.shape == (size - 3, size - 3)
        assert attention.weights.sum(1) == pytest.approx(1.0, abs=1e-5)
    task.save(tmp_path)
    assert json.loads((tmp_path / "tokenizer.json").read_text())["model"]["type"] == "WordPiece"
