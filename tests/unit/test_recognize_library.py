"""From a library's object to an expression, through the front door."""

from __future__ import annotations

import numpy as np
import pytest

import sightline as sl
from sightline.errors import InvalidArgument
from sightline.recognize.sources.table import rows

MASKS = {
    "causal": sl.causal(),
    "padded": sl.causal() & sl.padding(lengths=[6, 4, 2]),
    "packed": sl.causal() & sl.documents(lengths=[3, 2, 1]),
    "window": sl.window(left=2, right=0),
    "all": sl.everything(),
    "heads": sl.per_head([sl.causal(), sl.window(left=1, right=1)]),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("to", ["torch.sdpa", "torch.mha", "torch.flex"])
def test_there_and_back(name: str, to: str) -> None:
    pytest.importorskip("torch")
    mask = MASKS[name]
    sizes = {"num_heads": 2, "batch": 3} if to == "torch.mha" else {}
    made = sl.lower(mask, to, 6, **sizes)
    lengths = {} if to == "torch.flex" else {"q_len": 6, "kv_len": 6}
    heads = {"num_heads": 2} if to == "torch.mha" else {}
    found = sl.recognize(made, source=to, **lengths, **heads)
    assert found.mask == mask
    assert found.convention == ("ignore" if to == "torch.mha" else "attend")
    assert found.evidence[0] == f"read as {to}"
    assert not any("was stated" in words for words in found.evidence)


def test_a_block_mask_is_known_by_its_type() -> None:
    pytest.importorskip("torch")
    made = sl.lower(MASKS["packed"], "torch.flex", 6)["block_mask"]
    assert sl.recognize(made).mask == MASKS["packed"]


def test_three_masks_come_out_of_a_transformer() -> None:
    call = {
        "src_key_padding_mask": np.array([[0, 0, 0], [0, 0, 1]], bool),
        "memory_key_padding_mask": np.array([[0, 0, 0], [0, 0, 1]], bool),
        "tgt_mask": ~np.tri(4, dtype=bool),
    }
    source, target, memory = sl.recognize(call, source="torch.transformer")
    assert target.mask == sl.causal()
    assert source.mask == memory.mask == sl.padding(lengths=[3, 2])


def test_the_position_that_the_form_tells_is_used() -> None:
    call = {"causal": True, "window_size": (2, 0)}
    found = sl.recognize(call, source="flash_attn", q_len=2, kv_len=6)
    assert (found.mask, found.q_offset) == (sl.window(left=2, right=0), 4)
    found = sl.recognize(call, source="flash_attn", q_len=2, kv_len=6, q_offset=9)
    assert found.q_offset == 9


def test_the_position_reaches_a_form_that_reads_differently_for_it() -> None:
    found = sl.recognize([[1, 1, 1, 1]], source="hf.2d", q_len=1, q_offset=1)
    assert found.mask.dense(1, 4, 1)[0, 0].tolist() == [[True, True, False, False]]
    assert found.q_offset == 1


def test_an_empty_row_is_told_once_and_by_who_knows_more() -> None:
    found = sl.recognize([[1, 1], [0, 1]], source="hf.2d")
    (warning,) = [words for words in found.warnings if "see nothing" in words]
    assert "a query at padding" in warning


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"got means='attend' and source='torch\.sdpa'"):
        sl.recognize([[True]], "attend", source="torch.sdpa")
    with pytest.raises(InvalidArgument, match="got option num_heads without a source"):
        sl.recognize([[True]], num_heads=2)
    with pytest.raises(sl.UnknownBackend, match=r"Did you mean 'torch\.mha'"):
        sl.recognize([[True]], source="torch.mah")


def test_every_source_names_what_it_takes() -> None:
    for row in rows():
        with pytest.raises(InvalidArgument, match="got"):
            sl.recognize({"nonsense": 1}, source=row.name, **_needed(row.name))


def _needed(name: str) -> dict[str, object]:
    return {"grid": (2, 2), "window": 2} if name == "swin" else {}
