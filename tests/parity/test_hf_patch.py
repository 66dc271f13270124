"""Patched transformers models against the same models with their own attention.

A few architectures that stand for the kinds of mask; all others are in test_hf_architectures.py.
"""

from __future__ import annotations

import sys
from copy import deepcopy
from typing import Any

import pytest

transformers = pytest.importorskip("transformers", minversion="5")
torch = pytest.importorskip("torch")

import sightline as sl  # noqa: E402
from sightline.errors import (  # noqa: E402
    CannotExpress,
    InvalidArgument,
    MissingExtra,
    UnknownBackend,
)

COMMON: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
PADDING = {"none": (0, 0, 0), "left": (0, 4, 2), "right": (3, 0, 5)}


def make(name: str) -> Any:
    torch.manual_seed(0)
    if name == "llama":
        config = transformers.LlamaConfig(**COMMON, num_key_value_heads=2)
        return transformers.LlamaForCausalLM(config).eval()
    if name == "mistral":
        config = transformers.MistralConfig(**COMMON, num_key_value_heads=2, sliding_window=4)
        return transformers.MistralForCausalLM(config).eval()
    if name == "gpt2":
        sizes = {"vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 4}
        tokens = {"bos_token_id": 1, "eos_token_id": 2}
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, **tokens)).eval()
    return transformers.BertModel(transformers.BertConfig(**COMMON)).eval()


def inputs(side: str, length: int = 9) -> dict[str, Any]:
    torch.manual_seed(1)
    valid = torch.ones(3, length, dtype=torch.long)
    for row, pads in enumerate(PADDING[side]):
        valid[row, : pads if side == "left" else 0] = 0
        valid[row, length - (pads if side == "right" else 0) :] = 0
    return {"input_ids": torch.randint(3, 97, (3, length)), "attention_mask": valid}


def gap(one: Any, other: Any, given: dict[str, Any]) -> float:
    return float((one - other)[given["attention_mask"] == 1].abs().max())


@pytest.mark.parametrize("side", PADDING)
@pytest.mark.parametrize("name", ["llama", "mistral", "gpt2", "bert"])
def test_outputs_and_gradients_are_the_models_own(name: str, side: str) -> None:
    model, given = make(name), inputs(side)
    found = []
    for patched in (False, True):
        model.zero_grad()
        (sl.hf.patch if patched else sl.hf.unpatch)(model)
        output = model(**given)[0]
        output[given["attention_mask"] == 1].square().sum().backward()
        grads = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        found.append((output.detach(), grads))
    (own, own_grads), (ours, our_grads) = found
    assert gap(own, ours, given) < 1e-5
    assert own_grads.keys() == our_grads.keys()
    for parameter, grad in own_grads.items():
        scale = max(1.0, float(grad.abs().max()))
        assert float((grad - our_grads[parameter]).abs().max()) < 1e-4 * scale, parameter


def test_a_padded_query_that_sees_nothing_gives_no_nan_and_padding_leaks_nothing() -> None:
    model, given = sl.hf.patch(make("llama")), inputs("left")
    other = dict(given, input_ids=given["input_ids"].clone())
    other["input_ids"][given["attention_mask"] == 0] = 50
    with torch.no_grad():
        one, two = model(**given)[0], model(**other)[0]
    assert not one.isnan().any()
    real = given["attention_mask"] == 1
    assert torch.equal(one[real], two[real])


WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "beam": {"num_beams": 3},
    "static": {"cache_implementation": "static"},
    "sampling": {"do_sample": True, "top_k": 20},
    "assisted": {"prompt_lookup_num_tokens": 3},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["llama", "mistral", "gpt2"])
def test_generate_gives_the_same_tokens(name: str, way: str) -> None:
    model, given = make(name), inputs("left")
    if way == "assisted":
        given = {key: value[1:2, 4:] for key, value in given.items()}
    found = []
    for change in (sl.hf.unpatch, sl.hf.patch):
        torch.manual_seed(2)
        told = dict(max_new_tokens=11, pad_token_id=0, eos_token_id=None, **WAYS[way])
        found.append(change(model).generate(**given, **told))
    assert torch.equal(*found)


def test_the_extra_mask_is_combined_with_the_models_own() -> None:
    """A window on top of Llama's causal mask is Mistral's mask."""
    llama, mistral, given = make("llama"), make("mistral"), inputs("left")
    llama.load_state_dict(mistral.state_dict())
    with torch.no_grad():
        wanted = mistral(**given)[0]
        plain = llama(**given)[0]
        sl.hf.patch(llama, mask=sl.window(left=3))
        found = llama(**given)[0]
    assert gap(wanted, found, given) < 1e-5 < gap(wanted, plain, given)
    text = str(sl.hf.explain(llama))
    assert "window(left=3, right=0) & padding(lengths=[9, 5, 7], side='left')" in text
    assert "engine auto" in text


def test_models_patched_differently_do_not_mix() -> None:
    """Even where they were made from one config object."""
    config = transformers.LlamaConfig(**COMMON, num_key_value_heads=2)
    first = transformers.LlamaModel(config).eval()
    second = transformers.LlamaModel(config).eval()
    second.load_state_dict(first.state_dict())
    given = inputs("none")
    with torch.no_grad():
        own = second(**given)[0]
        sl.hf.patch(first, mask=sl.window(left=1), engine="sdpa")
        assert torch.equal(second(**given)[0], own)
        sl.hf.patch(second, engine="reference")
        assert gap(second(**given)[0], own, given) < 1e-5 < gap(first(**given)[0], own, given)
    assert "engine sdpa" in str(sl.hf.explain(first))
    assert "engine reference" in str(sl.hf.explain(second))


def test_copies_stay_patched_and_saved_models_do_not(tmp_path: Any) -> None:
    model, given = sl.hf.patch(make("llama"), mask=sl.window(left=1)), inputs("none")
    twin = deepcopy(model)
    with torch.no_grad():
        assert torch.equal(twin(**given)[0], model(**given)[0])
        sl.hf.unpatch(twin)
        assert not torch.equal(twin(**given)[0], model(**given)[0])
    model.save_pretrained(tmp_path)
    assert "sightline" not in (tmp_path / "config.json").read_text()
    loaded = transformers.LlamaForCausalLM.from_pretrained(tmp_path)
    assert loaded.config._attn_implementation == "sdpa"


def test_unpatch_gives_the_attention_back_that_the_model_had() -> None:
    model = make("bert")
    model.set_attn_implementation("eager")
    assert sl.hf.unpatch(model).config._attn_implementation == "eager"
    for _ in range(2):
        sl.hf.patch(model)
    assert sl.hf.unpatch(model).config._attn_implementation == "eager"
    with pytest.raises(InvalidArgument, match="not patched"):
        sl.hf.explain(model)


def test_bad_arguments_are_refused_and_change_nothing() -> None:
    model = make("bert")
    with pytest.raises(InvalidArgument, match="wanted a transformers PreTrainedModel"):
        sl.hf.patch(torch.nn.Linear(2, 2))
    with pytest.raises(UnknownBackend, match="warp"):
        sl.hf.patch(model, engine="warp")
    with pytest.raises(InvalidArgument, match="others"):
        sl.hf.patch(model, others="drop")
    gemma = transformers.Gemma2Config(**COMMON, num_key_value_heads=2, head_dim=8)
    with pytest.raises(CannotExpress, match="capped scores of 2 x Gemma2Attention"):
        sl.hf.patch(transformers.Gemma2Model(gemma))
    bloom = transformers.BloomConfig(vocab_size=11, hidden_size=8, n_layer=1, n_head=2)
    with pytest.raises(CannotExpress, match="no module attends through"):
        sl.hf.patch(transformers.BloomModel(bloom))
    assert model.config._attn_implementation == "sdpa"


def test_an_older_transformers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("bert")
    monkeypatch.setattr(sys.modules["transformers"], "__version__", "4.57.1")
    with pytest.raises(MissingExtra, match=r"found transformers 4.57.1.*sightline\[hf\]"):
        sl.hf.patch(model)


def test_a_transformers_5_that_does_not_tell_lengths_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sdpa_mask(batch_size: int, cache_position: Any, kv_length: int) -> None:
        """As in 5.0."""

    model = make("bert")
    monkeypatch.setattr("transformers.masking_utils.sdpa_mask", sdpa_mask)
    with pytest.raises(MissingExtra, match="a newer transformers 5"):
        sl.hf.patch(model)
