"""Masks that others saved as arrays: .npy, .pt and .safetensors, none of which may run code.

Only the array is read here; what its True means is the caller's to say, and what makes a valid
mask is decided by sightline.masks.dense.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import DataError, InvalidMask, MissingExtra
from sightline.masks.explicit import dense
from sightline.masks.mask import Mask

__all__ = [
    "FLAGS",
    "MASK_SUFFIXES",
    "check_file",
    "looks_like_file",
    "read_mask",
    "read_mask_array",
    "read_stored",
]

# The key of a .safetensors file's metadata under which flags stand that are no tensors, as JSON.
FLAGS = "sightline.flags"

_WANTED = (
    "wanted a mask array [queries, keys] or [batch, heads, queries, keys] "
    "in a .npy, .pt or .safetensors file"
)


def read_mask(path: str | os.PathLike[str], *, means: str, tensor: str | None = None) -> Mask:
    """Read a mask from a file; ``means`` is what its entries mean, as for ``sl.dense``.

    Raises:
        DataError: if the file cannot be read as a mask; says what was expected.
        MissingExtra: for a .pt or .safetensors file whose library is not installed.
    """
    array = read_mask_array(path, tensor=tensor)
    try:
        return dense(array, means=means)  # type: ignore[arg-type]  # dense checks the word itself
    except InvalidMask as error:
        raise DataError(str(error), path=os.fspath(path)) from error


def read_mask_array(path: str | os.PathLike[str], *, tensor: str | None = None) -> NDArray[Any]:
    """Read the array of a mask file, 2-D or 4-D, as it is stored.

    Args:
        path: a .npy, .pt or .safetensors file.
        tensor: which tensor, where a file holds several by name.
    """
    name = os.fspath(path)
    array = _READERS[_suffix_of(name)](name, tensor)
    if array.ndim not in (2, 4):
        raise DataError(f"got an array of shape {array.shape}; {_WANTED}.", path=name)
    return array


def read_stored(path: str | os.PathLike[str]) -> NDArray[Any] | dict[str, Any]:
    """Read a file as a library's object: its one unnamed array, or what it holds by name.

    A dict holds arrays of any shape and, beside them, the flags that ``sightline convert`` saves
    (of a .safetensors file) or that were saved with them (of a .pt file).

    Raises:
        DataError: if the file cannot be read.
        MissingExtra: for a .pt or .safetensors file whose library is not installed.
    """
    name = os.fspath(path)
    suffix = _suffix_of(name)
    if suffix == ".npy":
        return _read_npy(name, None)
    if suffix == ".safetensors":
        return _safetensors_whole(name)
    loaded = _load_pt(name)
    if not isinstance(loaded, Mapping):
        return _plain(loaded) if hasattr(loaded, "detach") else _read_pt(name, None)
    return {
        str(key): _plain(value) if hasattr(value, "detach") else value
        for key, value in loaded.items()
    }


def check_file(path: str | os.PathLike[str]) -> None:
    """Refuse what is no file that a mask could be read from, before anything else is asked.

    Raises:
        DataError: says what was expected.
    """
    _suffix_of(os.fspath(path))


def _suffix_of(name: str) -> str:
    """Return the suffix of a file that is there and can be read."""
    suffix = Path(name).suffix.lower()
    if suffix not in _READERS:
        raise DataError(f"its name ends in {suffix or 'no suffix'}; {_WANTED}.", path=name)
    if not Path(name).exists():
        raise DataError(f"there is no such file; {_WANTED}.", path=name)
    if not Path(name).is_file():
        raise DataError(f"this is not a regular file; {_WANTED}.", path=name)
    return suffix


def looks_like_file(text: str) -> bool:
    """Whether ``text`` names a file and is not an expression (which always has a bracket).

    >>> looks_like_file("saved/mask.npy"), looks_like_file("causal().T"), looks_like_file("a.csv")
    (True, False, True)
    """
    path = Path(text)
    if path.suffix.lower() in _READERS:
        return True
    return "(" not in text and (bool(path.suffix) or "/" in text or os.sep in text)


def _read_npy(path: str, tensor: str | None) -> NDArray[Any]:
    _refuse_name(path, tensor, ".npy")
    try:
        array = np.load(path, allow_pickle=False)
    # Whatever numpy's parser trips over, it means one thing: not an .npy file of plain numbers.
    except Exception as error:
        raise DataError(
            f"cannot be read as .npy: {_reason(error)}; wanted a whole file written by "
            "numpy.save from an array of bools or numbers.",
            path=path,
        ) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise DataError("this is an .npz archive; save the one array with numpy.save.", path=path)
    return array


def _load_pt(path: str) -> Any:
    if find_spec("torch") is None:
        raise MissingExtra(what="reading a .pt file", package="torch", extra="torch")
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    # torch raises a dozen kinds here; each means that the file holds no plain tensors.
    except Exception as error:
        raise DataError(
            f"cannot be read as .pt: {_reason(error)}; wanted a whole file written by "
            "torch.save from a tensor or a dict of tensors.",
            path=path,
        ) from error


def _read_pt(path: str, tensor: str | None) -> NDArray[Any]:
    loaded = _load_pt(path)
    if isinstance(loaded, Mapping):
        tensors = {str(key): value for key, value in loaded.items() if hasattr(value, "detach")}
        loaded = tensors[_chosen(tensors, tensor, path)]
    elif not hasattr(loaded, "detach"):
        raise DataError(
            f"holds a {type(loaded).__name__}; wanted a tensor or a dict of tensors.", path=path
        )
    else:
        _refuse_name(path, tensor, "this")
    return _plain(loaded)


def _plain(tensor: Any) -> NDArray[Any]:
    """Return a tensor of torch as numpy; a float type that numpy lacks becomes one it has."""
    import torch

    plain = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
    return (plain.float() if plain.is_floating_point() else plain).numpy()


def _read_safetensors(path: str, tensor: str | None) -> NDArray[Any]:
    with _open_safetensors(path) as file:
        name = _chosen(dict.fromkeys(file.keys()), tensor, path)
        return _as_numpy(file.get_tensor, name, path)


def _safetensors_whole(path: str) -> dict[str, Any]:
    with _open_safetensors(path) as file:
        names: list[str] = list(file.keys())
        held: dict[str, Any] = {name: _as_numpy(file.get_tensor, name, path) for name in names}
        flags = (file.metadata() or {}).get(FLAGS, "{}")
    try:
        return held | dict(json.loads(flags))
    except (ValueError, TypeError) as error:
        raise DataError(
            f"its metadata {FLAGS} is no JSON object; write the file again.", path=path
        ) from error


@contextmanager
def _open_safetensors(path: str) -> Iterator[Any]:
    if find_spec("safetensors") is None:
        raise MissingExtra(what="reading a .safetensors file", package="safetensors", extra="torch")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            yield file
    except SafetensorError as error:
        raise DataError(
            f"cannot be read as .safetensors: {_reason(error)}; wanted a whole file written by "
            "safetensors from tensors.",
            path=path,
        ) from error


def _as_numpy(get_tensor: Callable[[str], Any], name: str, path: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = get_tensor(name)
    except (TypeError, AttributeError) as error:
        raise DataError(
            f"tensor {name!r} is of a type that numpy does not have ({_reason(error)}); save the "
            "mask as bools.",
            path=path,
        ) from error
    # Where a library has taught numpy more types, they come as bytes that mean nothing to numpy.
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"tensor {name!r} is of a type that numpy does not have ({array.dtype}); save the mask "
            "as bools.",
            path=path,
        )
    # A byte that is neither 0 nor 1 would be a bool that is unequal to True and to False.
    return array.view(np.uint8) != 0 if array.dtype == np.bool_ else array


_READERS: dict[str, Callable[[str, str | None], NDArray[Any]]] = {
    ".npy": _read_npy,
    ".pt": _read_pt,
    ".pth": _read_pt,
    ".safetensors": _read_safetensors,
}
MASK_SUFFIXES = tuple(_READERS)


def _chosen(tensors: Mapping[str, Any], tensor: str | None, path: str) -> str:
    """Return the name of the tensor to read: the one asked for, or the only one."""
    names = ", ".join(sorted(tensors)[:8]) + (", ..." if len(tensors) > 8 else "")
    if not tensors:
        raise DataError("holds no tensor at all.", path=path)
    if tensor is not None:
        if tensor not in tensors:
            raise DataError(f"holds no tensor {tensor!r}; it has: {names}.", path=path)
        return tensor
    if len(tensors) > 1:
        raise DataError(
            f"holds {len(tensors)} tensors; name one of them (--tensor NAME): {names}.", path=path
        )
    return next(iter(tensors))


def _refuse_name(path: str, tensor: str | None, kind: str) -> None:
    if tensor is not None:
        raise DataError(f"{kind} file holds one unnamed array; leave --tensor out.", path=path)


def _reason(error: Exception) -> str:
    """Return what a library found wrong, without its advice to load the file unsafely."""
    text = str(error).strip()
    if isinstance(error, UnpicklingError) or "pickle" in text:
        return "it is damaged, or holds objects (which may run code) and not only numbers"
    return (text.splitlines() or [type(error).__name__])[0][:160].rstrip(" .:")
