"""The API server behind `ports.Cluster` and `ports.Migrations`. Only here is `kubernetes` imported.

Objects are plain API JSON: typed models break on servers much older or newer than the client, and
we serve Kubernetes 1.18 to today.
"""

from unshim.cluster.adapter import KubernetesCluster
from unshim.cluster.api import Api, connect
from unshim.cluster.migrations import KubernetesMigrations

__all__ = ["Api", "KubernetesCluster", "KubernetesMigrations", "connect"]
