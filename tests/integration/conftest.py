"""Fixtures with real servers for every integration test; see `tests/support/platform.py` and `tests/support/raynodes.py`."""

from tests.support.platform import apiserver, platform, ray_head, s3_server, servers_dir, weaviate_server
from tests.support.raynodes import ray_nodes, ray_pair

__all__ = [
    "apiserver", "platform", "ray_head", "ray_nodes", "ray_pair", "s3_server", "servers_dir", "weaviate_server",
]  # fmt: skip
