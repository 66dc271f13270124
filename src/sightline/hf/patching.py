"""``patch``, ``unpatch`` and ``explain``: a transformers model that attends through Sightline.

Only transformers' public interfaces are used: an attention and a mask function are registered
under a name, and the model's configs are told that name. Which modules take part is found out in
modules.py; what the functions do stands in attention_function.py and mask_function.py.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, TypeVar

from sightline.engines.attend import engines
from sightline.errors import CannotExpress, InvalidArgument, UnknownBackend
from sightline.hf.requirements import require_transformers
from sightline.hf.settings import Setting, name_setting
from sightline.lower.arguments import check_mask

Model = TypeVar("Model")

_registered: set[str] = set()
# The attribute of a patched model that holds what the attention of its configs was.
_BEFORE = "_sightline_before"


def patch(model: Model, *, engine: str = "auto", mask: Any = None, others: str = "refuse") -> Model:
    """Let a transformers model attend through Sightline; return the same model.

    The model keeps its own mask, read as an expression: causal, sliding windows, chunks, packed
    documents, padding, and whatever its code adds. Outputs at real positions are those of the
    model's own attention up to rounding; a padded query that may see nothing gives 0 instead of
    an average. ``generate``, caches, gradients, checkpointing and ``torch.compile`` work as
    before. Patching again replaces engine and mask.

    Args:
        model: a ``PreTrainedModel`` of transformers 5.
        engine: which engine attends, as for ``sl.attend``.
        mask: what is allowed besides: a Sightline mask over absolute positions (slots of the
            padded batch), combined with the model's own by ``&``.
        others: what to do about modules that attend in their own code, out of reach: "refuse" the
            model, or "keep" them as they are (a pooling head, say); ``explain`` names them.

    Raises:
        CannotExpress: attention modules that do not go through transformers' interface, that do
            what ``attend`` does not (capped scores), or, with ``mask``, a model with more than one
            kind of sequence.
        InvalidArgument: not a transformers model, or ``others`` is neither.
        InvalidMask: ``mask`` is not a Sightline mask.
        MissingExtra: transformers 5 is not installed.
        UnknownBackend: no engine of that name.

    >>> import sightline as sl, torch, transformers
    >>> config = transformers.LlamaConfig(
    ...     vocab_size=11, hidden_size=8, intermediate_size=8, num_hidden_layers=2,
    ...     num_attention_heads=2, num_key_value_heads=1,
    ... )
    >>> model = transformers.LlamaModel(config).eval()
    >>> tokens = torch.tensor([[0, 0, 5, 7, 2], [1, 4, 3, 9, 8]])
    >>> padded = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    >>> before = model(tokens, attention_mask=padded).last_hidden_state
    >>> after = sl.hf.patch(model)(tokens, attention_mask=padded).last_hidden_state
    >>> bool((after - before)[padded == 1].abs().max() < 1e-5)
    True
    >>> print(sl.hf.explain(model))
    2 x LlamaAttention: causal() & padding(lengths=[3, 5], side='left')
      5 queries, 5 keys, engine auto
    """
    from sightline.hf.modules import attending, check_modules, configs_of, kinds

    transformers = require_transformers("sl.hf.patch")
    _check_model(transformers, model)
    if engine != "auto" and engine not in (known := [each.name for each in engines()]):
        raise UnknownBackend(f"got engine={engine!r}; wanted 'auto' or one of {known}.")
    if others not in ("refuse", "keep"):
        raise InvalidArgument(f"got others={others!r}; wanted 'refuse' or 'keep'.")
    extra = None if mask is None else check_mask(mask)
    given: Any = model
    check_modules(given, extra, others)
    name = _register(transformers, Setting(engine, extra))
    if not is_patched(given):
        _give_own_configs(given)
        setattr(given, _BEFORE, [each._attn_implementation for each in configs_of(given)])
    given.set_attn_implementation(name)
    missed = [m for m in attending(given).values() if m.config._attn_implementation != name]
    if missed:
        unpatch(model)
        raise CannotExpress(
            destination="sl.hf.patch",
            part=f"{kinds(missed)} of {type(model).__name__}",
            reason="transformers does not let their attention be set from outside",
            alternative="the model with its own attention, as it is now",
        )
    return model


def unpatch(model: Model) -> Model:
    """Give a model its own attention back; return the same model. One not patched stays as it is.

    >>> import sightline as sl, transformers
    >>> config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8)
    >>> model = sl.hf.patch(transformers.GPT2Model(config))
    >>> model.config._attn_implementation
    'sightline'
    >>> sl.hf.unpatch(model).config._attn_implementation
    'sdpa'
    """
    from sightline.hf.modules import configs_of

    given: Any = model
    if is_patched(given):
        before = given.__dict__.pop(_BEFORE)
        for config, own in zip(configs_of(given), before, strict=True):
            config._attn_implementation = own
    return model


def is_patched(model: Any) -> bool:
    """Return whether ``patch`` was called on this very model (or it is a copy of such a one)."""
    return _BEFORE in model.__dict__


def _check_model(transformers: Any, model: Any) -> None:
    if not isinstance(model, transformers.PreTrainedModel):
        raise InvalidArgument(
            f"got a model of type {type(model).__name__}; wanted a transformers PreTrainedModel; "
            "for your own modules call sl.attend, or use sl.nn.MultiheadAttention."
        )


def _register(transformers: Any, setting: Setting) -> str:
    """Return the setting's name, known to transformers from now on."""
    from sightline.hf.attention_function import attend_module
    from sightline.hf.mask_function import make_mask

    name = name_setting(setting)
    if name not in _registered:
        transformers.AttentionInterface.register(name, attend_module)
        transformers.AttentionMaskInterface.register(name, make_mask)
        _registered.add(name)
    return name


def _give_own_configs(model: Any) -> None:
    """Replace the configs of a model by copies, so that no other model shares them."""
    from sightline.hf.modules import configs_of

    own = configs_of(model)
    memo: dict[int, Any] = {}
    copies = {id(config): deepcopy(config, memo) for config in own}
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if id(value) in copies:
                setattr(module, name, copies[id(value)])
