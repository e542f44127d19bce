"""The SSH adapter (see ports.Connector), and the only package that knows paramiko.

One rule holds everywhere in it, for nodes and jump hosts alike: a host key that known_hosts does
not vouch for is refused.
"""

from unshim.ssh.connector import SshConnector
from unshim.ssh.settings import Jump, Secret, SshSettings, load_settings
from unshim.ssh.stats import Stats

__all__ = ["Jump", "Secret", "SshConnector", "SshSettings", "Stats", "load_settings"]
