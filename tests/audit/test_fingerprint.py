"""Fingerprints: what they say of models whose masks are known, in files, and after a change."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.audit.fingerprint import Fingerprint, Part, fingerprint
from sightline.errors import DataError, InvalidArgument, ShapeMismatch

torch = pytest.importorskip("torch")

WIDTH, VOCAB = 12, 23


class Layer(torch.nn.Module):
    """Attention under a given mask, with a residual path."""

    def __init__(self, mask: sl.Mask) -> None:
        super().__init__()
        self.qkv = torch.nn.Linear(WIDTH, 3 * WIDTH)
        self.drop = torch.nn.Dropout(0.2)
        self.mask = mask

    def forward(self, hidden: Any, scale: float = 1.0, *, cache: dict[str, Any]) -> Any:
        cache["seen"] = cache.get("seen", 0) + 1  # a layer may write into what it is given
        query, key, value = self.qkv(hidden).chunk(3, -1)
        allowed = torch.from_numpy(self.mask.dense(hidden.shape[1])[0, 0])
        scores = (query @ key.transpose(-1, -2) * scale).masked_fill(~allowed, float("-inf"))
        return hidden * cache["seen"] + self.drop(scores.softmax(-1) @ value), scores


class Model(torch.nn.Module):
    def __init__(self, *masks: sl.Mask, gate: float = 1.0, train_leaks: bool = False) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(VOCAB, WIDTH)
        self.layers = torch.nn.ModuleList([Layer(mask) for mask in masks])
        self.unused = torch.nn.ModuleList([torch.nn.Linear(2, 2)])
        self.gate = torch.nn.Parameter(torch.full((WIDTH,), gate))
        self.train_leaks = train_leaks

    def forward(self, tokens: Any) -> Any:
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x, cache={})[0] * self.gate
        return x.flip(1) + x if self.training and self.train_leaks else x


NEAR, CAUSAL = sl.window(left=3, right=0), sl.causal()
SHAPE = {"length": 13, "batch": 4}


def parts_of(found: Fingerprint) -> dict[str, str]:
    return {part.name: part.mask for part in found.parts}


def test_the_whole_and_each_layer_are_named() -> None:
    found = fingerprint(Model(NEAR, CAUSAL, NEAR), **SHAPE)
    assert {name: sl.parse(mask) for name, mask in parts_of(found).items()} == {
        "tokens -> output": CAUSAL,
        "layers.0": NEAR,
        "layers.1": CAUSAL,
        "layers.2": NEAR,
    }
    assert found.sizes == {"tokens": (4, 13)}
    assert found.notes == ()
    whole = found.parts[0]
    assert {"eval", "train"} <= set(whole.conditions)
    np.testing.assert_array_equal(whole.depends, CAUSAL.dense(13)[0, 0])
    assert "layers.1: causal()" in str(found)


def test_two_narrow_layers_reach_further_together() -> None:
    found = fingerprint(Model(NEAR, NEAR), **SHAPE)
    assert sl.parse(parts_of(found)["tokens -> output"]) == sl.window(left=6, right=0)


def test_weights_hide_nothing_unless_asked() -> None:
    hidden = Model(CAUSAL, gate=0.0)
    assert parts_of(fingerprint(hidden, **SHAPE))["tokens -> output"] == "causal()"
    as_is = fingerprint(hidden, reinitialise=False, **SHAPE)
    assert parts_of(as_is)["tokens -> output"] == "nothing()"


def test_the_same_model_is_the_same_whatever_its_weights(tmp_path: Path) -> None:
    path = tmp_path / "model.fingerprint.json"
    fingerprint(Model(NEAR, CAUSAL), **SHAPE).save(path)
    torch.manual_seed(5)
    other = Model(NEAR, CAUSAL)
    found = Fingerprint.load(path).verify(other)
    assert found.same
    assert str(found) == "same"


def test_the_length_is_kept_where_another_would_be_chosen_by_now() -> None:
    old, new = Model(NEAR), Model(NEAR)
    old.window, new.window = 19, 29
    found = fingerprint(old)
    assert fingerprint(new).sizes != found.sizes
    assert found.verify(new).same


def test_what_changed_is_said_in_words() -> None:
    old = fingerprint(Model(NEAR, NEAR), **SHAPE)
    found = old.verify(Model(NEAR, CAUSAL))
    assert found.changes == (
        "tokens -> output: was window(left=6, right=0), now causal() "
        "(query 7 now depends on key 0, and 20 pairs more)",
        "layers.1: was window(left=3, right=0), now causal() "
        "(query 4 now depends on key 0, and 44 pairs more)",
    )
    back = fingerprint(Model(NEAR, CAUSAL), **SHAPE).verify(Model(NEAR, NEAR))
    assert "query 4 no longer depends on key 0" in str(back)


def test_layers_that_come_and_go() -> None:
    two, three = Model(NEAR, CAUSAL), Model(NEAR, CAUSAL, NEAR)
    old = fingerprint(two, **SHAPE)
    new_window = f"{sl.window(left=3, right=0)!r}"
    assert old.verify(three).changes == (f"layers.2: new, {new_window}",)
    assert fingerprint(three, **SHAPE).verify(two).changes == (f"layers.2: gone, was {new_window}",)


def test_a_change_on_one_path_only() -> None:
    old = fingerprint(Model(NEAR), **SHAPE)
    new = fingerprint(Model(NEAR, train_leaks=True), **SHAPE)
    assert len([part for part in new.parts if part.name == "tokens -> output"]) == 2
    (change,) = old.compare(new).changes
    assert change.startswith("tokens -> output (train): was window(left=3, right=0), now ")
    assert "tokens -> output (train): " in str(new)


def test_a_way_of_running_that_is_gone_is_a_note() -> None:
    old = fingerprint(Model(NEAR), **SHAPE)
    whole, *layers = old.parts
    more = Part(whole.name, whole.mask, whole.depends, (*whole.conditions, "sdpa=math"))
    older = Fingerprint(old.subject, (more, *layers), old.sizes, old.settings, (), {"torch": "1.0"})
    found = older.compare(old)
    assert found.same
    assert found.notes[0] == "it can no longer be run under sdpa=math"
    assert any(note.startswith("torch was 1.0, is ") for note in found.notes)


def test_time_first_and_given_inputs() -> None:
    lstm = torch.nn.LSTM(5, 6)
    inputs = torch.randn(9, 4, 5)
    found = fingerprint(lstm, inputs)
    assert found.parts[0].mask == "causal()"
    assert found.verify(lstm, inputs).same
    both = torch.nn.LSTM(5, 6, bidirectional=True)
    assert "now everything()" in str(found.verify(both, inputs))
    with pytest.raises(ShapeMismatch, match="measured on"):
        found.verify(lstm, torch.randn(8, 4, 5))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_several_inputs_and_layers_called_time_first() -> None:
    torch.manual_seed(0)
    model = torch.nn.Transformer(16, 2, 2, 1, 24, batch_first=False).eval()
    inputs = (torch.randn(9, 4, 16), torch.randn(7, 4, 16))
    found = fingerprint(model, inputs)
    shapes = {part.name: part.depends.shape for part in found.parts}
    assert shapes == {
        "src -> output": (7, 9),
        "tgt -> output": (7, 7),
        "encoder.layers.0": (9, 9),
        "encoder.layers.1": (9, 9),
        "decoder.layers.0": (7, 7),
    }


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_rows_that_are_padded_differently_are_no_measure() -> None:
    layer = torch.nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, 2)
    found = fingerprint(model, torch.randn(4, 9, 16))
    assert {part.mask for part in found.parts} == {"everything()"}
    assert not any("padded" in each for part in found.parts for each in part.conditions)


def test_what_one_change_leaves_as_it_is_another_moves() -> None:
    inputs = np.random.default_rng(2).normal(size=(4, 13, 3)) * 3
    found = fingerprint(lambda x: np.clip(x, -0.1, 0.1).cumsum(1), inputs)
    assert found.parts[0].mask == "causal()"


def test_a_plain_function() -> None:
    inputs = {"x": np.random.default_rng(0).normal(size=(3, 7, 2))}
    found = fingerprint(lambda x: x[:, ::-1].cumsum(1)[:, ::-1], inputs, name="f")
    assert sl.parse(found.parts[0].mask) == CAUSAL.T
    assert found.verify(lambda x: x[:, ::-1].cumsum(1)[:, ::-1], inputs).same


def test_layers_that_cannot_be_measured_are_named() -> None:
    class Odd(Model):
        def __init__(self) -> None:
            super().__init__(NEAR)
            self.pools = torch.nn.ModuleList([torch.nn.Linear(WIDTH, WIDTH)])

        def forward(self, tokens: Any) -> Any:
            return super().forward(tokens) + self.pools[0](self.embed(tokens)[:, 0])[:, None]

    found = fingerprint(Odd(), **SHAPE)
    assert found.notes == ("pools.0 is left out: it is called without a [batch, length, width]",)
    assert "layers.0" in parts_of(found)


def test_a_pattern_without_a_short_name() -> None:
    cells = np.random.default_rng(3).random((13, 13)) < 0.5
    np.fill_diagonal(cells, True)
    odd = sl.dense(cells, means="attend")
    found = fingerprint(Model(odd), **SHAPE)
    layer = found.parts[-1]
    np.testing.assert_array_equal(layer.depends, cells)
    assert layer.mask == ""
    assert str(layer) == f"a pattern of {cells.sum()} pairs without a short name"
    cells[5, 9] = not cells[5, 9]
    changed = found.verify(Model(sl.dense(cells, means="attend"))).changes
    assert any("layers.0: was a pattern of" in each and "query 5" in each for each in changed)


def test_outputs_that_are_no_numbers_are_refused() -> None:
    class Broken(Model):
        def forward(self, tokens: Any) -> Any:
            return super().forward(tokens) * float("nan")

    with pytest.raises(InvalidArgument, match="finite"):
        fingerprint(Broken(NEAR), **SHAPE)


def test_a_file_is_small_and_says_who_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    old = fingerprint(Model(NEAR, CAUSAL), **SHAPE)
    old.save(path)
    assert path.stat().st_size < 3000
    read = Fingerprint.load(path)
    assert (read.subject, read.sizes, read.settings) == (old.subject, old.sizes, old.settings)
    assert str(read) == str(old)
    assert read.compare(old).same
    assert {"sightline", "torch"} <= set(read.versions)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: "{", "not JSON"),
        (lambda facts: [], "no fingerprint"),
        (lambda facts: {**facts, "format": "other"}, "no fingerprint"),
        (lambda facts: {**facts, "version": 2}, "format 2, this Sightline reads 1"),
        (lambda facts: {k: v for k, v in facts.items() if k != "parts"}, "damaged.*parts"),
        (lambda facts: {**facts, "settings": 3}, "damaged"),
        (lambda facts: with_part(facts, bits="AAAA"), "3 bytes for 13 x 13 pairs"),
        (lambda facts: with_part(facts, bits=zeros(22)), "SHA-256"),
        (lambda facts: with_part(facts, queries=0), "damaged"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "f.json"
    fingerprint(Model(NEAR), **SHAPE).save(path)
    changed = change(json.loads(path.read_text()))
    path.write_text(changed if isinstance(changed, str) else json.dumps(changed))
    with pytest.raises(DataError, match=message):
        Fingerprint.load(path)


def with_part(facts: Any, **changes: Any) -> Any:
    first, *others = facts["parts"]
    return {**facts, "parts": [{**first, **changes}, *others]}


def zeros(count: int) -> str:
    return base64.b64encode(bytes(count)).decode()


def test_the_models_own_weights_and_arguments_are_left_alone() -> None:
    model = Model(NEAR, CAUSAL).train()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    fingerprint(model, **SHAPE)
    assert model.training
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert not model.layers[0]._forward_pre_hooks


@pytest.mark.slow
def test_windows_of_transformers_layer_by_layer() -> None:
    transformers = pytest.importorskip("transformers")

    def model(window: int) -> Any:
        config = transformers.Gemma3TextConfig(
            hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
            head_dim=8, intermediate_size=48, vocab_size=97, sliding_window=window,
            max_position_embeddings=64, pad_token_id=0,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        )  # fmt: skip
        return transformers.Gemma3ForCausalLM(config)

    found = fingerprint(model(5), length=13, batch=4)
    layers = {n: m for n, m in parts_of(found).items() if n.startswith("model.layers.")}
    near = repr(sl.window(left=4, right=0))
    assert layers == {
        "model.layers.0": near,
        "model.layers.1": "causal()",
        "model.layers.2": near,
    }
    assert found.verify(model(5)).same
    changed = found.verify(model(6)).changes
    assert [each.partition(":")[0] for each in changed] == ["model.layers.0", "model.layers.2"]
