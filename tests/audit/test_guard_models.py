"""Models that are right, under sl.guard: silence, and not a bit changed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import sightline as sl
from sightline.audit.guard import Watch, guard

D, H = 8, 2


def valid(*lengths: int, length: int) -> torch.Tensor:
    return torch.arange(length) < torch.tensor(lengths)[:, None]


def silent(model: nn.Module, *args: Any, notes: tuple[str, ...] = (), **named: Any) -> Watch:
    """Run a model twice, the second time under a guard, which must find nothing."""
    torch.manual_seed(0)
    alone = model(*args, **named)
    torch.manual_seed(0)
    with guard() as watch:
        watched = model(*args, **named)
    assert not watch.findings, str(watch)
    assert {note.check for note in watch.notes} <= set(notes), str(watch)
    assert watch.calls
    for one, other in zip(_tensors(alone), _tensors(watched), strict=True):
        assert torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0))
    return watch


def _tensors(found: Any) -> list[torch.Tensor]:
    if isinstance(found, torch.Tensor):
        return [found]
    values = found if isinstance(found, tuple) else found.values()
    return [value for value in values if isinstance(value, torch.Tensor)]


# -- torch --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
@pytest.mark.parametrize("bools", [True, False])
@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("train", [True, False])
def test_transformer_with_all_its_masks(train: bool, grad: bool, bools: bool) -> None:
    torch.manual_seed(0)
    model = nn.Transformer(D, H, 2, 3, 12, batch_first=True).train(train)
    source, target = torch.randn(3, 7, D), torch.randn(3, 5, D)
    band = (torch.arange(7)[:, None] - torch.arange(7)).abs() > 3
    causal = torch.ones(5, 5, dtype=torch.bool).triu(1)
    masks = {
        "src_mask": band,
        "tgt_mask": causal,
        "memory_mask": torch.ones(5, 7, dtype=torch.bool).triu(4),
        "src_key_padding_mask": ~valid(7, 4, 6, length=7),
        "tgt_key_padding_mask": ~valid(5, 3, 2, length=5),
        "memory_key_padding_mask": ~valid(7, 4, 6, length=7),
    }
    if not bools:
        masks = {k: torch.zeros(m.shape).masked_fill(m, -torch.inf) for k, m in masks.items()}
    with torch.set_grad_enabled(grad):
        silent(model, source, target, **masks, tgt_is_causal=False)
        silent(model, source, target, tgt_mask=masks["tgt_mask"], tgt_is_causal=True)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
def test_encoder_on_its_fast_paths() -> None:
    layer = nn.TransformerEncoderLayer(D, H, 12, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).eval()
    x = torch.randn(3, 7, D)
    with torch.no_grad():
        assert silent(model, x, src_key_padding_mask=~valid(7, 4, 6, length=7)).calls == 1
        assert silent(model, x, mask=torch.ones(7, 7, dtype=torch.bool).triu(1)).calls == 2
        assert silent(model, x).calls == 2


# -- ours ---------------------------------------------------------------------------------------


def test_our_layers() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 7, D)
    layer = sl.nn.MultiheadAttention(D, 4, batch_first=True, kv_heads=2)
    silent(layer, x, mask=sl.causal() & sl.padding(lengths=[7, 4, 6]), need_weights=False)
    silent(layer, x, key_padding_mask=~valid(7, 4, 6, length=7), is_causal=True)
    model = sl.nn.TransformerEncoder(sl.nn.TransformerEncoderLayer(D, H, 12, batch_first=True), 2)
    silent(model, x, src_key_padding_mask=~valid(7, 4, 6, length=7))


# -- transformers -------------------------------------------------------------------------------

pytest.importorskip("transformers", reason="transformers is not installed")

from sightline.testing.hf_architectures import ARCHITECTURES, PADS, feed  # noqa: E402

SOME = ["gpt2", "gemma3_text", "llama4_text", "bert", "modernbert", "bart", "t5", "vit"]
# They attend in their own code, so that there is nothing to watch.
OWN_CODE = {"xglm", "bloom", "mpt", "gptj", "mpnet", "deberta-v2"}
# These say themselves that they have no sdpa form.
EAGER_ONLY = {"gemma2", "gemma2 without cap", "gpt_oss"}


def silent_architecture(name: str) -> None:
    """Run an architecture by both attentions and all paddings.

    The only notes are those of padded queries that see nothing: with padding on the left and a
    causal mask always, on the right where a window or chunk holds nothing but padding.
    """
    architecture = ARCHITECTURES[name]
    one_side = architecture.kind == "vision" or name == "whisper"
    for form in ("eager", "sdpa"):
        if form == "sdpa" and name in EAGER_ONLY:
            continue
        model = architecture.build()
        model.set_attn_implementation(form)
        for side in ("none",) if one_side else PADS:
            notes = () if side == "none" else ("empty-rows",)
            silent(model, **feed(architecture, side), notes=notes)


@pytest.mark.parametrize("name", SOME)
def test_some_architectures(name: str) -> None:
    silent_architecture(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ARCHITECTURES.keys() - set(SOME) - OWN_CODE))
def test_all_architectures(name: str) -> None:
    silent_architecture(name)


def test_padded_queries_are_noted_with_their_module() -> None:
    architecture = ARCHITECTURES["llama"]
    with guard() as watch:
        architecture.build()(**feed(architecture, "left"))
    (note,) = watch.notes
    assert note.module == "model.layers.0.self_attn (LlamaAttention)"
    assert "modeling_llama.py" in note.where.file
    assert note.caller is not None
    assert note.caller.text == 'architecture.build()(**feed(architecture, "left"))'


@pytest.mark.parametrize("form", ["eager", "sdpa"])
def test_a_declared_mask_of_a_model(form: str) -> None:
    architecture = ARCHITECTURES["mistral"]  # a window of 4
    model = architecture.build()
    model.set_attn_implementation(form)
    given = feed(architecture, "left")
    with guard("raise", declared=sl.window(left=3, right=0)):
        model(**given)
        model.generate(**given, max_new_tokens=3, pad_token_id=0)
    with guard(declared=sl.window(left=2, right=0)) as watch:
        model(**given)
    assert [f.check for f in watch.findings] == ["declared-leak"]


@pytest.mark.parametrize("form", ["eager", "sdpa"])
def test_a_wrong_mask_through_a_model(form: str) -> None:
    architecture = ARCHITECTURES["bert"]
    model = architecture.build()
    model.set_attn_implementation(form)
    given = feed(architecture, "right")
    wrong = given["attention_mask"][:, None, None] == 0  # True = ignore, as in torch's layer
    if form == "eager":
        wrong = torch.zeros(wrong.shape).masked_fill(~wrong, torch.finfo(torch.float).min)
    with guard() as watch:
        model(given["input_ids"], attention_mask=wrong)
    assert [f.check for f in watch.findings] == ["inverted"]


def test_patched_models_are_watched_through_attend() -> None:
    architecture = ARCHITECTURES["llama"]
    model = sl.hf.patch(architecture.build())
    watch = silent(model, **feed(architecture, "left"), notes=("empty-rows",))
    assert watch.calls == 2
    assert all("sl.attend" in note.call for note in watch.notes)
