"""What the algebra costs: building masks and running attention, beside torch by hand.

Run: python benchmarks/masks.py  (or `make bench`). Every ratio comes from runs in one process in
alternating order; the figure is the median of the single ratios, below 1 where Sightline is faster.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from measure import ROUNDS, Row, compare, median_of
from rich.console import Console
from rich.table import Table
from torch.nn.functional import scaled_dot_product_attention

import sightline as sl


def padded_causal_bools(batch: int, length: int) -> Row:
    """The mask of a padded causal batch as bools, against the two lines that people write."""
    lengths = np.random.default_rng(0).integers(1, length + 1, batch)

    def by_hand() -> torch.Tensor:
        valid = torch.arange(length) < torch.from_numpy(lengths)[:, None]
        return torch.ones(length, length, dtype=torch.bool).tril() & valid[:, None, None, :]

    def ours() -> np.ndarray:
        return (sl.causal() & sl.padding(lengths=lengths)).dense(length)

    assert (by_hand().numpy() == ours()).all()
    return compare(f"bools of causal & padding, batch {batch} x {length}", ours, by_hand)


def packed_documents_bools(length: int) -> Row:
    """The mask of packed documents as bools, against comparing ids."""
    lengths = np.random.default_rng(1).multinomial(length, [1 / 16] * 16)

    def by_hand() -> torch.Tensor:
        ids = torch.repeat_interleave(torch.arange(16), torch.from_numpy(lengths))
        return (ids[:, None] == ids[None]) & torch.ones(length, length, dtype=torch.bool).tril()

    def ours() -> np.ndarray:
        return (sl.causal() & sl.documents(lengths=lengths)).dense(length)

    assert (by_hand().numpy() == ours()).all()
    return compare(f"bools of causal & documents, {length}", ours, by_hand)


def attention(batch: int, heads: int, length: int, *, train: bool) -> Row:
    """``sl.attend`` against bare SDPA that is given the ready bools: what the guarantees cost."""
    generator = torch.Generator().manual_seed(0)
    shape = (batch, heads, length, 64)
    query, key, value = (torch.randn(shape, generator=generator) for _ in range(3))
    for tensor in (query, key, value):
        tensor.requires_grad_(train)
    lengths = [length * (i + 1) // batch for i in range(batch)]
    mask = sl.causal() & sl.padding(lengths=lengths)
    bools = torch.from_numpy(mask.dense(length))

    def run(attend: Callable[[], torch.Tensor]) -> Callable[[], object]:
        return (lambda: attend().sum().backward()) if train else attend

    ours = run(lambda: sl.attend(query, key, value, mask))
    bare = run(lambda: scaled_dot_product_attention(query, key, value, attn_mask=bools))
    kind = "forward + backward" if train else "forward"
    return compare(f"attend {kind}, [{batch}, {heads}, {length}, 64] float32", ours, bare)


def decode_step(heads: int, past: int) -> Row:
    """One new query against a cache of keys, where a call's fixed cost is felt most."""
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(1, heads, 1, 64, generator=generator)
    key, value = (torch.randn(1, heads, past, 64, generator=generator) for _ in range(2))
    mask = sl.causal() & sl.window(left=past // 2)
    bools = torch.from_numpy(mask.dense(1, past, q_offset=past - 1))
    return compare(
        f"attend one query, {past} keys, [1, {heads}, 1, 64] float32",
        lambda: sl.attend(query, key, value, mask, q_offset=past - 1),
        lambda: scaled_dot_product_attention(query, key, value, attn_mask=bools),
    )


def values_of_a_million_positions() -> list[str]:
    """Plain times of what has no counterpart elsewhere: masks as values."""
    size = 1_048_576
    lengths = np.random.default_rng(2).multinomial(size, [1 / 1024] * 1024)
    a = sl.causal() & sl.documents(lengths=lengths)
    b = sl.documents(cu_seqlens=np.concatenate([[0], np.cumsum(lengths)])) & sl.window(right=0)
    build = median_of(lambda: sl.causal() & sl.documents(lengths=lengths))
    equal = median_of(lambda: a == b)
    read = median_of(lambda: sl.parse(a.text()))
    assert a == b
    return [
        f"a packed causal mask of {size:,} tokens in 1,024 documents:",
        f"  built in {build * 1e6:.0f} us, compared with the same mask written differently in "
        f"{equal * 1e6:.0f} us, printed and parsed back in {read * 1e3:.1f} ms",
    ]


def main() -> None:
    console = Console()
    rows = [
        padded_causal_bools(32, 512),
        padded_causal_bools(8, 2048),
        packed_documents_bools(4096),
        attention(2, 8, 1024, train=False),
        attention(2, 8, 1024, train=True),
        attention(8, 8, 256, train=False),
        attention(8, 8, 256, train=True),
        decode_step(8, 4096),
    ]
    table = Table(title=f"Sightline beside torch {torch.__version__} by hand")
    for heading, justify in (("what", "left"), ("Sightline", "right"), ("torch", "right")):
        table.add_column(heading, justify=justify)
    table.add_column("ratio", justify="right")
    for row in rows:
        table.add_row(
            row.what, f"{row.ours * 1e3:.2f} ms", f"{row.theirs * 1e3:.2f} ms", f"{row.ratio:.2f}"
        )
    console.print(table)
    for line in values_of_a_million_positions():
        console.print(line, highlight=False)
    console.print(f"medians of {ROUNDS}; {torch.get_num_threads()} threads", highlight=False)


if __name__ == "__main__":
    main()
