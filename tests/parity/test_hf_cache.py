"""The cache that appends in place against transformers' own, operation by operation."""

from __future__ import annotations

from typing import Any

import pytest

transformers = pytest.importorskip("transformers", minversion="5")
torch = pytest.importorskip("torch")

import sightline as sl  # noqa: E402
from sightline.errors import InvalidArgument, ShapeMismatch  # noqa: E402
from sightline.hf.cache import InPlaceLayer  # noqa: E402
from sightline.testing.hf_architectures import ARCHITECTURES, feed  # noqa: E402

BATCH, HEADS, WIDTH = 3, 2, 5


def states(length: int, batch: int = BATCH) -> Any:
    return torch.randn(batch, HEADS, length, WIDTH), torch.randn(batch, HEADS, length, WIDTH + 1)


OPERATIONS = {
    "crop": lambda layer: layer.crop(-3),
    "crop nothing": lambda layer: layer.crop(0),
    "reorder": lambda layer: layer.reorder_cache(torch.tensor([2, 0, 0])),
    "repeat": lambda layer: layer.batch_repeat_interleave(2),
    "select": lambda layer: layer.batch_select_indices(torch.tensor([2, 0])),
    "select by bools": lambda layer: layer.batch_select_indices(torch.tensor([True, False, True])),
    "reset": lambda layer: layer.reset(),
}


@pytest.mark.parametrize("max_len", [None, 90])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_layer_holds_what_transformers_own_holds(name: str, max_len: int | None) -> None:
    torch.manual_seed(0)
    ours, theirs = InPlaceLayer(max_len), transformers.cache_utils.DynamicLayer()
    for length in (7, 1, 65):
        given = states(length)
        for one, other in zip(ours.update(*given), theirs.update(*given), strict=True):
            assert torch.equal(one, other)
    for layer in (ours, theirs):
        OPERATIONS[name](layer)
    assert ours.get_seq_length() == theirs.get_seq_length()
    assert ours.get_mask_sizes(4) == theirs.get_mask_sizes(4)
    given = states(2, {"repeat": 6, "select": 2, "select by bools": 2}.get(name, BATCH))
    for one, other in zip(ours.update(*given), theirs.update(*given), strict=True):
        assert torch.equal(one, other)


def test_tokens_are_appended_in_place_and_room_is_never_taken_again() -> None:
    layer = InPlaceLayer(max_len=20)
    with torch.no_grad():
        first = layer.update(*states(3))[0]
        held = first.clone()
        places = {layer.update(*states(1))[0].data_ptr() for _ in range(17)}
    assert places == {first.data_ptr()}
    assert torch.equal(first, held)


def test_too_many_tokens_and_other_batches_are_refused_before_anything_is_written() -> None:
    layer = InPlaceLayer(max_len=5)
    layer.update(*states(4))
    held = layer.keys.clone()
    with pytest.raises(ShapeMismatch, match="max_len=5"):
        layer.update(*states(2))
    with pytest.raises(ShapeMismatch, match="2 batch rows for a cache of 3"):
        layer.update(*states(1, batch=2))
    with pytest.raises(InvalidArgument, match=r"crop\(2\)"):
        layer.crop(2)
    assert torch.equal(layer.keys, held)
    with pytest.raises(ShapeMismatch, match="3 batch rows for a cache of 2"):
        InPlaceLayer(9, batch=2).update(*states(1))
    with pytest.raises(InvalidArgument, match="wanted a transformers model"):
        sl.hf.KVCache(torch.nn.Linear(2, 2))


def test_gradients_pass_through_and_what_was_handed_out_stays() -> None:
    ours, theirs = InPlaceLayer(), transformers.cache_utils.DynamicLayer()
    first, second = states(3), states(2)
    found = []
    for layer in (ours, theirs):
        leaves = [each.clone().requires_grad_() for each in (*first, *second)]
        loss = sum(each.square().sum() for each in layer.update(*leaves[:2]))
        loss = loss + sum(each.square().sum() for each in layer.update(*leaves[2:]))
        loss.backward()
        found.append([leaf.grad for leaf in leaves])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("way", ["greedy", "beam", "sampling", "grown"])
@pytest.mark.parametrize("name", ["gpt2", "mistral", "gemma2 without cap", "t5"])
def test_generate_with_the_cache_gives_the_same_tokens(name: str, way: str) -> None:
    """Window layers included: 4 tokens are seen, 15 are held."""
    architecture = ARCHITECTURES[name]
    model, given = sl.hf.patch(architecture.build()), feed(architecture, "left")
    given.pop("decoder_input_ids", None)
    told: dict[str, Any] = {"max_new_tokens": 6, "eos_token_id": None, "pad_token_id": 0}
    told |= {"beam": {"num_beams": 2}, "sampling": {"do_sample": True}}.get(way, {})
    rows = BATCH * told.get("num_beams", 1)
    if way == "grown" and name != "t5":
        cache = sl.hf.KVCache(model)
    else:
        cache = sl.hf.static_cache(model, batch=rows, max_len=15)
    found = []
    for past in (None, cache):
        torch.manual_seed(2)
        more = {} if past is None else {"past_key_values": past}
        found.append(model.generate(**given, **told, **more))
    assert torch.equal(*found)


def test_it_serves_a_model_that_is_not_patched_and_several_turns() -> None:
    architecture = ARCHITECTURES["llama"]
    model, given = architecture.build(), feed(architecture, "none")
    with torch.no_grad():
        whole = model(**given).logits
        cache = sl.hf.KVCache(model, max_len=9)
        tokens = given["input_ids"]
        parts = [
            model(tokens[:, a:b], past_key_values=cache).logits for a, b in ((0, 4), (4, 5), (5, 9))
        ]
    assert float((torch.cat(parts, dim=1) - whole).abs().max()) < 1e-5
