"""`unshim`: parse the command line, call one command, turn errors into words and an exit code."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import sys
from collections.abc import Sequence

from unshim import __version__
from unshim.cli import auditing, exits, inspecting, migrating, running
from unshim.errors import UnshimError
from unshim.settings import Settings

DESCRIPTION = """Move Kubernetes nodes from Docker Engine to containerd, and back when anything goes
wrong. Start with `unshim audit` and `unshim migrate NODE --dry-run`: they change
nothing."""

SSH_OPTIONS: tuple[tuple[str, str, str], ...] = (
    ("--ssh-user", "ssh_user", "user to log in as; needs root or passwordless sudo"),
    ("--ssh-key", "ssh_key_file", "private key file"),
    ("--ssh-cert", "ssh_cert_file", "user certificate file that belongs to the key"),
    ("--known-hosts", "ssh_known_hosts_file", "known_hosts file; unknown hosts are refused"),
    ("--jump", "ssh_jump", "jump host, user@host:port"),
)
CLUSTER_OPTIONS: tuple[tuple[str, str, str], ...] = (
    ("--kubeconfig", "kubeconfig", "kubeconfig file (default: $KUBECONFIG, ~/.kube/config)"),
    ("--context", "context", "kubeconfig context"),
    ("--namespace", "namespace", "namespace for the canary pod (default: unshim-system)"),
    ("--canary-image", "canary_image", "image of the canary pod: a shell with nc, such as busybox"),
    ("--playbook-dir", "playbook_dir", "folder of playbooks instead of the shipped ones"),
)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="unshim",
        description=DESCRIPTION,
        epilog=exits.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"unshim {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    common = _common()
    for module in (auditing, migrating, inspecting, running):
        module.register(commands, common)
    return top


def _common() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-v", "--verbose", action="store_true", help="say every decision")
    for title, options in (("cluster", CLUSTER_OPTIONS), ("SSH", SSH_OPTIONS)):
        group = common.add_argument_group(title)
        for flag, dest, text in options:
            group.add_argument(flag, dest=dest, default=None, metavar="VALUE", help=text)
    common.add_argument("--ssh-port", dest="ssh_port", type=int, default=None, help="SSH port")
    return common


def settings(args: argparse.Namespace) -> Settings:
    """The environment, overridden by what the command line says."""
    given = {
        field.name: value
        for field in dataclasses.fields(Settings)
        if (value := getattr(args, field.name, None)) is not None
    }
    return dataclasses.replace(Settings.from_env(os.environ), **given)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    args = parser().parse_args(argv)
    level = logging.DEBUG if args.verbose else logging.INFO
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("unshim").setLevel(level)
    try:
        code: int = args.call(settings(args), args)
    except UnshimError as exc:
        print(f"unshim: {exc}", file=sys.stderr)
        return exits.of_error(exc)
    except KeyboardInterrupt:
        print("\nunshim: interrupted. " + migrating.INTERRUPTED, file=sys.stderr)
        return exits.TRY_AGAIN
    return code
