"""Opens connections to nodes, directly or through a jump host. See ports.Connector."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Iterator

import paramiko
import tenacity
from paramiko.ssh_exception import IncompatiblePeer

from unshim.errors import (
    AuthenticationFailed,
    HostKeyRejected,
    NodeUnreachable,
    UnshimError,
    UnsupportedNode,
)
from unshim.ssh import host_keys, keys, known_hosts
from unshim.ssh.host_keys import Claims, Offer, Peer
from unshim.ssh.settings import SshSettings
from unshim.ssh.shell import SshShell
from unshim.ssh.stats import Stats

ATTEMPTS = 4
TURNED_AWAY_SECONDS = 30.0  # how long we come back to an sshd that has too many at once
KEEPALIVE_SECONDS = 15
SILENCE_SECONDS = 30  # the kernel gives up on a peer that acknowledges nothing for so long

# SHA-1 and MD5 anywhere, and CBC (Terrapin, CVE-2023-48795), are refused whatever the node offers.
WEAK = {
    "keys": ["ssh-rsa", "ssh-dss"],
    "pubkeys": ["ssh-rsa", "ssh-dss"],
    "ciphers": ["aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc"],
    "macs": ["hmac-sha1", "hmac-sha1-96", "hmac-md5", "hmac-md5-96"],
    "kex": ["diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1"],
}

WIRE_LOG = "unshim.ssh.wire"  # paramiko's own log: silent unless somebody sets its level

log = logging.getLogger(__name__)


class _TurnedAway(NodeUnreachable):
    """The sshd closed before its first word: too many log in at this moment (MaxStartups)."""


class SshConnector:
    """See ports.Connector. Any number of threads may connect at the same time."""

    def __init__(self, settings: SshSettings, stats: Stats | None = None) -> None:
        """Raises InvalidCredentials naming what is wrong with the key or known_hosts."""
        self._settings = settings
        self._key = keys.login_key(settings)
        self._known = known_hosts.parse(settings.known_hosts, settings.known_hosts_source)
        self.stats = stats or Stats()
        _silence(logging.getLogger(WIRE_LOG))

    def connect(self, host: str, *, node: str) -> SshShell:
        """See ports.Connector.connect."""
        keys.check_valid_now(self._settings)
        peer = Peer(host=host, port=self._settings.port, label=f"Node {node}", alias=node)
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(NodeUnreachable),
            stop=self._enough,
            wait=tenacity.wait_random_exponential(multiplier=0.3, max=3),
            reraise=True,
        )
        return attempts(self._open, peer)

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        seconds = state.seconds_since_start or 0.0
        failure = state.outcome.exception() if state.outcome else None
        if isinstance(failure, _TurnedAway):
            return seconds >= TURNED_AWAY_SECONDS
        return state.attempt_number >= ATTEMPTS or seconds >= self._settings.connect_timeout

    def _open(self, peer: Peer) -> SshShell:
        with contextlib.ExitStack() as opened:
            opened.callback(self.stats.count, failures=1)
            links: list[paramiko.Transport] = []
            sock = self._socket(peer, links, opened)
            links.insert(0, self._log_in(sock, peer, self._settings.user, opened))
            opened.pop_all()
        log.info("connected to %s as %s", peer, self._settings.user)
        return SshShell(links, peer.label, self._settings.user, self.stats)

    def _socket(
        self, peer: Peer, links: list[paramiko.Transport], opened: contextlib.ExitStack
    ) -> socket.socket | paramiko.Channel:
        jump = self._settings.jump
        if jump is None:
            return self._tcp(peer, opened)
        gate = Peer(host=jump.host, port=jump.port, label=f"Jump host of {peer.alias}")
        sock = self._tcp(gate, opened)
        link = self._log_in(sock, gate, jump.user or self._settings.user, opened)
        links.append(link)
        with _translated(peer, f"through the jump host {jump.host}"):
            return link.open_channel(
                "direct-tcpip",
                (peer.host, peer.port),
                ("127.0.0.1", 0),
                timeout=self._settings.connect_timeout,
            )

    def _tcp(self, peer: Peer, opened: contextlib.ExitStack) -> socket.socket:
        """A socket that sends at once (exec falls from 44 to 2 ms) and notices a dead peer."""
        with _translated(peer, "cannot be reached"):
            sock = socket.create_connection((peer.host, peer.port), self._settings.connect_timeout)
            opened.callback(sock.close)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_SECONDS * 1000)
            return sock

    def _log_in(
        self,
        sock: socket.socket | paramiko.Channel,
        peer: Peer,
        user: str,
        opened: contextlib.ExitStack,
    ) -> paramiko.Transport:
        with _translated(peer, "broke off the connection"):
            known = host_keys.claims(self._known, peer)
            link = self._transport(sock, known)
            opened.callback(link.close)
            self._greet(link, peer)
            host_keys.check(known, _offer(link), time.time())
            self._authenticate(link, peer, user)
        link.set_keepalive(KEEPALIVE_SECONDS)
        self.stats.count(connections=1)
        return link

    def _transport(
        self, sock: socket.socket | paramiko.Channel, known: Claims
    ) -> paramiko.Transport:
        seconds = self._settings.connect_timeout
        link = paramiko.Transport(sock, disabled_algorithms=WEAK)
        link.set_log_channel(WIRE_LOG)
        link.banner_timeout = link.handshake_timeout = link.auth_timeout = seconds
        link.channel_timeout = seconds
        link.get_security_options().key_types = host_keys.algorithms(known)
        return link

    def _greet(self, link: paramiko.Transport, peer: Peer) -> None:
        try:
            link.start_client(timeout=self._settings.connect_timeout)
        except paramiko.SSHException as exc:
            if "banner" in str(exc) and isinstance(exc.__context__, EOFError | ConnectionError):
                raise _TurnedAway(_unreachable(peer, "turned us away", exc)) from exc
            raise

    def _authenticate(self, link: paramiko.Transport, peer: Peer, user: str) -> None:
        try:
            missing = link.auth_publickey(user, self._key)
        except paramiko.AuthenticationException as exc:
            if not _final(exc):
                raise NodeUnreachable(_unreachable(peer, "broke off the login", exc)) from exc
            raise AuthenticationFailed(self._refused(peer, user)) from exc
        if missing:
            raise AuthenticationFailed(
                f"{peer} accepted the key of user {user} but asks for more: {', '.join(missing)}. "
                "Nothing was changed. Let this user log in with a key alone."
            )

    def _refused(self, peer: Peer, user: str) -> str:
        shown = f"{self._key.get_name()} {known_hosts.fingerprint(self._key.asbytes())}"
        advice = f"Add the key to ~{user}/.ssh/authorized_keys there, or use another user or key."
        if self._key.public_blob is not None:
            shown += " with its certificate"
            advice = (
                "See that its sshd trusts the authority (TrustedUserCAKeys) and that the "
                f"certificate names the principal {user}."
            )
        return f"{peer} refuses user {user} with the key {shown}. Nothing was changed. {advice}"


def _offer(link: paramiko.Transport) -> Offer:
    if not link.initial_kex_done:  # start_client() returns in silence when its time is up
        raise paramiko.SSHException("no key exchange in time")
    key = link.get_remote_server_key()
    certificate = key.public_blob.key_blob if key.public_blob is not None else b""
    return Offer(key_type=key.get_name(), blob=key.asbytes(), certificate=certificate)


def _final(exc: paramiko.AuthenticationException) -> bool:
    """Whether the server has answered: paramiko uses one error for "no" and for "no answer"."""
    return not ("timeout" in str(exc) or "EOF" in str(exc) or "shut down" in str(exc))


@contextlib.contextmanager
def _translated(peer: Peer, doing: str) -> Iterator[None]:
    """Foreign exceptions -> ours, with the cause."""
    try:
        yield
    except UnshimError:
        raise
    except IncompatiblePeer as exc:
        raise _incompatible(peer, exc) from exc
    except socket.gaierror as exc:
        raise NodeUnreachable(_unreachable(peer, "has no address", exc)) from exc
    except (paramiko.SSHException, OSError, EOFError) as exc:
        raise NodeUnreachable(_unreachable(peer, doing, exc)) from exc


def _incompatible(peer: Peer, exc: IncompatiblePeer) -> UnshimError:
    if "host key" in str(exc):
        return HostKeyRejected(
            f"{peer} has no host key that is safe to check (Ed25519, ECDSA, or RSA with SHA-2). "
            "Nothing was changed. Make one there (ssh-keygen -A) and restart its sshd."
        )
    return UnsupportedNode(
        f"{peer} and we have no safe SSH algorithm in common: {exc}. Nothing was changed. "
        "Update its sshd or its crypto settings."
    )


def _unreachable(peer: Peer, doing: str, exc: BaseException) -> str:
    why = str(exc).strip() or type(exc).__name__
    return f"{peer}: {doing}: {why}. Nothing was changed by this attempt; it will be tried again."


def _silence(wire: logging.Logger) -> None:
    """What paramiko logs we raise; a person can still set the level to see it."""
    if wire.level == logging.NOTSET:
        wire.setLevel(logging.CRITICAL + 1)
