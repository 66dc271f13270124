"""How the processes of a run share out its steps and its weights, without any process."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import InvalidArgument
from sightline.recipes.training.devices import Part, part
from sightline.recipes.training.recipe import Settings
from sightline.recipes.training.replicas import blocks_of, weights_in


@given(st.integers(1, 5), st.integers(1, 3), st.integers(0, 9), st.data())
def test_shares_make_up_the_mean_of_a_step(
    data_ranks: int, context_ranks: int, more: int, data: st.DataObject
) -> None:
    count, batches = data_ranks * context_ranks, data_ranks + more
    losses = torch.tensor(data.draw(st.lists(st.floats(-9, 9), min_size=batches, max_size=batches)))
    every = [Part(rank, count, context_ranks, batches) for rank in range(count)]
    taken = [each.taken() for each in every]
    assert len({len(each) for each in taken}) == 1
    parts = [sum(weight * float(losses[number]) for number, weight in each) for each in taken]
    assert sum(parts) / count == pytest.approx(float(losses.double().mean()), abs=1e-5)
    told = torch.stack([losses[number] for each in taken for number, _ in each])
    for each in every:
        assert torch.equal(each.in_order(told).float(), losses)


@pytest.mark.parametrize(
    ("processes", "changes", "wanted"),
    [(4, {}, 4), (4, {"context_ranks": 2}, 2), (2, {"micro_batches": 5}, 5), (1, {}, 1)],
)
def test_a_step_has_a_batch_for_each_unless_told_otherwise(
    processes: int, changes: dict[str, int], wanted: int
) -> None:
    state = SimpleNamespace(num_processes=processes, process_index=processes - 1)
    assert part(state, Settings(**changes)).micro_batches == wanted


def test_more_processes_than_batches_are_refused() -> None:
    state = SimpleNamespace(num_processes=8, process_index=0)
    with pytest.raises(InvalidArgument, match=r"micro_batches=3, shared by 2 each; wanted at most"):
        part(state, Settings(micro_batches=3, context_ranks=2))
    with pytest.raises(InvalidArgument, match=r"--nproc-per-node 6"):
        part(state, Settings(micro_batches=3, context_ranks=2))


def linear() -> torch.nn.Linear:
    return torch.nn.Linear(2, 2)


def test_blocks_are_what_lists_hold_unless_tied_to_others() -> None:
    model = torch.nn.Module()
    inner = torch.nn.ModuleList([linear(), linear()])
    alone = linear()
    nested = torch.nn.ModuleList([inner, torch.nn.ModuleList([alone])])
    outer = torch.nn.Sequential(torch.nn.ModuleList([linear()]), torch.nn.Tanh())
    model.stages = nested
    free, tied, head = linear(), linear(), linear()
    model.blocks = torch.nn.ModuleList([outer, torch.nn.Tanh(), free, tied])
    model.head = head
    head.weight = tied.weight
    # One module in two lists is one block.
    model.again = torch.nn.ModuleList([inner[0]])
    found = blocks_of(model)
    wanted = [inner[0], inner[1], alone, outer, free]
    assert {id(each) for each in found} == {id(each) for each in wanted}
    assert len(found) == len(wanted)


def test_the_weights_of_a_loss_are_counted_once() -> None:
    one, other = linear(), linear()
    one.bias.requires_grad_(False)
    x = torch.ones(3, 2, requires_grad=True)
    assert weights_in(one(one(x)).sum()) == 1
    assert weights_in(other(one(x)).sum()) == 3
    assert weights_in(other(one(x).detach()).sum()) == 2
