"""Destination torch.transformer, run: nn.Transformer against the same layers written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sightline as sl
from sightline.errors import CannotExpress, InvalidArgument, InvalidMask, ShapeMismatch
from sightline.reference.dense import dense as oracle

B, HEADS, S, T, WIDTH = 3, 2, 6, 4, 8
PAD = sl.padding(lengths=[6, 2, 3])
TRIPLES = {
    "nothing forbidden": (sl.everything(),) * 3,
    "translation": (PAD, sl.causal(), PAD),
    "padded target": (PAD, sl.causal() & sl.padding(lengths=[4, 1, 2]), PAD),
    "left padding": (
        sl.padding(lengths=[6, 2, 3], side="left", total=6),
        sl.causal(),
        sl.padding(lengths=[6, 2, 3], side="left", total=6),
    ),
    "windows": (sl.window(1, 1), sl.window(1, 0), sl.window(2, 3)),
    "heads": (
        sl.per_head([sl.window(1, 1), sl.everything()]),
        sl.per_head([sl.causal(), sl.window(0, 0)]),
        sl.per_head([sl.keys([0, 1]), sl.keys([0, 4])]) & PAD,
    ),
    "documents": (sl.documents(lengths=[[3, 3], [6], [1, 5]]), sl.causal(), PAD),
}


def layers(seed: int = 0, **options: Any) -> nn.Transformer:
    torch.manual_seed(seed)
    model = nn.Transformer(
        WIDTH, HEADS, 2, 2, 16, dropout=0.0, batch_first=True, dtype=torch.float64, **options
    )
    for weight in model.parameters():  # biases and norms start at 0 and 1
        nn.init.normal_(weight, std=0.5)
    return model


def attention(part: nn.MultiheadAttention, x: Any, memory: Any, allowed: np.ndarray) -> Any:
    """One attention by its formula, with True = may attend."""
    weights, biases = part.in_proj_weight.chunk(3), part.in_proj_bias.chunk(3)
    q, k, v = (
        (given @ w.T + b).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for given, w, b in zip((x, memory, memory), weights, biases, strict=True)
    )
    scores = q @ k.transpose(-1, -2) / (WIDTH / HEADS) ** 0.5
    scores = scores.masked_fill(torch.tensor(~allowed), -torch.inf)
    output = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    return part.out_proj(output)


def expected(model: nn.Transformer, src: Any, tgt: Any, masks: tuple[sl.Mask, ...]) -> Any:
    """The model's layers, written out, under the oracle's masks."""
    lengths = (S, S), (T, T), (T, S)
    source, target, memory = (oracle(m, *at) for m, at in zip(masks, lengths, strict=True))

    def feed_forward(layer: Any, x: Any) -> Any:
        return layer.linear2(layer.linear1(x).relu())

    for layer in model.encoder.layers:
        src = layer.norm1(src + attention(layer.self_attn, src, src, source))
        src = layer.norm2(src + feed_forward(layer, src))
    src = model.encoder.norm(src)
    for layer in model.decoder.layers:
        tgt = layer.norm1(tgt + attention(layer.self_attn, tgt, tgt, target))
        tgt = layer.norm2(tgt + attention(layer.multihead_attn, tgt, src, memory))
        tgt = layer.norm3(tgt + feed_forward(layer, tgt))
    return model.decoder.norm(tgt)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", TRIPLES)
def test_the_model_obeys(name: str, training: bool) -> None:
    model = layers().train(training)
    src, tgt = (torch.randn(B, n, WIDTH, dtype=torch.float64) for n in (S, T))
    keywords = sl.lower(
        TRIPLES[name], to="torch.transformer", q_len=T, kv_len=S, num_heads=HEADS, batch=B
    )
    with torch.set_grad_enabled(training):
        got = model(src, tgt, **keywords)
        wanted = expected(model, src, tgt, TRIPLES[name])
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore:.*nested tensors is in prototype stage")
def test_padded_positions_of_the_source_are_computed_in_evaluation_too() -> None:
    """Without src_mask, torch drops them and hands on 0, which another mask of memory may read."""
    masks = (PAD, sl.causal(), sl.everything())
    model = layers().eval()
    src, tgt = (torch.randn(B, n, WIDTH, dtype=torch.float64) for n in (S, T))
    keywords = sl.lower(masks, to="torch.transformer", q_len=T, kv_len=S)
    with torch.no_grad():
        wanted = expected(model, src, tgt, masks)
        torch.testing.assert_close(model(src, tgt, **keywords), wanted, rtol=0, atol=1e-12)
        bare = model(src, tgt, **{**keywords, "src_mask": None})
    assert not torch.allclose(bare, wanted, atol=1e-3), "the trap is gone: say so in the docs"


def test_keywords_are_complete_and_split() -> None:
    keywords = sl.lower(TRIPLES["translation"], to="torch.transformer", q_len=T, kv_len=S)
    names = {f"{part}_{what}" for part in ("src", "tgt", "memory") for what in (
        "mask", "key_padding_mask", "is_causal")}  # fmt: skip
    assert set(keywords) == names
    assert not any(keywords[f"{part}_is_causal"] for part in ("src", "tgt", "memory"))
    assert keywords["memory_mask"] is None
    assert keywords["tgt_key_padding_mask"] is None
    ignored = keywords["memory_key_padding_mask"]
    assert ignored.tolist() == (~oracle(PAD, T, S)[:, 0, 0]).tolist()
    assert keywords["tgt_mask"].tolist() == (~np.tri(T, dtype=bool)).tolist()


def test_refusals_and_mistakes() -> None:
    ask = {"to": "torch.transformer", "q_len": T, "kv_len": S}
    for place, name in enumerate(("src", "tgt", "memory")):
        masks = [sl.everything()] * 3
        masks[place] = sl.causal(strict=True)
        with pytest.raises(CannotExpress, match=rf"{name}_mask.*first: batch 0, head 0, query 0"):
            sl.lower(tuple(masks), **ask)
    with pytest.raises(CannotExpress, match=r"cannot express q_offset=2"):
        sl.lower(TRIPLES["translation"], **ask, q_offset=2)
    with pytest.raises(InvalidMask, match=r"got one mask .* wanted 3: .source, target, memory"):
        sl.lower(sl.causal(), **ask)
    with pytest.raises(InvalidMask, match="got 2 masks"):
        sl.lower((sl.causal(), sl.causal()), **ask)
    with pytest.raises(InvalidMask, match="got mask None"):
        sl.lower((sl.causal(), None, sl.causal()), **ask)
    with pytest.raises(InvalidArgument, match=r"got no batch for torch.transformer"):
        sl.lower((sl.per_head([sl.causal(), sl.everything()]),) * 3, **ask)
    with pytest.raises(ShapeMismatch, match=r"got batch=2 for torch\.transformer and"):
        sl.lower(TRIPLES["translation"], **ask, batch=2)
