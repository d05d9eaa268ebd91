"""What tests of text share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for typewriter, which several test files import


@pytest.fixture(scope="session")
def engine():
    """The engine that knows the typewriter's glyphs."""
    from typewriter import TemplateEngine

    return TemplateEngine()
