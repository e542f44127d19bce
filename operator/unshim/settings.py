"""What the operator is told by its environment: see docs/settings.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from unshim.errors import InvalidSpec

DEFAULT_KEY_FILE = "/etc/unshim/ssh/key"
DEFAULT_KNOWN_HOSTS_FILE = "/etc/unshim/known-hosts/known_hosts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One process's settings. Paths point at mounted Secrets or at files of the person's own."""

    ssh_user: str = "root"
    ssh_port: int = 22
    ssh_key_file: str = DEFAULT_KEY_FILE
    ssh_cert_file: str = ""
    ssh_known_hosts_file: str = DEFAULT_KNOWN_HOSTS_FILE
    ssh_jump: str = ""  # user@host:port
    kubeconfig: str = ""
    context: str = ""
    namespace: str = "unshim-system"
    lease_namespace: str = "kube-system"
    canary_image: str = ""
    canary_namespace: str = ""  # empty: `namespace`
    node_name: str = ""  # the node this process runs on, when it is a pod
    playbook_dir: str = ""  # empty: the playbooks shipped with the package
    address_types: tuple[str, ...] = field(default=("InternalIP", "Hostname"))
    workers: int = 16  # nodes worked on at the same time, at most

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Raises InvalidSpec naming the variable."""
        return cls(
            ssh_user=env.get("UNSHIM_SSH_USER", "root"),
            ssh_port=_port(env, "UNSHIM_SSH_PORT", 22),
            ssh_key_file=env.get("UNSHIM_SSH_KEY_FILE", DEFAULT_KEY_FILE),
            ssh_cert_file=env.get("UNSHIM_SSH_CERT_FILE", ""),
            ssh_known_hosts_file=env.get("UNSHIM_SSH_KNOWN_HOSTS_FILE", DEFAULT_KNOWN_HOSTS_FILE),
            ssh_jump=env.get("UNSHIM_SSH_JUMP", ""),
            kubeconfig=env.get("KUBECONFIG", ""),
            context=env.get("UNSHIM_CONTEXT", ""),
            namespace=env.get("UNSHIM_NAMESPACE", "unshim-system"),
            lease_namespace=env.get("UNSHIM_LEASE_NAMESPACE", "kube-system"),
            canary_image=env.get("UNSHIM_CANARY_IMAGE", ""),
            canary_namespace=env.get("UNSHIM_CANARY_NAMESPACE", ""),
            node_name=env.get("UNSHIM_NODE_NAME", ""),
            playbook_dir=env.get("UNSHIM_PLAYBOOK_DIR", ""),
            address_types=_list(env, "UNSHIM_ADDRESS_TYPES", ("InternalIP", "Hostname")),
            workers=_port(env, "UNSHIM_WORKERS", 16),
        )


def _port(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, str(default))
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise InvalidSpec(f"{name} is {text!r}; expected a whole number from 1 to 65535.")
    return int(text)


def _list(env: Mapping[str, str], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    words = tuple(word.strip() for word in env.get(name, "").split(",") if word.strip())
    return words or default
