"""Every way in which a mask reaches a patched model: closures, 2-D and 4-D tensors, position ids.

Each is held against transformers' own rendering of the same mask, cell by cell or as outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

transformers = pytest.importorskip("transformers", minversion="5")
torch = pytest.importorskip("torch")

from transformers import masking_utils as theirs  # noqa: E402

import sightline as sl  # noqa: E402
from sightline.errors import (  # noqa: E402
    CannotExpress,
    InvalidArgument,
    ShapeMismatch,
    SightlineError,
)
from sightline.hf import closures  # noqa: E402
from sightline.hf.closures import Frame, read_closure  # noqa: E402
from sightline.hf.mask_function import make_mask  # noqa: E402
from sightline.hf.tensor_masks import read_tensor  # noqa: E402

BATCH, Q_LEN, KV_LEN = 3, 4, 11
IDS = torch.tensor([[0] * 5 + [1] * 6, [0] * 11, [0] * 2 + [1] * 4 + [2] * 5])
BLOCKS = torch.tensor([[-1, 0, 0, 0, -1, 1, 1, -1, -1, -1, -1], [-1] * 11, [0] * 6 + [-1] * 5])
STARTS = torch.tensor([0, 5, 3])

CLOSURES = {
    "causal": (theirs.causal_mask_function, "causal()"),
    "bidirectional": (theirs.bidirectional_mask_function, "everything()"),
    "sliding": (theirs.sliding_window_causal_mask_function(3), "window(left=2, right=0)"),
    "sliding both ways": (
        theirs.sliding_window_bidirectional_mask_function(2),
        "window(left=2, right=2)",
    ),
    "chunks": (theirs.chunked_causal_mask_function(4, torch.zeros(3, dtype=int)), "chunks(4)"),
    "chunks after padding": (theirs.chunked_causal_mask_function(4, STARTS), "per_batch"),
    "blocks": (
        theirs.or_masks(theirs.causal_mask_function, theirs.blockwise_overlay(BLOCKS)),
        "spans",
    ),
}


class Config:
    """As much of a patched model's config as the mask function reads."""

    _attn_implementation = "sightline"


def allowed(mask: Any, batch: int, q_len: int, kv_len: int, q_offset: int) -> np.ndarray:
    table = mask.dense(q_len, kv_len, q_offset)
    return np.broadcast_to(table, (batch, 1, q_len, kv_len))


@pytest.mark.parametrize("name", CLOSURES)
@pytest.mark.parametrize("q_offset", [0, 3, 7])
def test_closures_are_read_as_expressions(name: str, q_offset: int) -> None:
    closure, text = CLOSURES[name]
    mask = read_closure(closure, Frame(BATCH, Q_LEN, KV_LEN, q_offset, 0))
    assert mask is not None
    assert text in str(mask)
    wanted = theirs.sdpa_mask(
        BATCH, Q_LEN, KV_LEN, q_offset, mask_function=closure, allow_is_causal_skip=False
    )
    assert (allowed(mask, BATCH, Q_LEN, KV_LEN, q_offset) == wanted.numpy()).all()


@pytest.mark.parametrize("side", ["left", "right", "holes", "cache", "short", "all"])
@pytest.mark.parametrize("q_offset", [0, 7])
@pytest.mark.parametrize("name", ["causal", "sliding", "bidirectional"])
def test_padding_is_read_for_every_frame(name: str, q_offset: int, side: str) -> None:
    """Keys beyond the 2-D mask are padding; a cache hands out keys from ``kv_offset`` on."""
    valid = torch.ones(BATCH, KV_LEN, dtype=torch.bool)
    valid[:, {"cache": 0, "short": 0}.get(side, 0) :] = True
    for row, pads in enumerate((0, 4, 2)):
        if side == "left":
            valid[row, :pads] = False
        elif side == "right":
            valid[row, KV_LEN - pads :] = False
        elif side == "holes":
            valid[row, 2 : 2 + pads] = False
    valid = valid[:, : {"cache": q_offset + Q_LEN, "short": 6}.get(side, KV_LEN)]
    for kv_offset in {0, max(0, q_offset - 2)}:
        told = {
            "batch_size": BATCH,
            "q_length": Q_LEN,
            "kv_length": KV_LEN - kv_offset,
            "q_offset": q_offset,
            "kv_offset": kv_offset,
            "mask_function": CLOSURES[name][0],
            "attention_mask": valid,
        }
        carrier = make_mask(**told, config=Config())
        wanted = theirs.sdpa_mask(**told, allow_is_causal_skip=False)
        sizes = BATCH, Q_LEN, KV_LEN - kv_offset
        assert (allowed(carrier.mask, *sizes, carrier.q_offset) == wanted.numpy()).all()


def test_a_left_padded_batch_has_one_mask_for_all_decoding_steps() -> None:
    masks = set()
    for length in (20, 21, 100):
        valid = torch.ones(BATCH, length, dtype=torch.bool)
        valid[1, :4] = False
        masks.add(
            make_mask(
                BATCH, 1, length, length - 1, 0, CLOSURES["causal"][0], valid, config=Config()
            ).mask
        )
    assert len(masks) == 1


@pytest.mark.parametrize("use_vmap", [False, True])
def test_closures_that_are_not_known_are_evaluated(use_vmap: bool) -> None:
    def odd(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return (key + query) % 3 != batch % 2

    closure = theirs.and_masks(theirs.causal_mask_function, odd)
    frame = {"q_length": Q_LEN, "kv_length": 8, "q_offset": 5, "kv_offset": 2}
    carrier = make_mask(BATCH, **frame, mask_function=closure, config=Config(), use_vmap=use_vmap)
    wanted = theirs.sdpa_mask(
        BATCH, **frame, mask_function=closure, allow_is_causal_skip=False, use_vmap=use_vmap
    )
    found = allowed(carrier.mask, BATCH, Q_LEN, 8, carrier.q_offset)
    assert (found == wanted.numpy()).all()


def named_like_theirs(off_by: int) -> Any:
    """A closure that looks like a part of theirs."""

    def inner_mask(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return key > query - 3 + off_by

    inner_mask.__module__ = theirs.__name__
    inner_mask.__qualname__ = "sliding_window_overlay.<locals>.inner_mask"
    return inner_mask


def test_a_name_over_other_variables_is_not_believed() -> None:
    assert read_closure(named_like_theirs(1), Frame(1, 4, 4, 0, 0)) is None


def test_a_reading_that_is_off_by_one_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the first call is one query of a decoding step."""
    wrong = {"sliding_window_overlay": lambda sliding_window: sl.window(left=sliding_window)}
    monkeypatch.setattr(closures, "_READERS", {**closures._READERS, **wrong})
    monkeypatch.setattr(closures, "_checked", {})
    monkeypatch.setattr(closures, "_kept", {})
    window = theirs.sliding_window_causal_mask_function(1000)
    assert read_closure(window, Frame(1, 1, 1, 0, 0)) is None


def test_an_argument_that_is_not_known_is_refused() -> None:
    with pytest.raises(CannotExpress, match="dilation=2"):
        make_mask(1, 4, 4, mask_function=CLOSURES["causal"][0], config=Config(), dilation=2)


def test_a_mask_of_three_axes_is_refused() -> None:
    with pytest.raises(ShapeMismatch, match=r"\[1, 4, 4\]; wanted \[batch, keys\]"):
        make_mask(1, 4, 4, 0, 0, CLOSURES["causal"][0], torch.ones(1, 4, 4) > 0, config=Config())


def test_a_model_that_is_not_patched_here_is_told_so() -> None:
    class Stranger:
        _attn_implementation = "sightline-99"

    with pytest.raises(InvalidArgument, match="sightline-99"):
        make_mask(1, 4, 4, mask_function=CLOSURES["causal"][0], config=Stranger())


# -- tensors ----------------------------------------------------------------------------------


def test_float_masks_forbid_and_add_exactly() -> None:
    torch.manual_seed(0)
    values = torch.randn(BATCH, 2, Q_LEN, KV_LEN)
    for least in (-torch.inf, torch.finfo(torch.float32).min, torch.finfo(torch.float16).min):
        forbidden = torch.rand(values.shape) < 0.3
        given = values.masked_fill(forbidden, least)
        mask, bias = read_tensor(given, Q_LEN, KV_LEN)
        assert (mask.dense(Q_LEN, KV_LEN) == ~forbidden.numpy()).all()
        assert torch.equal(bias, values.masked_fill(forbidden, 0.0))
    given = torch.zeros(BATCH, 1, Q_LEN, KV_LEN).masked_fill(forbidden[:, :1], -torch.inf)
    assert read_tensor(given, Q_LEN, KV_LEN)[1] is None


def test_a_mask_tensor_that_was_changed_is_read_again() -> None:
    given = torch.ones(1, 1, Q_LEN, KV_LEN, dtype=torch.bool)
    assert read_tensor(given, Q_LEN, KV_LEN)[0] == sl.everything()
    given[..., 3:] = False
    assert read_tensor(given, Q_LEN, KV_LEN)[0].count(Q_LEN, KV_LEN) == Q_LEN * 3
    mask, _ = read_tensor(given[:, :, :1], Q_LEN, KV_LEN)
    assert mask.count(Q_LEN, KV_LEN) == Q_LEN * 3


@pytest.mark.parametrize("shape", [(4, 11), (3, 1, 5, 11), (3, 1, 4, 10)])
def test_mask_tensors_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatch, match=r"attention mask of shape"):
        read_tensor(torch.ones(shape), Q_LEN, KV_LEN)


def test_a_mask_that_is_no_tensor_is_refused() -> None:
    with pytest.raises(CannotExpress, match="type object"):
        read_tensor(object(), Q_LEN, KV_LEN)


# -- through models ---------------------------------------------------------------------------


def llama() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return transformers.LlamaModel(config).eval()


def both(model: Any, **given: Any) -> tuple[Any, Any]:
    with torch.no_grad():
        return tuple(change(model)(**given)[0] for change in (sl.hf.unpatch, sl.hf.patch))


@pytest.mark.parametrize("kind", ["bool", "float", "bias"])
def test_users_4d_masks(kind: str) -> None:
    torch.manual_seed(3)
    given = torch.rand(BATCH, 1, 9, 9) < 0.7
    given |= torch.eye(9, dtype=torch.bool)
    if kind != "bool":
        given = torch.zeros(given.shape).masked_fill(~given, torch.finfo(torch.float32).min)
    if kind == "bias":
        given = torch.where(given == 0, torch.randn(given.shape), given)
    tokens = torch.randint(0, 97, (BATCH, 9))
    own, ours = both(llama(), input_ids=tokens, attention_mask=given)
    assert float((own - ours).abs().max()) < 1e-5


def test_packed_documents_are_read_from_position_ids() -> None:
    positions = torch.cat([torch.arange(n) for n in (4, 2, 3)])[None]
    tokens = torch.randint(0, 97, (BATCH, 9))
    model = llama()
    own, ours = both(model, input_ids=tokens, position_ids=positions, use_cache=False)
    assert float((own - ours).abs().max()) < 1e-5
    assert "documents" in str(sl.hf.explain(model))


def test_rewriting_says_the_mask_of_one_call() -> None:
    model, tokens = sl.hf.patch(llama()), torch.randint(0, 97, (1, 9))
    positions = torch.cat([torch.arange(n) for n in (4, 2, 3)])[None]
    asked: list[Any] = []

    def packed(wanted: Any) -> Any:
        asked.append(wanted)
        return wanted.structure & sl.documents(lengths=[4, 2, 3])

    with torch.no_grad():
        wanted = model(tokens, position_ids=positions, use_cache=False)[0]
        valid = torch.ones_like(tokens)
        told = {"attention_mask": valid, "position_ids": positions, "use_cache": False}
        plain = model(tokens, **told)[0]
        with sl.hf.rewriting(packed):
            found = model(tokens, **told)[0]
        assert torch.equal(model(tokens, **told)[0], plain)
    assert torch.equal(found, wanted)
    assert not torch.equal(found, plain)
    assert (asked[0].structure, asked[0].padding, asked[0].q_len) == (sl.causal(), None, 9)


USES = {
    "slice": lambda mask: mask[..., :3],
    "view": lambda mask: mask.view(1),
    "add": lambda mask: 1 + mask,
    "join": lambda mask: torch.cat([mask, torch.zeros(1, 1, 4, 1)], dim=-1),
    "multiply": lambda mask: torch.zeros(4) * mask,
    "fill": lambda mask: mask.masked_fill(1, 2),
    "less": lambda mask: mask < 0,
    "truth": lambda mask: mask or None,
}


@pytest.mark.parametrize("use", USES)
def test_what_a_model_does_to_its_mask_is_refused(use: str) -> None:
    carrier = make_mask(1, 4, 4, mask_function=CLOSURES["causal"][0], config=Config())
    assert carrier.shape == (1, 1, 4, 4)
    assert carrier.ndim == 4
    assert carrier.to("cpu").contiguous() is carrier
    with pytest.raises(SightlineError):
        USES[use](carrier)
