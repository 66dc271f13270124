"""Puts watched functions in the places of attention's entries while a guard is active.

Functions are replaced by name, in the modules that hold them, and all names are put back when the
last guard ends. A mode of torch (TorchFunctionMode) would see more references, but it changes what
it watches: torch leaves its fast path under one, and loses the weight of ``l1_loss``. A watched
function that outlives its guard, in an attribute say, just calls the original.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable
from functools import wraps
from inspect import signature
from types import ModuleType
from typing import Any, NamedTuple

import torch

from sightline.audit.guards import flex, ours, sdpa, torch_mha
from sightline.audit.guards.here import HERE
from sightline.audit.guards.transformers import watched_interface
from sightline.engines import attend as attend_file


class _Entry(NamedTuple):
    """A function to watch: where it lives, who looks, and whether it is looked at as a whole."""

    home: str
    name: str
    look: Callable[..., None]
    whole: bool = False


_ENTRIES = (
    _Entry("torch.nn.functional", "scaled_dot_product_attention", sdpa.look),
    _Entry("torch.nn.functional", "multi_head_attention_forward", torch_mha.look_function, True),
    _Entry("torch", "_native_multi_head_attention", torch_mha.look_fused),
    _Entry("torch", "_transformer_encoder_layer_fwd", torch_mha.look_fused_layer),
    _Entry("torch", "_nested_tensor_from_mask", torch_mha.look_nested),
    _Entry("torch.nn.attention.flex_attention", "flex_attention", flex.look, True),
    _Entry(attend_file.__name__, "attend", ours.look_attend, True),
)

# torch's own tables of its functions, and what transformers compiles once and keeps.
_LEFT_ALONE = ("torch", "transformers.integrations")

_lock = threading.Lock()
_users = 0
_put_back: list[Callable[[], None]] = []


def install() -> None:
    """Put the watched functions in place, unless another guard did."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            _index_names()
            _replace_functions()
            _replace_methods()


def uninstall() -> None:
    """Put everything back, unless another guard still needs it."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            while _put_back:
                _put_back.pop()()


def watching(
    original: Callable[..., Any], look: Callable[..., None], *, whole: bool = False
) -> Callable[..., Any]:
    """Return a function that looks at its arguments, if a guard is active, and calls ``original``.

    Args:
        original: what is called, with the arguments as they are.
        look: what looks at them before.
        whole: whether nothing that ``original`` calls is to be looked at again.
    """
    arguments = signature(look)

    @wraps(original)
    def watched(*args: Any, **named: Any) -> Any:
        # torch.compile reads no further than this.
        if torch.compiler.is_compiling() or not HERE.sessions or HERE.inside:
            return original(*args, **named)
        try:
            arguments.bind(*args, **named)
        except TypeError:
            return original(*args, **named)  # which refuses them, or knows more than we do
        look(*args, **named)
        if not whole:
            return original(*args, **named)
        HERE.inside = True
        try:
            return original(*args, **named)
        finally:
            HERE.inside = False

    return watched


def _replace_functions() -> None:
    """Replace each entry in its home and wherever else a module holds it by a name."""
    new: dict[int, Any] = {}
    for entry in _ENTRIES:
        home = sys.modules.get(entry.home)
        original = getattr(home, entry.name, None)
        if original is None:
            continue  # another version of torch, or a part of it that nobody has loaded
        new[id(original)] = original, watching(original, entry.look, whole=entry.whole)
        _set(vars(home), entry.name, new[id(original)][1])
    _swap(new)
    back = {id(watched): (watched, original) for original, watched in new.values()}
    _put_back.append(lambda: _swap(back, everywhere=True))


def _swap(new: dict[int, Any], *, everywhere: bool = False) -> None:
    """Let the names of all loaded modules stand for the new functions instead of the old ones.

    Args:
        new: by the identity of the old function, the old one and the new one.
        everywhere: in the modules that are left alone otherwise, too.
    """
    wanted = set(new)
    for name, module in list(sys.modules.items()):
        # The second test is quick; all names of all modules are many.
        if not isinstance(module, ModuleType) or wanted.isdisjoint(_identities(module)):
            continue
        if not everywhere and any(name == n or name.startswith(f"{n}.") for n in _LEFT_ALONE):
            continue
        names = vars(module)
        for word, value in list(names.items()):
            found = new.get(id(value))
            if found is not None and found[0] is value:
                names[word] = found[1]


def _identities(module: ModuleType) -> Iterable[int]:
    return map(id, list(vars(module).values()))


def _set(names: dict[str, Any], word: str, value: Any) -> None:
    original = names[word]
    names[word] = value

    def put_back() -> None:
        if names.get(word) is value:
            names[word] = original

    _put_back.append(put_back)


def _index_names() -> None:
    """Let torch list its functions while they are its own: it does so once, at the first question.

    Others (localize.py among them) ask it for their names.
    """
    from torch.overrides import get_overridable_functions

    get_overridable_functions()


def _replace_methods() -> None:
    """Replace the methods that are entries, where their classes are loaded."""
    layers = sys.modules.get("sightline.nn.attention")
    if layers is not None:
        kind = layers.MultiheadAttention
        _set_method(kind, "forward", watching(kind.forward, ours.look_layer))
    models = sys.modules.get("transformers.modeling_utils")
    if models is not None and hasattr(models.AttentionInterface, "get_interface"):
        kind = models.AttentionInterface
        _set_method(kind, "get_interface", watched_interface(kind.get_interface))
    compiled = sys.modules.get("torch._dynamo.eval_frame")
    if compiled is not None:
        kind = compiled.OptimizedModule
        _set_method(kind, "__call__", watching(kind.__call__, _look_compiled))


def _look_compiled(*_: Any, **__: Any) -> None:
    HERE.unseen("a module of torch.compile: the attention inside a compiled graph is not seen")


def _set_method(kind: type, name: str, method: Any) -> None:
    original = vars(kind)[name]
    setattr(kind, name, method)

    def put_back() -> None:
        if vars(kind).get(name) is method:
            setattr(kind, name, original)

    _put_back.append(put_back)
