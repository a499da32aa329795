"""The rendered clips that the dear claims are measured on."""

from __future__ import annotations

from harmonia.audio.s2cap.manifest import Clip, read_manifest
from harmonia.audio.s2cap.rendered import MANIFEST, write_rendered
from harmonia.core.errors import MissingDependency
from harmonia.data.cache import cache_folder
from harmonia.data.render.bulk import RENDERER

RENDERED = "rendered singing; voices, words and phrasing of the test clips are in no training clip"
TESTS = 200


def rendered(split: str, count: int, seconds: float = 6.0) -> list[Clip] | None:
    """Rendered clips from the cache; None where this machine lacks the voices."""
    folder = cache_folder("singing-styles") / f"{split}-{count}-{seconds:g}-{RENDERER}"
    try:
        table = folder / MANIFEST
        return read_manifest(table if table.is_file() else write_rendered(folder, split, count, seconds=seconds))  # type: ignore[arg-type]
    except MissingDependency:
        return None
