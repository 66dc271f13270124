"""Writing files so that nobody ever sees half of one.

What stands in the file is the caller's matter.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write ``content``, text as UTF-8, under a temporary name beside ``path``, then rename it.

    Whatever goes wrong, ``path`` holds either what it held before or all of it, and no
    temporary file stays behind. An existing file keeps its permissions.

    Raises:
        OSError: naming ``path`` (not the temporary name) if it cannot be written.
    """
    target = Path(path)
    # Follow a symbolic link: the rename must replace what it points at, not the link.
    target = target.resolve() if target.is_symlink() else target
    try:
        if target.is_dir():
            raise IsADirectoryError(21, "it is a directory; name a file in it")
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask()
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
    except OSError as error:
        raise _about(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
        Path(name).chmod(mode)
        Path(name).replace(target)
    except BaseException as error:  # KeyboardInterrupt too: leave no temporary file behind
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _about(path, error) from error
        raise


def _umask() -> int:
    """Return the process's umask (which can only be read by setting it)."""
    current = os.umask(0)
    os.umask(current)
    return current


def _about(path: str | os.PathLike[str], error: OSError) -> OSError:
    return type(error)(error.errno, error.strerror, os.fspath(path))
