"""The paged cache as its users meet it: pages taken, shared, copied on write, and given back.

That masks and bits are those of the full pass is tests/conformance/test_nn_cache_*.py.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import InvalidArgument, ShapeMismatch

LAYERS, BATCH, HEADS, DIM, PAGES, SIZE = 2, 3, 2, 4, 8, 4


def make(**changes: Any) -> Any:
    sizes = {"layers": LAYERS, "batch": BATCH, "kv_heads": HEADS, "head_dim": DIM, **changes}
    return sl.nn.PagedKVCache(sizes.pop("pages", PAGES), SIZE, **sizes)


class Model:
    """A cache beside plain lists of what each row should hold."""

    def __init__(self, **changes: Any) -> None:
        self.cache = make(**changes)
        self.rows: list[list[float]] = [[] for _ in range(BATCH)]
        self.next = 1.0

    def fill(self, counts: list[int]) -> None:
        chunk = self.cache.extend(counts)
        told = torch.full((self.cache.batch, HEADS, chunk.q_len, DIM), float("nan"))
        for row, count in enumerate(chunk.counts.tolist()):
            for place in range(count):
                told[row, :, place] = self.next
                self.rows[row].append(self.next)
                self.next += 1
        for layer in range(LAYERS):
            keys, values = chunk.layer(layer).append(told + layer / 2, -told)
            self.compare(keys - layer / 2, -values)

    def compare(self, *tensors: torch.Tensor) -> None:
        for tensor in tensors:
            assert tensor.shape == (len(self.rows), HEADS, max(map(len, self.rows)), DIM)
            for row, wanted in enumerate(self.rows):
                own = tensor[row, :, : len(wanted)]
                assert bool((own == torch.tensor(wanted)[None, :, None]).all()), (row, wanted)

    def pages_to(self, counts: list[int]) -> int:
        """How many more pages there must be, row after row, by what each row shares."""
        tables = self.cache.tables()
        needed = 0
        for row, count in enumerate(counts):
            length = len(self.rows[row])
            needed += -(-(length + count) // SIZE) - len(tables[row])
            last = tables[row][-1] if count and length % SIZE else None
            if last is not None and sum(table.count(last) for table in tables) > 1:
                needed += 1
                tables[row][-1] = -1
        return needed

    def check_pages(self) -> None:
        """Each page is counted once for each row that has it, or is free; none is lost."""
        tables = self.cache.tables()
        assert [len(table) for table in tables] == [-(-len(row) // SIZE) for row in self.rows]
        used = {page for table in tables for page in table}
        assert self.cache.free_pages == PAGES - len(used)
        users = self.cache._pages.users
        for page in range(PAGES):
            assert users[page] == sum(table.count(page) for table in tables)


def test_pages_are_taken_as_rows_grow_and_given_back() -> None:
    model = Model()
    model.fill([5, 0, 1])
    assert model.cache.tables() == [[0, 1], [], [2]]
    model.fill([3, 1, 0])
    assert model.cache.tables() == [[0, 1], [3], [2]]
    model.cache.crop([4, 9, 0])
    model.rows = [model.rows[0][:4], model.rows[1], []]
    assert model.cache.tables() == [[0], [3], []]
    assert model.cache.free_pages == 6
    model.fill([1, 3, 2])
    model.check_pages()


def test_a_shared_page_is_copied_by_who_writes_first() -> None:
    model = Model()
    model.fill([6, 0, 0])
    model.cache.share_prefix(0, [1, 2], 6)
    model.rows = [list(model.rows[0]) for _ in range(3)]
    assert model.cache.tables() == [[0, 1]] * 3
    model.fill([0, 1, 0])
    assert model.cache.tables() == [[0, 1], [0, 2], [0, 1]]
    model.fill([1, 0, 1])  # of the two left, the last has the page for itself
    assert model.cache.tables() == [[0, 3], [0, 2], [0, 1]]
    model.check_pages()
    model.fill([1, 1, 1])


def test_rows_that_share_full_pages_go_on_with_pages_of_their_own() -> None:
    model = Model()
    model.fill([8, 0, 0])
    model.cache.share_prefix(0, [2], 4)
    model.rows[2] = model.rows[0][:4]
    model.fill([1, 0, 1])
    assert model.cache.tables() == [[0, 1, 2], [], [0, 3]]
    model.check_pages()


def test_what_a_row_held_before_is_dropped_when_it_gets_a_prefix() -> None:
    model = Model()
    model.fill([3, 9, 0])
    model.cache.share_prefix(0, 1, 2)
    model.rows[1] = model.rows[0][:2]
    model.check_pages()
    model.fill([1, 1, 1])
    model.check_pages()


def test_exhausted_pages_say_how_many_are_needed_and_change_nothing() -> None:
    model = Model()
    model.fill([16, 12, 1])
    for counts, needed in (([1, 0, 0], 1), ([5, 4, 4], 4)):
        with pytest.raises(
            InvalidArgument,
            match=rf"need {needed} free pages .* 0 of 8 are free.*pages={8 + needed}",
        ):
            model.cache.extend(counts)
    assert model.cache.lengths.tolist() == [16, 12, 1]
    model.fill([0, 0, 3])
    model.check_pages()
    shared = Model()
    shared.fill([14, 14, 0])  # all pages, and then copies of a shared one
    shared.cache.share_prefix(0, [2], 14)
    with pytest.raises(InvalidArgument, match="need 1 free pages"):
        shared.cache.extend([1, 0, 1])
    assert shared.cache.tables()[0] == shared.cache.tables()[2]


def test_the_buffer_does_not_grow_with_each_step() -> None:
    model = Model()
    model.fill([1, 2, 3])
    sizes = set()
    for _ in range(8):
        model.fill([1, 1, 0])
        sizes.add(model.cache._buffers[0].data_ptr())
    assert len(sizes) <= 2


# What may be done to a cache, with numbers to do it by.
OPERATIONS = st.sampled_from(["fill", "fill", "fill", "crop", "reorder", "share"])
NUMBERS = st.lists(st.integers(0, 9), min_size=BATCH, max_size=BATCH)


@settings(max_examples=40)
@given(steps=st.lists(st.tuples(OPERATIONS, NUMBERS), min_size=3, max_size=12))
def test_any_history(steps: list[tuple[str, list[int]]]) -> None:
    """Rows hold what plain lists hold, and no page is lost or freed twice."""
    model = Model()
    for operation, numbers in steps:
        if operation == "fill":
            counts = [n // 2 for n in numbers]
            free = model.cache.free_pages
            needed = model.pages_to(counts)
            if needed > free:
                with pytest.raises(InvalidArgument, match=f"need {needed} free pages"):
                    model.cache.extend(counts)
            else:
                model.fill(counts)
                assert free - model.cache.free_pages == needed
        elif operation == "crop":
            model.cache.crop(numbers)
            model.rows = [row[:n] for row, n in zip(model.rows, numbers, strict=True)]
        elif operation == "reorder":
            rows = [n % BATCH for n in numbers]
            model.cache.reorder(rows)
            model.rows = [list(model.rows[row]) for row in rows]
        else:
            source, to = numbers[0] % BATCH, numbers[1] % BATCH
            if source != to:
                length = min(numbers[2], len(model.rows[source]))
                model.cache.share_prefix(source, [to], length)
                model.rows[to] = model.rows[source][:length]
        model.check_pages()


REFUSED = [
    (lambda: make(pages=0), InvalidArgument, "pages must be at least 1"),
    (lambda: make(max_len=3).extend([1, 4, 0]), InvalidArgument, "max_len=4 or more"),
    (lambda: make().share_prefix(0, [0], 0), InvalidArgument, "wanted other rows"),
    (lambda: make().share_prefix(3, [0], 0), InvalidArgument, "wanted other rows"),
    (lambda: make().share_prefix(0, [1, 3], 0), InvalidArgument, "from 0 to 2"),
    (lambda: make().share_prefix(0, [1], 1), InvalidArgument, "holds 0 tokens"),
    (lambda: make().extend([1, 2]), ShapeMismatch, "each of the 3"),
]


@pytest.mark.parametrize(("call", "error", "words"), REFUSED)
def test_refusals(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_the_text_and_the_size() -> None:
    cache = make()
    assert repr(cache) == (
        "PagedKVCache(layers=2, batch=3, kv_heads=2, pages=8, page_size=4, free=8, head_dim=4, "
        "dtype=torch.float32, lengths=[0, 0, 0], 0.0 MiB)"
    )
    assert cache.nbytes == LAYERS * HEADS * PAGES * SIZE * 2 * DIM * 4
    assert cache.last_position == PAGES * SIZE - 1
