"""How the processes of a run share out its steps and its weights, without any process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import InvalidArgument, RankLost
from sightline.recipes.training.devices import Part, accelerator, part, processes
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
    processes: int, changes: dict[str, Any], wanted: int
) -> None:
    state = SimpleNamespace(num_processes=processes, process_index=processes - 1)
    assert part(state, Settings(**changes)).micro_batches == wanted


def test_more_processes_than_batches_are_refused() -> None:
    state = SimpleNamespace(num_processes=8, process_index=0)
    with pytest.raises(InvalidArgument, match=r"micro_batches=3, shared by 2 each; wanted at most"):
        part(state, Settings(micro_batches=3, context_ranks=2))
    with pytest.raises(InvalidArgument, match=r"--nproc-per-node 6"):
        part(state, Settings(micro_batches=3, context_ranks=2))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"micro_batches": -1}, "micro_batches=-1; wanted a whole number of at least 0"),
        ({"context_ranks": 0}, "context_ranks=0; wanted a whole number of at least 1"),
        ({"context_ranks": 2}, "for 1 process; .* torchrun --nproc-per-node 2 -m sightline"),
        ({"parallel": "zero"}, "parallel='zero'; wanted ddp or fsdp"),
    ],
)
def test_settings_that_no_processes_can_share_are_refused(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidArgument, match=said):
        part(SimpleNamespace(num_processes=1, process_index=0), Settings(**changes))


@pytest.mark.parametrize("timeout", [0, -5])
def test_no_time_to_find_each_other_is_refused(timeout: int) -> None:
    pytest.importorskip("accelerate")
    with pytest.raises(InvalidArgument, match=f"timeout={timeout}; wanted a number of seconds"):
        processes(timeout)


@pytest.mark.parametrize("all_weights", [True, False])
def test_weights_without_gradients_are_looked_for_where_there_may_be_some(
    all_weights: bool,
) -> None:
    pytest.importorskip("accelerate")
    joined = accelerator(all_weights=all_weights)
    assert joined.ddp_handler is not None
    assert joined.ddp_handler.find_unused_parameters is not all_weights


def test_processes_that_do_not_find_each_other_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerate = pytest.importorskip("accelerate")

    def alone(**how: Any) -> None:
        raise torch.distributed.DistNetworkError("no answer from 10.0.0.1\n#0 of C++")

    monkeypatch.setattr(accelerate, "PartialState", alone)
    with pytest.raises(RankLost, match=r"not find each other in 7 s \(no answer from 10.0.0.1\);"):
        processes(7)


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
