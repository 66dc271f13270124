"""One run, beginning to end: data found, folder opened, model trained, result and report written.

Nothing is printed here: ``say`` is told what a reader should know, ``watch`` how it goes. The loop
itself is in loop.py; the command line is cli/train.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import sightline
from sightline.engines.registry import check_engine
from sightline.errors import MissingExtra
from sightline.lower.arguments import require_module
from sightline.readers.corpora import corpus_at_hand, corpus_folder
from sightline.recipes.bench.machine import machine
from sightline.recipes.training.checkpoint import read_counts
from sightline.recipes.training.devices import part, processes
from sightline.recipes.training.loop import Trained, Watch, train
from sightline.recipes.training.recipe import Recipe
from sightline.recipes.training.report import render_report
from sightline.recipes.training.result import Result, as_lines, read_result
from sightline.recipes.training.run_folder import Run, open_run, settled
from sightline.recipes.training.seeds import seed_for
from sightline.recipes.training.together import Company
from sightline.views.files import write_atomically

__all__ = ["needs_extra", "run_recipe"]

# Packages by the extra that brings them: of what a recipe may find missing.
_EXTRAS = {
    "train": ("accelerate", "safetensors", "tokenizers", "conllu", "pooch", "sacrebleu"),
    "vision": ("sklearn",),
    "series": ("statsmodels",),
    "speech": ("soundfile", "scipy", "pystoi"),
    "brain": ("nibabel",),
}
_EXTRA_OF = {package: extra for extra, packages in _EXTRAS.items() for package in packages}
Say = Callable[[str], object]


def run_recipe(
    recipe: Recipe,
    run: Run,
    *,
    data: Path | None = None,
    fresh: bool = False,
    threads: int | None = None,
    command: str = "",
    watch: Watch | None = None,
    say: Say | None = None,
) -> Result | None:
    """Train a recipe, or go on where it was; write result.json and report.html; return the result.

    A run that is finished is not trained again: its result is read and returned.

    Args:
        recipe: what is trained.
        run: preset, settings and seed, and the folder to keep it in.
        data: the folder of the corpus that the user named, if any.
        fresh: forget what lies in the folder of this run.
        threads: for torch; None leaves it as it is.
        command: what makes this run again, for the result.
        watch: who is told how it goes.
        say: called with a line now and then: what is fetched, where it goes on.

    Returns:
        The result; None in the other processes of a run on several devices.

    Raises:
        DataError: the corpus or the folder is not what it should be.
        UnknownBackend: no such engine.
        MissingExtra: a package that the recipe needs is not installed.
    """
    say = say or _silent
    check_engine(run.settings.engine)
    if threads is not None:
        torch.set_num_threads(threads)
    with needs_extra(f"sightline train {recipe.name}"):
        for package in ("accelerate", "safetensors"):
            require_module(package, f"sightline train {recipe.name}", extra="train")
        state = processes(run.settings.timeout)
        main = bool(state.is_main_process)
        if not main:
            say, watch = _silent, None
        with Company(run.settings.timeout).working(f"sightline train {recipe.name}"):
            run, label, resume = _opened(recipe, run, data, state, fresh=fresh, say=say)
            if run.result.exists():
                say(f"this run is finished; its result from {run.folder} (--fresh trains again):")
                return read_result(run.result) if main else None
            if resume:
                step = read_counts(run.checkpoint).step
                say(f"going on at step {step:,} of {run.settings.steps:,}, from {run.folder}")
            if watch is not None:
                watch.tell("preparing", 0, 0)
            torch.manual_seed(seed_for(run.seed, "build"))
            task = recipe.build(run.settings, Path(run.data) if run.data else None, run.seed)
            trained = train(task, run, resume=resume, watch=watch)
    if not main:
        return None
    result = _result(recipe, run, trained, label, _same_steps(command, run))
    _write(run, result, trained)
    return result


@contextmanager
def needs_extra(what: str) -> Iterator[None]:
    """Turn a package of a recipe's extra that is not installed into its line.

    Raises:
        MissingExtra: naming the package.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRA_OF:
            raise
        raise MissingExtra(what=what, package=package, extra=_EXTRA_OF[package]) from error


def _silent(line: str) -> None:
    """Tell nobody."""


def _opened(
    recipe: Recipe, run: Run, data: Path | None, state: Any, *, fresh: bool, say: Say
) -> tuple[Run, str, bool]:
    """Find data and folder, in the first process first.

    Returns:
        The run with its batches of a step and its data, the word for those in the result, and
        whether there is a checkpoint to go on with.
    """
    run = settled(run, part(state, run.settings).data_ranks, fresh=fresh)
    part(state, run.settings)
    main = bool(state.is_main_process)
    with state.main_process_first():
        folder, label = _data(recipe, run, data, say)
        run = replace(run, data=str(folder) if folder else None)
        resume = open_run(run, fresh=fresh and main)
        if folder is not None and folder == run.folder / "sample" and main:
            _write_sample(recipe, folder)
    return run, label, resume


def _same_steps(command: str, run: Run) -> str:
    """Return a command that makes steps of as many batches on any number of processes."""
    count = run.settings.micro_batches
    if not command or count == 1 or "micro_batches=" in command.replace("-", "_"):
        return command
    return f"{command} --set micro_batches={count}"


def _data(recipe: Recipe, run: Run, data: Path | None, say: Say) -> tuple[Path | None, str]:
    """Return the folder of the data, and the word for them in the result."""
    if run.preset == "smoke" and data is None and recipe.sample is not None:
        # Not SIGHTLINE_DATA: these seconds should be the same on every machine.
        return run.folder / "sample", "sample"
    if recipe.corpus is None:
        if data is not None and recipe.takes_data:
            return data, data.name
        if data is not None:
            say(f"the data of {recipe.name} are {recipe.origin}; {data} is not read")
        return None, recipe.origin
    found = corpus_at_hand(recipe.corpus, data)
    return found or corpus_folder(recipe.corpus, data, tell=say), recipe.corpus


def _write_sample(recipe: Recipe, folder: Path) -> None:
    assert recipe.sample is not None
    folder.mkdir(exist_ok=True)
    recipe.sample(folder)


def _result(recipe: Recipe, run: Run, trained: Trained, data: str, command: str) -> Result:
    counts, facts = trained.counts, machine()
    return Result(
        recipe=recipe.name,
        title=recipe.title,
        preset=run.preset,
        seed=run.seed,
        settings=run.asked()["settings"],
        data=data,
        command=command,
        outcome=trained.outcome,
        parameters=sum(each.numel() for each in trained.task.model.parameters()),
        steps=counts.step,
        best_step=counts.best_step,
        seconds=counts.seconds,
        cpu_seconds=counts.cpu_seconds,
        device=trained.device,
        processes=trained.processes,
        threads=torch.get_num_threads(),
        machine={"cpu": facts["cpu"], "cores": facts["cores"]},
        versions={
            "python": ".".join(map(str, sys.version_info[:3])),
            "torch": str(torch.__version__),
            "sightline": sightline.__version__,
        },
    )


def _write(run: Run, result: Result, trained: Trained) -> None:
    page = render_report(result, trained.losses, trained.evaluations)
    write_atomically(run.report, page)
    # Last of all: whoever finds it finds everything else.
    write_atomically(run.result, as_lines(result.as_dict()))
