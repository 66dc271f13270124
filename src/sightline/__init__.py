"""Sightline: attention masks as algebra, run exactly on every backend, and proved.

``import sightline as sl`` costs next to nothing: each public name is loaded from its room when it
is first used. Masks need numpy and the standard library only; ``attend`` and the torch
destinations of ``lower`` load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.lazy import lazy_names

if TYPE_CHECKING:
    from sightline import audit as audit
    from sightline import distributed as distributed
    from sightline import hf as hf
    from sightline import nn as nn
    from sightline.audit.fingerprint import fingerprint as fingerprint
    from sightline.audit.guard import guard as guard
    from sightline.audit.lint import lint as lint
    from sightline.engines.attend import attend as attend
    from sightline.engines.attend import attention_weights as attention_weights
    from sightline.engines.attend import explain_choice as explain_choice
    from sightline.errors import AuditFailed as AuditFailed
    from sightline.errors import CannotExpress as CannotExpress
    from sightline.errors import DataError as DataError
    from sightline.errors import GuardError as GuardError
    from sightline.errors import InvalidArgument as InvalidArgument
    from sightline.errors import InvalidMask as InvalidMask
    from sightline.errors import MissingExtra as MissingExtra
    from sightline.errors import NoTruthValue as NoTruthValue
    from sightline.errors import ParseError as ParseError
    from sightline.errors import RankError as RankError
    from sightline.errors import RankLost as RankLost
    from sightline.errors import RanksDisagree as RanksDisagree
    from sightline.errors import ShapeMismatch as ShapeMismatch
    from sightline.errors import SightlineError as SightlineError
    from sightline.errors import UnknownBackend as UnknownBackend
    from sightline.lower.lower import backends as backends
    from sightline.lower.lower import lower as lower
    from sightline.masks.block_sparse import block_diffusion as block_diffusion
    from sightline.masks.block_sparse import random_blocks as random_blocks
    from sightline.masks.data import documents as documents
    from sightline.masks.data import prefix_lm as prefix_lm
    from sightline.masks.data import seq2seq as seq2seq
    from sightline.masks.data import spans as spans
    from sightline.masks.explicit import dense as dense
    from sightline.masks.explicit import per_batch as per_batch
    from sightline.masks.explicit import per_head as per_head
    from sightline.masks.grid import axial as axial
    from sightline.masks.grid import neighborhood as neighborhood
    from sightline.masks.grid import shifted_window as shifted_window
    from sightline.masks.key_intervals import intervals as intervals
    from sightline.masks.mask import Mask as Mask
    from sightline.masks.opaque import predicate as predicate
    from sightline.masks.orders import permutation as permutation
    from sightline.masks.orders import tree as tree
    from sightline.masks.padding import padding as padding
    from sightline.masks.parser import parse as parse
    from sightline.masks.periodic import block_causal as block_causal
    from sightline.masks.periodic import chunks as chunks
    from sightline.masks.periodic import dilated as dilated
    from sightline.masks.positional import causal as causal
    from sightline.masks.positional import everything as everything
    from sightline.masks.positional import keys as keys
    from sightline.masks.positional import nothing as nothing
    from sightline.masks.positional import prefix as prefix
    from sightline.masks.positional import queries as queries
    from sightline.masks.positional import sinks as sinks
    from sightline.masks.positional import window as window
    from sightline.masks.sparse import fixed as fixed
    from sightline.masks.sparse import log_sparse as log_sparse
    from sightline.masks.sparse import log_sparse_row_mask as log_sparse_row_mask
    from sightline.masks.sparse import strided as strided
    from sightline.nn.batch import Batch as Batch
    from sightline.plan.block_map import BlockMap as BlockMap
    from sightline.plan.compare import equivalent as equivalent
    from sightline.plan.compare import implies as implies
    from sightline.plan.planner import plan as plan
    from sightline.plan.reach import reach as reach
    from sightline.plan.shard import Shard as Shard
    from sightline.plan.shard import shard as shard
    from sightline.recognize.recognize import recognize as recognize
    from sightline.recognize.result import Recognized as Recognized
    from sightline.views.draw import draw as draw
    from sightline.views.moving.frames import draw_decoding as draw_decoding
    from sightline.views.moving.frames import draw_reach as draw_reach
    from sightline.views.moving.weights import draw_weights as draw_weights
    from sightline.views.reasons.why import why as why

__version__ = "0.1.0"

# The rooms that hold the public names. Adding a name: a word here, a line above.
_ROOMS = {
    "audit": "audit",  # these four are public as they stand: sl.hf.patch, sl.nn.KVCache
    "distributed": "distributed",
    "hf": "hf",
    "nn": "nn",
    "audit.fingerprint": "fingerprint",
    "audit.guard": "guard",
    "audit.lint": "lint",
    "engines.attend": "attend attention_weights explain_choice",
    "errors": (
        "AuditFailed CannotExpress DataError GuardError InvalidArgument InvalidMask MissingExtra "
        "NoTruthValue ParseError RankError RankLost RanksDisagree ShapeMismatch SightlineError "
        "UnknownBackend"
    ),
    "lower.lower": "backends lower",
    "masks.block_sparse": "block_diffusion random_blocks",
    "masks.data": "documents prefix_lm seq2seq spans",
    "masks.explicit": "dense per_batch per_head",
    "masks.grid": "axial neighborhood shifted_window",
    "masks.key_intervals": "intervals",
    "masks.mask": "Mask",
    "masks.opaque": "predicate",
    "masks.orders": "permutation tree",
    "masks.padding": "padding",
    "masks.periodic": "block_causal chunks dilated",
    "masks.positional": "causal everything keys nothing prefix queries sinks window",
    "masks.sparse": "fixed log_sparse log_sparse_row_mask strided",
    "masks.parser": "parse",
    "nn.batch": "Batch",
    "plan.block_map": "BlockMap",
    "plan.compare": "equivalent implies",
    "plan.planner": "plan",
    "plan.reach": "reach",
    "plan.shard": "Shard shard",
    "recognize.recognize": "recognize",
    "recognize.result": "Recognized",
    "views.draw": "draw",
    "views.reasons.why": "why",
    "views.moving.frames": "draw_decoding draw_reach",
    "views.moving.weights": "draw_weights",
}
__all__, __getattr__ = lazy_names("sightline", _ROOMS)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
