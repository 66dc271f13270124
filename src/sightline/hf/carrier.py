"""What travels through a model in place of a mask tensor, from the mask to the attention function.

A model may pass it on, and ask for its shape. Whatever else it does to it (slicing, adding) would
be done to a tensor that is not there, and is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

from sightline.engines.shared import SharedSequence
from sightline.errors import CannotExpress, NoTruthValue
from sightline.hf.settings import Setting
from sightline.masks.mask import Mask


@dataclass(frozen=True, eq=False)
class Carrier:
    """A mask at one call of a model.

    Attributes:
        mask: who may see whom; key 0 of the call stands at position 0.
        q_offset: the position of query 0, counted from key 0.
        shape: (batch, 1, q_len, kv_len).
        kv_offset: the absolute position of key 0.
        setting: how the model attends.
        parts: the model's structure, its padding and the extra mask (or None for each of the
            latter two), over absolute positions.
        sequence: who answers for the keys, where this process holds some of the tokens; the shape
            is that of those, the mask that of all.
        keys: how many keys there are in all.
    """

    mask: Mask
    q_offset: int
    shape: tuple[int, int, int, int]
    kv_offset: int
    setting: Setting
    parts: tuple[Mask, Mask | None, Mask | None]
    sequence: SharedSequence | None = None
    keys: int = 0

    @property
    def ndim(self) -> int:
        """4, as of the tensor in whose place it stands."""
        return 4

    def to(self, *_: Any, **__: Any) -> Carrier:
        """Return itself: a mask lives on no device and has no dtype."""
        return self

    def contiguous(self) -> Carrier:
        """Return itself: a mask has no strides."""
        return self

    @classmethod
    def __torch_function__(cls, function: Any, *_: Any, **__: Any) -> NoReturn:
        """Refuse every function of torch that the mask is given to."""
        _refuse(f"torch.{getattr(function, '__name__', function)}(attention_mask)")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        _refuse(f"attention_mask.{name}")

    def __getitem__(self, _: Any) -> NoReturn:
        _refuse("attention_mask[...]")

    def __bool__(self) -> NoReturn:
        raise NoTruthValue(
            "the model asked its attention mask for a truth value; wanted `is None` or "
            "`is not None`; a patched model hands a mask object on, not a tensor."
        )

    def __repr__(self) -> str:
        """Return the mask and where it stands."""
        return f"Carrier({self.mask}, q_offset={self.q_offset}, shape={self.shape})"


def _refuse(what: str, *_: Any) -> NoReturn:
    raise CannotExpress(
        destination="sl.hf.patch",
        part=f"`{what}` in this model's code",
        reason="the model works on its mask as a tensor, and a patched model has none",
        alternative="the model with its own attention (sl.hf.unpatch), or the same mask through "
        "sl.hf.patch(model, mask=...)",
    )


def _refuse_operator(symbol: str) -> Any:
    def operator(_self: Carrier, _other: Any = None) -> NoReturn:
        _refuse(f"attention_mask {symbol} ...")

    return operator


for _name, _symbol in {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "and": "&", "or": "|", "xor": "^",
}.items():  # fmt: skip
    setattr(Carrier, f"__{_name}__", _refuse_operator(_symbol))
    setattr(Carrier, f"__r{_name}__", _refuse_operator(_symbol))
for _name, _symbol in {
    "invert": "~",
    "neg": "-",
    "lt": "<",
    "gt": ">",
    "le": "<=",
    "ge": ">=",
}.items():
    setattr(Carrier, f"__{_name}__", _refuse_operator(_symbol))
