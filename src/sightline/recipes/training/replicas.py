"""A task's model on the devices of a run: whole in every process, or sharded over them all.

Both ways read and write the same file, whatever the number of processes.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from sightline.errors import CannotExpress
from sightline.recipes.training.checkpoint import (
    Counts,
    load_state,
    save_state,
    state_of,
    write_state,
)
from sightline.recipes.training.devices import Part
from sightline.recipes.training.recipe import Task

__all__ = ["ModelShards", "Replicas", "blocks_of", "place", "weights_in"]


def place(
    task: Task, checkpoint: Path | None, accelerator: Any, part: Part, *, sharded: bool
) -> Replicas | ModelShards:
    """Put a task's model on this process's device, as it is in its checkpoint if there is one.

    Args:
        task: whose model; it stays the whole one.
        checkpoint: of either way, by any number of processes.
        accelerator: which joins the processes.
        part: this process's.
        sharded: whether each process keeps a part of the weights only, if there are several.
    """
    if sharded and part.processes > 1:
        return ModelShards(task, checkpoint, accelerator, part)
    return Replicas(task, checkpoint, accelerator)


class Replicas:
    """The model whole in every process; gradients are averaged (DDP).

    Attributes:
        model: what the task's loss is given.
        optimizer: of its weights.
        counts: how far the run is, from its checkpoint.
    """

    def __init__(self, task: Task, checkpoint: Path | None, accelerator: Any) -> None:
        self.joined = accelerator
        optimizer = task.optimizer()
        self.counts = load_state(checkpoint, task.model, optimizer) if checkpoint else Counts()
        self.model, self.optimizer = accelerator.prepare(task.model, optimizer)

    def turn(self, *, last: bool) -> AbstractContextManager[Any]:
        """Work out a loss and its gradients inside; the ``last`` of a step averages them."""
        return nullcontext() if last else self.joined.no_sync(self.model)

    def backward(self, loss: torch.Tensor) -> None:
        """Add to the gradients."""
        self.joined.backward(loss)

    def clip(self, norm: float) -> None:
        """Hold the norm of all gradients together below ``norm``."""
        self.joined.clip_grad_norm_(self.model.parameters(), norm)

    def whole(self) -> Any:
        """Return the model with all its weights; every process must ask."""
        return self.joined.unwrap_model(self.model)

    def save(self, path: Path, counts: Counts) -> None:
        """Write the state, in the first process; every one must ask."""
        if self.joined.is_main_process:
            save_state(path, self.whole(), self.optimizer, counts)


class ModelShards:
    """The model sharded over all processes, each with a part of every weight (FSDP2).

    The task's own model stays whole where it is evaluated, and is given the weights for that.

    Attributes:
        model: what the task's loss is given.
        optimizer: of its weights.
        counts: how far the run is, from its checkpoint.
    """

    def __init__(self, task: Task, checkpoint: Path | None, accelerator: Any, part: Part) -> None:
        from torch.distributed.device_mesh import init_device_mesh

        self.task, self.joined, self.part = task, accelerator, part
        self.optimizer: Any = task.optimizer()
        self.counts = load_state(checkpoint, task.model, self.optimizer) if checkpoint else Counts()
        mesh = init_device_mesh(accelerator.device.type, (part.processes,))
        self.model: Any = _sharded(deepcopy(task.model).to(accelerator.device), mesh)
        _move(self.optimizer, task.model, self.model)
        self._trained = sum(each.requires_grad for each in self.model.parameters())
        task.model.to(accelerator.device if part.data_rank == 0 else "meta")

    def turn(self, *, last: bool) -> AbstractContextManager[Any]:
        """Work out a loss and its gradients inside; they are averaged in each turn."""
        return nullcontext()

    def backward(self, loss: torch.Tensor) -> None:
        """Add to the gradients, averaged over the processes.

        Raises:
            CannotExpress: a loss, of this process or another, that leaves weights out.
        """
        used = self._least(weights_in(loss))
        if used != self._trained:
            raise CannotExpress(
                destination="parallel=fsdp",
                part=f"a loss of {used} of the model's {self._trained} weights",
                reason="all processes must have gradients of the same weights",
                alternative="parallel=ddp",
            )
        loss.backward()

    def _least(self, own: int) -> int:
        """Return the least number of all processes: what one refuses, all must."""
        least = torch.tensor(own, device=self.joined.device)
        torch.distributed.all_reduce(least, torch.distributed.ReduceOp.MIN)
        return int(least)

    def clip(self, norm: float) -> None:
        """Hold the norm of all gradients together below ``norm``."""
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), norm)

    def whole(self) -> Any:
        """Return the task's own model, given all weights where it is evaluated; all must ask."""
        weights = _whole(self.model.state_dict(), keep=self.part.data_rank == 0)
        if weights:
            self.task.model.load_state_dict(weights)
        return self.task.model

    def save(self, path: Path, counts: Counts) -> None:
        """Write the state, in the first process; every one must ask."""
        tensors = _whole(state_of(self.model, self.optimizer), keep=self.joined.is_main_process)
        if tensors:
            write_state(path, tensors, counts)


def _sharded(model: torch.nn.Module, mesh: Any) -> Any:
    """Shard a model's weights over a mesh: block by block, then what stands around the blocks."""
    from torch.distributed.fsdp import fully_shard

    for block in blocks_of(model):
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def blocks_of(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Return what the lists of a model hold: its layers, if they share no weight with others."""
    found: dict[int, torch.nn.Module] = {}
    inside: set[torch.nn.Module] = set()
    for each in model.modules():
        if not isinstance(each, torch.nn.ModuleList) or each in inside:
            continue
        for member in each:
            # A list is never called, so what it holds is wrapped in its place.
            if not isinstance(member, torch.nn.ModuleList):
                found[id(member)] = member
                inside.update(member.modules())
    held = Counter(
        id(weight) for module in model.modules() for weight in module.parameters(recurse=False)
    )
    return [block for block in found.values() if _alone(block, held)]


def _alone(block: torch.nn.Module, held: Counter[int]) -> bool:
    """Whether a block has weights, and all the modules that hold those are its own."""
    own = Counter(
        id(weight) for module in block.modules() for weight in module.parameters(recurse=False)
    )
    return bool(own) and all(held[weight] == count for weight, count in own.items())


def _move(optimizer: Any, model: torch.nn.Module, sharded: torch.nn.Module) -> None:
    """Give an optimizer the sharded weights in place of the model's, and shard what it remembers.

    What it remembers in another shape than its weight's is the same in every process.
    """
    from torch.distributed.tensor import distribute_tensor

    there = dict(sharded.named_parameters())
    moved: dict[Any, Any] = {weight: there[name] for name, weight in model.named_parameters()}
    for group in optimizer.param_groups:
        group["params"] = [moved[weight] for weight in group["params"]]
    for weight, memory in list(optimizer.state.items()):
        new = moved[weight]
        optimizer.state[new] = {
            name: distribute_tensor(value.to(new.device), new.device_mesh, new.placements)
            if isinstance(value, torch.Tensor) and value.shape == new.shape
            else value
            for name, value in memory.items()
        }
        del optimizer.state[weight]


def weights_in(loss: torch.Tensor) -> int:
    """Return how many weights a loss was made from."""
    found: set[int] = set()
    seen: set[Any] = set()
    left = [loss.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, torch.nn.Parameter):
            found.add(id(leaf))
        left.extend(next_node for next_node, _ in node.next_functions)
    return len(found)


def _whole(tensors: dict[str, torch.Tensor], *, keep: bool) -> dict[str, torch.Tensor]:
    """Return tensors in one piece, on the CPU; every process must ask, those that keep get them."""
    from torch.distributed.tensor import DTensor

    kept = {}
    for name, tensor in tensors.items():
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if keep:
            kept[name] = full.detach().cpu()
    return kept
