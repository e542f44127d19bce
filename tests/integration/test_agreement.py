"""Audit, dry run and run never disagree: what one calls a blocker, all do, and the rest succeeds.

Refusals touch nothing, so most of these scenarios share one lab and take seconds.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests import operator_process as unshim
from tests.integration import audited, observing
from tests.integration.observing import MARKS
from tests.integration.scenes import (
    CI,
    DELETE,
    GONE,
    HELD,
    LONELY,
    NODE,
    Scene,
    broken,
    budget,
    cordoned,
    database_here,
    foreign,
    handler,
    objects,
    sleeper,
    volume,
)
from tests.lab import Lab

pytestmark = MARKS


@dataclass(frozen=True)
class Scenario:
    """Scenes to set, flags to give, and the blockers that every face must name."""

    name: str
    scenes: tuple[Scene, ...] = ()
    flags: tuple[str, ...] = DELETE
    blockers: tuple[tuple[str, str], ...] = ()


REFUSED = (
    Scenario(
        "a foreign container",
        (foreign,),
        blockers=(("foreign-containers", f"Node/{NODE}"),),
    ),
    Scenario(
        "a pod with Docker's socket",
        (objects(CI),),
        blockers=(("docker-socket", "Deployment/apps/ci"),),
    ),
    Scenario(
        "Docker's socket through a claim",
        (objects(*volume()),),
        blockers=(("docker-socket", "Deployment/apps/hidden"),),
    ),
    Scenario(
        "a RuntimeClass of Docker's",
        (objects(*handler()),),
        blockers=(("runtime-class", "Deployment/apps/classed"),),
    ),
    Scenario(
        "a pod that no controller owns",
        (objects(LONELY),),
        blockers=(("drain-refused", "Pod/apps/lonely"),),
    ),
    Scenario(
        "emptyDir data without a yes",
        (database_here,),
        flags=(),
        blockers=(("drain-refused", "Pod/apps/db-0"),),
    ),
    Scenario(
        "two budgets for one pod",
        (
            objects(
                HELD, budget("b1", "held", minAvailable=0), budget("b2", "held", minAvailable=0)
            ),
        ),
        blockers=(("eviction-blocked", "Pod/apps/held-"),),
    ),
    Scenario(
        "a canary whose image no registry has",
        flags=(*DELETE, "--canary-image", GONE),
        blockers=(("image-pull-fails", f"Node/{NODE}"),),
    ),
    Scenario(
        "all at once",
        (foreign, objects(CI, LONELY), database_here),
        flags=(),
        blockers=(
            ("foreign-containers", f"Node/{NODE}"),
            ("docker-socket", "Deployment/apps/ci"),
            ("drain-refused", "Pod/apps/lonely"),
            ("drain-refused", "Pod/apps/db-0"),
        ),
    ),
)
FREE = (
    Scenario("a plain worker, and a CronJob that does not run", (objects(sleeper()),)),
    Scenario("a pod whose image nobody has", (broken,), (*DELETE, "--force")),
    Scenario("a pod whose template names the node: it comes back at once", (objects(HELD),)),
    Scenario("a foreign container that is kept", (foreign,), (*DELETE, "--keep-docker")),
    Scenario(
        "an admin's cordon and a pod that may go", (cordoned, objects(LONELY)), (*DELETE, "--force")
    ),
)


def names(scenario: Scenario) -> str:
    return scenario.name


@pytest.mark.parametrize("scenario", REFUSED, ids=names)
def test_what_is_refused_is_refused_by_all(lab: Lab, scenario: Scenario) -> None:
    """The same blockers three times, and nothing was touched."""
    with ExitStack() as stack:
        for scene in scenario.scenes:
            stack.enter_context(scene(lab))
        before = observing.see(lab, NODE)
        assert _short(_looked(lab, scenario)) == set(scenario.blockers)
        ran, code = _ran(lab, scenario)
        assert code == 1, ran
        assert _short(audited.blockers(ran)) == set(scenario.blockers)
        assert "Refused (Blocked)" in ran
        observing.assert_same(before, observing.see(lab, NODE))
        assert "unshim.dev/cordoned" not in lab.node_object(NODE)["metadata"]["annotations"]


@pytest.mark.parametrize("scenario", FREE, ids=names)
def test_what_is_free_to_go_goes(lab: Lab, scenario: Scenario) -> None:
    """No blocker in either look; the run then succeeds, and comes back."""
    with ExitStack() as stack:
        for scene in scenario.scenes:
            stack.enter_context(scene(lab))
        assert _looked(lab, scenario) == set()
        ran, code = _ran(lab, scenario)
        assert code == 0, ran
        assert "Succeeded" in ran
        assert observing.is_on(lab, NODE, "containerd://")
        back = unshim.cli(lab, "rollback", NODE, *DELETE, "--force")
        assert back.returncode == 0, back.stdout + back.stderr


def test_a_budget_without_headroom_is_a_warning_and_the_run_waits(lab: Lab) -> None:
    """It may have room in a minute: both looks warn, and the run gives up at its time limit."""
    scenario = Scenario("", flags=(*DELETE, "--timeout", "6"))
    with objects(HELD, budget("tight", "held", maxUnavailable=0))(lab):
        looks = [_audit(lab, scenario), _dry(lab, scenario)]
        for text in looks:
            assert audited.blockers(text) == set()
            assert "eviction-blocked" in text
        before = observing.see(lab, NODE)
        ran, code = _ran(lab, scenario)
        assert (code, "DrainTimedOut" in ran) == (1, True), ran
        observing.assert_same(before, observing.see(lab, NODE))


def _looked(lab: Lab, scenario: Scenario) -> set[tuple[str, str]]:
    """What audit and dry run call blockers: they must be the same ones."""
    audit, dry = _audit(lab, scenario), _dry(lab, scenario)
    assert audited.blockers(audit) == audited.blockers(dry), audit + dry
    return audited.blockers(dry)


def _audit(lab: Lab, scenario: Scenario) -> str:
    done = unshim.cli(lab, "audit", NODE, *scenario.flags)
    assert done.returncode == (1 if audited.blockers(done.stdout) else 0), done.stderr
    return done.stdout


def _dry(lab: Lab, scenario: Scenario) -> str:
    done = unshim.cli(lab, "migrate", NODE, "--dry-run", *scenario.flags)
    assert done.returncode == (1 if audited.blockers(done.stdout) else 0), done.stderr
    return done.stdout


def _ran(lab: Lab, scenario: Scenario) -> tuple[str, int]:
    done = unshim.cli(lab, "migrate", NODE, *scenario.flags)
    return done.stdout + done.stderr, done.returncode


def _short(found: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Without the random end of a pod's name."""
    held = "Pod/apps/held-"
    return {(rule, held if at.startswith(held) else at) for rule, at in found}
