"""Transformer layers and stacks beyond torch's: caches, positions, sightline masks alone.

Parity with torch's is in tests/parity, what poison does in tests/conformance.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import sightline as sl

B, L, M, E, HEADS, KV = 2, 6, 5, 12, 4, 2


class GrowingLayer:
    """One layer of a cache that keeps what it is given, all rows at one position."""

    def __init__(self) -> None:
        self.held: list[torch.Tensor] = []
        self.q_offset = 0

    @property
    def positions(self) -> torch.Tensor:
        return torch.arange(self.q_offset, L)[None]

    def append(self, *new: torch.Tensor) -> list[torch.Tensor]:
        before = self.held or [each[:, :, :0] for each in new]
        self.held = [torch.cat(pair, dim=2) for pair in zip(before, new, strict=True)]
        return self.held

    def mask(self, mask: sl.Mask) -> sl.Mask:
        return mask


class GrowingCache:
    def __init__(self, layers: int) -> None:
        self.layers = [GrowingLayer() for _ in range(layers)]

    def at(self, q_offset: int) -> GrowingCache:
        for each in self.layers:
            each.q_offset = q_offset
        return self

    def layer(self, index: int) -> GrowingLayer:
        return self.layers[index]


def tokens(length: int = L, seed: int = 0) -> torch.Tensor:
    return torch.randn(B, length, E, generator=torch.Generator().manual_seed(seed))


def stack(part: str, **options: Any) -> Any:
    torch.manual_seed(1)
    kind = getattr(sl.nn, f"Transformer{part}Layer")
    layer = kind(E, HEADS, 16, batch_first=True, kv_heads=KV, **options)
    made = getattr(sl.nn, f"Transformer{part}")(layer, 2, torch.nn.LayerNorm(E))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return made.eval()


def in_pieces(made: Any, *rest: Any, **masks: Any) -> torch.Tensor:
    cache = GrowingCache(2)
    x = tokens()
    ends = (3, 4, L)
    pieces = [
        made(x[:, start:stop], *rest, cache=cache.at(start), **masks)
        for start, stop in zip((0, *ends), ends, strict=False)
    ]
    return torch.cat(pieces, dim=1)


@pytest.mark.parametrize("masks", [{"mask": sl.window(left=2, right=0)}, {"is_causal": True}])
def test_an_encoder_in_pieces(masks: dict[str, Any]) -> None:
    made = stack("Encoder")
    got, whole = in_pieces(made, **masks), made(tokens(), **masks)
    torch.testing.assert_close(got, whole, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(whole, made(tokens()), atol=1e-2)


def test_a_decoder_in_pieces() -> None:
    made, memory = stack("Decoder"), tokens(M, seed=2)
    masks = {"tgt_mask": sl.causal(), "memory_mask": sl.padding(lengths=[5, 2])}
    got, whole = in_pieces(made, memory, **masks), made(tokens(), memory, **masks)
    torch.testing.assert_close(got, whole, rtol=1e-5, atol=1e-5)
    hinted = made(tokens(), memory, tgt_is_causal=True, memory_mask=masks["memory_mask"])
    assert torch.equal(hinted, whole)


def test_a_memory_mask_that_asks_the_query_is_refused_beside_a_cache() -> None:
    made, memory = stack("Decoder"), tokens(M, seed=2)
    for named in ({"memory_mask": sl.causal()}, {"memory_is_causal": True}):
        with pytest.raises(sl.CannotExpress, match="a memory mask of keys alone"):
            made(tokens(), memory, cache=GrowingCache(2), **named)


def test_rows_from_an_offset_are_those_of_the_whole() -> None:
    made, mask = stack("Encoder"), sl.documents(lengths=[3, 3]) & sl.causal()
    whole = made(tokens(), mask)
    # The second document alone, at its own positions: keys count from 0, so the mask is moved.
    alone = made(tokens()[:, 3:], mask.shift(key=-3), q_offset=3)
    torch.testing.assert_close(alone, whole[:, 3:], rtol=1e-5, atol=1e-5)


def test_other_layers_may_be_stacked() -> None:
    class Plain(torch.nn.Module):
        def forward(self, src: torch.Tensor, **named: Any) -> torch.Tensor:
            assert set(named) == {"src_mask", "src_key_padding_mask", "is_causal"}
            return src * 2

    assert torch.equal(sl.nn.TransformerEncoder(Plain(), 3)(tokens()), tokens() * 8)


def test_a_model_with_parts_of_its_own() -> None:
    class Echo(torch.nn.Module):
        def forward(self, *given: torch.Tensor, **named: Any) -> torch.Tensor:
            return given[0]

    model = sl.nn.Transformer(E, HEADS, custom_encoder=Echo(), custom_decoder=Echo())
    assert not list(model.parameters())
    assert torch.equal(model(tokens(M), tokens()), tokens())
    wanted = torch.nn.Transformer.generate_square_subsequent_mask(L)
    assert torch.equal(sl.nn.Transformer.generate_square_subsequent_mask(L), wanted)
