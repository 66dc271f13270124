"""Pictures of indexed colors as PNG bytes, and as the data URI of a page.

The pixels are stored, not compressed: so the bytes are the same with every version of zlib.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Sequence
from zlib import adler32, crc32

import numpy as np
from numpy.typing import NDArray

__all__ = ["data_uri", "png_of"]

_LARGEST_BLOCK = 65535
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
Color = tuple[int, int, int]


def png_of(
    pixels: NDArray[np.uint8], palette: Sequence[Color] = (), *, clear: int | None = None
) -> bytes:
    """Return a picture as PNG.

    Args:
        pixels: places in the palette [height, width], or red, green and blue [height, width, 3].
        palette: up to 256 colors (red, green, blue), for the former.
        clear: the place in the palette that is transparent, if any.

    >>> png = png_of(np.array([[0, 1, 1]], np.uint8), [(0, 0, 0), (255, 255, 255)])
    >>> png[:8] == bytes([137]) + b"PNG" + bytes([13, 10, 26, 10])
    True
    """
    height, width = pixels.shape[:2]
    kind = 3 if pixels.ndim == 2 else 2
    chunks = [_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))]
    if kind == 3:
        chunks.append(_chunk(b"PLTE", bytes(part for color in palette for part in color)))
        if clear is not None:
            chunks.append(
                _chunk(b"tRNS", bytes(0 if i == clear else 255 for i in range(clear + 1)))
            )
    rows = np.zeros((height, 1 + pixels[0].size), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)
    chunks += [_chunk(b"IDAT", _stored(rows.tobytes())), _chunk(b"IEND", b"")]
    return _SIGNATURE + b"".join(chunks)


def data_uri(content: bytes, kind: str) -> str:
    """Return bytes as the address of a page's picture or sound.

    >>> data_uri(b"abc", "image/png")
    'data:image/png;base64,YWJj'
    """
    return f"data:{kind};base64,{b64encode(content).decode('ascii')}"


def _chunk(name: bytes, content: bytes) -> bytes:
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", crc32(body))


def _stored(content: bytes) -> bytes:
    """Return bytes as a zlib stream of stored blocks (RFC 1950, RFC 1951 section 3.2.4)."""
    starts = range(0, len(content), _LARGEST_BLOCK)
    blocks = [content[start : start + _LARGEST_BLOCK] for start in starts]
    parts = [b"\x78\x01"]
    for place, block in enumerate(blocks):
        last = place == len(blocks) - 1
        parts += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    return b"".join([*parts, struct.pack(">I", adler32(content))])
