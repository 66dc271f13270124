"""Two passes that must agree: the module in which they part is named, and none where they agree."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from zoo import decode, pooling, speech
from zoo.fault import Fault
from zoo.parts import BATCH, ids, left_padded

from sightline.audit.findings import Place
from sightline.audit.locating.parting import Part, parted

LENGTH = 11


def padded_against_alone(model: nn.Module, given: dict[str, Tensor], row: int) -> Place | None:
    model = model.double()
    given = {n: x.double() if x.is_floating_point() else x for n, x in given.items()}
    lengths = given.get("lengths")
    real = given["attention_mask"][row] == 1 if lengths is None else torch.arange(11) < lengths[row]
    alone = {
        name: x[row : row + 1, real] if x.ndim > 1 else x[row : row + 1]
        for name, x in given.items()
    }
    places = real.nonzero()[:, 0].tolist()
    part = Part(BATCH, LENGTH, row, places[0], places[-1] + 1)
    return parted(model, lambda: model(**given), lambda: model(**alone), [part])


def cached_against_one_pass(model: nn.Module, cuts: list[int]) -> Place | None:
    model = model.double()
    tokens = ids(LENGTH)["input_ids"]
    ends = [*cuts, LENGTH]
    starts = [0, *cuts]

    def pieces() -> None:
        past = None
        for start, stop in zip(starts, ends, strict=True):
            _, past = model(tokens[:, start:stop], past_key_values=past, use_cache=True)

    parts = [
        Part(BATCH, LENGTH, None, start, stop) for start, stop in zip(starts, ends, strict=True)
    ]
    return parted(model, lambda: model(tokens), pieces, parts)


# Faults that the amount of padding shows.
AMOUNTS = [
    row
    for row in (*pooling.FAULTS, *speech.FAULTS)
    if row.name
    in {
        "positions of columns, padded left",
        "mean divided by the width",
        "greatest of zeroed padding",
        "norm over padded time",
        "pads made by the first filter",
        "filter over pads",
    }
]


@pytest.mark.parametrize("fault", AMOUNTS, ids=lambda fault: fault.name)
def test_the_module_that_padding_changes_is_named(fault: Fault) -> None:
    side = left_padded if "left" in fault.name else fault.inputs
    place = padded_against_alone(fault.wrong(), side(LENGTH), 2)
    assert place is not None
    assert place.module == fault.module


@pytest.mark.parametrize("fault", AMOUNTS, ids=lambda fault: fault.name)
def test_no_module_is_named_where_padding_changes_nothing(fault: Fault) -> None:
    side = left_padded if "left" in fault.name else fault.inputs
    assert padded_against_alone(fault.right(), side(LENGTH), 2) is None


def test_there_are_as_many_rows_as_names() -> None:
    assert len(AMOUNTS) == 6


@pytest.mark.parametrize("fault", decode.FAULTS, ids=lambda fault: fault.name)
def test_the_layer_whose_cache_is_wrong_is_named(fault: Fault) -> None:
    place = cached_against_one_pass(fault.wrong(), [6, 7, 8])
    assert place is not None
    assert place.module == fault.module
    assert cached_against_one_pass(fault.right(), [6, 7, 8]) is None


class TimeFirst(nn.Module):
    """Positions come first; a mean over all of them is added in the second layer."""

    def __init__(self, wrong: bool) -> None:
        super().__init__()
        self.first = nn.Linear(5, 5)
        self.second = Centred() if wrong else nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).transpose(0, 1)).transpose(0, 1)


class Centred(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=0)


@pytest.mark.parametrize("wrong", [True, False])
def test_axes_may_stand_in_another_order(wrong: bool) -> None:
    torch.manual_seed(0)
    model, x = TimeFirst(wrong).double(), torch.randn(3, 7, 5, dtype=torch.float64)
    place = parted(model, lambda: model(x), lambda: model(x[1:2, :4]), [Part(3, 7, 1, 0, 4)])
    assert (place and place.module) == ("second" if wrong else None)


@pytest.mark.parametrize(
    ("part", "whole", "piece", "wanted"),
    [
        (Part(3, 7, 1, 2, 6), (3, 7, 5), (1, 4, 5), True),
        (Part(3, 7, 1, 2, 6), (21, 5), (4, 5), True),  # batch and positions in one
        (Part(3, 7, 1, 2, 6), (6, 7, 7), (2, 4, 4), True),  # heads folded into the batch
        (Part(3, 7, 1, 0, 4), (3, 4, 5), (1, 2, 5), True),  # every second position
        (Part(3, 7, 1, 2, 6), (3, 6, 5), (1, 3, 5), False),  # of which it is unclear which
        (Part(3, 7, None, 4, 5), (3, 2, 7, 7), (3, 2, 1, 5), True),  # weights behind a cache
        (Part(3, 7, None, 4, 5), (3, 5), (3, 5), False),  # a summary of everything
        (Part(3, 7, 1, 2, 6), (3, 7), (1, 4, 5), False),
    ],
)
def test_parts_are_cut_where_sizes_say_how(
    part: Part, whole: tuple[int, ...], piece: tuple[int, ...], wanted: bool
) -> None:
    held = part.of(torch.randn(whole), piece)
    assert (held is not None) == wanted
    assert held is None or held.shape == piece


def test_the_right_row_and_positions_are_taken() -> None:
    x = torch.arange(3 * 7 * 2).reshape(3, 7, 2)
    part = Part(3, 7, 1, 2, 6)
    folded = torch.arange(6 * 7).reshape(6, 7)
    for held, wanted in (
        (part.of(x, (1, 4, 2)), x[1:2, 2:6]),
        (part.of(x.flatten(0, 1), (4, 2)), x[1, 2:6]),
        (part.of(folded, (2, 4)), folded[2:4, 2:6]),
    ):
        assert held is not None
        assert torch.equal(held, wanted)
