"""One lab for all of these tests. A test that leaves a node changed costs a reset, 25 s."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import operator_process as unshim
from tests.integration import faults, observing
from tests.lab import Lab

WORKERS = ("worker-1", "worker-2")
NAME = os.environ.get("UNSHIM_IT_LAB", "it")  # two checkouts on one machine need two names


@pytest.fixture(scope="package")
def shared_lab() -> Iterator[Lab]:
    """UNSHIM_IT_KEEP=1 uses a lab of that name that is there already, and leaves it running."""
    keep = bool(os.environ.get("UNSHIM_IT_KEEP"))
    lab = Lab.attach(NAME) if keep else Lab.up(name=NAME)
    try:
        unshim.install(lab)
        yield lab
    finally:
        if not keep:
            lab.down()


@pytest.fixture
def lab(shared_lab: Lab) -> Lab:
    """Both workers serve on Docker, uncordoned, and no migration is left over."""
    if not _pristine(shared_lab):
        shared_lab.reset()
        unshim.install(shared_lab)
    return shared_lab


def _pristine(lab: Lab) -> bool:
    try:
        _forget_migrations(lab)
        if not all(observing.is_on(lab, name, "docker://") for name in WORKERS):
            return False
        for name in WORKERS:
            observing.wait_serves(lab, name, "docker://", timeout=40)
        lab.wait_ready(timeout=40)
        return all(observing.schedulable(lab, name) for name in WORKERS)
    except (RuntimeError, TimeoutError, StopIteration):
        return False


def _forget_migrations(lab: Lab) -> None:
    """Delete those that have ended; no operator runs now, so nobody else lifts the finalizer."""
    for body in lab.get("nodemigrations")["items"]:
        name = body["metadata"]["name"]
        if body.get("status", {}).get("phase") not in unshim.FINISHED:
            raise RuntimeError(f"migration {name} never ended")
        patch = '{"metadata":{"finalizers":null}}'
        lab.kubectl("patch", "nodemigration", name, "--type", "merge", "-p", patch)
        lab.kubectl("delete", "nodemigration", name, "--ignore-not-found")


@pytest.fixture(scope="session")
def playbooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped playbook and its faulty copies, to be chosen by spec.playbook."""
    return faults.write_all(tmp_path_factory.mktemp("playbooks"))


@pytest.fixture
def operator_log(tmp_path: Path) -> Iterator[Path]:
    """The operators' log, in pytest's report when a test fails."""
    log = tmp_path / "operator.log"
    yield log
    if log.exists():
        print(log.read_text()[-6000:])


@pytest.fixture
def operator(lab: Lab, operator_log: Path, playbooks: Path) -> Iterator[unshim.OperatorProcess]:
    with unshim.running(lab, operator_log, UNSHIM_PLAYBOOK_DIR=str(playbooks)) as process:
        yield process
