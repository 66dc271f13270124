"""Fingerprints as JSON: a few kilobytes, the pairs as bits, each part with its SHA-256.

The format has a version of its own; a file of another one is refused, never guessed at.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from sightline.audit.fingerprint import Bools, Fingerprint, Part
from sightline.errors import DataError

__all__ = ["as_text", "digest", "read"]

FORMAT, VERSION = "sightline fingerprint", 1


def as_text(fingerprint: Fingerprint) -> str:
    """Return a fingerprint as JSON."""
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "subject": fingerprint.subject,
        "sizes": {name: list(shape) for name, shape in fingerprint.sizes.items()},
        "settings": fingerprint.settings,
        "parts": [
            {
                "name": part.name,
                "mask": part.mask,
                "conditions": list(part.conditions),
                "queries": part.depends.shape[0],
                "keys": part.depends.shape[1],
                "sha256": digest(part.depends),
                "bits": base64.b64encode(np.packbits(part.depends).tobytes()).decode(),
            }
            for part in fingerprint.parts
        ],
        "notes": list(fingerprint.notes),
        "versions": fingerprint.versions,
    }
    return json.dumps(facts, indent=1) + "\n"


def digest(depends: Bools) -> str:
    """Return the SHA-256 of bools ``[queries, keys]``, the shape included.

    >>> digest(np.ones((2, 3), dtype=bool)) == digest(np.ones((3, 2), dtype=bool))
    False
    """
    shape = ",".join(map(str, depends.shape)).encode()
    return hashlib.sha256(shape + b":" + np.packbits(depends).tobytes()).hexdigest()


def read(path: str | os.PathLike[str]) -> Fingerprint:
    """Read a fingerprint's file.

    Raises:
        DataError: it is no fingerprint, one of another version, or a damaged one.
        OSError: the file cannot be read.
    """
    name = os.fspath(path)
    try:
        facts = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON ({error}); wanted a fingerprint's file.", path=name) from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise DataError(
            "this is no fingerprint; wanted a file that Fingerprint.save wrote.", path=name
        )
    if facts.get("version") != VERSION:
        raise DataError(
            f"got a fingerprint of format {facts.get('version')!r}, this Sightline reads "
            f"{VERSION}; measure the model again.",
            path=name,
        )
    try:
        return _from(facts)
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise DataError(
            f"a damaged fingerprint ({type(error).__name__}: {error}); measure the model again.",
            path=name,
        ) from None


def _from(facts: dict[str, Any]) -> Fingerprint:
    settings = facts["settings"]
    if not isinstance(settings, dict):
        raise TypeError("settings are no dict")
    return Fingerprint(
        subject=str(facts["subject"]),
        parts=tuple(_part(each) for each in facts["parts"]),
        sizes={str(n): tuple(int(s) for s in shape) for n, shape in facts["sizes"].items()},
        settings=settings,
        notes=tuple(map(str, facts["notes"])),
        versions={str(name): str(each) for name, each in facts["versions"].items()},
    )


def _part(facts: dict[str, Any]) -> Part:
    queries, keys = int(facts["queries"]), int(facts["keys"])
    bits = np.frombuffer(base64.b64decode(facts["bits"], validate=True), dtype=np.uint8)
    if queries < 1 or keys < 1 or len(bits) != -(-queries * keys // 8):
        raise ValueError(f"{len(bits)} bytes for {queries} x {keys} pairs")
    depends = np.unpackbits(bits, count=queries * keys).reshape(queries, keys).astype(bool)
    if digest(depends) != facts["sha256"]:
        raise ValueError(f"the pairs of {facts['name']!r} do not have their SHA-256")
    return Part(
        str(facts["name"]), str(facts["mask"]), depends, tuple(map(str, facts["conditions"]))
    )
