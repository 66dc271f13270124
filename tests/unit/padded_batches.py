"""What the tests of layers beside attention share: padded batches, and padding made poisonous."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from hypothesis import strategies as st

B, L, D = 4, 7, 5
# A gap inside, padding on the left, on the right, and nothing real at all.
VALID = torch.tensor(
    [
        [1, 1, 0, 0, 1, 1, 0],
        [0, 0, 1, 1, 1, 1, 1],
        [1, 1, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ],
    dtype=torch.bool,
)
POISON = (torch.nan, torch.inf, -torch.inf, 3e38)


def sequences(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def poisoned(x: torch.Tensor, valid: torch.Tensor, seed: int = 1) -> torch.Tensor:
    """Return a copy of ``x`` [B, L, ...] with NaN, Inf and large numbers at padding."""
    drawn = torch.randint(len(POISON), x.shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(
        valid.reshape(*valid.shape, *[1] * (x.ndim - 2)), x, torch.tensor(POISON)[drawn]
    )


def bits(x: torch.Tensor) -> bytes:
    return x.detach().contiguous().numpy().tobytes()


def assert_padding_is_harmless(
    run: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    valid: torch.Tensor,
    parameters: Sequence[torch.Tensor] = (),
) -> None:
    """Check that padding changes no bit of the output and of any gradient, and gets gradient 0."""
    clean, spoiled = (_gradients(run, given, parameters) for given in (x, poisoned(x, valid)))
    for one, other in zip(clean, spoiled, strict=True):
        assert one.isfinite().all()
        assert bits(one) == bits(other)
    assert not clean[1][~valid].any()
    assert clean[1][valid].any()


def _gradients(
    run: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    parameters: Sequence[torch.Tensor],
) -> list[torch.Tensor]:
    x = x.clone().requires_grad_()
    output = run(x)
    upstream = sequences(*output.shape, seed=2)
    return [output, *torch.autograd.grad((output * upstream).sum(), [x, *parameters])]


def valid_tables(most: int = 6) -> st.SearchStrategy[torch.Tensor]:
    """Draw bools [B, L] of any pattern, rows without a real position included."""

    def table(size: tuple[int, int]) -> st.SearchStrategy[torch.Tensor]:
        rows = st.lists(st.booleans(), min_size=size[0] * size[1], max_size=size[0] * size[1])
        return rows.map(lambda cells: torch.tensor(np.array(cells, dtype=bool).reshape(size)))

    return st.tuples(st.integers(1, most), st.integers(1, most)).flatmap(table)
