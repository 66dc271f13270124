"""A small task with all that is awkward on several devices, and how a rank of a pool trains it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from sightline.errors import SightlineError
from sightline.recipes.training.devices import accelerator, part
from sightline.recipes.training.loop import Watch, train
from sightline.recipes.training.outcome import Figure, Outcome
from sightline.recipes.training.recipe import Settings, Task
from sightline.recipes.training.replicas import place
from sightline.recipes.training.run_folder import Run, open_run
from sightline.recipes.training.seeds import generator

WORDS, WIDTH = 7, 6


@dataclass(frozen=True, kw_only=True)
class WordSettings(Settings):
    # Whether the side head is left out of every other batch, as UniLM's is.
    sides: bool = False
    dropout: float = 0.2
    # Plain steps: to them, unlike to Adam's, the size of a gradient matters.
    plain: bool = False
    # Whether sequences can be shared: every token is learnt by itself.
    shared: bool = False


SETTINGS = WordSettings(steps=9, evaluate_every=4, checkpoint_every=3, micro_batches=4, clip=0.5)


class Words(torch.nn.Module):
    """Blocks in a list, an embedding tied to the head, dropout, a frozen weight, a side head."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(WORDS, WIDTH)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.dropout = torch.nn.Dropout(dropout)
        self.side = torch.nn.Linear(WIDTH, WORDS)
        self.head = torch.nn.Linear(WIDTH, WORDS)
        self.head.weight = self.embedding.weight
        self.blocks[1].bias.requires_grad_(False)

    def forward(self, words: torch.Tensor, side: bool) -> torch.Tensor:
        states = self.dropout(self.embedding(words))
        for block in self.blocks:
            states = states + torch.tanh(block(states))
        logits = self.head(states)
        return logits + self.side(states) if side else logits


class WordTask(Task):
    """Learns the next of a few words."""

    def __init__(self, settings: WordSettings, seed: int) -> None:
        torch.manual_seed(seed)
        self.settings, self.seed = settings, seed
        self.model = Words(settings.dropout)
        self.place, self.size = 0, 1

    def optimizer(self) -> torch.optim.Optimizer:
        trained = [each for each in self.model.parameters() if each.requires_grad]
        if self.settings.plain:
            return torch.optim.SGD(trained, lr=1.0, momentum=0.9)
        return torch.optim.AdamW(
            [{"params": trained[:2], "weight_decay": 0.1}, {"params": trained[2:]}], lr=1.0
        )

    def rate(self, step: int) -> float:
        return 0.05 / step

    def batch(self, number: int) -> Any:
        # Batches differ in their sizes: the loss is the mean of their means.
        count = 3 + number % 3
        drawn = generator(self.seed, "batch", number).integers(0, WORDS, (count, 5))
        return {"words": torch.from_numpy(drawn), "side": not self.settings.sides or number % 2}

    def loss(self, model: Any, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        words = batch["words"]
        count = words.numel() / self.size
        words = words[:, self.place :: self.size]
        logits = model(words, bool(batch["side"])).flatten(0, 1)
        following = ((words * 3 + 1) % WORDS).flatten()
        loss = torch.nn.functional.cross_entropy(logits, following, reduction="sum") / count
        even = {"even": loss.item()} if len(words) % 2 == 0 else {}
        return loss, {"count": float(len(words)), **even}

    def share(self, group: Any) -> None:
        if not self.settings.shared:
            super().share(group)
        self.place, self.size = dist.get_rank(group), dist.get_world_size(group)

    def evaluate(self, model: Any, tell: Any) -> dict[str, float]:
        assert not model.training
        assert all(type(each) is torch.nn.Parameter for each in model.parameters())
        assert model.head.weight is model.embedding.weight
        with torch.no_grad():
            loss = self.loss(model, self.batch(10**6))[0]
        if self.size > 1:
            assert dist.get_rank() < self.size  # the others were not asked
            pair = dist.new_group(list(range(self.size)), use_local_synchronization=True)
            dist.all_reduce(loss, group=pair)
        return {"loss": float(loss / self.size)}

    def finish(self, model: Any, tell: Any) -> Outcome:
        return Outcome((Figure("loss", self.evaluate(model, tell)["loss"]),))


@dataclass(frozen=True)
class Learned:
    """What a test compares."""

    losses: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    figure: float
    resumed_at: int


class Stopped(Exception):
    """A run was to stop here."""


def learn(
    folder: Path,
    *,
    killed: tuple[int, int] | None = None,
    stopped: int = 0,
    steps_of: int | None = None,
    **changes: Any,
) -> Learned | None:
    """Train in this process, alone or as a rank; what came out, in the first.

    Args:
        folder: of the run.
        killed: (rank, step) that ends with signal 9.
        stopped: the step in which all end their work without a word; 0 for none.
        steps_of: a rank that is told of one step more than the others.
        changes: of the settings.
    """
    with as_launched() as rank:

        def step(number: int, steps: int, loss: float) -> None:
            if killed == (rank, number):
                os.kill(os.getpid(), signal.SIGKILL)
            if stopped == number:
                raise Stopped

        settings = replace(SETTINGS, **changes)
        if rank == steps_of:
            settings = replace(settings, steps=settings.steps + 1)
        run = Run(folder, "words", "small", settings, 3)
        (resume,) = from_first(open_run(run) if rank == 0 else None)
        try:
            done = train(WordTask(settings, 3), run, resume=resume, watch=Watch(step=step))
        except Stopped:
            return None
    if rank:
        return None
    figure = done.outcome.figures[0].value
    return Learned(done.losses, done.evaluations, figure, done.resumed_at)


def refusal(folder: Path, **changes: Any) -> str:
    """Return what is said of a run that cannot be."""
    try:
        learn(folder, **changes)
    except SightlineError as error:
        return str(error)
    return ""


def rewrite(folder: Path, parallel: str) -> None:
    """Read a run's checkpoint on these processes and write it again, without a step."""
    with as_launched():
        joined = accelerator()
        mine = part(joined, replace(SETTINGS, parallel=parallel))
        path = folder / "checkpoint.safetensors"
        placed = place(WordTask(SETTINGS, 4), path, joined, mine, sharded=parallel == "fsdp")
        placed.save(path, placed.counts)
        joined.wait_for_everyone()


def from_first(own: Any) -> list[Any]:
    """Return what the first process has, in a list of one."""
    told = [own]
    if dist.is_initialized():
        dist.broadcast_object_list(told)
    return told


@contextmanager
def as_launched() -> Iterator[int]:
    """Look like a process that torchrun started, if this is a rank of a group; its number."""
    from accelerate.state import AcceleratorState, PartialState

    before = dict(os.environ)
    if dist.is_initialized():
        rank, size = str(dist.get_rank()), str(dist.get_world_size())
        told = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
        os.environ.update(told, OMP_NUM_THREADS="1", ACCELERATE_USE_CPU="1")
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        yield dist.get_rank() if dist.is_initialized() else 0
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        PartialState._reset_state()
        os.environ.clear()
        os.environ.update(before)


def weights_of(folder: Path, name: str = "checkpoint") -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / f"{name}.safetensors")
