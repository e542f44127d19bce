"""The running lab, the chart installed in it, and the operator's own identity."""

from __future__ import annotations

import base64
import ctypes
import os
from collections.abc import Iterator

import kubernetes
import pytest

from tests import helm
from tests.cluster.lab.objects import ROOT, SPACE, VALUES, wait
from tests.lab import Lab
from unshim.cluster import Api, KubernetesCluster, connect

NEW_NETWORK = 0x40000000  # CLONE_NEWNET


@pytest.fixture(scope="package")
def lab() -> Iterator[Lab]:
    """The running lab, with this thread inside its network."""
    try:
        running = Lab.attach(os.environ.get("UNSHIM_LAB", "lab"))
    except FileNotFoundError:
        pytest.skip("no lab is running: make lab-up")
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{running.netns}", os.O_RDONLY)
    assert libc.setns(there, NEW_NETWORK) == 0
    yield running
    assert libc.setns(home, NEW_NETWORK) == 0
    os.close(home)
    os.close(there)


@pytest.fixture(scope="package")
def installed(lab: Lab) -> Iterator[Lab]:
    """The chart, installed by Helm into a namespace of its own, with the key it asks for."""
    pytest.importorskip("helm_python", reason="needs Helm: pip install helm-python-sdk")
    lab.kubectl("apply", "-f", str(ROOT / "crds/nodemigrations.yaml"))
    lab.kubectl("wait", "--for=condition=Established", "crd/nodemigrations.unshim.dev")
    lab.kubectl("delete", "namespace", SPACE, "--ignore-not-found")
    helm.uninstall(lab, SPACE, SPACE)
    helm.install(lab, SPACE, SPACE, VALUES)
    lab.kubectl(
        "-n", SPACE, "create", "secret", "generic", "key", "--from-literal=ssh-privatekey=k"
    )
    lab.kubectl("-n", SPACE, "create", "configmap", "hosts", "--from-literal=known_hosts=h")
    yield lab
    helm.uninstall(lab, SPACE, SPACE)
    lab.kubectl("delete", "namespace", SPACE, "--wait=false")


@pytest.fixture(scope="package")
def admin(lab: Lab) -> Api:
    return connect(str(lab.kubeconfig))


@pytest.fixture(scope="package")
def api(installed: Lab, admin: Api, tmp_path_factory: pytest.TempPathFactory) -> Api:
    """The operator's own identity: the chart's ServiceAccount."""
    token, authority = wait(lambda: _token(installed))
    file = tmp_path_factory.mktemp("sa") / "ca.crt"
    file.write_bytes(authority)
    configuration = kubernetes.client.Configuration(host=admin.configuration.host)
    configuration.ssl_ca_cert = str(file)
    configuration.api_key["authorization"] = f"Bearer {token}"
    return Api(kubernetes.client.ApiClient(configuration))


@pytest.fixture(scope="package")
def cluster(api: Api) -> KubernetesCluster:
    return KubernetesCluster(api, canary_namespace=SPACE, report_namespace=SPACE)


def _token(lab: Lab) -> tuple[str, bytes] | None:
    account = lab.get("serviceaccount", "-n", SPACE, SPACE)
    names = [secret["name"] for secret in account.get("secrets") or ()]
    if not names:
        return None
    data = lab.get("secret", "-n", SPACE, names[0])["data"]
    return base64.b64decode(data["token"]).decode(), base64.b64decode(data["ca.crt"])
