"""models/transformer.py against torch.nn.Transformer with the same weights and all six masks.

The masks are sightline's here and torch's there; the embeddings and the output layer, which
torch's module has not, are the same matrices on both sides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import sightline as sl

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sightline.models.transformer import Transformer  # noqa: E402

pytestmark = pytest.mark.filterwarnings(
    "ignore:enable_nested_tensor is True:UserWarning",
    "ignore:The PyTorch API of nested tensors:UserWarning",
)

VOCAB, WIDTH, HEADS, HIDDEN = 29, 24, 4, 40
SOURCE, TARGET = [9, 4, 7], [6, 8, 5]  # lengths; every query has a key to see
READS, WRITES = sl.window(left=2, right=1), sl.causal() & sl.window(left=3)
# Target to source by position: a band around the diagonal, and the first key for everybody.
LOOKS = sl.window(left=4, right=2) | sl.sinks(1)
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def models(dtype: Any, norm_first: bool, activation: str) -> tuple[nn.Transformer, Transformer]:
    torch.manual_seed(0)
    theirs = nn.Transformer(
        WIDTH, HEADS, 2, 3, HIDDEN, 0.0, activation, batch_first=True, norm_first=norm_first
    )
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.25)
    theirs = theirs.to(dtype)
    return theirs, Transformer.from_torch(theirs, VOCAB)


def tokens() -> tuple[sl.Batch, sl.Batch]:
    random = np.random.default_rng(1)
    return tuple(
        sl.Batch.from_sequences([random.integers(0, VOCAB, n).tolist() for n in lengths])
        for lengths in (SOURCE, TARGET)
    )


def forbidden(mask: sl.Mask, q_len: int, kv_len: int) -> torch.Tensor:
    return ~torch.from_numpy(mask.dense(q_len, kv_len)[0, 0])


def run_theirs(theirs: Any, ours: Transformer, source: sl.Batch, target: sl.Batch) -> torch.Tensor:
    """Return torch's logits: its six masks, all of them, True = ignore."""
    scale, dtype = WIDTH**0.5, ours.head.weight.dtype

    def embed(table: nn.Embedding, batch: sl.Batch) -> torch.Tensor:
        return table(batch.tokens) * scale + ours.positions(batch.positions, dtype)

    # Positions count on at padding there; nothing looks at them.
    s, t = source.length, target.length
    hidden = theirs(
        embed(ours.source_embedding, source),
        embed(ours.target_embedding, target),
        src_mask=forbidden(READS, s, s),
        tgt_mask=forbidden(WRITES, t, t),
        memory_mask=forbidden(LOOKS, t, s),
        src_key_padding_mask=~source.valid,
        tgt_key_padding_mask=~target.valid,
        memory_key_padding_mask=~source.valid,
    )
    return hidden @ ours.head.weight.T


def run_ours(ours: Transformer, source: sl.Batch, target: sl.Batch) -> torch.Tensor:
    return ours(
        source.tokens,
        target.tokens,
        source_mask=READS & source.mask,
        target_mask=WRITES & target.mask,
        memory_mask=LOOKS & source.mask,
    )


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("norm_first", "activation"), [(False, "relu"), (True, "gelu")])
def test_logits_and_gradients_are_torchs(dtype: Any, norm_first: bool, activation: str) -> None:
    theirs, ours = models(dtype, norm_first, activation)
    source, target = tokens()
    results = []
    for model in (theirs, ours):
        if model is theirs:
            logits = run_theirs(theirs, ours, source, target)
        else:
            logits = run_ours(ours, source, target)
        real = target.gather(logits)
        torch.manual_seed(2)
        loss = (real * torch.randn(real.shape, dtype=dtype)).sum()
        layers = theirs if model is theirs else ours.layers
        table = ours.target_embedding.weight
        results.append([real, *torch.autograd.grad(loss, [table, *layers.parameters()])])
    for wanted, got in zip(*results, strict=True):
        size = max(1.0, float(wanted.detach().abs().max()))
        torch.testing.assert_close(got, wanted, rtol=0.0, atol=TOLERANCE[dtype] * size)


@pytest.mark.parametrize("left_out", ["source_mask", "target_mask", "memory_mask"])
def test_without_one_of_the_masks_it_is_another_model(left_out: str) -> None:
    theirs, ours = models(torch.float64, True, "relu")
    source, target = tokens()
    masks = {
        "source_mask": READS & source.mask,
        "target_mask": WRITES & target.mask,
        "memory_mask": LOOKS & source.mask,
        left_out: sl.everything(),
    }
    wanted = target.gather(run_theirs(theirs, ours, source, target))
    got = target.gather(ours(source.tokens, target.tokens, **masks))
    assert float((got - wanted).detach().abs().max()) > 1e-2


def test_weights_are_copies_and_options_are_read() -> None:
    theirs, ours = models(torch.float32, True, "gelu")
    config = ours.config
    assert (config.layers, config.decoder_layers, config.heads) == (2, 3, HEADS)
    assert (config.norm_first, config.activation, config.hidden) == (True, "gelu", HIDDEN)
    with torch.no_grad():
        theirs.encoder.layers[0].linear1.weight.zero_()
    assert float(ours.layers.encoder.layers[0].linear1.weight.detach().abs().sum()) > 0
    tied = Transformer.from_torch(theirs, VOCAB, tied="none")
    assert tied.head.weight is not tied.target_embedding.weight


def test_layers_of_another_kind_are_refused() -> None:
    with pytest.raises(sl.InvalidArgument, match="with biases"):
        Transformer.from_torch(nn.Transformer(8, 2, 1, 1, 16, bias=False), VOCAB)
