"""The playground's masks are those that the models use, and those drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest

import sightline as sl
from sightline.models.seq2seq_masks import seq2seq_masks
from sightline.models.swin_windows import Windows
from sightline.models.unilm_masks import Mode, unilm_mask
from sightline.views.playground.systems import SYSTEMS, Options, Sight, sights
from sightline.views.playground.tokens import Refused

# Sentences of 2 and 4 tokens, of 3 and 1.
FIRST, SECOND = "a b\nc d e f", "u v w\nx"


def found(system: str, second: str = "", options: Options | None = None) -> dict[str, Sight]:
    return {each.name: each for each in sights(system, FIRST, second, options)}


def same(sight: Sight, mask: sl.Mask) -> None:
    q, k = sight.queries.width, sight.keys.width
    rows = len(sight.queries.tokens)
    own, other = (np.broadcast_to(m.dense(q, k), (rows, 1, q, k)) for m in (sight.mask, mask))
    np.testing.assert_array_equal(own, other)


def test_seq2seq_is_the_transformers() -> None:
    # <eos> ends a source, <bos> begins a target.
    source, target = sl.Batch.from_lengths([3, 5]), sl.Batch.from_lengths([4, 2])
    masks = seq2seq_masks(source, target)
    ours = found("seq2seq", SECOND)
    same(ours["source"], masks["source_mask"])
    same(ours["target"], masks["target_mask"])
    same(ours["memory"], masks["memory_mask"])


UNILM: dict[str, Mode] = {
    "seq2seq": "seq2seq",
    "bidirectional": "bidirectional",
    "left to right": "left_to_right",
    "right to left": "right_to_left",
}


@pytest.mark.parametrize("name", UNILM)
def test_unilm_is_the_models(name: str) -> None:
    batch = sl.Batch.from_lengths([2 + 2 + 3 + 1, 4 + 2 + 4 + 1])
    same(found("unilm", "u v w\nw x y z")[name], unilm_mask(batch, UNILM[name], [4, 6]))


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("rows", "columns", "window"), [(4, 4, 2), (5, 7, 3), (8, 6, 4)])
def test_swin_is_the_models(rows: int, columns: int, window: int, shifted: bool) -> None:
    picture = "\n".join("x" * columns for _ in range(rows))
    ours = {each.name: each for each in sights("swin", picture, "", Options(window=window))}
    windows = Windows.of((rows, columns), window, shifted=shifted)
    same(ours["shifted" if shifted else "windows"], windows.mask)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("system", ["encoder", "decoder"])
def test_padding_and_positions_are_those_of_a_batch(system: str, side: str) -> None:
    sight = found(system, options=Options(side=side))[system]
    batch = sl.Batch.from_lengths([3, 5], side=side)
    same(sight, batch.mask if system == "encoder" else batch.mask & sl.causal())
    for row in (0, 1):
        real = sight.queries.valid(row)
        assert sight.queries.positions(row)[real].tolist() == batch.positions[row][real].tolist()


# Row 0, whose two words are the shorter sentence; "x" may attend.
DRAWN = {
    ("bert", "bert"): ["xxxx..", "xxxx..", "xxxx..", "xxxx..", "xxxx..", "xxxx.."],
    ("decoder", "window"): ["x....", "xx...", "xxx..", ".xx..", "..x.."],
    # Drawn for the order 2, 0, 3, 1 of its four real tokens.
    ("xlnet", "content"): ["x.x...", "xxxx..", "..x...", "x.xx..", "xxxx..", "xxxx.."],
    ("xlnet", "query"): ["..x...", "x.xx..", "......", "x.x...", "xxxx..", "xxxx.."],
}


@pytest.mark.parametrize(("system", "name"), DRAWN)
def test_drawn_by_hand(system: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sightline.views.playground.systems._order",
        lambda length, width, _: (2, 0, 3, 1, 4, 5)[:width] if length == 4 else tuple(range(width)),
    )
    sight = found(system)[name]
    cells = sight.mask.dense(sight.queries.width, sight.keys.width)[0, 0]
    assert ["".join(".x"[int(cell)] for cell in row) for row in cells] == DRAWN[system, name]


def test_tokens_are_those_of_each_system() -> None:
    tokens = {name: each.queries.tokens[0] for name, each in found("bert", SECOND).items()}
    assert tokens["bert"] == ("[CLS]", "a", "b", "[SEP]", "u", "v", "w", "[SEP]")
    assert found("decoder")["decoder"].queries.tokens[0] == ("a", "b", "<eos>", "<pad>", "<pad>")
    assert found("xlnet")["query"].queries.tokens[0][:4] == ("a", "b", "<sep>", "<cls>")
    memory = found("seq2seq", SECOND)["memory"]
    assert memory.queries.tokens[0][:2] == ("<bos>", "u")
    assert memory.keys.tokens[0][:3] == ("a", "b", "<eos>")


def test_xlnet_says_each_tokens_turn() -> None:
    sight = found("xlnet")["content"]
    assert sight.order is not None
    labels = sight.labels(0)[0]
    for turn, position in enumerate(sight.order[0][:4], 1):
        assert labels[position].startswith(f"{turn}: ")
    assert labels[4:] == ("<pad>", "<pad>")
    assert [sorted(row) for row in sight.order] == [list(range(6))] * 2


REFUSED = {
    "no text": ("decoder", " \n ", ""),
    "no system": ("rnn", "a", ""),
    "pairs": ("seq2seq", "a\nb", "c"),
    "many lines": ("encoder", "a\n" * 7, ""),
    "window": ("swin", "ab\ncd", ""),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refused(reason: str) -> None:
    with pytest.raises(Refused) as refused:
        sights(*REFUSED[reason])
    assert refused.value.reason == reason


def test_a_second_text_is_asked_for_where_there_is_one() -> None:
    assert {name for name, system in SYSTEMS.items() if system.second == "must"} == {
        "seq2seq",
        "unilm",
    }
    assert len(found("bert")["bert"].queries.tokens) == 2
    with pytest.raises(Refused):
        found("bert", "only one")
