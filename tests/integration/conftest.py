"""Fixtures with real servers for every integration test; see `tests/support/platform.py`."""

from tests.support.platform import apiserver, platform, ray_head, s3_server, servers_dir, weaviate_server

__all__ = ["apiserver", "platform", "ray_head", "s3_server", "servers_dir", "weaviate_server"]
