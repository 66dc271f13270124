"""The training loop: curves, checkpoints, the best weights, and going on after any interruption."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from sightline.errors import DataError
from sightline.recipes.training.checkpoint import (
    Counts,
    load_state,
    load_weights,
    read_counts,
    save_state,
    save_weights,
)
from sightline.recipes.training.loop import Watch, train
from sightline.recipes.training.outcome import Figure, Outcome
from sightline.recipes.training.recipe import Settings, Task
from sightline.recipes.training.run_folder import Run, open_run, settled
from sightline.recipes.training.seeds import generator, seed_for


@dataclass(frozen=True, kw_only=True)
class LineSettings(Settings):
    width: int = 3


class LineTask(Task):
    """Learns a line; dropout makes its losses depend on torch's random numbers."""

    def __init__(self, settings: LineSettings, seed: int) -> None:
        torch.manual_seed(seed)
        self.seed = seed
        self.model = torch.nn.Sequential(
            torch.nn.Linear(settings.width, 5), torch.nn.Dropout(0.5), torch.nn.Linear(5, 1)
        )
        self.seen: list[int] = []

    def optimizer(self):
        return torch.optim.Adam(self.model.parameters(), lr=1.0)

    def rate(self, step):
        return 0.05 / step

    def batch(self, number):
        self.seen.append(number)
        x = torch.from_numpy(generator(self.seed, "batch", number).normal(size=(7, 3))).float()
        return {"x": x, "y": x.sum(1, keepdim=True)}

    def loss(self, model, batch):
        loss = torch.nn.functional.mse_loss(model(batch["x"]), batch["y"])
        return loss, {"twice": 2 * loss.item()}

    def evaluate(self, model, tell):
        assert not model.training
        x = torch.ones(2, 3)
        return {"loss": float((model(x) - 3).abs().mean()), "noise": float(torch.rand(()))}

    def finish(self, model, tell):
        return Outcome((Figure("error", self.evaluate(model, tell)["loss"]),))

    def save(self, folder: Path) -> None:
        (folder / "words.json").write_text("[]")


SETTINGS = LineSettings(steps=23, evaluate_every=4, checkpoint_every=5)


def run_in(folder: Path, settings: LineSettings = SETTINGS, seed: int = 3) -> Run:
    return Run(folder, "line", "small", settings, seed)


def trained(folder: Path, *, stop_at: int | None = None, settings=SETTINGS, seed: int = 3):
    """Train in a folder, or until ``stop_at``, where the process is as good as killed."""

    def step(number: int, steps: int, loss: float) -> None:
        if number == stop_at:
            raise KeyboardInterrupt

    run = run_in(folder, settings, seed)
    resume = open_run(run)
    return train(LineTask(settings, seed), run, resume=resume, watch=Watch(step=step))


def test_losses_of_every_step_are_kept_and_evaluations_too(tmp_path):
    done = trained(tmp_path / "run")
    assert [record["step"] for record in done.losses] == list(range(1, 24))
    assert all(record["twice"] == pytest.approx(2 * record["loss"]) for record in done.losses)
    assert [record["step"] for record in done.evaluations] == [4, 8, 12, 16, 20, 23]
    assert done.counts.step == 23
    assert done.counts.seconds > 0
    assert (tmp_path / "run" / "words.json").exists()
    assert done.task.seen == list(range(23))


@pytest.mark.parametrize("stop_at", [1, 5, 6, 12, 22])
def test_a_stopped_run_goes_on_with_the_same_losses(tmp_path, stop_at):
    whole = trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", stop_at=stop_at)
    resumed = trained(tmp_path / "parts")
    assert resumed.resumed_at == stop_at - 1 - (stop_at - 1) % 5
    assert resumed.losses == whole.losses
    assert resumed.evaluations == whole.evaluations
    assert resumed.counts.best == whole.counts.best
    assert resumed.outcome.figures == whole.outcome.figures
    for ours, theirs in zip(
        resumed.task.model.parameters(), whole.task.model.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_another_seed_gives_other_losses(tmp_path):
    assert trained(tmp_path / "a").losses != trained(tmp_path / "b", seed=4).losses


class DriftTask(LineTask):
    """Is judged by how far its weights went from where they were at step 8."""

    wanted: torch.Tensor

    def evaluate(self, model, tell):
        weights = torch.cat([each.flatten() for each in model.parameters()])
        if self.seen == list(range(8)):
            self.wanted = weights.clone()
        return {"loss": float((weights - self.wanted).abs().sum()) if self.seen[7:] else 9.0}


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_the_weights_that_remain_are_the_best_ones(tmp_path, better):
    run = run_in(tmp_path / "run")
    open_run(run)
    task = DriftTask(SETTINGS, 3)
    task.better = better
    done = train(task, run, resume=False)
    pick = min if better == "lower" else max
    best = pick(done.evaluations, key=lambda record: record["loss"])
    assert done.counts.best_step == best["step"] == {"lower": 8, "higher": 4}[better]
    if better == "lower":
        assert done.outcome.figures[0].value == 0


def test_evaluating_does_not_change_what_is_learned(tmp_path):
    seldom = trained(tmp_path / "a")
    often = trained(tmp_path / "b", settings=replace(SETTINGS, evaluate_every=1))
    assert seldom.losses == often.losses


def test_the_clip_holds_gradients_back(tmp_path):
    free = trained(tmp_path / "a", settings=replace(SETTINGS, clip=0.0))
    held = trained(tmp_path / "b", settings=replace(SETTINGS, clip=1e-3))
    assert free.losses[0] == held.losses[0]
    assert free.losses[1] != held.losses[1]


def test_a_finished_run_is_not_trained_further(tmp_path):
    first = trained(tmp_path / "run")
    again = trained(tmp_path / "run")
    assert again.task.seen == []
    assert again.losses == first.losses


def test_another_run_does_not_go_on_in_the_same_folder(tmp_path):
    trained(tmp_path / "run")
    with pytest.raises(DataError, match=r"seed=4 for a folder that holds one with 3.*--fresh"):
        open_run(run_in(tmp_path / "run", seed=4))
    with pytest.raises(DataError, match=r"width=4 .* 3; wanted the same run"):
        open_run(run_in(tmp_path / "run", replace(SETTINGS, width=4)))
    assert not open_run(run_in(tmp_path / "run", seed=4), fresh=True)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["seed"] == 4
    assert not (tmp_path / "run" / "losses.jsonl").exists()


def test_where_a_run_goes_on_may_change_but_not_its_steps(tmp_path):
    several = replace(SETTINGS, micro_batches=2)
    run = run_in(tmp_path / "run", several)
    open_run(run)
    assert not open_run(run_in(run.folder, replace(several, parallel="fsdp", timeout=5)))
    with pytest.raises(DataError, match=r"micro_batches=3 for a folder that holds one with 2"):
        open_run(run_in(run.folder, replace(SETTINGS, micro_batches=3)))
    # What was not asked for is what the folder has, if it is not to be forgotten.
    assert settled(run_in(run.folder), 4) == run
    assert settled(run_in(run.folder), 4, fresh=True).settings.micro_batches == 4
    assert settled(run_in(tmp_path / "new"), 4).settings.micro_batches == 4


def test_a_setting_that_is_gone_is_another_run(tmp_path):
    run = run_in(tmp_path / "run")
    open_run(run)
    asked = json.loads((run.folder / "run.json").read_text())
    asked["settings"]["bygone"] = 1
    (run.folder / "run.json").write_text(json.dumps(asked))
    with pytest.raises(DataError, match=r"bygone=None for a folder that holds one with 1"):
        open_run(run)


def test_a_step_of_several_batches_is_their_mean(tmp_path):
    several = trained(tmp_path / "b", settings=replace(SETTINGS, micro_batches=3))
    assert several.task.seen == list(range(3 * 23))
    task = LineTask(SETTINGS, 3)
    task.model.train()
    first = []
    for number in range(3):
        torch.manual_seed(seed_for(3, "step", 1, number))
        first.append(task.loss(task.model, task.batch(number))[0])
    wanted = float(torch.stack(first).detach().double().mean())
    assert several.losses[0] == {"step": 1, "loss": wanted, "twice": pytest.approx(2 * wanted)}


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match="other files in it"):
        open_run(run_in(tmp_path))
    with pytest.raises(DataError, match="other files in it"):
        open_run(run_in(tmp_path), fresh=True)
    with pytest.raises(DataError, match=r"wanted a folder"):
        open_run(run_in(tmp_path / "thesis.tex"))
    assert (tmp_path / "thesis.tex").read_text() == "mine"


def test_a_line_cut_short_is_written_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run", stop_at=12)
    curve = tmp_path / "run" / "losses.jsonl"
    curve.write_text(curve.read_text() + '{"step": 11, "lo')
    assert [record["step"] for record in trained(tmp_path / "run").losses] == list(range(1, 24))


class Tied(torch.nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(5, width)
        self.head = torch.nn.Linear(width, 5, bias=False)
        self.head.weight = self.embedding.weight


def stepped(model: torch.nn.Module):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model.head(model.embedding.weight).square().sum().backward()
    optimizer.step()
    return optimizer


def test_a_state_comes_back_with_tied_weights_and_the_optimizers_memory(tmp_path):
    model = Tied()
    optimizer = stepped(model)
    counts = Counts(step=7, seconds=1.5, cpu_seconds=2.5, best_step=5, best=0.25)
    save_state(tmp_path / "state", model, optimizer, counts)
    other = Tied()
    memory = torch.optim.AdamW(other.parameters(), lr=0.1)
    assert load_state(tmp_path / "state", other, memory) == counts
    assert read_counts(tmp_path / "state") == counts
    assert other.head.weight is other.embedding.weight
    assert torch.equal(other.head.weight, model.head.weight)
    ours, theirs = memory.state_dict()["state"][0], optimizer.state_dict()["state"][0]
    assert set(ours) == set(theirs) >= {"exp_avg", "exp_avg_sq", "step"}
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_bad_checkpoints_are_refused_by_name(tmp_path):
    path = tmp_path / "best.safetensors"
    with pytest.raises(DataError, match=r"no such file; wanted a checkpoint"):
        load_weights(path, Tied())
    path.write_bytes(b"no tensors at all")
    with pytest.raises(DataError, match=r"best.safetensors.*damaged or foreign"):
        load_weights(path, Tied())
    save_weights(path, Tied(), Counts(step=1))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match="damaged"):
        load_weights(path, Tied())
    save_weights(path, Tied(width=6), Counts(step=1))
    with pytest.raises(DataError, match="weights of another model"):
        load_weights(path, Tied())


def test_no_file_is_ever_half_written(tmp_path, monkeypatch):
    path = tmp_path / "best.safetensors"
    save_weights(path, Tied(), Counts(step=1))
    before = path.read_bytes()
    monkeypatch.setattr(
        "pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(OSError, match="full"):
        save_weights(path, Tied(), Counts(step=2))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["best.safetensors"]
