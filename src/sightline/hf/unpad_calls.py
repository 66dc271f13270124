"""The arguments of a call made packed, and its outputs laid out again.

torch.compile does not look into these: how many tokens there are is known only when they run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import torch

from sightline.errors import InvalidArgument
from sightline.hf.settings import rewriting
from sightline.nn.batch import Batch

# Where a part of an output is: names of fields and places in tuples.
Path = tuple[str, ...]
Positions = Literal["columns", "tokens"]
Function = TypeVar("Function", bound=Callable[..., Any])


def _not_traced(function: Function) -> Function:
    """Keep torch.compile out of a function, and its type."""
    return cast("Function", torch.compiler.disable(function))


@dataclass(frozen=True)
class Rule:
    """How a module is run packed.

    Attributes:
        positions: which ``position_ids`` it uses by itself: the "columns" of the padded rows, or
            only "tokens" counted; None if it takes none.
        first: the number that it begins with.
        padded: names of inner modules that get padded rows all the same, such as poolers.
        per_token: the parts of the output that have one row for each token.
        unlabelled: whether the first token of each sequence is no target in ``labels``; None if
            calls with labels are not packed.
        sides: calls with their padding on which side are packed.
    """

    positions: Positions | None
    first: int = 0
    padded: tuple[str, ...] = ()
    per_token: frozenset[Path] = frozenset()
    unlabelled: bool | None = None
    sides: tuple[str, ...] = ("right", "left")


@dataclass(frozen=True)
class PackedCall:
    """Keyword arguments for a packed call, and the batch (padded) that they were made from."""

    keywords: dict[str, Any]
    batch: Batch


def named(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call's arguments by name, those that are None left out."""
    signature = inspect.signature(module.forward)
    found: dict[str, Any] = {}
    for name, value in signature.bind_partial(*args, **kwargs).arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            found |= value
        else:
            found[name] = value
    return {name: value for name, value in found.items() if value is not None}


@_not_traced
def pack_call(
    module: Any, rule: Rule, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> PackedCall | None:
    """Return the call as it is to be run packed; None to run it as it is."""
    given = named(module, args, kwargs)
    batch = _batch_of(given)
    if batch is None or not _may_pack(module, rule, given, batch):
        return None
    per_token, rows = {}, (batch.rows, batch.length)
    if rule.positions is not None and "position_ids" not in given:
        given["position_ids"] = _positions(batch, rule).to(given["attention_mask"].device)
    for name, value in given.items():
        if isinstance(value, torch.Tensor) and value.shape[:2] == rows:
            per_token[name] = batch.gather(value)[None]
    if "labels" in per_token and rule.unlabelled:
        per_token["labels"] = per_token["labels"].index_fill(
            1, batch.cu_seqlens[:-1][_filled(batch)].long().to(per_token["labels"].device), -100
        )
    keywords = given | per_token
    # All ones: nobody shall take the resets of position_ids for packing and mask it once more.
    keywords["attention_mask"] = torch.ones_like(per_token["attention_mask"])
    if takes(module, "use_cache"):
        keywords["use_cache"] = False
    return PackedCall(keywords, batch)


def _filled(batch: Batch) -> torch.Tensor:
    return torch.tensor(batch.lengths) > 0


def _batch_of(given: Mapping[str, Any]) -> Batch | None:
    """Return how a call's tokens are padded; None if they are not, or not at one end."""
    valid = given.get("attention_mask")
    if not isinstance(valid, torch.Tensor) or valid.ndim != 2:
        return None
    try:
        batch = Batch.from_padded(valid, valid=valid)
    except InvalidArgument:  # gaps
        return None
    return batch if 0 < batch.real < batch.rows * batch.length else None


def _may_pack(module: Any, rule: Rule, given: Mapping[str, Any], batch: Batch) -> bool:
    rows = tuple(given["attention_mask"].shape)
    tokens = [given[name] for name in ("input_ids", "inputs_embeds") if name in given]
    return (
        len(tokens) == 1
        and batch.side in rule.sides
        and tuple(tokens[0].shape[:2]) == rows
        and given.get("past_key_values") is None
        and not given.get("use_cache", False)
        and not given.get("output_attentions", module.config.output_attentions)
        and _may_pack_labels(rule, given.get("labels"), batch)
        and "cache_position" not in given
    )


def _may_pack_labels(rule: Rule, labels: torch.Tensor | None, batch: Batch) -> bool:
    if labels is None or labels.ndim == 1:  # one for each sequence
        return True
    if rule.unlabelled is None:
        return False
    # With padding on the left, the padding before a sequence predicts its first token; a packed
    # row has nothing that could.
    return not rule.unlabelled or batch.side == "right" or bool((batch.first(labels) < 0).all())


def _positions(batch: Batch, rule: Rule) -> torch.Tensor:
    if rule.positions == "tokens":
        return batch.positions + rule.first
    return torch.arange(batch.length).expand(batch.rows, -1) + rule.first


def takes(module: Any, name: str) -> bool:
    """Return whether a module's forward has an argument of that name."""
    return name in inspect.signature(module.forward).parameters


def running_packed(batch: Batch) -> AbstractContextManager[None]:
    """Let patched models called inside the block see this batch packed into one row."""
    packed = batch.packed()
    return rewriting(lambda wanted: packed.place(wanted.structure))


# -- outputs ----------------------------------------------------------------------------------


@_not_traced
def unpack_output(output: Any, batch: Batch, per_token: frozenset[Path]) -> Any:
    """Return an output with the parts that have a row for each token laid out as before."""

    def lay(path: Path, part: torch.Tensor) -> torch.Tensor:
        return batch.scatter(part[0]) if path in per_token else part

    return map_parts(output, lay)


def map_parts(output: Any, change: Callable[[Path, Any], Any], path: Path = ()) -> Any:
    """Return an output of a model with each tensor replaced by ``change(where it is, tensor)``."""
    if isinstance(output, torch.Tensor):
        return change(path, output)
    if isinstance(output, Mapping):
        parts = {name: map_parts(part, change, (*path, str(name))) for name, part in output.items()}
        return type(output)(**parts)
    if isinstance(output, (tuple, list)):
        parts = [map_parts(part, change, (*path, str(i))) for i, part in enumerate(output)]
        return type(output)(parts)
    return output


def parts_of(output: Any, path: Path = ()) -> Iterator[tuple[Path, torch.Tensor]]:
    """Yield the tensors of an output, and where each is."""
    if isinstance(output, torch.Tensor):
        yield path, output
    elif isinstance(output, Mapping):
        for name, part in output.items():
            yield from parts_of(part, (*path, str(name)))
    elif isinstance(output, (tuple, list)):
        for i, part in enumerate(output):
            yield from parts_of(part, (*path, str(i)))


# -- inner modules that look at whole rows ----------------------------------------------------


@_not_traced
def widen(given: Any, batch: Batch) -> Any:
    """Return arguments of an inner module with packed rows laid out as padded rows."""

    def lay(_: Path, part: torch.Tensor) -> torch.Tensor:
        return batch.scatter(part[0]) if part.shape[:2] == (1, batch.real) else part

    return map_parts(given, lay)


@_not_traced
def narrow(output: Any, batch: Batch) -> Any:
    """Return the output of such a module with padded rows packed again."""
    rows = (batch.rows, batch.length)

    def pack(_: Path, part: torch.Tensor) -> torch.Tensor:
        return batch.gather(part)[None] if part.ndim > 2 and part.shape[:2] == rows else part

    return map_parts(output, pack)
