"""Helm itself, as a Python library, in a process of its own inside the lab's network."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.lab import Lab

CHART = Path(__file__).resolve().parent.parent / "charts" / "unshim"
SCRIPT = """
import helm_python, json, sys
verb, namespace, release, *rest = sys.argv[1:]
with helm_python.Config(namespace=namespace) as helm:
    if verb == "install":
        chart, values = rest
        done = helm.install(chart, release, json.loads(values), create_namespace=True)
    else:
        done = helm.uninstall(release, ignore_not_found=True)
    print(json.dumps(done))
"""


def install(
    lab: Lab, release: str, namespace: str, values: Mapping[str, Any], chart: Path = CHART
) -> dict[str, Any]:
    """`helm install --create-namespace`: the release, once every object has been created."""
    return _helm(lab, "install", namespace, release, str(chart), json.dumps(values))


def uninstall(lab: Lab, release: str, namespace: str) -> dict[str, Any]:
    """`helm uninstall`; nothing to do when there is no such release."""
    return _helm(lab, "uninstall", namespace, release)


def _helm(lab: Lab, *argv: str) -> dict[str, Any]:
    env = os.environ | {"KUBECONFIG": str(lab.kubeconfig)}
    said = lab.run(sys.executable, "-c", SCRIPT, *argv, env=env).stdout
    done: dict[str, Any] = json.loads(said)
    return done
