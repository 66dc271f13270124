"""Layers and models inside ``context_parallel`` compute and learn what one process does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh

import sightline as sl
import sightline.nn.attention as layers
from sightline.models.bert import BERT, BERTConfig
from sightline.models.gpt import GPT, GPTConfig
from sightline.models.mamsm import MAMSM, MAMSMConfig
from sightline.models.tagger import Tagger, TaggerConfig
from sightline.models.tagger_words import COLUMNS
from sightline.models.transformer import Transformer, TransformerConfig
from sightline.testing.ranks import RankPool

LENGTH, VOCAB = 45, 13
PACKED = sl.causal() & sl.documents(lengths=[[17, 4, 24], [30, 9, 6]])


def tokens_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.Generator().manual_seed(7)
    tokens = torch.randint(0, VOCAB, (2, LENGTH), generator=drawn)
    return tokens, sl.distributed.next_token_labels(tokens, mask=PACKED)


def gpt(positions: Any) -> GPT:
    torch.manual_seed(3)
    sizes: dict[str, Any] = {"vocab": VOCAB, "layers": 2, "heads": 4, "kv_heads": 2, "width": 16}
    return GPT(GPTConfig(**sizes, context=LENGTH, positions=positions)).double()


def curve_alone(positions: str) -> tuple[list[float], list[torch.Tensor]]:
    """Train three steps in one process."""
    model, (tokens, labels) = gpt(positions), tokens_and_labels()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    curve = []
    for _ in range(3):
        optimizer.zero_grad()
        logits = model(tokens, mask=PACKED)
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels)
        loss.backward()
        optimizer.step()
        curve.append(loss.item())
    return curve, [model(tokens, mask=PACKED).detach(), *map(torch.detach, model.parameters())]


def curve_shared(positions: str) -> tuple[list[float], list[torch.Tensor]]:
    """Train the same steps, each rank with its share."""
    model = gpt(positions)
    spread = sl.distributed.spread(PACKED, LENGTH, block=4)
    tokens, labels = sl.distributed.shard_batch(tokens_and_labels(), spread)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    curve = []
    for _ in range(3):
        optimizer.zero_grad()
        with sl.distributed.context_parallel(spread):
            logits = model(tokens, mask=PACKED)
        loss = sl.distributed.cross_entropy(logits, labels, spread)
        loss.backward()
        sl.distributed.average_gradients(model.parameters(), spread)
        optimizer.step()
        curve.append(sl.distributed.mean_over_ranks(loss, spread).item())
    with sl.distributed.context_parallel(spread):
        logits = sl.distributed.unshard(model(tokens, mask=PACKED).detach(), spread)
    return curve, [logits, *map(torch.detach, model.parameters())]


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_a_gpt_learns_as_in_one_process(ranks: RankPool, positions: str) -> None:
    curve, wanted = curve_alone(positions)
    for found_curve, found in ranks.run(curve_shared, positions):
        torch.testing.assert_close(found_curve, curve, rtol=1e-9, atol=0)
        for got, want in zip(found, wanted, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-9)


def too_long() -> str:
    model = gpt("learned")
    spread = sl.distributed.spread(sl.causal(), LENGTH + 1, block=4)
    with sl.distributed.context_parallel(spread), pytest.raises(sl.ShapeMismatch) as caught:
        model(torch.zeros(1, spread.length, dtype=torch.int64))
    return str(caught.value)


def test_a_sequence_longer_than_the_context_is_refused_on_every_rank(ranks: RankPool) -> None:
    for told in ranks.run(too_long):
        assert told.startswith(f"got {LENGTH + 1} positions and a model with context={LENGTH}")


# -- layers ----------------------------------------------------------------------------------------

WIDTH, SOURCE = 24, 30
REAL = sl.padding(lengths=[45, 31])
LATE = sl.padding(lengths=[45, 20], side="left", total=LENGTH)
MASKS: dict[str, sl.Mask | None] = {
    "everything": None,
    "packed": PACKED,
    "window, padded": sl.window(left=7, right=3) & REAL & REAL.T,
    "padded on the left": LATE & LATE.T,
}


def drawn(*shape: int) -> torch.Tensor:
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return made.requires_grad_()


def attention(**options: Any) -> sl.nn.MultiheadAttention:
    torch.manual_seed(4)
    rotary = sl.nn.Rotary(WIDTH // 4)
    layer = sl.nn.MultiheadAttention(WIDTH, 4, kv_heads=2, positions=rotary, **options)
    return layer.double()


def gradients(module: torch.nn.Module) -> list[torch.Tensor]:
    return [each.grad for each in module.parameters() if each.grad is not None]


def attention_shared(name: str, batch_first: bool) -> list[torch.Tensor]:
    layer, mask, dim = attention(batch_first=batch_first), MASKS[name], 1 if batch_first else 0
    shape = (2, LENGTH, WIDTH) if batch_first else (LENGTH, 2, WIDTH)
    spread = sl.distributed.spread(PACKED, LENGTH, block=3)
    x, upstream = (
        sl.distributed.shard_batch(each.detach(), spread, dim=dim)
        for each in (drawn(*shape), drawn(*shape).cos())
    )
    x.requires_grad_()
    with sl.distributed.context_parallel(spread):
        output, _ = layer(x, mask=mask, need_weights=False)
    (output * upstream).sum().mul(spread.ranks.size).backward()
    sl.distributed.average_gradients(layer.parameters(), spread)
    whole = [sl.distributed.unshard(each, spread, dim=dim) for each in (output.detach(), x.grad)]
    return [whole[0], whole[1] / spread.ranks.size, *gradients(layer)]


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("name", MASKS)
def test_attention_with_grouped_heads_and_rotary_positions(
    ranks: RankPool, name: str, batch_first: bool
) -> None:
    layer = attention(batch_first=batch_first)
    x = drawn(*((2, LENGTH, WIDTH) if batch_first else (LENGTH, 2, WIDTH)))
    output, _ = layer(x, mask=MASKS[name], need_weights=False)
    (output * x.detach().cos()).sum().backward()
    wanted = [output.detach(), x.grad, *gradients(layer)]
    for found in ranks.run(attention_shared, name, batch_first):
        for got, want in zip(found, wanted, strict=True):
            torch.testing.assert_close(got, want)


def translator() -> Transformer:
    torch.manual_seed(6)
    sizes: dict[str, Any] = {"vocab": VOCAB, "layers": 2, "heads": 2, "width": 16, "hidden": 20}
    return Transformer(TransformerConfig(**sizes, dropout=0.0, context=64)).double()


def translation() -> tuple[torch.Tensor, torch.Tensor, dict[str, sl.Mask]]:
    made = torch.Generator().manual_seed(8)
    source = torch.randint(0, VOCAB, (2, SOURCE), generator=made)
    target = torch.randint(0, VOCAB, (2, LENGTH), generator=made)
    real = sl.padding(lengths=[19, SOURCE])
    return source, target, {"source_mask": real, "target_mask": sl.causal(), "memory_mask": real}


def translated_shared(in_one_block: bool, heads: bool = False) -> list[torch.Tensor]:
    model, (source, target, masks) = translator(), translation()
    group = init_device_mesh("cpu", (2, 2)) if heads else None
    over_source = sl.distributed.spread(masks["source_mask"], SOURCE, block=2, group=group)
    over_target = sl.distributed.spread(sl.causal(), LENGTH, block=3, group=group)
    labels = sl.distributed.next_token_labels(target)
    words = sl.distributed.shard_batch(source, over_source)
    target, labels = sl.distributed.shard_batch((target, labels), over_target)
    if in_one_block:
        with sl.distributed.context_parallel(over_target, memory=over_source):
            logits = model(words, target, **masks)
    else:
        with sl.distributed.context_parallel(over_source):
            memory = model.encode(words, mask=masks["source_mask"])
        with sl.distributed.context_parallel(over_target, memory=over_source):
            logits = model.decode(target, memory, memory_mask=masks["memory_mask"])
    sl.distributed.cross_entropy(logits, labels, over_target).backward()
    sl.distributed.average_gradients(model.parameters(), over_target)
    return [sl.distributed.unshard(logits.detach(), over_target), *gradients(model)]


def wanted_translation() -> list[torch.Tensor]:
    model, (source, target, masks) = translator(), translation()
    logits = model(source, target, **masks)
    labels = sl.distributed.next_token_labels(target)
    torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels).backward()
    return [logits.detach(), *gradients(model)]


@pytest.mark.parametrize("in_one_block", [True, False])
def test_an_encoder_and_its_decoder(ranks: RankPool, in_one_block: bool) -> None:
    wanted = wanted_translation()
    for found in ranks.run(translated_shared, in_one_block):
        for got, want in zip(found, wanted, strict=True):
            torch.testing.assert_close(got, want)


def test_an_encoder_and_its_decoder_whose_heads_are_divided(four_ranks: RankPool) -> None:
    wanted = wanted_translation()
    for found in four_ranks.run(translated_shared, True, heads=True):
        for got, want in zip(found, wanted, strict=True):
            torch.testing.assert_close(got, want)


def looking_at_rows() -> list[torch.Tensor]:
    """Let layers look for rows that need no work, however small; they must not on a share."""
    usual, layers.LEAST_WORK = layers.LEAST_WORK, 0
    try:
        return attention_shared("padded on the left", True)
    finally:
        layers.LEAST_WORK = usual


def test_rows_without_work_are_not_looked_for_on_a_share(two_ranks: RankPool) -> None:
    wanted = two_ranks.run(attention_shared, "padded on the left", True)
    for found, want in zip(two_ranks.run(looking_at_rows), wanted, strict=True):
        torch.testing.assert_close(found, want)


# -- models that count positions themselves --------------------------------------------------------


def made(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(9)
    sizes: dict[str, Any] = {"layers": 2, "heads": 2, "width": 16, "hidden": 20}
    tokens = tokens_and_labels()[0]
    kind, _, positions = name.partition(" ")
    if kind == "bert":
        model = BERT(BERTConfig(vocab=VOCAB, context=LENGTH, **sizes))
    elif kind == "mamsm":
        model = MAMSM(MAMSMConfig(vocab=VOCAB, length=LENGTH, **sizes))
    else:
        tokens = tokens[:, :, None].expand(-1, -1, COLUMNS)
        config: Any = {"positions": positions, **sizes}
        model = Tagger(TaggerConfig(words=VOCAB, tags=5, buckets=VOCAB, **config))
    return model.double().eval(), tokens


def model_shared(name: str) -> torch.Tensor:
    model, tokens = made(name)
    spread = sl.distributed.spread(REAL, LENGTH, block=3)
    tokens = sl.distributed.shard_batch(tokens, spread)
    with sl.distributed.context_parallel(spread), torch.no_grad():
        return sl.distributed.unshard(model(tokens, mask=REAL), spread)


@pytest.mark.parametrize("name", ["bert", "mamsm", "tagger sinusoidal", "tagger rotary"])
def test_a_model(two_ranks: RankPool, name: str) -> None:
    model, tokens = made(name)
    for found in two_ranks.run(model_shared, name):
        torch.testing.assert_close(found, model(tokens, mask=REAL).detach())


def model_too_long(name: str) -> str:
    model, tokens = made(name)
    spread = sl.distributed.spread(REAL, LENGTH + 1, block=2)
    short = tokens[:, :1].expand(-1, spread.length, *tokens.shape[2:])
    with sl.distributed.context_parallel(spread), pytest.raises(sl.ShapeMismatch) as caught:
        model(short, mask=REAL)
    return str(caught.value)


@pytest.mark.parametrize("name", ["bert", "mamsm"])
def test_a_model_without_as_many_positions_refuses_on_all_ranks(
    two_ranks: RankPool, name: str
) -> None:
    for told in two_ranks.run(model_too_long, name):
        assert str(LENGTH + 1) in told
