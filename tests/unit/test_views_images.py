"""Pictures of numbers: the PNG within can be read back, colors are where numbers are."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET
from base64 import b64decode
from zlib import crc32, decompress

import numpy as np
import pytest

from sightline.errors import InvalidArgument, ShapeMismatch
from sightline.views.images import COLORS, NumberImage, reduced, render_images
from sightline.views.png.pixels import png_of

NAN = float("nan")


def read_png(png: bytes) -> np.ndarray:
    """Return red, green, blue and opacity [height, width, 4], by the PNG specification."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        name, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack(">I", png[at + 8 + length : at + 12 + length])[0] == crc32(
            name + content
        )
        chunks[name] = content
        at += 12 + length
    assert list(chunks)[-1] == b"IEND"
    width, height, depth, kind = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8
    parts = {3: 1, 2: 3}[kind]
    rows = np.frombuffer(decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + width * parts)
    assert not rows[:, 0].any(), "no filter"
    own = rows[:, 1:].reshape(height, width, parts)
    opaque = np.full((height, width, 1), 255, np.uint8)
    if kind == 2:
        return np.concatenate([own, opaque], -1)
    palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(-1, 3)
    alpha = np.full(256, 255, np.uint8)
    given = np.frombuffer(chunks.get(b"tRNS", b""), np.uint8)
    alpha[: len(given)] = given
    return np.concatenate([palette[own[..., 0]], alpha[own]], -1)


def pictures(svg: str) -> list[np.ndarray]:
    found = re.findall(r'href="data:image/png;base64,([^"]+)"', svg)
    return [read_png(b64decode(text, validate=True)) for text in found]


def test_a_png_is_what_was_given() -> None:
    random = np.random.default_rng(0)
    colors = random.integers(0, 256, (300, 91, 3)).astype(np.uint8)  # more than one block
    np.testing.assert_array_equal(read_png(png_of(colors))[..., :3], colors)
    places = random.integers(0, 3, (5, 7)).astype(np.uint8)
    palette = [(1, 2, 3), (40, 50, 60), (7, 8, 9)]
    read = read_png(png_of(places, palette, clear=2))
    np.testing.assert_array_equal(read[..., :3], np.array(palette)[places])
    np.testing.assert_array_equal(read[..., 3] == 0, places == 2)


def test_the_ends_of_the_colors_are_those_of_all_pictures() -> None:
    one, two = pictures(
        render_images([NumberImage.of("a", [[0, 5]]), NumberImage.of("b", [[10], [NAN]])])
    )
    assert one.shape[:2] == (1, 2)
    assert two.shape[:2] == (2, 1)
    assert tuple(one[0, 0]) == (0, 0, 0, 255)
    assert tuple(one[0, 1, :3]) == (128, 128, 128)
    assert tuple(two[0, 0]) == (255, 255, 255, 255)
    assert two[1, 0, 3] == 0, "what is no number is transparent"


@pytest.mark.parametrize(
    ("colors", "low", "high", "ends"),
    [
        ("heat", None, None, (-1, 4)),
        ("heat", 0, None, (0, 4)),
        ("grey", 0, 2, (0, 2)),
        ("signed", None, None, (-4, 4)),
        ("signed", None, 2, (-2, 2)),
        ("signed", -3, 2, (-3, 3)),
    ],
)
def test_what_the_colors_mean(
    colors: str, low: float | None, high: float | None, ends: tuple[float, float]
) -> None:
    values = np.linspace(-1, 4, 11)[None]
    image = NumberImage.of("a", values)
    svg = render_images([image], colors=colors, low=low, high=high, unit="dB")  # type: ignore[arg-type]
    drawn, bar = pictures(svg)
    places = np.rint((np.clip(values, *ends) - ends[0]) / (ends[1] - ends[0]) * 254).astype(int)
    np.testing.assert_array_equal(drawn[0], bar[0][places[0]])
    assert tuple(bar[0, 0, :3]) == COLORS[colors][0]
    assert tuple(bar[0, -1, :3]) == COLORS[colors][-1]
    written = re.findall(r">(-?[\d.]+)</text>", svg)
    assert (float(written[0]), float(written[-1])) == ends


def test_a_constant_picture_and_one_of_no_numbers() -> None:
    svg = render_images([NumberImage.of("a", [[3.0, 3.0]]), NumberImage.of("b", [[NAN]])])
    constant, none = pictures(svg)
    assert tuple(constant[0, 0]) == tuple(constant[0, 1])
    assert none[0, 0, 3] == 0


def test_upward_turns_picture_and_what_is_over_it() -> None:
    pixels, over = np.arange(8.0).reshape(4, 2), np.array([[1.0], [0.0]])
    image = NumberImage.of("a", pixels, over)
    (down,), (up,) = (pictures(render_images([image], upward=way)) for way in (False, True))
    np.testing.assert_array_equal(up, down[::-1])
    assert down[0, 0, 0] > down[0, 0, 2], "orange where the mask is 1"
    assert down[3, 0, 0] == down[3, 0, 2], "grey where it is 0"


def test_over_is_spread_by_whole_factors() -> None:
    over = np.array([[0.0, 1.0, 0.5]])
    (drawn,) = pictures(render_images([NumberImage.of("a", np.zeros((2, 6)), over)]))
    red = drawn[..., 0].astype(float)
    np.testing.assert_array_equal(red[0], red[1])
    assert red[0, 0] == red[0, 1] == 0
    assert red[0, 2] == red[0, 3] == pytest.approx(2 * red[0, 4], abs=1)


@pytest.mark.parametrize(
    ("pixels", "over", "said"),
    [
        ([1, 2], None, r"got pixels of shape \(2,\)"),
        (np.zeros((0, 3)), None, r"got pixels of shape \(0, 3\)"),
        (np.zeros((4, 6)), np.zeros((3, 3)), r"got over of shape \(3, 3\)"),
        (np.zeros((4, 6)), np.zeros((8, 6)), r"got over of shape \(8, 6\)"),
        (np.zeros((4, 6)), np.zeros(6), r"got over of shape \(6,\)"),
    ],
)
def test_shapes_that_do_not_fit(pixels: object, over: object, said: str) -> None:
    with pytest.raises(ShapeMismatch, match=said):
        NumberImage.of("a", pixels, over)  # type: ignore[arg-type]


def test_unknown_colors_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="wanted one of grey, heat, signed"):
        render_images([NumberImage.of("a", [[1]])], colors="gray")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(8, 8), (129, 200), (600, 40), (30, 3000), (1, 1)])
@pytest.mark.parametrize("count", [1, 2, 13])
def test_all_has_room(shape: tuple[int, int], count: int) -> None:
    images = [NumberImage.of("<label> " * 9, np.zeros(shape))] * count
    svg = render_images(images, title="a & b", unit="z")
    root = ET.fromstring(svg)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    assert width <= 780
    boxes = []
    for drawn in root.iter("{http://www.w3.org/2000/svg}image"):
        x, y, wide, tall = (float(drawn.get(name, 0)) for name in ("x", "y", "width", "height"))
        assert min(x, y) >= 0
        assert x + wide <= width + 0.1
        assert y + tall <= height
        boxes.append((x, y, x + wide, y + tall))
    assert len(boxes) == count + 1, "and the scale"
    for place, (left, top, right, bottom) in enumerate(boxes):
        for a, b, c, d in boxes[place + 1 :]:
            assert right <= a or c <= left or bottom <= b or d <= top, "none over another"


def test_reduced_keeps_the_mean() -> None:
    pixels = np.random.default_rng(1).normal(size=(12, 40))
    small = reduced(pixels, 10)
    assert small.shape == (6, 10)
    assert small.mean() == pytest.approx(pixels.mean())
    assert reduced(pixels, 40) is pixels
    assert reduced(np.ones((7, 3)), 4).tolist() == [[1.0] * 3] * 4
