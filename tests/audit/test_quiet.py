"""How tensors inside a model are judged by their sizes, and that no change is overlooked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sightline.audit.locating.quiet import Axes, Judge, Seen, axes_of

BATCH, LENGTH, MEMORY, WIDTH, HEADS = 3, 7, 11, 5, 2
QUIET = np.arange(LENGTH) < np.array([3, 6, 1])[:, None]


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((3, 7), Axes(0, 1)),
        ((3, 7, 5), Axes(0, 1)),
        ((7, 3, 5), Axes(1, 0)),
        ((3, 5, 7), Axes(0, 2)),
        ((3, 2, 7, 5), Axes(0, 2)),
        ((3, 7, 2, 5), Axes(0, 1)),
        ((3, 2, 7, 7), Axes(0, 2, 3)),
        ((3, 2, 7, 11), Axes(0, 2, 3)),
        ((6, 7, 11), Axes(0, 1, 2)),
        ((6, 7, 5), Axes(0, 1)),
        ((7, 11), Axes(None, 0, 1)),
        ((7, 5), Axes(None, 0)),
        ((1, 7, 5), Axes(None, 1)),
        ((21, 5), Axes(0, None, None, 7)),
        ((33, 5), Axes(0, None, None, 11)),
        ((1, 21, 5), Axes(1, None, None, 7)),
        ((3, 5), None),
        ((3, 4, 6, 2, 7), None),
        ((12, 4, 5), None),
        ((), None),
    ],
)
def test_axes_by_their_sizes(shape: tuple[int, ...], axes: Axes | None) -> None:
    assert axes_of(shape, frozenset({LENGTH, MEMORY}), BATCH) == axes


def test_states_without_a_sequence_only_where_they_are_judged() -> None:
    assert axes_of((3, 5), frozenset({LENGTH, 0}), BATCH) == Axes(0, None)
    assert axes_of((5, 3), frozenset({LENGTH, 0}), BATCH) is None


def layouts() -> dict[str, torch.Tensor]:
    x = torch.randn(BATCH, HEADS, LENGTH, WIDTH, dtype=torch.float64)
    return {
        "batch, heads, length, width": x,
        "batch, length, width": x[:, 0],
        "length, batch, width": x[:, 0].transpose(0, 1),
        "batch, width, length": x[:, 0].transpose(1, 2),
        "batch * length, width": x[:, 0].reshape(-1, WIDTH),
        "batch, length": x[:, 0, :, 0],
        "batch, length, heads, width": x.transpose(1, 2),
    }


@pytest.mark.parametrize("name", layouts())
def test_a_change_is_seen_where_it_must_not_be_and_only_there(name: str) -> None:
    """Each state is changed alone, and judged by where it lies."""
    judge = Judge({LENGTH: QUIET})
    torch.manual_seed(1)
    tensor = layouts()[name].contiguous()
    torch.manual_seed(1)
    marks = torch.arange(BATCH * LENGTH).view(BATCH, 1, LENGTH, 1).expand(3, 2, 7, 5)
    positions = {
        "batch, heads, length, width": marks,
        "batch, length, width": marks[:, 0],
        "length, batch, width": marks[:, 0].transpose(0, 1),
        "batch, width, length": marks[:, 0].transpose(1, 2),
        "batch * length, width": marks[:, 0].reshape(-1, WIDTH),
        "batch, length": marks[:, 0, :, 0],
        "batch, length, heads, width": marks.transpose(1, 2),
    }[name]
    before = judge.see(tensor)
    assert before is not None
    for place in range(0, tensor.numel(), 3):
        changed = tensor.clone()
        changed.view(-1)[place] += 1e-9
        after = judge.see(changed)
        assert after is not None
        row, position = divmod(int(positions.reshape(-1)[place]), LENGTH)
        assert (before.change(after) > 0) == QUIET[row, position]


def test_scores_are_judged_between_quiet_positions() -> None:
    judge = Judge({LENGTH: QUIET})
    scores = torch.randn(BATCH, HEADS, LENGTH, LENGTH, dtype=torch.float64)
    before = judge.see(scores)
    assert before is not None
    for row, query, key in np.ndindex(BATCH, LENGTH, LENGTH):
        changed = scores.clone()
        changed[row, 1, query, key] = 9.0
        after = judge.see(changed)
        assert after is not None
        assert (before.change(after) > 0) == (QUIET[row, query] and QUIET[row, key])


@pytest.mark.parametrize("constant", [-torch.inf, torch.finfo(torch.float64).min, -1e9, 1e30])
def test_constants_of_masks_drown_nothing(constant: float) -> None:
    judge = Judge({LENGTH: np.ones((BATCH, LENGTH), dtype=bool)})
    scores = torch.randn(BATCH, HEADS, LENGTH, LENGTH, dtype=torch.float64)
    scores[..., 4:] = constant
    changed = scores.clone()
    changed[2, 0, 3, 1] += 1e-6
    before, same, after = (judge.see(each) for each in (scores, scores.clone(), changed))
    assert before is not None
    assert same is not None
    assert after is not None
    assert before.change(same) == 0
    assert before.change(after) > 0


@pytest.mark.parametrize("change", [lambda x: -x, lambda x: x.flip(2), lambda x: x * 0])
def test_changes_of_many_features_do_not_cancel(change: object) -> None:
    judge = Judge({LENGTH: QUIET})
    x = torch.ones(BATCH, LENGTH, 4, dtype=torch.float64) * torch.tensor([1, 2, 2, 3])
    before, after = judge.see(x), judge.see(change(x))  # type: ignore[operator]
    assert before is not None
    assert after is not None
    assert before.change(after) > 0.1


def test_a_tensor_written_to_is_looked_at_again() -> None:
    judge = Judge({LENGTH: QUIET})
    x = torch.zeros(BATCH, LENGTH, WIDTH)
    before = judge.see(x)
    assert judge.see(x) is before
    x[0, 0] = 1.0
    after = judge.see(x)
    assert before is not None
    assert after is not None
    assert before.change(after) > 0


@pytest.mark.parametrize("kind", [torch.bool, torch.int64, torch.float16, torch.complex64])
def test_other_numbers(kind: torch.dtype) -> None:
    judge = Judge({LENGTH: QUIET})
    x = torch.zeros(BATCH, LENGTH, WIDTH).to(kind)
    changed = x.clone()
    changed[1, 2, 3] = 1
    before, after = judge.see(x), judge.see(changed)
    assert before is not None
    assert after is not None
    assert before.change(after) > 0


def test_what_has_no_numbers_is_left_out() -> None:
    judge = Judge({LENGTH: QUIET})
    assert judge.see(torch.zeros(BATCH, LENGTH, device="meta")) is None
    assert judge.see(torch.zeros(0, LENGTH)) is None
    assert judge.see(torch.zeros(BATCH, LENGTH).to_sparse()) is None
    seen: list[object] = []
    torch.vmap(lambda row: seen.append(judge.see(row)) or row)(torch.zeros(BATCH, LENGTH))
    assert seen == [None]


def test_a_change_from_nothing_is_as_large_as_can_be() -> None:
    nothing, something = (Seen(np.full((2, 3), value), None, 0.0) for value in (0.0, 10.0))
    assert nothing.change(something) == np.inf
    assert something.change(nothing) == 1
    assert nothing.change(nothing) == 0
