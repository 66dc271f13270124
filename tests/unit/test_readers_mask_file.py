"""Masks from files: read as they are, or refused with the file's name and what was wanted."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sightline as sl
from sightline.errors import DataError
from sightline.readers.mask_file import (
    FLAGS,
    looks_like_file,
    read_mask,
    read_mask_array,
    read_stored,
)

CAUSAL = np.tri(4, 6, dtype=bool)


class Payload:
    """Runs code when it is unpickled the ordinary way."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("the pickle was run",))


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def safetensors(table: Any, data: bytes = b"", length: int | None = None) -> bytes:
    raw = table if isinstance(table, bytes) else json.dumps(table).encode()
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def entry(dtype: str, shape: list[Any], first: Any, last: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


def saved(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_npy(tmp_path: Path) -> None:
    path = saved(tmp_path, "m.npy", npy(CAUSAL))
    assert read_mask(path, means="attend") == sl.dense(CAUSAL, means="attend")
    assert read_mask(path, means="ignore") == sl.dense(~CAUSAL, means="attend")


def test_safetensors(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "m.safetensors"
    for array in (CAUSAL, np.tri(3, 3, dtype=np.int64), np.zeros((2, 1, 3, 3), np.float64)):
        library.save_file({"mask": array}, path)
        read = read_mask_array(path)
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)
    library.save_file({"one": CAUSAL, "two": ~CAUSAL}, path)
    assert read_mask(path, means="attend", tensor="two") == sl.dense(~CAUSAL, means="attend")
    with pytest.raises(DataError, match=r"holds 2 tensors; name one of them .*: one, two"):
        read_mask(path, means="attend")


def test_safetensors_bools_of_any_byte_are_bools(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = saved(tmp_path, "m.safetensors", safetensors({"a": FINE}, bytes([1, 0, 2, 1])))
    assert (read_mask_array(path) == np.array([[True, False], [True, True]])).all()


def test_pt(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "m.pt"
    torch.save(torch.tensor(CAUSAL), path)
    assert read_mask(path, means="attend") == sl.dense(CAUSAL, means="attend")
    torch.save({"one": torch.tensor(CAUSAL), "two": torch.zeros(2, 2), "n": 3}, path)
    assert read_mask(path, means="attend", tensor="one") == sl.dense(CAUSAL, means="attend")
    with pytest.raises(DataError, match=r"holds 2 tensors; name one of them .*: one, two"):
        read_mask(path, means="attend")
    torch.save(torch.tensor([[0.0, -torch.inf]], dtype=torch.bfloat16, requires_grad=True), path)
    assert read_mask(path, means="additive").dense(1, 2).tolist() == [[[[True, False]]]]


def test_a_pt_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "m.pt"
    torch.save(Payload(), path)
    with pytest.raises(DataError, match="holds objects") as caught:
        read_mask(path, means="attend")
    assert "weights_only" not in str(caught.value), "no advice to load it unsafely"
    for wrong in ([1, 2], {"n": 3}, {}):
        torch.save(wrong, path)
        with pytest.raises(DataError, match=r"holds a list|holds no tensor"):
            read_mask(path, means="attend")
    whole = io.BytesIO()
    torch.save(torch.ones(4, 4), whole)
    for cut in (0, 1, 10, 200, len(whole.getvalue()) - 1):
        path.write_bytes(whole.getvalue()[:cut])
        with pytest.raises(DataError, match=r"cannot be read as \.pt"):
            read_mask(path, means="attend")


WHOLE = npy(CAUSAL)
FINE = entry("BOOL", [2, 2], 0, 4)
BAD_FILES = {
    "objects": ("m.npy", npy(np.array([{}], dtype=object)), "holds objects"),
    "pickle": ("m.npy", pickle.dumps(Payload()), "holds objects"),
    "empty": ("m.npy", b"", "cannot be read as .npy"),
    "text": ("m.npy", b"0,1\n1,1\n", "cannot be read as .npy"),
    "cut": ("m.npy", WHOLE[:-1], "cannot be read as .npy"),
    "cut in the header": ("m.npy", WHOLE[:40], "cannot be read as .npy"),
    "rank": ("m.npy", npy(np.ones((2, 3, 4))), "shape \\(2, 3, 4\\)"),
    "no rank": ("m.npy", npy(np.float64(1)), "shape \\(\\)"),
    "strings": ("m.npy", npy(np.array([["a"]])), "dense"),
    "numbers": ("m.npy", npy(np.array([[0.5]])), "dense"),
    "archive": ("m.npy", b"PK\x05\x06" + bytes(18), "archive"),
    "suffix": ("m.csv", b"0,1", "its name ends in .csv; wanted .* .npy, .pt or .safetensors"),
    "no suffix": ("mask", b"0,1", "no suffix"),
    "tiny": ("m.safetensors", b"abc", "header too"),
    "long table": ("m.safetensors", safetensors({}, length=1 << 60), "header too"),
    "no JSON": ("m.safetensors", safetensors(b"{"), "invalid JSON"),
    "deep JSON": ("m.safetensors", safetensors(b"[" * 100_000), "invalid JSON"),
    "a list": ("m.safetensors", safetensors([1]), "invalid JSON"),
    "no tensor": ("m.safetensors", safetensors({}), "holds no tensor"),
    "no entry": ("m.safetensors", safetensors({"a": 7}), "invalid JSON"),
    "cut data": ("m.safetensors", safetensors({"a": FINE}, b"\1\1\1"), "not fully covered"),
    "size": ("m.safetensors", safetensors({"a": entry("BOOL", [3, 2], 0, 4)}, bytes(4)), "offset"),
    "negative": (
        "m.safetensors",
        safetensors({"a": entry("BOOL", [-2, -2], 0, 4)}),
        "invalid JSON",
    ),
    "type": (
        "m.safetensors",
        safetensors({"a": entry("BF16", [1, 2], 0, 4)}, bytes(4)),
        "of a type that numpy does not have",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_refused_by_name(tmp_path: Path, case: str) -> None:
    name, content, complaint = BAD_FILES[case]
    path = saved(tmp_path, name, content)
    with pytest.raises(DataError, match=complaint) as caught:
        read_mask(path, means="attend")
    assert caught.value.path == str(path)
    assert str(caught.value).startswith(str(path))


def test_every_cut_of_a_file_is_refused(tmp_path: Path) -> None:
    whole = {
        "m.npy": npy(CAUSAL),
        "m.safetensors": safetensors({"a": FINE}, bytes([1, 1, 0, 1])),
    }
    for name, content in whole.items():
        for cut in range(len(content)):
            with pytest.raises(DataError):
                read_mask(saved(tmp_path, name, content[:cut]), means="attend")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_mask(tmp_path / "m.npy", means="attend")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(DataError, match="not a regular file"):
        read_mask(tmp_path / "folder.npy", means="attend")


def test_a_name_for_a_file_without_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one unnamed array; leave --tensor out"):
        read_mask(saved(tmp_path, "m.npy", npy(CAUSAL)), means="attend", tensor="a")


@pytest.mark.parametrize(
    ("text", "is_file"),
    [
        ("mask.npy", True),
        ("saved (1).npy", True),
        ("a/b", True),
        ("M.PT", True),
        ("mask.csv", True),
        ("causal()", False),
        ("causal().T", False),
        ("causal", False),
        ("padding(lengths=[1]) & fixed(4, summary=1)", False),
        ("", False),
    ],
)
def test_files_and_expressions_are_told_apart(text: str, is_file: bool) -> None:
    assert looks_like_file(text) is is_file


def test_a_file_is_read_whole_by_name_with_its_flags(tmp_path: Path) -> None:
    numpy_file = tmp_path / "one.npy"
    np.save(numpy_file, np.ones((2, 3, 4)))
    alone = read_stored(numpy_file)
    assert isinstance(alone, np.ndarray)
    assert alone.shape == (2, 3, 4)
    save_file = pytest.importorskip("safetensors.numpy").save_file
    path = tmp_path / "call.safetensors"
    flags = {FLAGS: json.dumps({"is_causal": True, "q_len": [3]})}
    save_file({"a": np.arange(3), "b": np.ones((1, 2), bool)}, path, metadata=flags)
    held = read_stored(path)
    assert isinstance(held, dict)
    assert (held["is_causal"], held["q_len"]) == (True, [3])
    assert held["a"].tolist() == [0, 1, 2]
    for broken in ("{", "[1]", "3"):
        save_file({"a": np.arange(3)}, path, metadata={FLAGS: broken})
        with pytest.raises(DataError, match="is no JSON object"):
            read_stored(path)


def test_a_dict_of_torch_is_read_whole(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "call.pt"
    torch.save({"attn_mask": torch.ones(2, 2).bool(), "is_causal": False}, path)
    held = read_stored(path)
    assert isinstance(held, dict)
    assert held["is_causal"] is False
    assert held["attn_mask"].all()
    torch.save(torch.zeros(3, dtype=torch.bfloat16), path)
    alone = read_stored(path)
    assert isinstance(alone, np.ndarray)
    assert alone.dtype == np.float32
    torch.save([1, 2], path)
    with pytest.raises(DataError, match="holds a list"):
        read_stored(path)
    with pytest.raises(DataError, match="there is no such file"):
        read_stored(tmp_path / "no.pt")
