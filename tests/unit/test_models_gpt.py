"""models/gpt.py: engines, padding on either side, packing, and who looks at whom."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

import sightline as sl
from sightline.models.gpt import GPT, GPTConfig

CONFIG = GPTConfig(vocab=31, layers=3, heads=4, kv_heads=2, width=24, hidden=40, context=19)
LENGTHS = (5, 11, 1, 8)
each_kind = pytest.mark.parametrize("kind", ["learned", "rotary"])


def model(engine: str = "auto", kind: Any = "learned", **options: Any) -> GPT:
    torch.manual_seed(3)
    made = GPT(replace(CONFIG, engine=engine, positions=kind, **options)).eval()
    with torch.no_grad():
        for weight in made.parameters():  # so that what is seen matters
            weight.mul_(5.0)
    return made


def texts() -> list[torch.Tensor]:
    drawn = torch.Generator().manual_seed(1)
    return [torch.randint(CONFIG.vocab, (length,), generator=drawn) for length in LENGTHS]


def alone(gpt: GPT) -> list[torch.Tensor]:
    return [gpt(text[None])[0] for text in texts()]


def run(gpt: GPT, batch: sl.Batch) -> list[torch.Tensor]:
    logits = gpt(batch.tokens, positions=batch.positions, mask=batch.place(gpt.mask))
    return batch.split(logits)


@each_kind
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_cpu_and_sdpa_agree(kind: str, dropout: float) -> None:
    """Outputs and every gradient; the dropout is that of the features, not of the weights."""
    found = []
    for engine in ("cpu", "sdpa"):
        gpt = model(engine, kind)
        batch = sl.Batch.from_sequences(texts(), side="left")
        gpt.drop.p = dropout
        gpt.drop.train()
        torch.manual_seed(8)
        real = torch.cat(run(gpt, batch))
        real.square().mean().backward()
        found.append([real.detach(), *[weight.grad for weight in gpt.parameters()]])
    for cpu, sdpa in zip(*found, strict=True):
        assert cpu.abs().max() > 0
        assert torch.allclose(cpu, sdpa, rtol=1e-5, atol=1e-5)


def test_the_engine_is_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import sightline.models.gpt as module

    asked: list[str] = []

    def listening(*arguments: Any, engine: str, **options: Any) -> torch.Tensor:
        asked.append(engine)
        return sl.attend(*arguments, engine=engine, **options)

    monkeypatch.setattr(module, "attend", listening)
    model("reference")(texts()[0][None])
    assert asked == ["reference"] * CONFIG.layers


def test_an_unknown_engine_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(sl.errors.UnknownBackend, match="Did you mean 'sdpa'"):
        replace(CONFIG, engine="spda")


@each_kind
@pytest.mark.parametrize("layout", ["right", "left", "packed"])
def test_a_text_gives_the_same_however_it_lies(kind: str, layout: str) -> None:
    gpt = model(kind=kind)
    side: Any = "right" if layout == "packed" else layout
    batch = sl.Batch.from_sequences(texts(), side=side)
    with torch.no_grad():
        found = run(gpt, batch.packed() if layout == "packed" else batch)
        for one, other in zip(found, alone(gpt), strict=True):
            assert other.abs().max() > 0.5
            assert torch.allclose(one, other, rtol=1e-6, atol=1e-6)


@each_kind
def test_left_is_right(kind: str) -> None:
    gpt = model(kind=kind)
    with torch.no_grad():
        left, right = (
            run(gpt, sl.Batch.from_sequences(texts(), side=side)) for side in ("left", "right")
        )
    for one, other in zip(left, right, strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-6)


@each_kind
def test_attention_is_exactly_lower_triangular(kind: str) -> None:
    gpt = model(kind=kind)
    tokens = torch.stack([texts()[1], texts()[1].flip(0)])
    weights = gpt.attention_weights(tokens)
    assert len(weights) == CONFIG.layers
    for each in weights:
        assert each.shape == (2, CONFIG.heads, 11, 11)
        assert not each.triu(1).any()  # zeros, not small numbers
        assert (each.tril() > 0).sum() == each.numel() / 11 * 6
        assert torch.allclose(each.sum(-1), torch.ones(()), atol=1e-6)


@each_kind
def test_the_triangle_grows(kind: str) -> None:
    """Row t of all weights is what the last of t tokens sees when there are no more."""
    gpt = model(kind=kind)
    tokens = texts()[1][None]
    whole = gpt.attention_weights(tokens)
    for step in range(1, 12):
        for all_rows, grown in zip(whole, gpt.attention_weights(tokens[:, :step]), strict=True):
            assert torch.allclose(grown[:, :, -1], all_rows[:, :, step - 1, :step], atol=1e-6)


def test_attention_weights_take_mask_and_positions() -> None:
    gpt = model()
    batch = sl.Batch.from_sequences(texts(), side="left")
    tokens, mask = batch.tokens, batch.place(gpt.mask)
    weights = gpt.attention_weights(tokens, positions=batch.positions, mask=mask)
    allowed = torch.from_numpy(mask.dense(11, 11))
    for each in weights:
        assert torch.equal(each > 0, allowed.expand_as(each))
    apart = gpt.attention_weights(tokens, mask=mask)
    assert not torch.allclose(apart[0], weights[0], atol=1e-3)


def test_the_weights_are_those_that_were_used() -> None:
    """Weights times values are what attention gives."""
    gpt = model(kv_heads=4)
    caught: list[torch.Tensor] = []
    block: Any = gpt.blocks[0]
    first = block.attention
    first.out.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    first.qkv.register_forward_hook(lambda _, __, given: caught.append(given))
    tokens = texts()[3][None]
    (weights, *_), (rows, seen) = gpt.attention_weights(tokens), caught
    value = rows[: tokens.numel(), 2 * CONFIG.width :].view(1, 8, 4, 6).transpose(1, 2)
    wanted = (weights @ value).transpose(1, 2).flatten(2)[0]
    assert torch.allclose(seen[: tokens.numel()], wanted, atol=1e-6)
