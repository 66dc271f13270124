"""Which devices a run has, and how its processes find each other; accelerate does the work."""

from __future__ import annotations

import os
from typing import Any

import torch

__all__ = ["accelerator", "processes"]


def processes() -> Any:
    """Return accelerate's state of this run's processes: one, or those that a launcher started.

    ``torchrun`` and ``accelerate launch`` start several: one an accelerator, or as many as asked
    for on a CPU.
    """
    from accelerate import PartialState

    return PartialState(cpu=_on_cpu())


def accelerator() -> Any:
    """Return accelerate's accelerator, which places models and adds up gradients."""
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs

    # A loss need not use every weight in every step: UniLM's has its next-sentence head in some.
    joining = DistributedDataParallelKwargs(find_unused_parameters=True)
    return Accelerator(cpu=_on_cpu(), kwargs_handlers=[joining])


def _on_cpu() -> bool:
    """Whether to stay on the CPU; accelerate joins processes on CPUs only if told so."""
    wished = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes")
    return wished or not torch.accelerator.is_available()
