"""The destinations of transformers, run: its own mask code and attention, against the oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import sightline as sl  # noqa: E402
from sightline.errors import CannotExpress, InvalidArgument, InvalidMask  # noqa: E402
from sightline.reference.attention import attention  # noqa: E402
from sightline.reference.dense import dense as oracle  # noqa: E402

B, HEADS, DIM, WIDTH = 3, 2, 4, 8
LEFT = sl.padding(lengths=[6, 2, 3], side="left", total=6)
RIGHT = sl.padding(lengths=[6, 2, 3])
HOLES = sl.padding(valid=[[1, 0, 1, 1, 0, 1], [1] * 6, [1, 1, 0, 0, 1, 1]])


def config(implementation: str, **options: Any) -> Any:
    return transformers.LlamaConfig(
        vocab_size=11, hidden_size=WIDTH, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=HEADS, num_key_value_heads=1, attn_implementation=implementation,
        **options,
    )  # fmt: skip


def attend_with(implementation: str, attention_mask: Any, q_len: int, kv_len: int) -> Any:
    """Return (what transformers' attention gives, our arrays) for random numbers."""
    from transformers.models.llama import modeling_llama

    layer = modeling_llama.LlamaAttention(config(implementation), layer_idx=0).eval()
    layer.num_key_value_groups = 1
    rng = torch.Generator().manual_seed(0)
    arrays = [torch.randn(B, HEADS, n, DIM, generator=rng) for n in (q_len, kv_len, kv_len)]
    functions = transformers.modeling_utils.ALL_ATTENTION_FUNCTIONS
    eager = modeling_llama.eager_attention_forward
    run = eager if implementation == "eager" else functions[implementation]
    output, _ = run(layer, *arrays, attention_mask, scaling=DIM**-0.5, dropout=0.0)
    return output.transpose(1, 2).numpy(), [tensor.numpy() for tensor in arrays]


def own_mask(implementation: str, q_len: int, keywords: dict[str, Any], **options: Any) -> Any:
    """Return the mask that a causal model of transformers makes of its arguments."""
    from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

    make = create_sliding_window_causal_mask if options else create_causal_mask
    return make(
        config=config(implementation, **options),
        inputs_embeds=torch.zeros(B, q_len, WIDTH),
        past_key_values=None,
        **{"attention_mask": None, "position_ids": None, **keywords},
    )


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("padding", [sl.everything(), RIGHT, HOLES & sl.keys([0, 2, 4, 5])])
def test_2d_through_the_model_own_mask(implementation: str, padding: sl.Mask) -> None:
    mask = sl.causal() & padding
    ask = {"to": "hf.2d", "q_len": 6, "attn_implementation": implementation, "batch": B}
    keywords = sl.lower(mask, **ask)
    made = own_mask(implementation, 6, keywords)
    if made is None:  # the model then sets is_causal, which this function leaves to the caller
        assert padding == sl.everything()
        return
    got, arrays = attend_with(implementation, made, 6, 6)
    wanted = attention(*arrays, oracle(mask, 6)).output
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


def test_2d_left_padding_gives_zeros_under_sdpa_and_is_refused_under_eager() -> None:
    mask = sl.causal() & LEFT
    made = own_mask("sdpa", 6, sl.lower(mask, to="hf.2d", q_len=6))
    got, arrays = attend_with("sdpa", made, 6, 6)
    allowed = oracle(mask, 6)
    assert not allowed.any(-1).all()
    np.testing.assert_allclose(got, attention(*arrays, allowed).output, rtol=0, atol=1e-5)
    with pytest.raises(CannotExpress, match=r"hf.2d with eager.*query 0.*mean.*sdpa"):
        sl.lower(mask, to="hf.2d", q_len=6, attn_implementation="eager")
    made = own_mask("eager", 6, {"attention_mask": torch.tensor(allowed[:, 0, -1]).long()})
    bare, _ = attend_with("eager", made, 6, 6)
    assert np.abs(bare[1, :, 0]).max() > 0.1, "the trap is gone: say so in the docs"


def test_2d_of_a_model_with_a_window() -> None:
    own = sl.causal() & sl.window(left=2)
    keywords = sl.lower(own & RIGHT, to="hf.2d", q_len=4, kv_len=4, own=own)
    made = own_mask("sdpa", 4, keywords, sliding_window=3)
    np.testing.assert_array_equal(
        np.broadcast_to(made.numpy(), (B, 1, 4, 4)), oracle(own & RIGHT, 4)
    )
    with pytest.raises(CannotExpress, match=r"applies causal\(\) by itself"):
        sl.lower(own, to="hf.2d", q_len=6)


def test_2d_of_an_encoder_and_of_a_decode_step() -> None:
    with pytest.raises(sl.ShapeMismatch, match=r"got batch=2 for hf\.2d and a mask with 3"):
        sl.lower(RIGHT, to="hf.2d", q_len=6, own=sl.everything(), batch=2)
    got = sl.lower(RIGHT, to="hf.2d", q_len=6, own=sl.everything())["attention_mask"]
    assert got.tolist() == [[1] * 6, [1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]]
    step = sl.lower(sl.causal() & LEFT, to="hf.2d", q_len=1, kv_len=6, q_offset=5, positions=True)
    assert step["attention_mask"].tolist() == oracle(LEFT, 1, 6).astype(int)[:, 0, 0].tolist()
    assert step["position_ids"].tolist() == [[5], [1], [2]]


def test_2d_says_what_does_not_fit() -> None:
    documents = sl.causal() & sl.documents(lengths=[2, 4])
    with pytest.raises(CannotExpress, match="differ at batch 0, query 2, key 0"):
        sl.lower(documents, to="hf.2d", q_len=6)
    with pytest.raises(CannotExpress, match=r"heads that differ \(head 1 from head 0 at query"):
        sl.lower(sl.per_head([sl.causal(), sl.everything()]), to="hf.2d", q_len=6)
    with pytest.raises(InvalidArgument, match="got attn_implementation='flash_attention_2'"):
        sl.lower(sl.causal(), to="hf.2d", q_len=6, attn_implementation="flash_attention_2")
    with pytest.raises(InvalidMask, match="got an array"):
        sl.lower(sl.causal(), to="hf.2d", q_len=6, own=np.ones(3))
    with pytest.raises(InvalidArgument, match=r"a mask of 2 heads, for hf\.2d"):
        sl.lower(sl.causal(), to="hf.2d", q_len=6, own=sl.per_head([sl.causal(), sl.nothing()]))


def test_2d_keeps_what_nobody_could_see_and_has_no_pairs() -> None:
    got = sl.lower(sl.causal(), to="hf.2d", q_len=2, kv_len=5)["attention_mask"]
    assert got.tolist() == [[1] * 5]
    assert sl.lower(sl.causal(), to="hf.2d", q_len=0, kv_len=3)["attention_mask"].shape == (1, 3)
    assert sl.lower(sl.causal(), to="hf.2d", q_len=2, kv_len=0)["attention_mask"].shape == (1, 0)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize(
    "mask",
    [
        sl.causal() & RIGHT,
        sl.per_head([sl.causal(), sl.window(1, 1)]) & (RIGHT | sl.window(0, 0)),
        sl.documents(lengths=[[2, 4], [6], [1, 5]]),
    ],
)
def test_4d_is_added(mask: sl.Mask, implementation: str) -> None:
    keywords = sl.lower(mask, to="hf.4d", q_len=4, kv_len=6, q_offset=2)
    assert own_mask(implementation, 4, keywords) is keywords["attention_mask"]
    got, arrays = attend_with(implementation, keywords["attention_mask"], 4, 6)
    wanted = attention(*arrays, oracle(mask, 4, 6, 2)).output
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", torch.bfloat16])
def test_4d_dtypes(dtype: Any) -> None:
    got = sl.lower(sl.causal(), to="hf.4d", q_len=3, dtype=dtype)["attention_mask"]
    assert str(got.dtype).endswith(str(dtype).removeprefix("torch."))
    assert got.isfinite().all()
    assert got.unique().tolist() == [torch.finfo(got.dtype).min, 0]
    with pytest.raises(InvalidArgument, match="got dtype='bool'"):
        sl.lower(sl.causal(), to="hf.4d", q_len=3, dtype="bool")


def test_4d_refuses_empty_rows() -> None:
    with pytest.raises(CannotExpress, match=r"hf\.4d cannot express rows that may see nothing"):
        sl.lower(sl.causal(strict=True), to="hf.4d", q_len=3)


DOCUMENTS = [[3, 1, 2], [6], [1, 1, 1, 3]]


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_position_ids_keep_documents_apart_in_the_model(implementation: str) -> None:
    mask = sl.causal() & sl.documents(lengths=DOCUMENTS)
    keywords = sl.lower(mask, to="hf.position_ids", q_len=6)
    expected = [[0, 1, 2, 0, 0, 1], [0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 1, 2]]
    assert keywords["position_ids"].tolist() == expected
    made = own_mask(implementation, 6, keywords)
    allowed = made if implementation == "sdpa" else made == 0
    np.testing.assert_array_equal(allowed.numpy(), oracle(mask, 6))


def test_a_whole_model_gives_each_document_what_it_gives_it_alone() -> None:
    torch.manual_seed(0)
    model = transformers.LlamaModel(config("sdpa")).eval()
    tokens = torch.randint(0, 11, (1, 6))
    mask = sl.causal() & sl.documents(lengths=DOCUMENTS[0])
    with torch.no_grad():
        packed = model(tokens, **sl.lower(mask, to="hf.position_ids", q_len=6), use_cache=False)
        full = model(
            tokens,
            position_ids=torch.tensor([[0, 1, 2, 0, 0, 1]]),
            **sl.lower(mask, to="hf.4d", q_len=6),
        )
        alone = [model(part).last_hidden_state for part in tokens.split(DOCUMENTS[0], dim=1)]
    wanted = torch.cat(alone, dim=1)
    torch.testing.assert_close(packed.last_hidden_state, wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(full.last_hidden_state, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("mask", "lengths", "part"),
    [
        (sl.causal() & sl.documents(ids=[0, 1, 0]), (3, 3, 0), "differ at batch 0, query 1, key 0"),
        (sl.causal() & sl.padding(lengths=[3, 2]), (3, 3, 0), "differ at batch 1"),
        (sl.documents(lengths=[2, 1]), (3, 3, 0), "differ at batch 0, query 0, key 1"),
        (sl.causal(), (2, 3, 1), "2 queries from position 1 on, 3 keys"),
        (sl.everything(), (3, 3, 4), "3 queries from position 4 on, 3 keys"),
        (sl.per_head([sl.causal(), sl.window(1, 0)]), (3, 3, 0), "heads that differ"),
    ],
)
def test_position_ids_refuse(mask: sl.Mask, lengths: tuple[int, int, int], part: str) -> None:
    with pytest.raises(CannotExpress, match=part):
        sl.lower(mask, "hf.position_ids", *lengths)


def test_position_ids_of_an_encoder() -> None:
    mask = sl.documents(lengths=[2, 1])
    got = sl.lower(mask, to="hf.position_ids", q_len=3, own=sl.everything())
    assert got["position_ids"].tolist() == [[0, 1, 0]]
    backwards = sl.window(left=0, right=None)  # pairs that reach forwards join documents, too
    got = sl.lower(mask & backwards, to="hf.position_ids", q_len=3, own=backwards)
    assert got["position_ids"].tolist() == [[0, 1, 0]]
