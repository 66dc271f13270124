"""Engine varlen on the CPU: which masks it takes, and how it cuts them.

That it is right, and keeps the promises, the tests of all engines say. On CUDA: test_gpu.py.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from poisoning import MASKS, OFFSET, REFUSED, K, draw, takes

import sightline as sl
from sightline.engines import rectangles, varlen
from sightline.engines.rectangles import cut
from sightline.engines.registry import ENGINES
from sightline.engines.varlen import LAYOUTS
from sightline.lower.arguments import Asked

VARLEN = ENGINES["varlen"]


def cut_up(mask: sl.Mask, q_len: int, kv_len: int, q_offset: int = 0, batch: int = 1):
    return cut("engine 'varlen'", Asked(mask, q_len, kv_len, q_offset), batch)


def written_out(found: rectangles.Rectangles, batch: int, q_len: int, kv_len: int) -> np.ndarray:
    """Return bools [batch, q_len, kv_len] of the rectangles, each query in one at most."""
    total = np.zeros((batch * q_len, batch * kv_len), dtype=int)
    queries = np.arange(batch * q_len) if found.query_index is None else found.query_index.numpy()
    keys = np.arange(batch * kv_len) if found.key_index is None else found.key_index.numpy()
    q = k = 0
    for group in found.groups:
        for _ in range(group.count):
            allowed = np.ones((group.rows, group.width), dtype=bool)
            if group.allowed is not None:
                allowed = group.allowed.numpy()
            total[np.ix_(queries[q : q + group.rows], keys[k : k + group.width])] += allowed
            q, k = q + group.rows, k + group.width
    assert (q, k) == (len(queries), len(keys))
    assert len(set(queries.tolist())) == len(queries)
    cells = total.reshape(batch, q_len, batch, kv_len)
    assert total.max() <= 1
    assert not any(cells[a, :, b].any() for a in range(batch) for b in range(batch) if a != b)
    return np.stack([cells[row, :, row] for row in range(batch)]).astype(bool)


@given(
    atom=st.sampled_from(
        [
            sl.everything(),
            sl.causal(),
            sl.window(3, 0),
            sl.window(1, 2),
            sl.window(0, 0),
            sl.window(40, 0),
            sl.chunks(4),
            sl.documents(lengths=[[9, 14, 7], [10, 10, 10]]),
        ]
    ),
    other=st.sampled_from([sl.everything(), sl.chunks(10), sl.documents(lengths=[11, 19])]),
    q_offset=st.sampled_from([0, 6]),
    least=st.sampled_from([2, 5, 128]),
)
def test_rectangles_are_the_mask(atom: sl.Mask, other: sl.Mask, q_offset: int, least: int) -> None:
    mask, q_len, kv_len = atom & other, 30 - q_offset, 30
    kept, rectangles.LEAST_PIECE = rectangles.LEAST_PIECE, least
    try:
        found = cut_up(mask, q_len, kv_len, q_offset, batch=2)
    except sl.CannotExpress:
        return
    finally:
        rectangles.LEAST_PIECE = kept
    wanted = mask.dense(q_len, kv_len, q_offset)[:, 0]
    got = written_out(found, 2, q_len, kv_len)
    np.testing.assert_array_equal(got, np.broadcast_to(wanted, got.shape))


def test_documents_cost_what_they_hold() -> None:
    mask = sl.causal() & sl.documents(lengths=[64] * 16)
    (group,) = cut_up(mask, 1024, 1024).groups
    assert (group.count, group.rows, group.width, group.causal) == (16, 64, 64, True)


def test_a_window_costs_its_width() -> None:
    found = cut_up(sl.window(31, 0), 4096, 4096)
    pairs = sum(group.count * group.rows * group.width for group in found.groups)
    assert pairs < 4096 * (rectangles.LEAST_PIECE + 32)
    assert found.nbytes < 100 * 4096


def test_tokens_that_are_in_order_are_not_copied() -> None:
    found = cut_up(sl.causal() & sl.documents(lengths=[40, 40, 40]), 120, 120)
    assert found.query_index is None
    assert found.key_index is None
    ragged = cut_up(sl.documents(lengths=[40, 20, 40]), 100, 100)
    assert [group.count for group in ragged.groups] == [2, 1]
    assert ragged.query_index is not None


def test_which_masks_it_refuses() -> None:
    query = draw(sl.causal(), torch.float32).query
    refused = {n for n, mask in MASKS.items() if not takes(VARLEN, mask, K, query, OFFSET, None)}
    assert refused == REFUSED["varlen"]


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (sl.causal() | sl.prefix(3), r"cannot express query 1 of batch 0, which sees 1 keys"),
        (sl.per_head([sl.causal(), sl.everything()]), r"cannot express heads that differ"),
        (sl.causal() & (sl.sinks(1) | sl.window(1, 0)), r"query 3 of batch 0, which sees key 0"),
    ],
)
def test_refusals_name_the_part_and_another_engine(mask: sl.Mask, says: str) -> None:
    query = torch.zeros(1, 2, 6, 8)
    for _ in range(2):  # what is kept of the first call refuses the second
        with pytest.raises(sl.CannotExpress, match=says + r".*engine='sdpa'"):
            sl.attend(query, query, query, mask, engine="varlen")


def test_what_it_does_not_do_at_all() -> None:
    query = torch.zeros(1, 2, 6, 8)
    for options, says in (
        ({"bias": torch.zeros(6)}, "a bias"),
        ({"dropout": 0.5}, "dropout=0.5"),
        ({"return_lse": True}, "return_lse=True"),
    ):
        with pytest.raises(sl.CannotExpress, match=says):
            sl.attend(query, query, query, sl.causal(), engine="varlen", **options)


def plain_varlen_attn(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """torch's varlen_attn by its documentation, tokens [tokens, heads, dim], on any device."""
    outputs = []
    edges = zip(*(pairwise(cu.tolist()) for cu in (cu_seq_q, cu_seq_k)), strict=True)
    for (q0, q1), (k0, k1) in edges:
        assert q1 - q0 <= max_q
        assert k1 - k0 <= max_k
        distance = torch.arange(k1 - k0) - (torch.arange(q1 - q0) + k1 - k0 - q1 + q0)[:, None]
        left, right = (torch.inf if side < 0 else side for side in window_size)
        one = (t[a:b].transpose(0, 1) for t, a, b in ((query, q0, q1), (key, k0, k1)))
        output = torch.nn.functional.scaled_dot_product_attention(
            *one,
            value[k0:k1].transpose(0, 1),
            attn_mask=(distance >= -left) & (distance <= right),
            scale=scale,
            enable_gqa=enable_gqa,
        )
        outputs.append(output.transpose(0, 1))
    return torch.cat(outputs)


@pytest.mark.parametrize("name", sorted(MASKS.keys() - REFUSED["varlen"] - {"nothing"}))
def test_the_way_through_varlen_attn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CUDA, but for the kernel, which by its documentation is on the CPU here."""
    monkeypatch.setattr(varlen, "_varlen_attn", lambda: plain_varlen_attn)
    case = draw(MASKS[name], torch.float32, value_dim=6)
    tensors = case.query, case.key, case.value
    wanted = sl.attend(*tensors, case.mask, q_offset=OFFSET, scale=0.3, engine="reference")
    sizes = case.query.shape[2], K, OFFSET
    packed = sl.lower(case.mask, "torch.varlen", *sizes, batch=len(case.query))
    got = varlen._on_cuda(packed, *tensors, 0.3)
    torch.testing.assert_close(got, wanted, rtol=0, atol=2e-6)


def test_layouts_are_kept_and_bounded() -> None:
    LAYOUTS.clear()
    query = torch.zeros(1, 2, 6, 8)
    for _ in range(3):
        sl.attend(query, query, query, sl.causal(), engine="varlen")
    assert len(LAYOUTS) == 1
    with pytest.raises(sl.CannotExpress):
        sl.attend(query, query, query, sl.causal() | sl.prefix(3), engine="varlen")
    assert len(LAYOUTS) == 2
    assert LAYOUTS._bytes > 0
