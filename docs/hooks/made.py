"""Pages of the site that are made of other files, in the language that is being built."""

from __future__ import annotations

from typing import Any

from mkdocs.structure.files import File


def made_page(config: Any, path: str, content: str) -> File:
    """Return a page that is not on disk; what stands around it is in the language being built."""
    file = File.generated(config, path, content=content)
    languages = config.plugins["i18n"]
    if not languages.is_default_language_build:
        file.dest_uri = f"{languages.current_language}/{file.dest_uri}"
    return file
