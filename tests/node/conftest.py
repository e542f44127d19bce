"""A scratch node for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node.scratch import Scratch


@pytest.fixture
def node(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "node")
