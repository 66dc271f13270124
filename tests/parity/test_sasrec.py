"""models/sasrec.py against the published formula, written out in numpy, float64; its layouts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import sightline as sl  # noqa: E402
from sightline.errors import InvalidArgument, ShapeMismatch  # noqa: E402
from sightline.models.sasrec import SASRec, SASRecConfig, right_aligned  # noqa: E402

VOCAB, CONTEXT = 23, 11
LENGTHS = (4, 9, 1, 11, 6)
SIZES = {"vocab": VOCAB, "layers": 2, "heads": 2, "width": 12, "hidden": 20, "context": CONTEXT}


def make(**options: Any) -> SASRec:
    torch.manual_seed(3)
    model = SASRec(SASRecConfig(**{**SIZES, "dropout": 0.0, **options})).double().eval()
    with torch.no_grad():  # as after training: shifts that are not 0
        for name, weight in model.named_parameters():
            if name != "item_embedding.weight":
                weight.add_(torch.randn_like(weight), alpha=0.3)
    return model


def users() -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(1, VOCAB, (length,), generator=generator) for length in LENGTHS]


def batch(side: str) -> sl.Batch:
    return (
        sl.Batch.from_sequences(users(), side=side).padded("left", length=CONTEXT)
        if (side == "left")
        else sl.Batch.from_sequences(users(), side=side)
    )


def run(model: SASRec, laid: sl.Batch, **options: Any) -> Any:
    """Return the scores of the items (padding's number left out) at real clicks."""
    return laid.gather(model(laid.tokens, **options))[:, 1:]


def placed(model: SASRec, laid: sl.Batch) -> dict[str, Any]:
    return {"positions": right_aligned(laid, CONTEXT), "mask": laid.place(model.mask)}


# -- the published formula, one user and one query at a time -------------------------------------


def normed(x: np.ndarray, norm: Any) -> np.ndarray:
    scale, shift = (each.detach().numpy() for each in (norm.weight, norm.bias))
    spread = np.sqrt(x.var(axis=-1, keepdims=True) + 1e-8)
    return scale * (x - x.mean(axis=-1, keepdims=True)) / spread + shift


def mapped(x: np.ndarray, layer: Any) -> np.ndarray:
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def attended(block: Any, x: np.ndarray, real: np.ndarray, left_out: set[str]) -> np.ndarray:
    """Queries are normed, keys are not; masks as published: two before the softmax, one after."""
    asking = normed(x, block.query_norm)
    query, key, value = mapped(asking, block.query), mapped(x, block.key), mapped(x, block.value)
    heads = np.split(np.arange(x.shape[1]), SIZES["heads"])
    out = np.empty_like(x)
    for columns in heads:
        scores = query[:, columns] @ key[:, columns].T / math.sqrt(len(columns))
        if "key" not in left_out:
            scores = np.where(real[None, :], scores, -(2.0**32) + 1)
        if "causal" not in left_out:
            scores = np.where(np.tri(len(x), dtype=bool), scores, -(2.0**32) + 1)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        if "query" not in left_out:
            weights *= real[:, None]
        out[:, columns] = weights @ value[:, columns]
    return out + asking


def published(model: SASRec, items: np.ndarray, left_out: set[str] = frozenset()) -> np.ndarray:
    """Return scores [length, vocab] of one padded row [length]."""
    real = items != 0
    table = model.item_embedding.weight.detach().numpy()
    x = table[items] * math.sqrt(SIZES["width"]) * real[:, None]
    x = x + model.position_embedding.weight.detach().numpy()
    cleared = 1.0 if "clear" in left_out else real[:, None]
    x = x * cleared
    for block in model.blocks:
        x = normed(attended(block, x, real, left_out), block.forward_norm)
        x = np.maximum(mapped(x, block.up), 0) @ block.down.weight.detach().numpy().T + (
            block.down.bias.detach().numpy() + x
        )
        x = x * cleared
    return normed(x, model.norm) @ table.T


FLAGS = {
    "key": "key_mask",
    "query": "query_mask",
    "causal": "causal_mask",
    "clear": "clear_padding",
}


@pytest.mark.parametrize("left_out", ["", "query", "causal", "clear", "query clear"])
def test_published_formula(left_out: str) -> None:
    words = set(left_out.split())
    model = make(**{FLAGS[word]: False for word in words})
    laid = batch("left")
    expected = np.stack([published(model, row, words) for row in laid.tokens.numpy()])
    found = run(model, laid).detach().numpy()
    assert np.abs(laid.gather(torch.from_numpy(expected))[:, 1:].numpy() - found).max() < 1e-10


def test_published_formula_without_the_key_mask() -> None:
    """Without it the first queries of a padded row see padding, so there the source is finite."""
    model = make(key_mask=False)
    laid = batch("left")
    expected = np.stack([published(model, row, {"key"}) for row in laid.tokens.numpy()])
    found = run(model, laid).detach().numpy()
    assert np.abs(laid.gather(torch.from_numpy(expected))[:, 1:].numpy() - found).max() < 1e-10
    assert not np.allclose(found, run(make(), laid).detach().numpy(), atol=1e-3)


def test_padding_gives_what_the_source_gives() -> None:
    """Queries at padding: weights of 0, features of 0 after each block, the last norm's shift."""
    model, laid = make(), batch("left")
    features = model.features(laid.tokens)
    assert torch.allclose(features[~laid.valid], model.norm.bias, atol=1e-12)


# -- layouts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["packed", "right", "left"])
def test_layouts_agree(side: str) -> None:
    model = make()
    laid = batch(side)
    expected = run(model, batch("left"))
    found = run(model, laid, **placed(model, laid))
    assert (found - expected).abs().max() < 1e-10


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_a_user_alone_is_a_user_in_a_batch(dtype: Any, tolerance: float) -> None:
    model, laid = make().to(dtype), batch("left")
    together = laid.split(model.features(laid.tokens).detach())
    for user, features in zip(users(), together, strict=True):
        alone = model.features(user[None])[0].detach()
        assert (alone - features).abs().max() <= tolerance * max(1.0, float(alone.abs().max()))


def gradients(model: SASRec, laid: sl.Batch, **options: Any) -> list[Any]:
    model.zero_grad()
    run(model, laid, **options).square().mean().backward()
    return [each.grad.clone() for each in model.parameters()]


def test_packed_users_teach_the_same() -> None:
    model, left, packed = make(), batch("left"), batch("packed")
    expected, found = gradients(model, left), gradients(model, packed, **placed(model, packed))
    for one, other in zip(expected, found, strict=True):
        assert (one - other).abs().max() < 1e-10


@pytest.mark.parametrize("side", ["left", "packed"])
def test_engines_agree(side: str) -> None:
    laid = batch(side)
    found = []
    for engine in ("cpu", "sdpa"):
        model = make(engine=engine).float()
        options = placed(model, laid) if side == "packed" else {}
        found.append([run(model, laid, **options).detach(), *gradients(model, laid, **options)])
    for one, other in zip(*found, strict=True):
        assert (one - other).abs().max() < 1e-5 * max(1.0, float(one.abs().max()))


# -- masks ----------------------------------------------------------------------------------------


def test_with_the_key_mask_the_other_masks_of_padding_do_nothing() -> None:
    laid = batch("left")
    whole = run(make(), laid)
    for left_out in ({"query_mask": False}, {"clear_padding": False}):
        assert (run(make(**left_out), laid) - whole).abs().max() < 1e-12


@pytest.mark.parametrize("left_out", ["", "key", "query", "causal", "key query causal"])
def test_each_mask_is_there_or_is_not(left_out: str) -> None:
    """Padding on the left, drawn out: none of 3 clicks, or two of them, is padding."""
    words = left_out.split()
    model = make(**{FLAGS[word]: False for word in words})
    _, _, allowed = model._begin(torch.tensor([[3, 1, 4], [0, 1, 5]]), None, None)
    real = np.array([[True, True, True], [False, True, True]])
    expected = np.ones((2, 3, 3), dtype=bool)
    if "key" not in words:
        expected &= real[:, None, :]
    if "query" not in words:
        expected &= real[:, :, None]
    if "causal" not in words:
        expected &= np.tri(3, dtype=bool)
    assert np.array_equal(np.broadcast_to(allowed.dense(3)[:, 0], (2, 3, 3)), expected)


def test_masks_come_before_positions() -> None:
    """With positions added no vector at padding is 0: a mask read off them would hide nothing.

    So the number of keys that each click sees must not grow with the padding.
    """
    model, laid = make(), batch("left")
    _, _, allowed = model._begin(laid.tokens, None, None)
    with_positions = model.item_embedding(laid.tokens) + model.position_embedding.weight
    assert sl.equivalent(sl.nn.key_mask_from_inputs(with_positions), sl.everything(), q_len=CONTEXT)
    seen = torch.from_numpy(allowed.dense(CONTEXT)[:, 0]).sum(-1)
    assert torch.equal(laid.gather(seen), torch.cat([torch.arange(1, n + 1) for n in LENGTHS]))
    for weights in model.attention(laid.tokens):
        assert not weights.transpose(-1, -2)[~laid.valid[:, None].expand(-1, 2, -1)].any()


def test_what_padding_holds_is_never_read() -> None:
    model, laid = make(), batch("left")
    candidates = laid.scatter(torch.randint(1, VOCAB, (laid.real, 2)))  # 0 at padding too
    found = []
    for spoil in (False, True):
        if spoil:
            with torch.no_grad():
                model.item_embedding.weight[0] = torch.nan
        found.append([run(model, laid), *gradients(model, laid)])
        model.zero_grad()
        scores = model(laid.tokens, candidates=candidates)
        sl.nn.masked_loss_mean(scores.square(), laid.valid).backward()
        found[-1] += [each.grad.clone() for each in model.parameters()]
    for one, other in zip(*found, strict=True):
        assert one.isfinite().all()
        assert torch.equal(one, other)


# -- scores and errors ----------------------------------------------------------------------------


def test_candidates_are_columns_of_all_scores() -> None:
    model, laid = make(), batch("left")
    candidates = torch.randint(1, VOCAB, (len(LENGTHS), CONTEXT, 3))
    expected = model(laid.tokens).gather(2, candidates)
    assert torch.allclose(model(laid.tokens, candidates=candidates), expected, atol=1e-12)


def test_padding_is_no_item() -> None:
    model, laid = make(), batch("left")
    with torch.no_grad():
        model.item_embedding.weight[0] = torch.nan
    assert not model(laid.tokens)[..., 0].any()


def test_errors() -> None:
    model = make()
    with pytest.raises(ShapeMismatch, match="got 12 clicks and a model with context=11"):
        model(torch.ones(2, 12, dtype=torch.int64))
    with pytest.raises(ShapeMismatch, match=r"got items \[7\]"):
        model(torch.ones(7, dtype=torch.int64))
    with pytest.raises(ShapeMismatch, match=r"got candidates \[2, 5\]"):
        model(torch.ones(2, 5, dtype=torch.int64), candidates=torch.ones(2, 5, dtype=torch.int64))
    with pytest.raises(ShapeMismatch, match="got a sequence of 12 for 11 positions"):
        right_aligned(sl.Batch.from_lengths([12, 3]), CONTEXT)
    for options in ({"vocab": 1}, {"heads": 5}, {"dropout": 1.0}, {"context": 0}, {"layers": 0}):
        with pytest.raises(InvalidArgument, match="got"):
            SASRecConfig(**{**SIZES, **options})
