"""torch.flex: its lists of blocks and its mask_mod against the oracle, then run by torch itself.

Eager flex_attention reads the mask_mod only, the compiled one the lists of blocks too.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, create_mask
from torch.nn.attention.flex_attention import flex_attention as run_flex

import sightline as sl
from sightline.lower import flex_formula, torch_flex
from sightline.reference.attention import attention
from sightline.reference.dense import dense as oracle
from sightline.testing.specs import build
from sightline.testing.strategies import expressions, frames

Bools = NDArray[np.bool_]
PAIRS = (("kv_num_blocks", "kv_indices"), ("full_kv_num_blocks", "full_kv_indices"))
PAIRS_BACK = (("q_num_blocks", "q_indices"), ("full_q_num_blocks", "full_q_indices"))


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    """Lists of blocks are tested at sizes that the CPU kernel, which does not see them, refuses."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_flex, "CPU_WIDTH", 1)
        yield


def lowered(mask: sl.Mask, q_len: int, kv_len: int, q_offset: int = 0, **options: Any) -> BlockMask:
    keywords = sl.lower(mask, "torch.flex", q_len, kv_len, q_offset, **options)
    assert set(keywords) == {"block_mask"}
    return keywords["block_mask"]


# -- the lists of blocks -----------------------------------------------------------------------


def states(allowed: Bools, block_q: int, block_kv: int) -> tuple[Bools, Bools]:
    """Return which blocks [B, H, q_blocks, kv_blocks] are mixed and which are full and whole."""
    B, H, Q, K = allowed.shape
    grid = np.zeros((B, H, -Q % block_q + Q, -K % block_kv + K), dtype=bool)
    grid[:, :, :Q, :K] = allowed
    tiles = grid.reshape(B, H, grid.shape[2] // block_q, block_q, -1, block_kv)
    full = tiles.all(axis=(3, 5))
    return tiles.any(axis=(3, 5)) & ~full, full


def listed(count: torch.Tensor, indices: torch.Tensor) -> Bools:
    """Return the blocks that the lists name; every entry must be one that may be read."""
    assert count.dtype == indices.dtype == torch.int32
    assert count.is_contiguous()
    assert count.shape == indices.shape[:-1]
    assert indices.stride(-1) == 1
    columns = indices.shape[-1]
    storage = indices.untyped_storage().nbytes() // 4
    last = sum((n - 1) * step for n, step in zip(indices.shape, indices.stride(), strict=True))
    assert indices.storage_offset() + last < storage
    assert bool(((indices >= 0) & (indices < columns)).all())
    # Triton's kernels step over batch rows by as many heads.
    assert indices.stride(0) == indices.stride(1) * indices.shape[1]
    result = np.zeros(indices.shape, dtype=bool)
    for place in np.ndindex(*count.shape):
        row = indices[place][: count[place]].tolist()
        assert row == sorted(set(row))
        result[(*place, row)] = True
    return result


def check_lists(block_mask: BlockMask, allowed: Bools) -> None:
    block_q, block_kv = block_mask.BLOCK_SIZE
    forward = states(allowed, block_q, block_kv)
    backward = states(allowed.swapaxes(2, 3), block_kv, block_q)
    for pairs, wanted in ((PAIRS, forward), (PAIRS_BACK, backward)):
        for (count, indices), blocks in zip(pairs, wanted, strict=True):
            found = listed(getattr(block_mask, count), getattr(block_mask, indices))
            np.testing.assert_array_equal(found, blocks, err_msg=indices)


class Case(NamedTuple):
    spec: Any
    at: tuple[int, int, int]
    sizes: tuple[int, int]
    axes: tuple[int, int]


@st.composite
def cases(draw: st.DrawFn, longest: int) -> Case:
    frame = draw(frames(longest))
    frame = replace(frame, kv_offset=0)
    spec = draw(expressions(frame, 2))
    sizes = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    return Case(
        spec, (frame.q_len, frame.kv_len, frame.q_offset), sizes, (frame.batch, frame.heads)
    )


def lower_case(case: Case) -> BlockMask | None:
    mask, (block_q, block_kv) = build(case.spec), case.sizes
    if case.at[0] == 1 and not oracle(case.spec, *case.at).any():
        with pytest.raises(sl.CannotExpress, match="single query"):
            lowered(mask, *case.at, block_q=block_q, block_kv=block_kv)
        return None
    return lowered(mask, *case.at, block_q=block_q, block_kv=block_kv)


@given(cases(longest=14))
def test_the_lists_are_the_blocks_of_the_oracle(case: Case) -> None:
    block_mask = lower_case(case)
    if block_mask is not None:
        mask = build(case.spec)
        allowed = oracle(case.spec, *case.at)
        shape = (mask.batch, mask.heads, *allowed.shape[2:])
        check_lists(block_mask, np.broadcast_to(allowed, shape))
        assert block_mask.shape == shape


@pytest.mark.parametrize("lengths", [(256, 256), (250, 300), (300, 250), (7, 5), (1, 300)])
@pytest.mark.parametrize("q_offset", [0, 40])
def test_the_lists_are_those_of_torch(lengths: tuple[int, int], q_offset: int) -> None:
    mask = sl.per_head([sl.causal(), sl.window(70, 20)]) & sl.padding(lengths=[300, 30, 0])
    got = lowered(mask, *lengths, q_offset, block_q=32, block_kv=64)
    right = create_block_mask(got.mask_mod, 3, 2, *lengths, device="cpu", BLOCK_SIZE=(32, 64))
    assert got.shape == right.shape
    for count, indices in (*PAIRS, *PAIRS_BACK):
        ours, theirs = (listed(getattr(m, count), getattr(m, indices)) for m in (got, right))
        np.testing.assert_array_equal(ours, theirs, err_msg=indices)
    assert torch.equal(got.to_dense(), right.to_dense())
    assert got.sparsity() == right.sparsity()
    assert str(got) == str(right)


def test_rows_share_memory_where_they_can() -> None:
    def strides(mask: sl.Mask, length: int) -> list[int]:
        found = lowered(mask, length, length, block_q=2, block_kv=2)
        return [getattr(found, name).stride(2) for _, name in (*PAIRS, *PAIRS_BACK)]

    assert strides(sl.causal(), 16) == [1, 0, 1, 1]  # full blocks 0 .. i-1; backwards j+1 .. n
    assert strides(sl.causal(), 15) == [1, 0, 2, 1]  # torch takes the short last row as mixed
    assert strides(sl.everything(), 16) == [0, 0, 0, 0]
    assert strides(sl.window(4, 0), 16) == [2, 1, 2, 1]
    for other in (sl.nothing(), sl.causal(strict=True)):
        assert strides(sl.per_batch([sl.causal(), other]), 16) == [1, 0, 1, 1]


def test_what_torch_does_with_one() -> None:
    mask = sl.per_head([sl.causal(), sl.window(3, 0)])
    block_mask = lowered(mask, 16, 16, block_q=4, block_kv=4)
    assert block_mask.to("cpu").full_kv_indices.stride() == block_mask.full_kv_indices.stride()
    moved = block_mask.to("meta")
    assert moved.full_kv_indices.is_contiguous()  # written out: hence device=
    assert torch.equal(block_mask[0, 1].to_dense()[0, 0], block_mask.to_dense()[0, 1])
    assert lowered(mask, 16, 16, device="meta").kv_indices.device.type == "meta"


def test_a_million_tokens() -> None:
    length = 2**20
    documents = sl.causal() & sl.documents(lengths=[1024] * 1024)
    for mask in (documents, sl.causal(), sl.causal() & sl.window(left=4096)):
        for cut in (0, 5):
            sizes = storages(lowered(mask, length - cut, length - cut))
            assert max(sizes) <= 2**25
    block_mask = lowered(documents, length, length)
    assert int(block_mask.kv_num_blocks.sum()) == 8192
    assert int(block_mask.full_kv_num_blocks.sum()) == 1024 * 28
    assert block_mask.full_kv_indices[0, 0, 8191, :7].tolist() == list(range(8184, 8191))


def storages(block_mask: BlockMask) -> list[int]:
    tensors = [getattr(block_mask, name) for pair in (*PAIRS, *PAIRS_BACK) for name in pair]
    for cell in block_mask.mask_mod.__closure__ or ():
        tensors += cell.cell_contents if isinstance(cell.cell_contents, tuple) else ()
    return [tensor.untyped_storage().nbytes() for tensor in tensors]


# -- the mask_mod ------------------------------------------------------------------------------


@given(cases(longest=7))
def test_the_mask_mod_is_the_oracle(case: Case) -> None:
    block_mask = lower_case(case)
    if block_mask is not None:
        batch, heads = case.axes
        got = create_mask(block_mask.mask_mod, batch, heads, *case.at[:2], device="cpu")
        allowed = oracle(case.spec, *case.at)
        np.testing.assert_array_equal(got.numpy(), np.broadcast_to(allowed, got.shape))
        np.testing.assert_array_equal(in_32_bits(block_mask, got.shape), got.numpy())


def in_32_bits(block_mask: BlockMask, shape: Any) -> Bools:
    """Ask the mask_mod with the 32-bit indices of the kernels on other devices."""
    axes = [torch.arange(size, dtype=torch.int32) for size in shape]
    indices = torch.meshgrid(*axes, indexing="ij")
    return np.broadcast_to(block_mask.mask_mod(*indices).numpy(), shape)


@pytest.mark.parametrize(
    "mask",
    [
        sl.keys([k * k for k in range(60)]),  # many ends: searched by halving
        sl.keys(range(0, 200, 2)).T | sl.keys([3]),
        sl.random_blocks(block=8, per_row=2, seed=2**31 - 1),  # needs 64 bits
        sl.dense(np.tri(200, dtype=bool), means="attend").shift(query=-3),
        sl.intervals(start=[[3, 90]] * 200, end=[[5, 120]] * 200),
        sl.log_sparse(local=3),
    ],
    ids=lambda mask: type(mask).__name__,
)
def test_the_mask_mod_at_length(mask: sl.Mask) -> None:
    block_mask = lowered(mask, 90, 150, 40, block_q=16, block_kv=16)
    allowed = oracle(mask, 90, 150, 40)
    got = create_mask(block_mask.mask_mod, 1, 1, 90, 150, device="cpu").numpy()
    np.testing.assert_array_equal(got, allowed)
    np.testing.assert_array_equal(in_32_bits(block_mask, got.shape), allowed)
    check_lists(block_mask, allowed)


def formula(block_mask: BlockMask) -> Any:
    closure = dict(
        zip(block_mask.mask_mod.__code__.co_freevars, block_mask.mask_mod.__closure__, strict=True)
    )
    return closure["formula"].cell_contents


def test_masks_of_one_form_share_their_function_so_that_nothing_is_compiled_again() -> None:
    def of(mask: sl.Mask, q_offset: int = 1) -> Any:
        return formula(lowered(mask, 4, 9, q_offset))

    assert of(sl.documents(lengths=[2, 7])) is of(sl.documents(lengths=[3, 6]))
    assert of(sl.padding(lengths=[2])) is of(sl.padding(lengths=[5]))
    assert of(sl.causal(), q_offset=1) is of(sl.causal(), q_offset=5)
    assert of(sl.window(1, 1)) is not of(sl.window(2, 2))
    assert len(flex_formula._FUNCTIONS) <= flex_formula.MOST_FUNCTIONS


def test_functions_beyond_those_kept_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flex_formula, "_FUNCTIONS", {})
    monkeypatch.setattr(flex_formula, "MOST_FUNCTIONS", 2)
    for left in (1, 2, 3, 1):
        mask = sl.window(left, 0)
        check_mask_mod(lowered(mask, 5, 6), mask, (5, 6, 0))
        assert len(flex_formula._FUNCTIONS) <= 2


def check_mask_mod(block_mask: BlockMask, mask: sl.Mask, at: tuple[int, int, int]) -> None:
    got = create_mask(block_mask.mask_mod, mask.batch, mask.heads, *at[:2], device="cpu")
    np.testing.assert_array_equal(got.numpy(), oracle(mask, *at))


# -- predicates --------------------------------------------------------------------------------


def with_a_where(b: Any, h: Any, q: Any, k: Any) -> Any:
    where = np.where if type(q).__module__ == "numpy" else torch.where
    return where(q > 3, k <= q, k == 0)


def test_predicates_may_call_torch() -> None:
    mask = sl.predicate(with_a_where)
    check_mask_mod(lowered(mask, 9, 8, block_q=2, block_kv=2), mask, (9, 8, 0))


def calls_numpy(b: Any, h: Any, q: Any, k: Any) -> Any:
    return np.where(q > 3, k <= q, k == 0)


def has_a_table(b: Any, h: Any, q: Any, k: Any) -> Any:
    return np.arange(20)[q] >= k


def asks_a_value(b: Any, h: Any, q: Any, k: Any) -> Any:
    return k <= q if np.ndim(q) or q > 3 else k == 0


@pytest.mark.parametrize("fn", [calls_numpy, has_a_table, asks_a_value])
def test_predicates_that_cannot_be_recorded_are_refused(fn: Callable[..., Any]) -> None:
    with pytest.raises(sl.CannotExpress, match=r"recorded.*sl\.dense") as caught:
        lowered(sl.causal() & sl.predicate(fn), 8, 8)
    assert fn.__name__ in caught.value.part


# -- refusals ----------------------------------------------------------------------------------


def test_refusals_of_shapes() -> None:
    with pytest.raises(sl.CannotExpress, match="q_len=0"):
        lowered(sl.causal(), 0, 4)
    with pytest.raises(sl.CannotExpress, match="kv_len=0"):
        lowered(sl.causal(), 4, 0)
    with pytest.raises(sl.CannotExpress, match=r"single query.*sl\.attend"):
        lowered(sl.causal(strict=True), 1, 600)
    lowered(sl.causal(strict=True), 1, 600, 1)
    lowered(sl.padding(lengths=[0, 1]), 1, 600)
    with pytest.raises(ValueError, match=r"block_q.* at least 1"):
        lowered(sl.causal(), 4, 4, block_q=0)
    with pytest.raises(ValueError, match="got device='abacus'"):
        lowered(sl.causal(), 4, 4, device="abacus")


def test_widths_that_the_cpu_kernel_gets_wrong_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_flex, "CPU_WIDTH", 16)
    with pytest.raises(sl.CannotExpress, match=r"block_kv=40 on the CPU.* multiple of 16"):
        lowered(sl.causal(), 90, 90, block_q=24, block_kv=40)
    lowered(sl.causal(), 90, 90, block_q=24, block_kv=48)
    lowered(sl.causal(), 90, 90, block_q=24, block_kv=40, device="meta")


def test_a_block_mask_without_lengths_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        def __init__(self, kv_num_blocks: Any) -> None: ...

    monkeypatch.setattr("torch.nn.attention.flex_attention.BlockMask", Old)
    with pytest.raises(sl.CannotExpress, match=r"torch 2\.6 or newer"):
        lowered(sl.causal(), 4, 4)


# -- run by torch ------------------------------------------------------------------------------

B, HEADS, DIM = 3, 2, 16
RUNS = {
    "causal and documents": (sl.causal() & sl.documents(lengths=[60, 50, 40]), 150, 150, 0),
    "window": (sl.window(20, 5), 150, 130, 0),
    "prefix_lm": (sl.prefix_lm(lengths=[10, 140, 70]), 150, 150, 0),
    "per head": (sl.per_head([sl.causal(), ~sl.window(9, 9)]), 150, 130, 7),
    "empty rows": (sl.causal() & sl.padding(lengths=[90, 0, 3], side="left", total=90), 90, 90, 0),
    "nothing": (sl.nothing(), 90, 70, 0),
    "decode": (sl.causal() & sl.window(left=700), 1, 1600, 1100),
    "decode with an empty row": (sl.causal() & sl.padding(lengths=[0, 1600, 9]), 1, 1600, 1100),
}


@pytest.fixture
def forgetful_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def check_output(name: str, dtype: str, flex: Callable[..., torch.Tensor], **options: Any) -> None:
    mask, *at = RUNS[name]
    block_mask = lowered(mask, *at, **options)
    rng = torch.Generator().manual_seed(0)
    shapes = [(B, HEADS, at[0], DIM), (B, HEADS, at[1], DIM), (B, HEADS, at[1], DIM)]
    inputs = [torch.randn(shape, generator=rng).to(getattr(torch, dtype)) for shape in shapes]
    with torch.no_grad():
        output = flex(*inputs, block_mask=block_mask)
    right = attention(*(tensor.double().numpy() for tensor in inputs), oracle(mask, *at)).output
    tolerance = {"float32": 1e-5, "bfloat16": 4e-2}[dtype]
    np.testing.assert_allclose(output.double().numpy(), right, rtol=0, atol=tolerance)
    empty = ~oracle(mask, *at).any(axis=-1)
    empty = np.broadcast_to(empty, output.shape[:3])
    assert not output.double().numpy()[empty].any()


@pytest.mark.filterwarnings("ignore:flex_attention called without")
@pytest.mark.usefixtures("forgetful_compiler")
@pytest.mark.parametrize("name", RUNS)
def test_flex_attention(name: str) -> None:
    check_output(name, "float32", run_flex)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.usefixtures("forgetful_compiler")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize(
    ("name", "dtype", "options"),
    [
        *((name, "float32", {}) for name in RUNS),
        ("empty rows", "bfloat16", {}),
        ("causal and documents", "bfloat16", {"block_q": 16, "block_kv": 16}),
        ("causal and documents", "float32", {"block_q": 24, "block_kv": 16}),
        ("window", "float32", {"block_q": 1, "block_kv": 48}),
    ],
)
def test_flex_attention_compiled(name: str, dtype: str, options: dict[str, int]) -> None:
    check_output(name, dtype, torch.compile(run_flex), **options)


# -- the checks above can fail -----------------------------------------------------------------


def shifted(block_mask: BlockMask) -> None:
    block_mask.kv_indices = (block_mask.kv_indices + 1).clamp(max=3)


def out_of_range(block_mask: BlockMask) -> None:
    block_mask.full_kv_indices = torch.where(
        torch.arange(4) < block_mask.full_kv_num_blocks[..., None], block_mask.full_kv_indices, 4
    ).to(torch.int32)


def without_full_blocks(block_mask: BlockMask) -> None:
    block_mask.full_kv_num_blocks = torch.zeros_like(block_mask.full_kv_num_blocks)


def wrong_stride(block_mask: BlockMask) -> None:
    block_mask.full_q_indices = block_mask.full_q_indices.as_strided((1, 1, 4, 4), (0, 0, 0, 1))


def forward_for_backward(block_mask: BlockMask) -> None:
    block_mask.q_num_blocks, block_mask.q_indices = block_mask.kv_num_blocks, block_mask.kv_indices
    block_mask.full_q_num_blocks = block_mask.full_kv_num_blocks
    block_mask.full_q_indices = block_mask.full_kv_indices


FAULTS = [shifted, out_of_range, without_full_blocks, wrong_stride, forward_for_backward]


@pytest.mark.parametrize("plant", FAULTS)
def test_faults_in_the_lists_are_seen(plant: Callable[[BlockMask], None]) -> None:
    block_mask, allowed = lowered(sl.causal(), 8, 8, block_q=2, block_kv=2), oracle(sl.causal(), 8)
    check_lists(block_mask, allowed)
    plant(block_mask)
    with pytest.raises(AssertionError):
        check_lists(block_mask, allowed)


def test_faults_in_the_mask_mod_are_seen() -> None:
    with pytest.raises(AssertionError):
        check_mask_mod(lowered(sl.causal(), 5, 6, 1), sl.causal(), (5, 6, 2))
    with pytest.raises(AssertionError):
        check_mask_mod(lowered(sl.causal(strict=True), 5, 6), sl.causal(), (5, 6, 0))
