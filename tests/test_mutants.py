"""The faults of `make mutants` must still find the text that they replace."""

from __future__ import annotations

import pytest

from tests.mutants.__main__ import FAULTS, ROOT, Fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_finds_its_text(fault: Fault) -> None:
    """Code moves; a fault that no longer applies would prove nothing."""
    assert fault.old in (ROOT / fault.file).read_text()
    assert all((ROOT / tests).exists() for tests in fault.tests)
