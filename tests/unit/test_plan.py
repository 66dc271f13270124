"""What a plan is to its users: what it says, what it refuses, when it is the same object.

That its blocks and bits are exact is tests/conformance/test_plan.py.
"""

from __future__ import annotations

import copy
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.masks import bits, descent
from sightline.masks.descent import Grid
from sightline.masks.frame import Frame
from sightline.plan import planner
from sightline.plan.block_map import BlockCounts, Run
from sightline.plan.cache import PlanCache

PACKED = sl.causal() & sl.documents(lengths=[[5, 3], [4, 4]])


@pytest.fixture(autouse=True)
def forgotten() -> None:
    sl.plan.cache_clear()  # pyright: ignore[reportFunctionMemberAccess]


# -- what it says --------------------------------------------------------------------------------


def test_a_plan_of_causal_attention() -> None:
    plan = sl.plan(sl.causal(), 10, block_q=4, block_kv=4)
    assert (plan.q_len, plan.kv_len, plan.q_offset, plan.kv_offset) == (10, 10, 0, 0)
    assert (plan.q_blocks, plan.kv_blocks, plan.batch, plan.heads) == (3, 3, 1, 1)
    assert plan.counts == BlockCounts(empty=3, partial=3, full=3)
    assert plan.runs(0) == [Run(0, 0, 0)]
    assert plan.runs(2)[0] == Run(0, 1, -1)
    assert plan.states()[0, 0].tolist() == [[1, 0, 0], [2, 1, 0], [2, 2, 1]]
    assert (plan.pairs, plan.all_pairs, plan.density) == (55, 100, 0.55)
    # The last block holds 2 x 2; its triangle is another pattern, with nothing beyond its edge.
    assert plan.patterns.tolist() == [[[1], [3], [7], [15]], [[1], [3], [0], [0]]]
    heights, widths = plan.extents()
    assert (heights * widths).tolist() == [16, 16, 16, 16, 4]


def test_keys_beyond_64_stand_in_the_next_word() -> None:
    plan = sl.plan(sl.keys([0, 63, 64, 130]), 1, 131, block_kv=192)
    assert plan.patterns.tolist() == [[[1 + 2**63, 1, 4]]]


def test_a_decode_step_is_one_row_of_the_same_mask() -> None:
    plan = sl.plan(sl.causal() & sl.window(left=5), 1, 20, q_offset=12, block_q=4, block_kv=4)
    assert plan.states()[0, 0].tolist() == [[0, 1, 2, 1, 0]]
    assert plan.patterns.shape == (2, 1, 1)


@pytest.mark.parametrize("kv_len", [1023, 1024, 1025, 5000])
def test_a_decode_step_over_many_keys(kv_len: int) -> None:
    mask = sl.causal() & sl.window(left=700) | sl.keys([3, 64, 900])
    plan = sl.plan(mask, 1, kv_len, q_offset=kv_len - 1, block_q=96, block_kv=64)
    assert plan.pairs == mask.count(1, kv_len, kv_len - 1)
    states = plan.states()[0, 0, 0]
    allowed = mask.dense(1, kv_len, kv_len - 1)[0, 0, 0]
    for block, state in enumerate(states):
        cells = allowed[64 * block : 64 * (block + 1)]
        assert state == (2 if cells.all() else int(cells.any()))


def test_a_decode_step_takes_no_memory_to_speak_of() -> None:
    bits._lowest_keys.cache_clear()
    tracemalloc.start()
    for length in (150_000, 150_064):
        sl.plan(sl.causal() & sl.padding(lengths=[length - 5]), 1, length, q_offset=length - 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_the_text_of_a_plan_names_mask_shape_and_blocks() -> None:
    plan = sl.plan(PACKED, 8, 6, q_offset=2, block_q=2, block_kv=3, cuts="aligned")
    text = repr(plan)
    assert text.startswith("BlockMap(causal() & documents(lengths=[[5, 3], [4, 4]]), 8 x 6 at 2, 0")
    assert "in blocks of 2 x 3, cut aligned:" in text
    assert "..." in repr(sl.plan(sl.keys(range(0, 90, 2)), 8))


def test_batch_rows_and_heads_have_runs_of_their_own() -> None:
    mask = sl.per_head([sl.causal(), sl.nothing(), sl.everything()]) & sl.padding([2, 4])
    plan = sl.plan(mask, 4, block_q=2, block_kv=2)
    assert plan.runs(1, batch=0, head=0) == [Run(0, 0, -1)]
    assert plan.runs(1, batch=1, head=1) == []
    assert plan.runs(0, batch=1, head=2) == [Run(0, 1, -1)]
    for wrong in ({"query_block": 2}, {"query_block": -1}, {"query_block": 0, "batch": 2},
                  {"query_block": 0, "head": 3}):  # fmt: skip
        with pytest.raises(sl.ShapeMismatch, match="must be from 0 to"):
            plan.runs(**wrong)
    # A mask that is the same for all batch rows answers for each of them.
    assert sl.plan(sl.causal(), 4).runs(0, batch=7) == sl.plan(sl.causal(), 4).runs(0)


@pytest.mark.parametrize(("q_len", "kv_len"), [(0, 5), (5, 0), (0, 0)])
def test_no_queries_or_no_keys_make_an_empty_plan(q_len: int, kv_len: int) -> None:
    for cuts in ("uniform", "aligned"):
        plan = sl.plan(PACKED, q_len, kv_len, cuts=cuts)  # pyright: ignore[reportArgumentType]
        assert (plan.pairs, plan.density, len(plan.pattern)) == (0, 0.0, 0)
        assert plan.counts == (0, 0, 0)
        assert len(plan.row_start) == plan.batch * plan.heads * plan.q_blocks + 1


def test_states_are_written_out_only_where_they_fit() -> None:
    with pytest.raises(sl.InvalidArgument, match="too many to write out one by one; read the runs"):
        sl.plan(sl.causal(), 2**21).states()


# -- cuts ------------------------------------------------------------------------------------------


def blocks_of_document(plan: Any, batch: int, start: int, stop: int) -> list[Any]:
    """What the queries of one document see, by places within it and by bits."""
    edges = plan.grid.q_edges[batch if len(plan.grid.q_edges) > 1 else 0]
    k_edges = plan.grid.k_edges[batch if len(plan.grid.k_edges) > 1 else 0]
    found = []
    for i in range(plan.q_blocks):
        if start <= edges[i] < stop and edges[i] < edges[i + 1]:
            runs = plan.runs(i, batch)
            found.append(
                [
                    (
                        int(edges[i] - start), int(edges[i + 1] - start),
                        int(k_edges[first] - start), int(k_edges[last + 1] - start),
                        None if kind < 0 else plan.patterns[kind].any(-1).sum(),
                        None if kind < 0 else plan.patterns[kind].ravel().tolist(),
                    )
                    for first, last, kind in runs
                ]
            )  # fmt: skip
    return found


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
    st.integers(0, 3),
    st.sampled_from([(4, 4), (3, 5)]),
)
def test_aligned_cuts_treat_a_document_alike_wherever_it_stands(
    before: list[int], left: int, blocks: tuple[int, int]
) -> None:
    sizes = {"block_q": blocks[0], "block_kv": blocks[1], "cuts": "aligned"}
    alone = sl.plan(sl.causal() & sl.documents(lengths=[9]), 9, **sizes)
    start = sum(before)
    packed = sl.plan(sl.causal() & sl.documents(lengths=[*before, 9, 2]), start + 11, **sizes)
    padded = sl.plan(
        sl.causal() & sl.padding(lengths=[9, 9 + left], side="left"), 9 + left, **sizes
    )
    wanted = blocks_of_document(alone, 0, 0, 9)
    assert blocks_of_document(packed, 0, start, start + 9) == wanted
    assert blocks_of_document(padded, 0, left, left + 9) == wanted


def test_cuts_of_moved_and_combined_masks() -> None:
    def edges(mask: sl.Mask, length: int = 10) -> list[list[int]]:
        return Grid.aligned(Frame.of(length, None), 4, 4, mask).q_edges.tolist()

    documents = sl.documents(lengths=[3, 7])
    assert edges(documents) == [[0, 3, 7, 10]]
    assert edges(~documents | sl.causal()) == [[0, 3, 7, 10]]
    assert edges(documents.shift(query=2, key=2)) == [[0, 2, 5, 9, 10]]
    assert edges(documents & sl.padding([4, 9])) == [[0, 3, 4, 8, 10], [0, 3, 7, 9, 10]]
    assert edges(sl.per_batch([documents, sl.causal()])) == [[0, 3, 7, 10], [0, 4, 8, 10]]
    assert edges(sl.per_head([documents, sl.causal()])) == [[0, 3, 7, 10]]
    assert edges(sl.causal()) == [[0, 4, 8, 10]]


def test_blocks_that_a_shorter_row_does_not_have_are_in_no_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(descent, "FIRST_TILES", 1)  # one tile holds blocks of both kinds
    mask = sl.causal() | ~sl.documents(lengths=[[1] * 16, [16]])
    plan = sl.plan(mask, 16, block_q=4, block_kv=4, cuts="aligned")
    assert (plan.q_blocks, plan.kv_blocks) == (16, 16)
    assert sum(plan.counts) == 16 * 16 + 4 * 4
    assert min(plan.counts) >= 0
    assert [run for i in range(4, 16) for run in plan.runs(i, batch=1)] == []
    assert max(last for i in range(4) for _, last, _ in plan.runs(i, batch=1)) < 4
    assert plan.pairs == mask.count(16)
    whole = sl.documents(lengths=[[1] * 16, [16]]) | sl.prefix(16)
    plan = sl.plan(whole, 16, block_q=4, block_kv=4, cuts="aligned")
    assert [plan.runs(i, batch=1) for i in range(5)] == [[Run(0, 3, -1)]] * 4 + [[]]
    assert plan.counts == (0, 0, 16 * 16 + 4 * 4)


def test_as_many_batch_rows_as_heads_are_not_taken_for_each_other() -> None:
    mask = sl.per_head([sl.causal(), sl.everything()]) & sl.padding(lengths=[200, 300])
    for length in (7, 300):
        picture = mask.dense(length)
        plan = sl.plan(mask, length, block_q=16, block_kv=16)
        assert plan.pairs == picture.sum()
        states = plan.states()
        for b, h in np.ndindex(2, 2):
            counted = [np.count_nonzero(states[b, h] == state) for state in (1, 2)]
            blocks = [
                picture[b, h, i : i + 16, j : j + 16]
                for i in range(0, length, 16)
                for j in range(0, length, 16)
            ]
            full = sum(bool(block.all()) for block in blocks)
            assert counted == [sum(bool(block.any()) for block in blocks) - full, full]


def test_short_blocks_have_no_bits_beyond_their_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bits, "MOST_READ", 1)  # each block is read by itself
    plan = sl.plan(sl.chunks(3), 70, 128, block_q=64, block_kv=64)
    (pattern,) = {run.pattern for run in plan.runs(1) if run.first_block == 1}
    assert not plan.patterns[pattern, 6:].any()
    assert plan.pairs == sl.chunks(3).count(70, 128)


def test_bits_are_counted_without_the_help_of_numpy_2(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.random.default_rng(0).integers(0, 2**64, (3, 4, 2), dtype=np.uint64)
    wanted = [[bin(int(a)).count("1") + bin(int(b)).count("1") for a, b in row] for row in words]
    assert bits.count_bits(words, axis=2).tolist() == wanted
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert bits.count_bits(words, axis=2).tolist() == wanted
    assert bits.count_bits(words) == sum(map(sum, wanted))


def test_uniform_and_aligned_plans_allow_the_same() -> None:
    mask = sl.causal() & sl.documents(lengths=[5, 1, 9, 30])
    uniform = sl.plan(mask, 50, block_q=8, block_kv=8)
    aligned = sl.plan(mask, 50, block_q=8, block_kv=8, cuts="aligned")
    assert uniform.pairs == aligned.pairs
    assert sum(aligned.counts) > sum(uniform.counts)


# -- what it refuses -------------------------------------------------------------------------------


def test_a_plan_refuses_another_mask_and_another_shape() -> None:
    plan = sl.plan(PACKED, 8, 6, q_offset=2)
    plan.check(sl.documents(lengths=[[5, 3], [4, 4]]) & sl.window(right=0), 8, 6, 2)
    with pytest.raises(sl.InvalidArgument, match=r"made for causal\(\) & documents.*with causal"):
        plan.check(sl.causal(), 8, 6, 2)
    with pytest.raises(sl.ShapeMismatch, match="q_len=8, not 9; q_offset=2, not 0"):
        plan.check(PACKED, 9, 6)
    with pytest.raises(sl.ShapeMismatch, match="kv_offset=0, not 1"):
        plan.check(PACKED, 8, 6, 2, 1)


@pytest.mark.parametrize(
    ("arguments", "error", "complaint"),
    [
        ({"mask": True}, sl.InvalidArgument, "plan wants a mask, got True"),
        ({"block_q": 0}, sl.InvalidArgument, r"plan\(block_q=\) must be at least 1, got 0"),
        ({"block_kv": 2.5}, sl.InvalidArgument, r"plan\(block_kv=\) must be an integer"),
        ({"cuts": "ragged"}, sl.InvalidArgument, "'uniform' or 'aligned', got 'ragged'"),
        ({"q_len": -1}, sl.ShapeMismatch, "q_len must be at least 0, got -1"),
        ({"mask": sl.dense([[1]], "attend")}, sl.ShapeMismatch, "asked for queries up to 4"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: Any, complaint: str) -> None:
    given: dict[str, Any] = {"mask": sl.causal(), "q_len": 4} | arguments
    with pytest.raises(error, match=complaint):
        sl.plan(**given)


def test_a_mask_without_structure_is_refused_at_a_shape_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planner, "MOST_MIXED", 10)

    def shapeless(b: Any, h: Any, q: Any, k: Any) -> Any:
        return (q * k) % 3 == 1

    with pytest.raises(
        sl.InvalidArgument, match=r"opaque.*more than 10 blocks of 128 x 128 neither empty nor full"
    ):
        sl.plan(sl.predicate(shapeless), 1024, block_q=128, block_kv=128)
    assert sl.plan(sl.predicate(shapeless), 384).counts.partial == 9


def test_a_plan_cannot_be_changed() -> None:
    plan = sl.plan(sl.causal(), 300)
    for array in (plan.row_start, plan.first_block, plan.last_block, plan.pattern, plan.patterns):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_a_plan_can_be_copied() -> None:
    plan = sl.plan(PACKED, 8)
    back = copy.deepcopy(plan)
    back.check(PACKED, 8)
    assert back.runs(0, 1) == plan.runs(0, 1)
    assert (back.patterns == plan.patterns).all()


# -- when it is the same object --------------------------------------------------------------------


def info() -> Any:
    return sl.plan.cache_info()  # pyright: ignore[reportFunctionMemberAccess]


def test_a_plan_of_an_equal_mask_at_the_same_shape_is_the_same_object() -> None:
    plan = sl.plan(PACKED, 8)
    assert sl.plan(sl.documents(lengths=[[5, 3], [4, 4]]) & sl.causal(), 8, 8) is plan
    assert (info().hits, info().misses, info().plans) == (1, 1, 1)
    assert info().nbytes == plan.nbytes
    others = [
        sl.plan(PACKED, 8, 7), sl.plan(PACKED, 8, q_offset=1), sl.plan(PACKED, 8, kv_offset=1),
        sl.plan(PACKED, 8, block_q=4), sl.plan(PACKED, 8, block_kv=4),
        sl.plan(PACKED, 8, cuts="aligned"), sl.plan(PACKED.T, 8),
    ]  # fmt: skip
    assert len({id(other) for other in [plan, *others]}) == 8
    sl.plan.cache_clear()  # pyright: ignore[reportFunctionMemberAccess]
    assert info()[:4] == (0, 0, 0, 0)
    assert sl.plan(PACKED, 8) is not plan


def test_the_package_and_its_front_door_are_called_alike() -> None:
    from importlib import import_module

    package: Any = import_module("sightline.plan")
    plan = package(PACKED, 8)
    assert plan is sl.plan(PACKED, 8)
    assert package.cache_info().hits == 1
    package.cache_clear()
    assert info().plans == 0


def test_what_is_kept_is_bounded_and_the_oldest_goes_first() -> None:
    plans = [sl.plan(sl.window(left=n), 4096) for n in range(3)]
    room = plans[0].nbytes + plans[1].nbytes + plans[2].nbytes // 2
    cache = PlanCache(most_bytes=room)
    cache.put("a", plans[0])
    cache.put("b", plans[1])
    assert cache.get("a") is plans[0]  # now b is the one not used for longest
    cache.put("c", plans[2])
    assert cache.get("b") is None
    assert (cache.get("a"), cache.get("c")) == (plans[0], plans[2])
    assert cache.info().nbytes == plans[0].nbytes + plans[2].nbytes <= room
    few = PlanCache(most_plans=2)
    for name, plan in zip("abc", plans, strict=True):
        few.put(name, plan)
    assert few.info().plans == 2
    assert few.get("a") is None
    assert few.info().nbytes == plans[1].nbytes + plans[2].nbytes
    small = PlanCache(most_bytes=10)
    small.put("a", plans[0])
    assert small.info().plans == 0


def test_plans_may_be_made_in_many_threads() -> None:
    cache = PlanCache(most_bytes=sl.plan(sl.window(left=0), 512).nbytes * 3)
    failures: list[Exception] = []

    def work(seed: int) -> None:
        try:
            random = np.random.default_rng(seed)
            for n in random.integers(0, 9, 200).tolist():
                mask = sl.window(left=n)
                if cache.get(n) is None:
                    cache.put(n, sl.plan(mask, 512))
                sl.plan(mask, 512).check(mask, 512)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert cache.info().nbytes <= cache.info().most_bytes
    assert info().plans <= 10
