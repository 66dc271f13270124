"""What would be wrong on a rank's share refuses inside ``context_parallel``; nothing is silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.utils.checkpoint import checkpoint

import sightline as sl
from sightline.engines.shared import shared_sequence, token_positions, token_stop
from sightline.models.bert import BERT, BERTConfig
from sightline.models.gpt import GPT, GPTConfig
from sightline.models.mhanet import MHANet, MHANetConfig
from sightline.models.sasrec import SASRec, SASRecConfig
from sightline.models.swin import Swin, SwinConfig
from sightline.models.xlnet import XLNet, XLNetConfig
from sightline.testing.ranks import RankPool

LENGTH, WIDTH = 40, 8
nn: Any = sl.nn


def spread_out(**options: Any) -> Any:
    return sl.distributed.spread(sl.causal(), LENGTH, block=4, **options)


def rows(length: int, *shape: int) -> torch.Tensor:
    return torch.randn(2, length, *(shape or (WIDTH,)))


def mha(**options: Any) -> Any:
    return nn.MultiheadAttention(WIDTH, 2, batch_first=True, **options)


def three(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = torch.ones(1, 1, n, 4)
    return x, x, x


def gpt() -> GPT:
    return GPT(GPTConfig(vocab=5, layers=1, heads=2, width=WIDTH, context=LENGTH))


def small(kind: Any, config: Any, **sizes: Any) -> Any:
    return kind(config(layers=1, heads=2, width=WIDTH, **sizes))


def no(n: int) -> torch.Tensor:
    return torch.zeros(n, n, dtype=torch.bool)


def tokens(n: int) -> torch.Tensor:
    return torch.ones(2, n, dtype=torch.int64)


# What is called with how many tokens this rank holds, and what the message begins with.
REFUSED: dict[str, tuple[Callable[[int], Any], str]] = {
    "weights": (lambda n: mha()(rows(n)), "need_weights=True"),
    "attn_mask": (
        lambda n: mha()(rows(n), attn_mask=no(n), need_weights=False),
        "attn_mask as a tensor",
    ),
    "key_padding_mask": (
        lambda n: mha()(rows(n), key_padding_mask=no(n)[:2], need_weights=False),
        "key_padding_mask as a tensor",
    ),
    "query_mask": (
        lambda n: mha()(rows(n), query_mask=no(n)[:2], need_weights=False),
        "query_mask as a tensor",
    ),
    "bias_kv": (
        lambda n: mha(add_bias_kv=True)(rows(n), need_weights=False),
        "add_bias_kv or add_zero_attn",
    ),
    "zero_attn": (
        lambda n: mha(add_zero_attn=True)(rows(n), need_weights=False),
        "add_bias_kv or add_zero_attn",
    ),
    "q_offset": (lambda n: mha()(rows(n), q_offset=3, need_weights=False), "q_offset=3"),
    "attention_weights": (
        lambda n: sl.attention_weights(torch.ones(1, 1, n, 4), torch.ones(1, 1, n, 4), sl.causal()),
        "sl.attention_weights",
    ),
    "explain_choice": (
        lambda n: sl.explain_choice(*three(n), sl.causal()),
        "sl.explain_choice",
    ),
    "cache": (lambda n: nn.KVCache(1, 2, 1, 99, 4).extend(n), "a cache of keys and values"),
    "rolling cache": (
        lambda n: nn.RollingKVCache(1, 2, 1, 4, window=3, max_chunk=99).extend(n),
        "a cache of keys and values",
    ),
    "paged cache": (
        lambda n: nn.PagedKVCache(99, 4, layers=1, batch=2, kv_heads=1, head_dim=4).extend(n),
        "a cache of keys and values",
    ),
    "decode step": (
        lambda n: nn.mmha_step(torch.ones(1, 12), torch.ones(2, 1, 1, n, 4), timestep=2),
        "sl.nn.mmha_step",
    ),
    "generate": (
        lambda n: nn.generate(gpt().eval(), [[1, 2]], max_new_tokens=2),
        "a cache of keys and values",
    ),
    "conv": (lambda n: nn.MaskedConv1d(WIDTH, WIDTH, 3)(rows(n)), "sl.nn.MaskedConv1d"),
    "causal conv": (lambda n: nn.CausalConv1d(WIDTH, WIDTH, 3)(rows(n)), "sl.nn.MaskedConv1d"),
    "group norm": (lambda n: nn.MaskedGroupNorm(2, WIDTH)(rows(n)), "sl.nn.MaskedGroupNorm"),
    "instance norm": (
        lambda n: nn.MaskedInstanceNorm1d(WIDTH)(rows(n)),
        "sl.nn.MaskedInstanceNorm1d",
    ),
    "batch norm": (lambda n: nn.MaskedBatchNorm1d(WIDTH)(rows(n)), "sl.nn.MaskedBatchNorm1d"),
    "layer norm": (
        lambda n: nn.MaskedLayerNorm(WIDTH, over="features")(rows(n), sl.padding(lengths=[9, 7])),
        "valid= as a mask",
    ),
    "layer norm over time": (
        lambda n: nn.MaskedLayerNorm(WIDTH)(rows(n)),
        'sl.nn.MaskedLayerNorm(over="time")',
    ),
    "lstm": (lambda n: nn.MaskedLSTM(WIDTH, 4)(rows(n)), "sl.nn.MaskedLSTM"),
    "gru": (lambda n: nn.MaskedGRU(WIDTH, 4)(rows(n)), "sl.nn.MaskedGRU"),
    "channels": (lambda n: nn.ChannelMask(WIDTH)(rows(WIDTH, n)), "sl.nn.ChannelMask"),
    "channels' mask": (lambda n: nn.ChannelMask(WIDTH).mask(rows(WIDTH, n)), "sl.nn.ChannelMask"),
    "places' mask": (
        lambda n: nn.SpatialMask().mask(rows(WIDTH, n, 4)),
        "sl.nn.SpatialMask",
    ),
    "places": (lambda n: nn.SpatialMask()(rows(WIDTH, n, 4)), "sl.nn.SpatialMask"),
    "cbam": (lambda n: nn.CBAM(WIDTH)(rows(WIDTH, n, 4)), "sl.nn.CBAM"),
    "residual": (
        lambda n: nn.ResidualAttention(WIDTH)(rows(WIDTH, n, 4)),
        "sl.nn.ResidualAttention",
    ),
    "non-local": (
        lambda n: nn.NonLocalBlock(WIDTH, dims=1)(rows(WIDTH, n)),
        "sl.nn.NonLocalBlock",
    ),
    "span": (
        lambda n: nn.AdaptiveSpan(2, 9)(*[torch.ones(1, 2, n, 4)] * 3, sl.causal()),
        "sl.nn.AdaptiveSpan",
    ),
    "shifted": (lambda n: nn.ShiftedQueryAttention(WIDTH, 2)(rows(n)), "sl.nn.shift_queries"),
    "mask_inputs": (lambda n: nn.mask_inputs(rows(n)), "sl.nn.mask_inputs"),
    "key inputs": (lambda n: nn.key_mask_from_inputs(rows(n)), "sl.nn.key_mask_from_inputs"),
    "query inputs": (lambda n: nn.query_mask_from_inputs(rows(n)), "sl.nn.query_mask_from_inputs"),
    "loss": (
        lambda n: nn.masked_loss_mean(torch.ones(2, n), torch.ones(2, n, dtype=torch.bool)),
        "sl.nn.masked_loss_mean",
    ),
    "cross entropy": (
        lambda n: nn.masked_cross_entropy(rows(n), tokens(n), tokens(n).bool()),
        "sl.nn.masked_cross_entropy",
    ),
    "softmax pool": (
        lambda n: nn.masked_softmax_pool(rows(n), torch.ones(2, n), tokens(n).bool()),
        "sl.nn.masked_softmax_pool",
    ),
    "gpt weights": (lambda n: gpt().attention_weights(tokens(n)), "sl.attention_weights"),
    "bert pooled": (
        lambda n: small(BERT, BERTConfig, vocab=5, context=LENGTH).pooled(rows(n)),
        "BERT.pooled",
    ),
    "xlnet": (lambda n: small(XLNet, XLNetConfig, vocab=5)(tokens(n)), "XLNet"),
    "sasrec": (lambda n: small(SASRec, SASRecConfig, vocab=5)(tokens(n)), "SASRec"),
    "mhanet": (lambda n: small(MHANet, MHANetConfig, bins=9)(rows(n, 9)), "MHANet"),
    "swin": (
        lambda n: Swin(SwinConfig(depths=(1,), heads=(1,), width=8))(torch.ones(1, 3, 16, n)),
        "Swin",
    ),
} | {
    name: (lambda n, name=name: getattr(nn, name)(rows(n), tokens(n).bool()), f"sl.nn.{name}")
    for name in (
        "masked_sum",
        "masked_mean",
        "masked_max",
        "masked_min",
        "masked_first",
        "masked_last",
        "masked_softmax",
    )
}


def refused() -> dict[str, str]:
    spread, told = spread_out(), dict[str, str]()
    with sl.distributed.context_parallel(spread):
        for name, (call, _) in REFUSED.items():
            try:
                call(spread.length)
            except sl.CannotExpress as error:
                told[name] = str(error)
            except Exception as error:
                told[name] = f"{type(error).__name__}: {error}"
            else:
                told[name] = "went through"
    return told


def test_what_a_share_would_make_wrong_refuses(two_ranks: RankPool) -> None:
    for told in two_ranks.run(refused):
        for name, (_, part) in REFUSED.items():
            wanted = f"context parallelism cannot express {part}: "
            assert told[name].startswith(wanted), f"{name}: {told[name]}"


# What does no more to a token than one process does, whichever others are at hand.
TOKENWISE = (
    "Batch Generated HeadGates LearnedPositions LearnedScale PackedLinears ResidualMask Rotary "
    "SameRows SinusoidalPositions SoftMask pack_cache pack_keys unpack_cache unpack_keys"
)
REACHING = (
    "MultiheadAttention Transformer TransformerDecoder TransformerDecoderLayer "
    "TransformerEncoder TransformerEncoderLayer"
)
# Refused by a part of theirs, or with what else they are called with.
BY_PARTS = (
    "CausalConv1d KVCache PagedKVCache RollingKVCache ShiftedQueryAttention generate "
    "masked_softmax masked_softmax_pool mmha_step shift_queries"
)


def test_of_every_name_it_is_known_whether_a_share_will_do() -> None:
    refused = {part.removeprefix("sl.nn.").partition("(")[0] for _, part in REFUSED.values()}
    known = {*TOKENWISE.split(), *REACHING.split(), *BY_PARTS.split()}
    assert set(nn.__all__) == (refused & set(nn.__all__)) | known


@pytest.mark.parametrize("name", REFUSED)
def test_outside_of_the_block_the_same_calls_run(name: str) -> None:
    REFUSED[name][0](20)


# What every other public name of sl.nn does with tokens: not one may be left out here.
REST = {
    "attends": "MultiheadAttention Transformer TransformerDecoder TransformerDecoderLayer "
    "TransformerEncoder TransformerEncoderLayer",
    "takes each token by itself": "HeadGates LearnedPositions LearnedScale PackedLinears "
    "ResidualMask Rotary SameRows SinusoidalPositions SoftMask",
    "holds or moves numbers": "Batch Generated pack_cache pack_keys unpack_cache unpack_keys",
}


def test_of_every_public_name_it_is_known_what_it_does_on_a_share() -> None:
    known = [name for names in REST.values() for name in names.split()]
    refused = {name for call, _ in REFUSED.values() for name in call.__code__.co_names}
    refused |= {part.removeprefix("sl.nn.") for _, part in REFUSED.values()}
    assert len(known) == len(set(known))
    assert {name for name in nn.__all__ if name not in refused} == set(known)


# -- the block itself ------------------------------------------------------------------------------


def blocks() -> None:
    spread, other = spread_out(), sl.distributed.spread(sl.everything(), 24, block=3)
    inside = sl.distributed.context_parallel
    layer = mha(positions=nn.Rotary(4))
    with pytest.raises(KeyError), inside(spread):
        raise KeyError
    assert shared_sequence() is None
    with inside(spread) as given:
        assert given is spread
        positions = token_positions(spread.length, "cpu")
        assert torch.equal(positions, spread.positions())
        assert token_stop(spread.length) == LENGTH
        with inside(other):
            assert token_stop(other.length) == 24
            with pytest.raises(sl.ShapeMismatch, match=f"wanted its share, {other.length};"):
                token_positions(other.length + 1, "cpu")
        with inside(None):
            assert token_positions(9, "cpu").tolist() == [list(range(9))]
            assert token_stop(9) == 9
            assert layer(rows(9))[1] is not None
            with inside(spread), pytest.raises(sl.CannotExpress, match="need_weights"):
                layer(rows(spread.length))
        assert torch.equal(token_positions(spread.length, "cpu"), spread.positions())
    assert shared_sequence() is None


def test_blocks_are_nested_and_left_by_errors(two_ranks: RankPool) -> None:
    two_ranks.run(blocks)


def two_sequences() -> None:
    inside, made = sl.distributed.context_parallel, sl.distributed.spread
    spread = spread_out()
    half: Any = dist.new_group([0])
    backwards = made(sl.causal().T & sl.window(right=9), LENGTH, block=5)
    with (
        pytest.raises(sl.InvalidArgument, match="equally many tokens, 20"),
        inside(spread, memory=backwards),
    ):
        pass
    with inside(spread, memory=spread_out()):  # dealt out alike: nothing to tell apart
        assert token_stop(spread.length) == LENGTH
    other = made(sl.everything(), 24, block=3)
    with inside(spread, memory=other):
        assert token_stop(other.length) == 24
        assert token_stop(spread.length) == LENGTH
        assert torch.equal(token_positions(other.length, "cpu"), other.positions())
        with pytest.raises(sl.ShapeMismatch, match=f"{spread.length} or {other.length};"):
            token_stop(other.length + 1)
    if spread.ranks.rank == 0:
        alone = made(sl.causal(), 12, group=half)
        with pytest.raises(sl.InvalidArgument, match=r"wanted the same, over the same heads"):
            inside(spread, memory=alone).__enter__()
    dist.barrier()
    dist.destroy_process_group(half)


def test_two_sequences_must_be_told_apart(two_ranks: RankPool) -> None:
    two_ranks.run(two_sequences)


def checkpointed(use_reentrant: bool, where: str) -> Any:
    spread, layer = spread_out(), mha(positions=nn.Rotary(4)).double()
    torch.manual_seed(2)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    whole = torch.randn(2, LENGTH, WIDTH, dtype=torch.float64)
    x = sl.distributed.shard_batch(whole, spread).requires_grad_()

    def run(x: torch.Tensor) -> torch.Tensor:
        return layer(x, mask=sl.causal(), need_weights=False)[0]

    def again(x: torch.Tensor) -> torch.Tensor:
        return checkpoint(run, x, use_reentrant=use_reentrant)

    inside = sl.distributed.context_parallel
    with inside(spread):
        output = run(x) if where == "not at all" else again(x)
        if where == "inside":
            output.square().sum().backward()
    if where == "outside":
        with pytest.raises(sl.CannotExpress, match="works out again outside of the block"):
            output.square().sum().backward()
        # What is not shared is none of its business, even of the same length if that is said.
        kept = torch.randn(2, LENGTH, WIDTH, dtype=torch.float64, requires_grad=True)
        again(kept).sum().backward()
        with inside(None):
            again(x).sum().backward()
        return None
    if where == "not at all":
        output.square().sum().backward()
    return [x.grad, *[each.grad for each in layer.parameters()]]


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_what_is_worked_out_again_is_right_or_refuses(
    two_ranks: RankPool, use_reentrant: bool
) -> None:
    plain = two_ranks.run(checkpointed, use_reentrant, "not at all")
    again = two_ranks.run(checkpointed, use_reentrant, "inside")
    for got, want in zip(again, plain, strict=True):
        torch.testing.assert_close(got, want)
    two_ranks.run(checkpointed, use_reentrant, "outside")


def of_another_block(again: str) -> Any:
    """Work one block's layer out again in another block, or in its own once more."""
    spread, other = spread_out(), sl.distributed.spread(sl.everything(), LENGTH, block=4)
    assert other.length == spread.length
    whole = torch.randn(2, 3, LENGTH, 4, generator=torch.Generator().manual_seed(1))
    x = sl.distributed.shard_batch(whole, spread, dim=2).requires_grad_()
    inside = sl.distributed.context_parallel

    def run(x: torch.Tensor) -> torch.Tensor:
        return sl.attend(x, x, x, sl.causal())

    with inside(spread):
        output = checkpoint(run, x, use_reentrant=False) if again else run(x)
    if again == "another":
        with (
            inside(other),
            pytest.raises(sl.CannotExpress, match=r"causal\(\) that a backward pass works out"),
        ):
            output.square().sum().backward()
        return None
    with inside(spread):
        output.square().sum().backward()
    return x.grad


def test_what_another_block_would_work_out_again_refuses(two_ranks: RankPool) -> None:
    for got, want in zip(
        two_ranks.run(of_another_block, "own"), two_ranks.run(of_another_block, ""), strict=True
    ):
        torch.testing.assert_close(got, want)
    two_ranks.run(of_another_block, "another")


def compiled() -> None:
    torch._dynamo.reset()
    spread, layer = spread_out(), mha(positions=nn.Rotary(4), kv_heads=1)
    x = sl.distributed.shard_batch(rows(LENGTH), spread)
    mask = sl.causal()  # made outside, as torch.compile wants it

    def run(x: torch.Tensor) -> torch.Tensor:
        return layer(x * 2, mask=mask, need_weights=False)[0] + 1

    fast = torch.compile(run, backend="eager")
    with sl.distributed.context_parallel(spread):
        torch.testing.assert_close(fast(x), run(x))
    torch.testing.assert_close(fast(x), run(x))  # of a whole sequence, after the block
    with sl.distributed.context_parallel(spread):
        torch.testing.assert_close(fast(x), run(x))


def test_a_compiled_layer(two_ranks: RankPool) -> None:
    two_ranks.run(compiled)


def guarded() -> tuple[int, list[str]]:
    spread, layer = spread_out(), mha()
    x = sl.distributed.shard_batch(rows(LENGTH), spread)
    mask = sl.causal() & sl.documents(lengths=[11, 29])
    with sl.guard() as session, sl.distributed.context_parallel(spread):
        layer(x, mask=mask, need_weights=False)
    return len(session.findings), list(session.unseen)


def test_a_guard_says_that_it_does_not_see_a_shared_sequence(two_ranks: RankPool) -> None:
    for findings, told in two_ranks.run(guarded):
        assert not findings
        assert told == ["1 x sl.attend: a sequence whose tokens lie on several ranks"]
