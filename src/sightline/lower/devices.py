"""Reading a device argument for the torch destinations, with an error of our own."""

from __future__ import annotations

from typing import Any

from sightline.errors import InvalidArgument


def check_device(torch: Any, device: Any, destination: str) -> Any:
    """Return ``device`` as a torch.device.

    Raises:
        InvalidArgument: torch does not know it.
    """
    try:
        return torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InvalidArgument(
            f'got device={device!r} for {destination}; wanted a torch device such as "cpu" or '
            f'"cuda:0" ({error}).'
        ) from None
