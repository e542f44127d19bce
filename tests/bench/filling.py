"""Fills an API server with a synthetic fleet, in minutes instead of hours.

Each shape goes into etcd once as JSON, is read back through the API server as the protobuf that it
would store itself, and is then copied with other names straight into etcd.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from tests.bench.server import PROTOBUF, ApiServer, Etcd
from tests.bench.shapes import Object
from tests.bench.synthetic import Copy, Fleet, all_shapes

BATCH_KEYS, BATCH_BYTES = 128, 1_000_000  # etcd's limits: operations, and 1.5 MB a request
VERSIONS = {"v1": "/api/v1"}  # others are /apis/VERSION


def fill(server: ApiServer, fleet: Fleet) -> None:
    """Every object of the fleet. The API server sees each one as if it had stored it."""
    etcd = Etcd(server.etcd_port)
    try:
        stored = {name: _as_stored(server, etcd, shape) for name, shape in all_shapes().items()}
        for batch in _batches(_stamped(stored[copy.shape], copy) for copy in fleet.copies()):
            etcd.put(batch)
    finally:
        etcd.close()


def _as_stored(server: ApiServer, etcd: Etcd, shape: Object) -> bytes:
    """The bytes that the API server keeps of this object."""
    meta, plural = shape["metadata"], shape["kind"].lower() + "s"
    space, name = meta.get("namespace", ""), meta["name"]
    where = f"{space}/{name}" if space else name
    key = f"/registry/{'minions' if plural == 'nodes' else plural}/{where}"
    version = shape["apiVersion"]
    group = VERSIONS.get(version, f"/apis/{version}")
    spaced = f"/namespaces/{space}" if space else ""
    etcd.put([(key, json.dumps(shape).encode())])
    try:
        return server.get(f"{group}{spaced}/{plural}/{name}", PROTOBUF)
    finally:
        etcd.delete(key)


def _stamped(stored: bytes, copy: Copy) -> tuple[str, bytes]:
    for token, value in copy.tokens.items():
        stored = stored.replace(token.encode(), value.encode())
    return copy.key, stored


def _batches(pairs: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    batch: list[tuple[str, bytes]] = []
    size = 0
    for key, value in pairs:
        if len(batch) == BATCH_KEYS or size + len(value) > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append((key, value))
        size += len(value)
    yield batch
