"""What tests of networks share."""

from __future__ import annotations

import jaxtyping
import pytest


@pytest.fixture
def untyped():
    """What a user has: annotations are not checked at run time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
