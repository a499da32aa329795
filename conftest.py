"""Test set-up for `tests/` and the doctests in `src/`: shapes are checked at run time, Debian needs are named."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

from harmonia.core.card import FIELDS

# Checks every annotated shape and type of the parts and the methods while their tests run.
install_import_hook([f"harmonia.{package}" for package in ("parts", *FIELDS)], "beartype.beartype")

PROGRAMS = {
    "festival": "festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts",
    "flite": "flite",
    "espeak-ng": "espeak-ng",
    "chromium": "chromium",
}
SOUNDFONT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")


def missing_debian_packages() -> list[str]:
    """Debian packages that the tests marked `debian` need and this machine lacks."""
    packages = [packages for program, packages in PROGRAMS.items() if shutil.which(program) is None]
    return packages if SOUNDFONT.is_file() else [*packages, "timgm6mb-soundfont"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = missing_debian_packages()
    needing = [item for item in items if item.get_closest_marker("debian")]
    if not missing or not needing:
        return
    reason = f"needs Debian packages; run: apt-get install {' '.join(missing)}"
    if os.environ.get("CI"):
        raise pytest.UsageError(f"CI must not skip tests: {reason}")
    for item in needing:
        item.add_marker(pytest.mark.skip(reason=reason))
