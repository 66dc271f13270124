"""What a patched model was told: the engine and the extra mask, under the name its config holds.

Transformers hands a name from the config to the attention and the mask function, so a setting is
found by that name. The name is a plain string: copies of a model keep it, and transformers leaves
it out of what it saves. Equal settings share one name. What the model's own mask becomes while
one forward call runs (``rewriting``) stands here too; the models themselves are patching.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock
from typing import Any

from sightline.errors import InvalidArgument
from sightline.masks.mask import Mask

NAME = "sightline"


@dataclass(frozen=True)
class Setting:
    """How a patched model attends.

    Attributes:
        engine: the engine that ``attend`` is asked for.
        mask: what is allowed besides the model's own mask, over absolute positions; None: all.
    """

    engine: str = "auto"
    mask: Mask | None = None


@dataclass(frozen=True)
class Wanted:
    """One mask that a model asks for.

    Attributes:
        structure: who may see whom by the model's architecture, over absolute positions.
        padding: which keys are real, or None where all are.
        batch: the number of batch rows.
        q_len: the number of queries.
        kv_len: the number of keys.
        q_offset: the absolute position of query 0.
        kv_offset: the absolute position of key 0.
    """

    structure: Mask
    padding: Mask | None
    batch: int
    q_len: int
    kv_len: int
    q_offset: int
    kv_offset: int


Rewrite = Callable[[Wanted], Mask]

_names: dict[Setting, str] = {Setting(): NAME}
_settings: dict[str, Setting] = {NAME: Setting()}
_lock = Lock()
_rewrite: ContextVar[Rewrite | None] = ContextVar("rewrite", default=None)


def name_setting(setting: Setting) -> str:
    """Return the name of a setting; equal settings have one."""
    with _lock:
        name = _names.setdefault(setting, f"{NAME}-{len(_names) + 1}")
        _settings[name] = setting
    return name


def setting_of(config: Any) -> Setting:
    """Return what the model with this config was told.

    Raises:
        InvalidArgument: it is not patched in this process (a pickled copy, say).
    """
    name = getattr(config, "_attn_implementation", None)
    found = _settings.get(name) if isinstance(name, str) else None
    if found is None:
        raise InvalidArgument(
            f"got a model whose attention is {name!r}; wanted one patched in this process; call "
            "sl.hf.patch(model) on it."
        )
    return found


@contextmanager
def rewriting(rewrite: Rewrite) -> Iterator[None]:
    """Let ``rewrite`` say each mask that a patched model asks for inside the block.

    It gets what the model wants (``Wanted``) and returns a mask over the same absolute positions
    in place of ``structure & padding``; the setting's extra mask still comes on top. For running a
    padded batch as packed documents. A module that attends without asking for a mask is refused
    inside the block, since nobody would say what its keys are.
    """
    token = _rewrite.set(rewrite)
    try:
        yield
    finally:
        _rewrite.reset(token)


def current_rewrite() -> Rewrite | None:
    """Return the rewriting in force, or None."""
    return _rewrite.get()
