"""Engine ``cpu``: Sightline's own kernels, which do only the work that the mask leaves.

The mask's block map is walked along by C++ (native/csrc): full blocks run unmasked, mixed ones by
their bits, empty ones not at all. Forbidden content is never read into a sum, and all sums run in
the order of the keys, so that a result does not depend on threads, padding or packing. Here is
only the choice between the two ways in, which give the same bits.
"""

from __future__ import annotations

import torch

from sightline.engines.cpu_parts import eager, operators
from sightline.engines.request import Request

_PLAIN = (torch.Tensor, torch.nn.Parameter)


def run(request: Request) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the output and, at least if it is wanted, the logsumexp."""
    if _is_watched(request):
        return operators.attend(request)
    return eager.attend(request)


def _is_watched(request: Request) -> bool:
    """Return whether someone looks at the operations: a tracer, a transform, a mode, a subclass."""
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._get_tracing_state() is not None
        or type(request.query) not in _PLAIN
        or type(request.key) not in _PLAIN
        or type(request.value) not in _PLAIN
        or (request.bias is not None and type(request.bias) not in _PLAIN)
    )
