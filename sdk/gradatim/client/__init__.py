"""The Python client: typed objects of a cluster or of the local platform, synchronous and asynchronous.

Used by scripts, notebooks and the command line. Importing it is cheap: HTTP is loaded at the first request, everything for runs without a
cluster (`gradatim.client.local`) only when imported by name.
"""

from gradatim.client import errors
from gradatim.client.aio import AsyncClient
from gradatim.client.display import Listing, install
from gradatim.client.errors import GradatimError
from gradatim.client.history import MetricHistory
from gradatim.client.sync import Client
from gradatim.client.waiting import WaitUpdate
from gradatim.client.watchevent import WatchEvent

install()

__all__ = [
    "AsyncClient",
    "Client",
    "GradatimError",
    "Listing",
    "MetricHistory",
    "WaitUpdate",
    "WatchEvent",
    "errors",
]
