"""unshim moves Kubernetes nodes from Docker to containerd, and back when anything goes wrong."""

__version__ = "0.1.0"
