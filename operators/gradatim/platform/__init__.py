"""The local platform: real etcd, API server, Weaviate, Ray and operator as plain processes of an ordinary user.

Used by `gradatim up | down | status` and by the test fixtures. It must not import torch, transformers, ray or weaviate, and it never
ends a process that it cannot prove to be its own.
"""

from gradatim.platform.components import ALL, CONTROL_PLANE, Component
from gradatim.platform.dirs import default_state_dir
from gradatim.platform.errors import PlatformError
from gradatim.platform.lifecycle import ComponentStatus, UpOptions, down, load, status, up
from gradatim.platform.state import PlatformState

__all__ = [
    "ALL",
    "CONTROL_PLANE",
    "Component",
    "ComponentStatus",
    "PlatformError",
    "PlatformState",
    "UpOptions",
    "default_state_dir",
    "down",
    "load",
    "status",
    "up",
]
